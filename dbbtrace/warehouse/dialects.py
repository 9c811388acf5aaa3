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

    def index_name(self, table: Table) -> str:
        """Name of the index on record_id."""
        return f"ux_{table.name}_record_id"

    def create_index(self, table: Table) -> str:
        """DDL of the index that stops two writers of one record; the run comes first, so that it finds a run too."""
        # SQLite takes the schema before the index, and then the table without it.
        return (
            f"CREATE UNIQUE INDEX {self.quote(SCHEMA)}.{self.quote(self.index_name(table))}"
            f" ON {self.quote(table.name)} ({self.quote('orchestration_run_id')}, {self.quote('record_id')})"
        )


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

    def create_index(self, table: Table) -> str:
        run, record_id = self.quote("orchestration_run_id"), self.quote("record_id")
        return (
            f"CREATE UNIQUE INDEX {self.quote(self.index_name(table))} ON {self.target(table.name)}"
            f" ({run}, {record_id}) WHERE {record_id} IS NOT NULL"
        )


SQLITE: Final = Dialect("sqlite")
TSQL: Final = _TSql("tsql")
FABRIC: Final = _TSql("fabric", unique_index=False)
