"""The interface of a connector to a warehouse, and SQLite's connector. ``tsql`` has the one for T-SQL.

A connector opens connections, describes the tables, inserts a batch, and turns its driver's exceptions into typed
errors. It keeps no connection and retries nothing. ``warehouse.Warehouse`` does that. Drivers are imported only when
used.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from dbbtrace.errors import ConfigurationError, DbbtraceError
from dbbtrace.warehouse import driver_errors
from dbbtrace.warehouse.dialects import SQLITE, Dialect
from dbbtrace.warehouse.schema import ALL_TABLES, RECORD, SCHEMA, WRITTEN, Kind, Row, Table
from dbbtrace.warehouse.sqlite_batches import insert_many
from dbbtrace.warehouse.statements import Found, Shape, suited, yielding
from dbbtrace.warehouse.urls import SqliteAddress

__all__ = ["Connector", "Result", "SqliteConnector", "shape_of"]


@dataclass(frozen=True)
class Result:
    """The result of a query."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


class Connector(Protocol):
    """One warehouse."""

    name: str
    """Its URL without secrets."""
    fork_patience: float
    """Seconds that a fork waits for a statement under way: a driver's own locks, held at that moment, stay held for
    ever in the child."""

    def connect(self) -> Any:
        """A new DB-API connection in autocommit; raises typed errors. It never waits for other writers: where they are
        in the way, statements raise what ``fault`` calls a LockedError."""

    def connect_bare(self, *, dry_run: bool, waits: float) -> Any:
        """The same, but nothing is created on the way; with ``dry_run`` not even a file. Its statements wait so many
        seconds for other writers."""

    def driver(self, connection: Any) -> str:
        """Name and version of the driver in use."""

    def dialect(self, connection: Any) -> Dialect:
        """The SQL dialect of the server."""

    def still_there(self, connection: Any, idle: float) -> bool:
        """Whether a connection that was idle for this many seconds can still be used."""

    def shapes(self, connection: Any) -> dict[str, Shape]:
        """The shapes of the tables in schema meta, by name. Missing tables are left out."""

    def indexed(self, connection: Any, table: str, index: str) -> bool:
        """Whether the table has an index of that name."""

    def execute(self, connection: Any, sql: str, parameters: Sequence[Any]) -> Any:
        """Run one statement with its values bound; returns the cursor."""

    def insert(self, connection: Any, table: Table, shape: Shape, rows: Sequence[Row]) -> int:
        """Write the rows that are not there yet; returns how many those were. All or nothing."""

    def interrupt(self, connection: Any) -> None:
        """From another thread: let the statement under way fail, where the driver can do that."""

    def fault(self, error: BaseException, *, writing: bool = False) -> DbbtraceError:
        """The typed error for the driver's exception."""


def shape_of(table: Table, columns: Sequence[Found], *, once: bool = False) -> Shape:
    """Matches these columns with the schema's: by exact name, otherwise ignoring case."""
    exact = {found.name: found for found in columns}
    loose = {found.name.lower(): found for found in reversed(columns)}
    pairs = ((column, exact.get(column.name) or loose.get(column.name.lower())) for column in table.columns)
    return Shape(
        tuple(
            (column.name, replace(found, length=_narrower(column.kind, column.size, found.length)))
            for column, found in pairs
            if found is not None
        ),
        once,
    )


def _narrower(kind: Kind, size: int, length: int | None) -> int | None:
    return length if kind is Kind.TEXT and length is not None and 0 < length < size else None


# -- SQLite -------------------------------------------------------------------------------------------------


class SqliteConnector:
    """The embedded warehouse: a file, attached to an empty main database under the name ``meta``."""

    fork_patience = 5.0  # no statement waits for others

    def __init__(self, address: SqliteAddress, *, create: bool) -> None:
        self.name = address.name
        self._path = address.path
        self._create = create
        self._file: tuple[int, int] | None = None

    def connect(self) -> Any:
        connection = self._attached(self._path, write=self._create)
        try:
            if self._create:
                self._create_missing(connection)
        except Exception as error:
            connection.close()
            raise self.fault(error) from error
        self._file = _identity(self._path)
        return connection

    def connect_bare(self, *, dry_run: bool, waits: float) -> Any:
        path = ":memory:" if dry_run and not os.path.exists(self._path) else self._path
        return self._attached(path, write=not dry_run, waits=waits)

    def _attached(self, path: str, *, write: bool, waits: float = 0.0) -> Any:
        import sqlite3

        if path != ":memory:" and not os.path.exists(path):
            if not self._create:
                raise ConfigurationError(
                    f"{self.name}: no such file; the first row creates it, and so does `dbbtrace migrate`"
                )
            self._make_directory()
        connection = sqlite3.connect(
            "file::memory:", uri=True, timeout=waits, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute(f"ATTACH ? AS {SCHEMA}", (path if write else _to_read(path),))
            if write:  # a reader leaves the file as it is
                connection.execute(f"PRAGMA {SCHEMA}.journal_mode=WAL").fetchone()
        except sqlite3.Error as error:
            connection.close()
            raise self.fault(error) from error
        return connection

    def _make_directory(self) -> None:
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"{self.name}: can't create its directory: {error}") from error

    def _create_missing(self, connection: Any) -> None:
        """The file is created on first use; an existing table is left as it is."""
        if all(table.name in self.shapes(connection) for table in ALL_TABLES):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            standing = self.shapes(connection)
            for table in ALL_TABLES:
                if table.name not in standing:
                    connection.execute(SQLITE.create_table(table))
                    for sql in SQLITE.indexes(table).values():
                        connection.execute(sql)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    def driver(self, connection: Any) -> str:
        import sqlite3

        return f"SQLite {sqlite3.sqlite_version}"

    def dialect(self, connection: Any) -> Dialect:
        return SQLITE

    def still_there(self, connection: Any, idle: float) -> bool:
        # Rows written to a deleted or replaced file would be lost.
        return self._file == _identity(self._path)

    def shapes(self, connection: Any) -> dict[str, Shape]:
        result = {}
        for table in WRITTEN:
            rows = connection.execute(f'PRAGMA {SCHEMA}.table_info("{table.name}")').fetchall()
            if rows:
                columns = [Found(str(row[1])) for row in rows]
                result[table.name] = shape_of(table, columns, once=_keeps_doubles_out(connection, table))
        return result

    def indexed(self, connection: Any, table: str, index: str) -> bool:
        rows = connection.execute(f'PRAGMA {SCHEMA}.index_list("{table}")').fetchall()
        return index in {str(row[1]) for row in rows}

    def execute(self, connection: Any, sql: str, parameters: Sequence[Any]) -> Any:
        return connection.execute(sql, tuple(parameters))

    def insert(self, connection: Any, table: Table, shape: Shape, rows: Sequence[Row]) -> int:
        # IMMEDIATE: look and write in one transaction, so that two processes can't both find a record missing.
        connection.execute("BEGIN IMMEDIATE")
        try:
            written = _insert(connection, table, shape, rows)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return written

    def interrupt(self, connection: Any) -> None:
        connection.interrupt()

    def fault(self, error: BaseException, *, writing: bool = False) -> DbbtraceError:
        return driver_errors.of_sqlite(error)


def _insert(connection: Any, table: Table, shape: Shape, rows: Sequence[Row]) -> int:
    beside = yielding(rows) and _others_stand(connection, table, shape)
    statement = suited(SQLITE, table, shape, rows, beside=beside)
    bound = statement.bind(rows)
    if statement.values:
        return insert_many(connection, statement.values, bound)
    return int(connection.executemany(statement.sql, bound).rowcount)


def _others_stand(connection: Any, table: Table, shape: Shape) -> bool:
    """Whether there are rows without record_id. Checked once per batch instead of once per row."""
    return "record_id" not in shape or connection.execute(SQLITE.without_record(table)).fetchone() is not None


def _keeps_doubles_out(connection: Any, table: Table) -> bool:
    """Whether the unique index is there, and is what it should be."""
    name = SQLITE.unique_name(table)
    rows = connection.execute(f'PRAGMA {SCHEMA}.index_info("{name}")').fetchall()
    return tuple(str(row[2]).lower() for row in rows) == RECORD


def _to_read(path: str) -> str:
    """What to attach for questions: an auditor may have a read-only copy."""
    from pathlib import Path

    if path == ":memory:" or (os.access(path, os.W_OK) and os.access(os.path.dirname(path), os.W_OK)):
        return path
    # SQLite wants to make a file beside one in WAL mode; there is no writer where it can't.
    alone = not os.access(os.path.dirname(path), os.W_OK) and not os.path.exists(f"{path}-shm")
    return f"{Path(path).as_uri()}?mode=ro{'&immutable=1' if alone else ''}"


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
