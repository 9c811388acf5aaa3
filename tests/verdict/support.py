"""A history in an embedded warehouse, and what is then said of its runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from dbbtrace.warehouse import Warehouse, open_warehouse
from dbbtrace.warehouse.schema import ALL_TABLES
from tests.verdict.histories import VALIDATIONS, Row, Run

_VALIDATIONS = (
    "table_identifier", "source_name", "schema_table_name", "workspace", "row_count", "latest_ingestion_timestamp",
    "timestamp",
)  # fmt: skip
COLUMNS = {table.name: tuple(column.name for column in table.columns) for table in ALL_TABLES} | {
    VALIDATIONS: _VALIDATIONS
}


def stored(path: Path, runs: Iterable[Run]) -> Warehouse:
    """A file with the rows of the runs."""
    warehouse = open_warehouse(f"sqlite:///{path}")
    warehouse.migrate()
    warehouse.close()
    with sqlite3.connect(path) as file:
        columns = ", ".join(f'"{name}"' for name in _VALIDATIONS)
        file.execute(f"CREATE TABLE {VALIDATIONS} ({columns})")
        for run in runs:
            insert(file, run)
    return warehouse


def insert(file: sqlite3.Connection, run: Run) -> None:
    for table, rows in run.rows.items():
        insert_rows(file, table, rows)


def insert_rows(file: sqlite3.Connection, table: str, rows: Iterable[Row]) -> None:
    names = COLUMNS[table]
    quoted = ", ".join(f'"{name}"' for name in names)
    file.executemany(
        f"INSERT INTO {table} ({quoted}) VALUES ({', '.join('?' * len(names))})",
        [[row.get(name) for name in names] for row in rows],
    )


def without(file: sqlite3.Connection, run: Run) -> None:
    """Take a run out of the file."""
    for table in COLUMNS:
        if table != VALIDATIONS:
            file.execute(f"DELETE FROM {table} WHERE orchestration_run_id = ?", (run.run_id,))
