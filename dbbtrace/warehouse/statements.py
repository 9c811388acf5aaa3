"""The SQL that writes rows once only: the same sentence in every dialect, but for where the batch comes from.

    INSERT INTO meta.t (columns) SELECT j.columns FROM <the batch> AS j WHERE NOT EXISTS (<the row is there already>)

A row is there already when its record_id is there in that run; where a unique index says the same (SQLite), the row is
left to it: ``ON CONFLICT ... DO NOTHING``, and where nothing else is to be looked for, ``VALUES`` are enough. On a
table without that column, and for facts that a hand-made writer may have written already, the natural key decides, by
count (``j.nth``: the how-manieth row of that key this is in the batch). An interrupted row yields to the ended one of
its operation; it never keeps one out.
Values are always bound; nothing here touches a connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any

from dbbtrace.warehouse.cleaning import cut
from dbbtrace.warehouse.dialects import Dialect, wide
from dbbtrace.warehouse.schema import LOADS, RECORD, Column, Kind, Row, Table
from dbbtrace.warehouse.sqlite_batches import Values

__all__ = ["Found", "Insert", "Shape", "insert", "once", "suited", "yielding"]

_record_id = itemgetter(Row._fields.index("record_id"))
_fact = itemgetter(Row._fields.index("fact"))
_ended_id = itemgetter(Row._fields.index("ended_id"))


@dataclass(frozen=True)
class Found:
    """A column that the table has."""

    name: str
    """Its name in the table."""
    length: int | None = None
    """Bytes of text that fit, if fewer than in the schema; otherwise None."""
    collation: str | None = None
    """The collation, if it differs from the database's; comparisons must name it."""
    wide: bool = False
    """Whether it holds any text although the database's code page does not."""
    exact: bool = False
    """Whether the database holds texts for different that differ in case alone."""


@dataclass(frozen=True)
class Shape:
    """The real columns of a table, looked up once per connection."""

    found: tuple[tuple[str, Found], ...]
    """Schema's column name → the table's own column; columns that the table lacks are absent."""
    once: bool = False
    """Whether the database itself skips a second row of a run and record_id with ON CONFLICT."""

    def __contains__(self, name: object) -> bool:
        return any(name == here for here, _ in self.found)

    @property
    def exact(self) -> bool:
        """Whether the database holds texts for different that differ in case alone."""
        return any(here.exact for _, here in self.found)

    def __getitem__(self, name: str) -> Found:
        return dict(self.found)[name]


@dataclass(frozen=True)
class Insert:
    """A statement and how to bind rows to it."""

    sql: str
    places: tuple[int, ...]
    """The row's bound values in order; the controls come after them."""
    controls: tuple[str, ...]
    cuts: tuple[tuple[int, int], ...]
    """(index among the bound values, bytes): columns that are narrower than in the schema."""
    values: Values | None
    """The statement for many rows at once; None if it has controls."""

    def bind(self, rows: Sequence[Row]) -> Sequence[Sequence[Any]]:
        """The rows' values in the order of the statement."""
        if not rows or (not self.controls and not self.cuts and len(self.places) == len(rows[0].values)):
            return [row.values for row in rows]
        nth = _nth(rows) if "nth" in self.controls else [1] * len(rows)
        return [self._bound(row, which) for row, which in zip(rows, nth, strict=True)]

    def _bound(self, row: Row, nth: int) -> list[Any]:
        values = [row.values[place] for place in self.places]
        for place, size in self.cuts:
            if values[place] is not None:
                values[place] = cut(str(values[place]), size)
        interrupted = row.ended_id is not None
        controls: dict[str, Any] = {
            "own": int(row.fact or interrupted),
            "nth": nth,
            "interrupted": int(interrupted),
            "ended_id": row.ended_id,
        }
        return values + [controls[control] for control in self.controls]


def _nth(rows: Sequence[Row]) -> list[int]:
    """For each row, its number among the rows with the same natural key in this batch, from 1."""
    natural, position = rows[0].table.natural_key, rows[0].table.position
    names = (*natural.texts, natural.status, *([natural.moment] if natural.moment else []))
    key = itemgetter(*[position[name] for name in names])
    seen: dict[tuple[Any, ...], int] = {}
    result = []
    for row in rows:
        which = key(row.values)
        if None in which:  # NULL and '' are the same
            which = tuple([value or "" for value in which])
        seen[which] = nth = seen.get(which, 0) + 1
        result.append(nth)
    return result


def once(rows: Sequence[Row]) -> list[Row]:
    """The batch without doubles: of one record_id the first counts; an interrupted row yields to its ended one."""
    unique = dict(zip(map(_record_id, rows), rows, strict=True))
    if len(unique) < len(rows):
        unique = {}
        for row in rows:
            unique.setdefault(row.record_id, row)
    if not any(map(_ended_id, rows)):
        return list(unique.values())
    loaded = {_load_of(row) for row in unique.values() if _succeeded(row)}
    return [
        row
        for row in unique.values()
        if row.ended_id is None or not (row.ended_id in unique or (row.table is LOADS and _load_of(row) in loaded))
    ]


def yielding(rows: Sequence[Row]) -> bool:
    """Whether some rows yield to an equal row without record_id."""
    return any(map(_fact, rows)) or any(map(_ended_id, rows))


def suited(dialect: Dialect, table: Table, shape: Shape, rows: Sequence[Row], *, beside: bool = True) -> Insert:
    """The statement for these rows.

    Args:
        dialect: how the database spells things.
        table: the table.
        shape: what it really looks like.
        rows: the batch.
        beside: whether the table may hold rows without record_id.
    """
    return insert(dialect, table, shape, beside and yielding(rows), any(map(_ended_id, rows)))


_OWN = Column("own", Kind.BIGINT, 0, "1: a row without record_id may be this row")
_NTH = Column("nth", Kind.BIGINT, 0, "number of the row among those of its natural key in the batch")
_INTERRUPTED = Column("interrupted", Kind.BIGINT, 0, "1: of an interrupted operation")
_ENDED_ID = Column("ended_id", Kind.TEXT, 32, "record_id of the row that an interrupted operation lacks")

_LOAD = ("orchestration_run_id", "source_name", "schema_name", "table_name")


def _load_of(row: Row) -> tuple[Any, ...]:
    return tuple([row.values[LOADS.position[name]] or "" for name in _LOAD])


def _succeeded(row: Row) -> bool:
    return row.table is LOADS and row.values[LOADS.position["status"]] == "Succeeded"


@lru_cache(maxsize=256)
def insert(dialect: Dialect, table: Table, shape: Shape, facts: bool, interrupted: bool) -> Insert:
    """The statement for a batch.

    Args:
        dialect: how the database spells things.
        table: the table.
        shape: what it really looks like.
        facts: whether rows of the batch may be there already without record_id.
        interrupted: whether some rows of the batch are of interrupted operations.
    """
    columns = [column for column in table.columns if column.name in shape]
    tracked = "record_id" in shape
    natural = bool(table.natural_key.status) and (facts or not tracked)
    controls = (*((_OWN, _NTH) if natural else ()), *((_INTERRUPTED, _ENDED_ID) if interrupted else ()))
    writer = _Writer(dialect, table, shape)
    conditions = []
    if tracked and not shape.once:
        conditions.append(writer.no_record("record_id"))
    if tracked and interrupted:
        conditions.append(writer.no_record("ended_id"))
    if natural:
        conditions.append(writer.no_natural(tracked, interrupted))
    if not table.natural_key.status:
        conditions.append(writer.no_same())
    if interrupted and table is LOADS:
        conditions.append(writer.no_success())
    target = f"{writer.target} ({', '.join(dialect.quote(shape[column.name].name) for column in columns)})"
    chosen = ", ".join(f"j.{dialect.quote(column.name)}" for column in columns)
    batch = [(column.name, wide(column.sql_type) if shape[column.name].wide else column.sql_type) for column in columns]
    batch += [(control.name, control.sql_type) for control in controls]
    left = f"\nON CONFLICT ({', '.join(map(dialect.quote, RECORD))}) DO NOTHING" if tracked and shape.once else ""
    where = "\n  AND ".join(conditions)
    sql = f"INSERT INTO {target}\nSELECT {chosen}\nFROM {dialect.batch(batch)} AS j\nWHERE {where}{left}"
    # OR ROLLBACK: a failure rolls back everything, so SQLite need not prepare to undo the single statement.
    values = None if conditions else Values(len(columns), f"INSERT OR ROLLBACK INTO {target}\nVALUES", left)
    cuts = [(place, shape[column.name].length) for place, column in enumerate(columns)]
    return Insert(
        str(values) if values else sql,
        tuple(table.position[column.name] for column in columns),
        tuple(control.name for control in controls),
        tuple((place, size) for place, size in cuts if size is not None),
        values,
    )


class _Writer:
    """Writes the conditions under which a row of the batch (j) is not in the table (t)."""

    def __init__(self, dialect: Dialect, table: Table, shape: Shape) -> None:
        self.dialect = dialect
        self.table = table
        self.shape = shape
        self.target = dialect.target(table.name)

    def here(self, name: str) -> str:
        return f"t.{self.dialect.quote(self.shape[name].name)}"

    def given(self, name: str) -> str:
        """The batch's value. Comparing texts of two collations is an error unless one is named."""
        collation = self.shape[name].collation if name in self.shape else None
        value = f"j.{self.dialect.quote(name)}"
        return f"{value} COLLATE {collation}" if collation else value

    def same(self, name: str) -> str:
        """Equal; NULL and '' are the same."""
        return f"COALESCE({self.here(name)}, '') = COALESCE({self.given(name)}, '')"

    def no_record(self, control: str) -> str:
        # The run first: statistics and indexes are best for it.
        collation = self.shape["record_id"].collation
        wanted = f"j.{self.dialect.quote(control)}" + (f" COLLATE {collation}" if collation else "")
        return self.dialect.none(
            f"FROM {self.target} AS t WHERE {self.here('record_id')} = {wanted}"
            f" AND {self.here('orchestration_run_id')} = {self.given('orchestration_run_id')}"
        )

    def no_natural(self, tracked: bool, interrupted: bool) -> str:
        """Fewer rows of this key are there than the batch says there are up to this one."""
        natural = self.table.natural_key
        matches = [self.same(name) for name in natural.texts]
        if natural.moment:
            low, high = self.dialect.within_a_second(f"j.{self.dialect.quote(natural.moment)}")
            matches.append(f"{self.dialect.moment(self.here(natural.moment))} BETWEEN {low} AND {high}")
        status = f"LOWER({self.here(natural.status)}) = LOWER({self.given(natural.status)})"
        if self.table is LOADS:  # readers of the table distinguish 'Success' from 'Succeeded', and case matters
            status = self.same(natural.status)
        matches.append(f"(j.{self.dialect.quote('interrupted')} = 1 OR {status})" if interrupted else status)
        if tracked:
            matches += [f"{self.here('record_id')} IS NULL", f"j.{self.dialect.quote('own')} = 1"]
        count = f"(SELECT COUNT(*) FROM {self.target} AS t WHERE {' AND '.join(matches)})"
        return f"j.{self.dialect.quote('nth')} > {count}"

    def no_same(self) -> str:
        """No row has the same key and the same time."""
        natural = self.table.natural_key
        matches = [self.same(name) for name in natural.texts]
        moment = str(natural.moment)
        matches.append(f"{self.here(moment)} = j.{self.dialect.quote(moment)}")
        return self.dialect.none(f"FROM {self.target} AS t WHERE {' AND '.join(matches)}")

    def no_success(self) -> str:
        """An interrupted load must not undo one that succeeded in the same run."""
        matches = [self.same(name) for name in _LOAD]
        matches[0] = f"{self.here(_LOAD[0])} = {self.given(_LOAD[0])}"  # never NULL in ours, and an index finds it
        return self.dialect.none(
            f"FROM {self.target} AS t WHERE j.{self.dialect.quote('interrupted')} = 1"
            f" AND {' AND '.join(matches)} AND {self.here('status')} = 'Succeeded'"
        )
