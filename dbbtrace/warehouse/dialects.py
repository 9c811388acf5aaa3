"""The SQL that differs between SQLite and T-SQL. All other SQL is the same for both.

Fabric Warehouse, Azure SQL and SQL Server share one T-SQL: no MERGE, no temporary tables, no nvarchar columns, and a
single parameter. This is the one place that quotes identifiers. It imports no driver.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from dbbtrace.warehouse.schema import RECORD, SCHEMA, Column, Table

__all__ = ["BABELFISH", "FABRIC", "SQLITE", "TSQL", "Dialect", "as_json", "wide"]

_SHORT_ESCAPES = {'"': r"\u0022", "\\": r"\u005c", "b": r"\u0008", "f": r"\u000c", "n": r"\u000a", "r": r"\u000d",
                  "t": r"\u0009"}  # fmt: skip
_SHORT_ESCAPE = re.compile(r'\\(["\\bfnrt])')


def as_json(rows: Sequence[Sequence[Any]]) -> str:
    r"""The batch as a JSON array of arrays, in ASCII, with \uXXXX as the only escape.

    A real T-SQL server was seen not to decode the short escapes (``\"``, ``\n``).
    """
    text = json.dumps(rows, separators=(",", ":"), allow_nan=False)
    return _SHORT_ESCAPE.sub(lambda match: _SHORT_ESCAPES[match[1]], text)


def wide(sql_type: str) -> str:
    """The type that carries any text to a varchar column, whatever the database's code page."""
    size = int(sql_type.removeprefix("varchar(").removesuffix(")"))
    return f"nvarchar({size if size <= 4000 else 'max'})"


@dataclass(frozen=True)
class Dialect:
    """SQLite's dialect. The others override what differs."""

    name: str
    unique_index: bool = True
    """Whether the database enforces a unique index, so that two writers can't both store one record."""
    rights: str = ""
    """A query for the names of the rights that the login has on a table, its one parameter; SQLite has none."""
    alters_views: bool = False
    """Whether an existing view can be altered, which keeps the rights granted on it."""

    def quote(self, identifier: str) -> str:
        """The identifier, safe to use in SQL."""
        return '"' + identifier.replace('"', '""') + '"'

    def target(self, table: str) -> str:
        """A table of schema meta."""
        return f"{self.quote(SCHEMA)}.{self.quote(table)}"

    def batch(self, columns: Sequence[tuple[str, str]]) -> str:
        """What the rows of a batch are selected from, of columns (name, type): here one row, executed once for each."""
        named = ", ".join(f"? AS {self.quote(name)}" for name, _ in columns)
        return f"(SELECT {named})"

    def parameter(self, rows: Sequence[Sequence[Any]]) -> str:
        """The rows as the one parameter of a statement whose ``batch`` takes them all at once."""
        return as_json(rows)

    def none(self, rows: str) -> str:
        """The condition that no such rows exist (``FROM ... WHERE ...``)."""
        return f"NOT EXISTS (SELECT 1 {rows})"

    def fitting(self, rows: Sequence[Sequence[Any]]) -> Dialect:
        """The dialect, as it is spelled for these values of a batch."""
        return self

    def without_record(self, table: Table) -> str:
        """A query that answers a row if there is one without record_id."""
        # Ordered like the index. Otherwise SQLite might read another index to its end.
        order = f"COALESCE({self.quote(table.natural_key.texts[0])}, '')"
        return (
            f"SELECT 1 FROM {self.target(table.name)} WHERE {self.quote('record_id')} IS NULL ORDER BY {order} LIMIT 1"
        )

    def moment(self, expression: str) -> str:
        """A time as one can compare it: SQLite holds texts of several spellings."""
        return f"datetime({expression})"

    def within_a_second(self, expression: str) -> tuple[str, str]:
        """The earliest and latest time that count as equal to the given one."""
        return f"datetime({expression}, '-1 second')", f"datetime({expression}, '+1 second')"

    def column(self, column: Column) -> str:
        """The column's declaration in DDL."""
        return f"{self.quote(column.name)} {column.sql_type} {'NULL' if column.nullable else 'NOT NULL'}"

    def create_table(self, table: Table) -> str:
        """DDL of the table with all its columns."""
        columns = ",\n    ".join(self.column(column) for column in table.columns)
        return f"CREATE TABLE {self.target(table.name)} (\n    {columns}\n)"

    def add_column(self, table: Table, column: Column) -> str:
        """DDL that adds one nullable column."""
        return f"ALTER TABLE {self.target(table.name)} ADD {self.column(column)}"

    def unique_name(self, table: Table) -> str:
        """Name of the index that prevents a second row of one record."""
        return f"ux_{table.name}_record_id"

    def indexes(self, table: Table) -> dict[str, str]:
        """Name → DDL of the table's indexes. The unique one stops two writers of one record; the run comes first in
        it, so that it finds a run too. The other finds rows without record_id, which hand-made writers leave, by the
        natural key: without it each fact that is written would read the whole table. The last one finds the newest
        runs, and there is one each for acknowledgements and judgements, which are few: questions about one run take no
        longer for a long history."""
        # SQLite takes the schema before the index, and then the table without it.
        record_id = self.quote("record_id")
        unique, natural, newest = self.unique_name(table), f"ix_{table.name}_natural", f"ix_{table.name}_newest"
        run, moment = self.quote("orchestration_run_id"), self.quote(table.natural_key.moment or "process_started_at")
        first = self.quote(table.natural_key.texts[0])
        schema, name = self.quote(SCHEMA), self.quote(table.name)
        acknowledged = f"ix_{table.name}_ack"
        judged = f"ix_{table.name}_judged"
        parts = {
            acknowledged: f"CREATE INDEX {schema}.{self.quote(acknowledged)} ON {name} ({run}) WHERE part = 'ack'",
            judged: f"CREATE INDEX {schema}.{self.quote(judged)} ON {name} ({moment})"
            " WHERE part = 'finding' AND error_type = 'judged'",
        }
        return {
            unique: f"CREATE UNIQUE INDEX {schema}.{self.quote(unique)}"
            f" ON {name} ({', '.join(map(self.quote, RECORD))})",
            natural: f"CREATE INDEX {schema}.{self.quote(natural)}"
            f" ON {name} (COALESCE({first}, '')) WHERE {record_id} IS NULL",
            newest: f"CREATE INDEX {schema}.{self.quote(newest)} ON {name} ({moment}, {run})",
            **(parts if "part" in table.position else {}),
        }


@dataclass(frozen=True)
class _TSql(Dialect):
    rights: str = (
        "SELECT permission_name FROM sys.fn_my_permissions(?, 'OBJECT') WHERE COALESCE(subentity_name, '') = ''"
    )

    def quote(self, identifier: str) -> str:
        return "[" + identifier.replace("]", "]]") + "]"

    def batch(self, columns: Sequence[tuple[str, str]]) -> str:
        named = ", ".join(f"{self.quote(name)} {type_} '$[{place}]'" for place, (name, type_) in enumerate(columns))
        return f"OPENJSON(?) WITH ({named})"

    def moment(self, expression: str) -> str:
        return expression

    def within_a_second(self, expression: str) -> tuple[str, str]:
        return f"DATEADD(second, -1, {expression})", f"DATEADD(second, 1, {expression})"

    def indexes(self, table: Table) -> dict[str, str]:
        if not self.unique_index:
            return {}
        name, record = self.unique_name(table), ", ".join(map(self.quote, RECORD))
        return {
            name: f"CREATE UNIQUE INDEX {self.quote(name)} ON {self.target(table.name)} ({record})"
            f" WHERE {self.quote('record_id')} IS NOT NULL"
        }


_NEEDS_ESCAPE = re.compile(r"\\u00(?=22|5c|[01][0-9a-f])")
_ESCAPED = re.compile(r'["\\\x00-\x1f]')
_DECODED = {0xE022: "N'\"'", 0xE05C: "N'\\'", 0xE009: "NCHAR(9)", 0xE00A: "NCHAR(10)", 0xE00D: "NCHAR(13)"}
_PRIVATE, _ORDINARY = " + ".join(f"NCHAR({code})" for code in _DECODED), " + ".join(_DECODED.values())


@dataclass(frozen=True)
class _Babelfish(_TSql):
    r"""Babelfish for PostgreSQL: its OPENJSON gives ``a\"b`` for ``"a\u0022b"``, however the quote was escaped.

    So a character that JSON must escape travels as one of Unicode's private use, 0xE000 above its own, and is put back
    in the statement, which takes as long as all the rest: only in columns that have one. Control characters but tab
    and the ends of lines stay what they travelled as.
    """

    rights: str = (
        "SELECT r.name FROM (VALUES ('SELECT'), ('INSERT')) AS r(name) WHERE HAS_PERMS_BY_NAME(?, 'OBJECT', r.name) = 1"
    )
    plain: frozenset[int] = frozenset()
    """Places among the bound in which nothing is to be put back."""

    def fitting(self, rows: Sequence[Sequence[Any]]) -> Dialect:
        columns = enumerate(zip(*rows, strict=True))
        return replace(self, plain=frozenset(place for place, column in columns if not any(map(_escapes, column))))

    def none(self, rows: str) -> str:
        # Row by row, by the index. NOT EXISTS becomes a join, for which PostgreSQL may read the whole table: it does
        # while its statistics say that the table is as small as it was.
        return f"0 = (SELECT COUNT(*) {rows})"

    def parameter(self, rows: Sequence[Sequence[Any]]) -> str:
        return _NEEDS_ESCAPE.sub(r"\\ue0", as_json(rows))

    def batch(self, columns: Sequence[tuple[str, str]]) -> str:
        put_back = [place for place, (_, type_) in enumerate(columns) if "varchar" in type_ and place not in self.plain]
        if not put_back:
            return super().batch(columns)
        travelling, arrived = list(columns), [f"b.{self.quote(name)}" for name, _ in columns]
        for place in put_back:
            name, type_ = columns[place]
            travelling[place] = (name, wide(type_) if type_.startswith("varchar") else type_)
            arrived[place] = f"CONVERT({type_}, TRANSLATE({arrived[place]}, {_PRIVATE}, {_ORDINARY}))"
        named = ", ".join(f"{value} AS {self.quote(name)}" for value, (name, _) in zip(arrived, columns, strict=True))
        return f"(SELECT {named} FROM {super().batch(travelling)} AS b)"


def _escapes(value: Any) -> bool:
    return type(value) is str and _ESCAPED.search(value) is not None


SQLITE: Final = Dialect("sqlite")
TSQL: Final = _TSql("tsql", alters_views=True)
FABRIC: Final = _TSql("fabric", unique_index=False, alters_views=True)
BABELFISH: Final = _Babelfish("babelfish")
