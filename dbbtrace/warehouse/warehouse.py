"""An open warehouse: query it, migrate it, and write each row to it once.

Connects on first use, and again after the connection was lost. Safe to use from several threads and after a fork.
Raises typed errors (see ``dbbtrace.errors``). Retrying is left to the caller.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from dbbtrace.diagnostics import warn_once
from dbbtrace.errors import ConfigurationError, DbbtraceError, RefusedError, TransientError
from dbbtrace.model.attributes import STARTED
from dbbtrace.warehouse.connection import Connector, Result
from dbbtrace.warehouse.dialects import Dialect
from dbbtrace.warehouse.driver_errors import LockedError
from dbbtrace.warehouse.schema import PARTS, SCHEMA, TABLES, VALIDATIONS, Row, Table
from dbbtrace.warehouse.statements import Shape, once

if TYPE_CHECKING:
    from dbbtrace.warehouse.migrate import Step

__all__ = ["Warehouse"]

T = TypeVar("T")

_ORPHANS: list[Any] = []
"""Connections of a parent process. They are never closed here, because that would close the parent's files."""
_OPEN: weakref.WeakSet[Warehouse] = weakref.WeakSet()
_HELD: list[Warehouse] = []
_PATIENCE = 10.0
"""Seconds that other writers are waited for."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05
"""Seconds between two looks whether another writer is done."""


class Warehouse:
    """A database with schema ``meta``. Create it with ``open_warehouse``."""

    def __init__(self, connector: Connector) -> None:
        self.name = connector.name
        """Its URL without secrets."""
        self._connector = connector
        self._forget()

        _OPEN.add(self)

    def _forget(self) -> None:
        self._lock = threading.RLock()
        self._connection: Any = None
        self._shapes: dict[str, Shape] | None = None
        self._used_at = 0.0
        self._given_up = False

    # -- asking ---------------------------------------------------------------------------------------------

    @property
    def dialect(self) -> Dialect:
        """The SQL dialect of the server. Connects if needed."""
        return self._run(lambda connection: self._connector.dialect(connection))

    @property
    def driver(self) -> str:
        """Name and version of the driver in use. Connects if needed."""
        return self._run(self._connector.driver)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Result:
        """Run one statement with its values bound (``?``)."""

        def ask(connection: Any) -> Result:
            cursor = self._connector.execute(connection, sql, parameters)
            if cursor.description is None:
                return Result((), [])
            columns = tuple(str(column[0]) for column in cursor.description)
            return Result(columns, [tuple(row) for row in cursor.fetchall()])

        return self._run(ask)

    def columns(self) -> dict[str, frozenset[str]]:
        """Table of schema meta → the schema's columns that it has. Missing tables are left out."""
        return {name: frozenset(column for column, _ in shape.found) for name, shape in self.shapes().items()}

    def shapes(self) -> dict[str, Shape]:
        """The tables' real columns, looked up once per connection."""
        return self._run(self._look)

    def _look(self, connection: Any) -> dict[str, Shape]:
        if self._shapes is None:
            self._shapes = self._connector.shapes(connection)
        return self._shapes

    # -- writing --------------------------------------------------------------------------------------------

    def write(self, rows: Iterable[Row]) -> int:
        """Write the rows that are not there yet; returns how many were new.

        One statement for each table. Returns only when every row is there. What the database refuses is bisected,
        and what is wrong with one table does not stop the others. The rows that say that a part of the run has ended
        are written last, and only if all the others are there. Without a table of parts, its rows are left out; so are
        counts of tables where the platform has no table for them, or lets nobody write to it.

        Raises:
            TransientError: try again later; rows that were already written are not written twice.
            ConfigurationError: a person must act; rows of other tables may have been written.
            RefusedError: some rows are refused for good; all others are written.
        """
        rows = list(rows)
        written, refused, misconfigured = 0, list[tuple[Row, RefusedError]](), list[ConfigurationError]()
        for table, batch in _in_order(rows):
            shape = self.shapes()
            if table is PARTS and table.name not in shape:
                continue
            if table is VALIDATIONS:
                written += self._write_counts(batch, shape.get(table.name))
                continue
            if misconfigured and table is PARTS:
                break
            try:
                written += self._write(table, batch, shape.get(table.name), refused)
            except ConfigurationError as error:
                misconfigured.append(error)
        if misconfigured:
            raise misconfigured[0]
        if refused:
            row, why = refused[0]
            many = "1 row" if len(refused) == 1 else f"{len(refused)} rows"
            where = f"{SCHEMA}.{row.table.name} {row.record_id}"
            raise RefusedError(f"{many} refused, all others written; {where}: {why}")
        return written

    def _write_counts(self, rows: list[Row], shape: Shape | None) -> int:
        """The run's own record has the counts too: what is wrong with the platform's table stops nothing."""
        if shape is None:
            return 0
        try:
            return self._write(VALIDATIONS, rows, shape, [])
        except ConfigurationError as error:
            warn_once(f"warehouse:{self.name}:counts", "counts of tables are left out: %s", error)
            return 0

    def _write(
        self, table: Table, rows: list[Row], shape: Shape | None, refused: list[tuple[Row, RefusedError]]
    ) -> int:
        _check(table, shape)
        assert shape is not None
        try:
            return self._run(lambda connection: self._connector.insert(connection, table, shape, rows), writing=True)
        except RefusedError as error:
            if len(rows) == 1:
                refused.append((rows[0], error))
                return 0
        middle = len(rows) // 2
        return sum(self._write(table, half, shape, refused) for half in (rows[:middle], rows[middle:]))

    # -- changing -------------------------------------------------------------------------------------------

    def migrate(self, *, dry_run: bool = False, views: bool = False) -> list[str]:
        """Create what is missing and add nullable columns; never drop or alter a table. Safe to repeat.

        Args:
            dry_run: change nothing.
            views: create the views too, and replace those that are there.

        Returns:
            What was done, in words; with ``dry_run`` only the SQL.
        """
        from dbbtrace.warehouse.migrate import plan

        with self._lock:
            self.close()
            try:
                bare = partial(self._connector.connect_bare, dry_run=dry_run, waits=_PATIENCE)
                connection = _patiently(bare)
                try:
                    steps = plan(self._connector, connection)
                    for step in () if dry_run else steps:
                        connection.cursor().execute(step.sql)
                    if views:
                        steps += self._make_views(connection, dry_run)
                finally:
                    connection.close()
            except DbbtraceError:
                raise
            except Exception as error:
                raise self._connector.fault(error) from error
        return [step.sql if dry_run else step.done for step in steps]

    def _make_views(self, connection: Any, dry_run: bool) -> list[Step]:
        from dbbtrace.warehouse.views import plan

        steps = plan(self._connector, connection)
        for step in () if dry_run else steps:
            connection.cursor().execute(step.sql)
        return steps

    # -- the connection -------------------------------------------------------------------------------------

    def __enter__(self) -> Warehouse:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self._lock:
            self._drop()

    def give_up(self) -> None:
        """Ask nothing from now on. What is asked now ends early where the driver can do that. From any thread."""
        self._given_up = True
        connection = self._connection
        if connection is not None:
            with suppress(Exception):  # it may just be closed
                self._connector.interrupt(connection)

    def _drop(self) -> None:
        connection, self._connection, self._shapes = self._connection, None, None
        if connection is not None:
            with suppress(Exception):  # it may already be closed
                connection.close()

    def _run(self, work: Callable[[Any], T], *, writing: bool = False) -> T:
        return _patiently(lambda: self._run_now(work, writing))

    def _run_now(self, work: Callable[[Any], T], writing: bool) -> T:
        """Do the work on a connection. Try once more on a new one if an old one has clearly failed."""
        with self._lock:
            fresh = self._connect()
            try:
                return self._attempt(work, writing)
            except TransientError as error:
                if fresh or error.ambiguous or isinstance(error, LockedError):
                    raise
            self._connect()
            return self._attempt(work, writing)

    def _connect(self) -> bool:
        """Connect if needed; returns True for a new connection."""
        if self._connection is not None:
            if self._connector.still_there(self._connection, time.monotonic() - self._used_at):
                return False
            self._drop()
        self._connection = self._connector.connect()
        return True

    def _attempt(self, work: Callable[[Any], T], writing: bool) -> T:
        if self._given_up:
            raise TransientError(f"{self.name}: there was no time left to ask")
        try:
            result = work(self._connection)
        except DbbtraceError:
            raise
        except Exception as error:
            fault = self._connector.fault(error, writing=writing)
            if not isinstance(fault, (RefusedError, LockedError)):
                self._drop()
            raise fault from error
        self._used_at = time.monotonic()
        return result


def _patiently(attempt: Callable[[], T]) -> T:
    """Attempt it again while other writers are in the way. No lock of ours is held in between: a fork doesn't wait."""
    deadline, pause = time.monotonic() + _PATIENCE, _FIRST_PAUSE
    while True:
        try:
            return attempt()
        except LockedError:
            if time.monotonic() > deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _in_order(rows: Sequence[Row]) -> Iterator[tuple[Table, list[Row]]]:
    """The rows by table: what has started first, then the operations, then what says that a part has ended. So nobody
    finds a run that reads as complete while its rows are still on their way."""
    status = PARTS.position["status"]
    parts = [row for row in rows if row.table is PARTS]
    groups = [
        (PARTS, [row for row in parts if row.values[status] == STARTED]),
        *((table, [row for row in rows if row.table is table]) for table in (*TABLES, VALIDATIONS)),
        (PARTS, [row for row in parts if row.values[status] != STARTED]),
    ]
    for table, group in groups:
        if group:
            yield table, once(group)


def _check(table: Table, shape: Shape | None) -> None:
    """Check that the table exists and has the columns that identify rows."""
    if shape is None:
        raise ConfigurationError(f"{SCHEMA}.{table.name} is missing, or may not be read: run `dbbtrace migrate`")
    natural = table.natural_key
    needed = {*natural.texts, *filter(None, (natural.status, natural.moment))}
    needed |= {"orchestration_run_id"} & table.position.keys()
    lacking = sorted(name for name in needed if name not in shape)
    if lacking:
        cure = ": run `dbbtrace migrate`" if table is not VALIDATIONS else ""
        raise ConfigurationError(f"{SCHEMA}.{table.name} lacks {', '.join(lacking)}{cure}")


# -- forks --------------------------------------------------------------------------------------------------


def _before_fork() -> None:
    now = time.monotonic()
    for warehouse in list(_OPEN):
        patience = now + warehouse._connector.fork_patience - time.monotonic()
        if warehouse._lock.acquire(timeout=max(0.0, patience)):
            _HELD.append(warehouse)


def _after_in_parent() -> None:
    while _HELD:
        _HELD.pop()._lock.release()


def _after_in_child() -> None:
    _HELD.clear()
    for warehouse in list(_OPEN):
        if warehouse._connection is not None:
            _ORPHANS.append(warehouse._connection)
        warehouse._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
