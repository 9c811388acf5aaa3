"""Runs in a warehouse, as jobs leave them, and what is then asked of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from dbbtrace.warehouse import Warehouse, open_warehouse
from dbbtrace.warehouse.cleaning import cleaner
from dbbtrace.warehouse.schema import LOADS, PARTS, Row, Table

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=timezone.utc)
"""A Wednesday, 10:00 in Brussels."""
RUN = "6d1f2a00-0000-4000-8000-00000000002a"


def run_id(number: int) -> str:
    """The id of one of many runs."""
    return f"6d1f2a00-0000-4000-8000-{number:012x}"


def opened(folder: Path) -> Warehouse:
    """A new warehouse in the folder."""
    with open_warehouse(f"sqlite:///{folder}/rows.db") as warehouse:
        warehouse.migrate()
    return open_warehouse(f"sqlite:///{folder}/rows.db")


def row(table: Table, identity: str, values: dict[str, Any]) -> Row:
    """A row as the exporter writes it."""
    from dbbtrace.model.identity import record_id

    record = record_id(values["orchestration_run_id"], identity)
    values = {"record_id": record, **values}
    return Row(table, tuple(cleaner(column)(values.get(column.name)) for column in table.columns), record)


def load(
    table: tuple[str, str, str],
    at: datetime,
    status: str = "Succeeded",
    *,
    run: str = RUN,
    product: str | None = "Finance",
    message: str | None = None,
    load_type: str = "FULL",
) -> Row:
    """A load of a table: source, schema, name."""
    source, schema, name = table
    return row(
        LOADS,
        f"{source}.{schema}.{name} {at}",
        {
            "table_name": name,
            "schema_name": schema,
            "source_name": source,
            "load_type": load_type,
            "status": status,
            "timestamp": at.isoformat(),
            "duration": 10,
            "rows_read": 10,
            "rows_written": 10,
            "data_product": product,
            "environment": "PRD",
            "orchestration_run_id": run,
            "process_started_at": at.isoformat(),
            "process_completed_at": (at + timedelta(seconds=10)).isoformat(),
            "error_message": message,
        },
    )


def part(kind: str, at: datetime, *, run: str = RUN, ended: bool = True, **values: Any) -> Row:
    """A row of the run's own record."""
    return row(
        PARTS,
        f"{kind} {values} {at} {ended}",
        {
            "orchestration_run_id": run,
            "data_product": "Finance",
            "environment": "PRD",
            "part": kind,
            "name": kind,
            "status": "Succeeded",
            "process_started_at": at.isoformat(),
            "process_completed_at": (at + timedelta(minutes=5)).isoformat() if ended else None,
            **values,
        },
    )


def history(
    tables: Sequence[tuple[str, str, str]], days: int, *, hour: int = 8, product: str = "Finance"
) -> Iterable[Row]:
    """Runs of the days before NOW, one a day, each of which loaded the tables."""
    for day in range(1, days + 1):
        at = NOW.replace(hour=hour) - timedelta(days=day)
        run = run_id(hash_of(product) + day)
        yield part("job", at, run=run, data_product=product)
        yield part("run", at, run=run, data_product=product)
        for table in tables:
            yield load(table, at, run=run, product=product)


def hash_of(text: str) -> int:
    """The same number for the same text in every process."""
    return sum(letter * 31**place for place, letter in enumerate(text.encode())) % 10**6 * 1000
