"""What SQLite and T-SQL spell differently; everything else is one and the same SQL.

Fabric Warehouse, Azure SQL and SQL Server share T-SQL's spelling: no MERGE, no temporary tables, no nvarchar, no
parameters but one. Quotes identifiers in one place. Knows no driver.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from dbbtrace.warehouse.schema import SCHEMA, Column, Table

__all__ = ["FABRIC", "SQLITE", "TSQL", "Dialect", "as_json"]

_SHORT_ESCAPES = {'"': r"\u0022", "\\": r"\u005c", "b": r"\u0008", "f": r"\u000c", "n": r"\u000a", "r": r"\u000d",
                  "t": r"\u0009"}  # fmt: skip
_SHORT_ESCAPE = re.compile(r'\\(["\\bfnrt])')


def as_json(rows: Sequence[Sequence[Any]]) -> str:
    r"""The batch as a JSON array of arrays, in ASCII, with \uXXXX as the only escape.

    A real T-SQL server was seen not to decode the short escapes (``\"``, ``\n``).
    """
    text = json.dumps(rows, separators=(",", ":"), allow_nan=False)
    return _SHORT_ESCAPE.sub(lambda match: _SHORT_ESCAPES[match[1]], text)


@dataclass(frozen=True)
class Dialect:
    """SQLite's spelling; the others change what differs."""

    name: str
    unique_index: bool = True
    """Whether the database enforces a unique index, so that two writers of one record can't both win."""

    def quote(self, identifier: str) -> str:
        """The identifier, safe to stand in SQL."""
        return '"' + identifier.replace('"', '""') + '"'

    def target(self, table: str) -> str:
        """A table of schema meta."""
        return f"{self.quote(SCHEMA)}.{self.quote(table)}"

    def batch(self, columns: Sequence[Column]) -> str:
        """What the rows of a batch are selected from: here one row, executed once for each."""
        named = ", ".join(f"? AS {self.quote(column.name)}" for column in columns)
        return f"(SELECT {named})"

    def moment(self, expression: str) -> str:
        """A time as one can compare it: texts of several spellings stand in SQLite."""
        return f"datetime({expression})"

    def within_a_second(self, expression: str) -> tuple[str, str]:
        """The least and the greatest time that pass for the given one."""
        return f"datetime({expression}, '-1 second')", f"datetime({expression}, '+1 second')"

    def column(self, column: Column) -> str:
        """The column as DDL declares it."""
        return f"{self.quote(column.name)} {column.sql_type} {'NULL' if column.nullable else 'NOT NULL'}"

    def create_table(self, table: Table) -> str:
        """DDL of the table with all its columns."""
        columns = ",\n    ".join(self.column(column) for column in table.columns)
        return f"CREATE TABLE {self.target(table.name)} (\n    {columns}\n)"

    def add_column(self, table: Table, column: Column) -> str:
        """DDL that adds one nullable column."""
        return f"ALTER TABLE {self.target(table.name)} ADD {self.column(column)}"

    def indexes(self, table: Table) -> dict[str, str]:
        """Name → DDL of the table's indexes. The unique one stops two writers of one record; the run comes first in
        it, so that it finds a run too. The other finds rows without record_id, which hand-made writers leave, by the
        natural key: without it each fact that is written would read the whole table."""
        # SQLite takes the schema before the index, and then the table without it.
        record_id = self.quote("record_id")
        unique, natural = f"ux_{table.name}_record_id", f"ix_{table.name}_natural"
        first = self.quote(table.natural_key.texts[0])
        schema, name = self.quote(SCHEMA), self.quote(table.name)
        return {
            unique: f"CREATE UNIQUE INDEX {schema}.{self.quote(unique)}"
            f" ON {name} ({self.quote('orchestration_run_id')}, {record_id})",
            natural: f"CREATE INDEX {schema}.{self.quote(natural)}"
            f" ON {name} (COALESCE({first}, '')) WHERE {record_id} IS NULL",
        }


@dataclass(frozen=True)
class _TSql(Dialect):
    def quote(self, identifier: str) -> str:
        return "[" + identifier.replace("]", "]]") + "]"

    def batch(self, columns: Sequence[Column]) -> str:
        named = ", ".join(
            f"{self.quote(column.name)} {column.sql_type} '$[{place}]'" for place, column in enumerate(columns)
        )
        return f"OPENJSON(?) WITH ({named})"

    def moment(self, expression: str) -> str:
        return expression

    def within_a_second(self, expression: str) -> tuple[str, str]:
        return f"DATEADD(second, -1, {expression})", f"DATEADD(second, 1, {expression})"

    def indexes(self, table: Table) -> dict[str, str]:
        if not self.unique_index:
            return {}
        run, record_id = self.quote("orchestration_run_id"), self.quote("record_id")
        name = f"ux_{table.name}_record_id"
        return {
            name: f"CREATE UNIQUE INDEX {self.quote(name)} ON {self.target(table.name)} ({run}, {record_id})"
            f" WHERE {record_id} IS NOT NULL"
        }


SQLITE: Final = Dialect("sqlite")
TSQL: Final = _TSql("tsql")
FABRIC: Final = _TSql("fabric", unique_index=False)
