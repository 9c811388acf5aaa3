"""What a warehouse lacks, and the SQL that adds it: schema, tables, nullable columns, the index on record_id.

Never drops or alters what is there. For deploy time: DDL locks the catalogue of a Fabric Warehouse, so that
exporting never does it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from dbbtrace.warehouse.connection import Connector
from dbbtrace.warehouse.dialects import SQLITE, Dialect
from dbbtrace.warehouse.schema import ALL_TABLES, SCHEMA, Column, Table

__all__ = ["Step", "plan"]


class Step(NamedTuple):
    """One statement."""

    done: str
    """What was done, in words."""
    sql: str


def plan(connector: Connector, connection: Any) -> list[Step]:
    """The steps from what is there to what is needed; empty when all is there."""
    dialect = connector.dialect(connection)
    shapes = connector.shapes(connection)
    steps = []
    if dialect is not SQLITE and not shapes and not _schema_stands(connection):
        steps.append(Step(f"created schema {SCHEMA}", f"CREATE SCHEMA {dialect.quote(SCHEMA)}"))
    for table in ALL_TABLES:
        shape = shapes.get(table.name)
        if shape is None:
            steps.append(Step(f"created table {SCHEMA}.{table.name}", dialect.create_table(table)))
        else:
            steps += [_added(dialect, table, column) for column in table.columns if column.name not in shape]
        steps += [
            Step(f"created index {name} on {SCHEMA}.{table.name}", sql)
            for name, sql in dialect.indexes(table).items()
            if shape is None or not connector.indexed(connection, table.name, name)
        ]
    return steps


def _added(dialect: Dialect, table: Table, column: Column) -> Step:
    # There may be rows already: whatever is added must take NULL.
    nullable = Column(column.name, column.kind, column.size, column.source)
    done = f"added column {SCHEMA}.{table.name}.{column.name} {column.sql_type}"
    return Step(done, dialect.add_column(table, nullable))


def _schema_stands(connection: Any) -> bool:
    found = connection.cursor().execute(f"SELECT COUNT(*) FROM sys.schemas WHERE name = '{SCHEMA}'").fetchone()
    return bool(found and found[0])
