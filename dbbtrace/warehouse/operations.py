"""Rows of the three tables as operations: uniform, whichever table they stand in, whatever columns it has.

Pure. Leaves out doubles of one record and interrupted rows beside an ended one, as the design's views do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from dbbtrace.attributes import INTERRUPTED
from dbbtrace.times import to_datetime, to_unix_nanos
from dbbtrace.warehouse.schema import DBT_NODES, LOADS, REFRESHES, Kind, Table

__all__ = ["STATUSES", "Operation", "in_order", "operation_of", "standing"]

STATUSES = {
    "succeeded": "Succeeded", "success": "Succeeded", "completed": "Succeeded", "pass": "Succeeded",
    "no-op": "Succeeded", "reused": "Succeeded", "ok": "Succeeded",
    "failed": "Failed", "error": "Failed", "fail": "Failed", "runtime error": "Failed", "partial success": "Failed",
    "cancelled": "Failed", "canceled": "Failed",
    "skipped": "Skipped", "disabled": "Skipped",
    "warn": "Warned", "warned": "Warned",
    "unknown": "Running", "inprogress": "Running", "notstarted": "Running",
}  # fmt: skip
"""Stored word, in lower case → status. The views' SQL comes from it too."""


@dataclass(frozen=True)
class Operation:
    """One operation of a run, whichever table it stands in. None: unknown."""

    run_id: str
    workload: str
    """integration, transformation or consumption."""
    kind: str
    """table_load, dbt_node or model_refresh."""
    name: str
    status: str
    """Succeeded, Failed, Skipped, Warned or Running; the stored word where it is none of these."""
    word: str
    """Status as stored."""
    started_at: datetime | None
    ended_at: datetime | None
    duration: float | None
    """Seconds."""
    rows_read: int | None = None
    rows_written: int | None = None
    bytes_read: int | None = None
    bytes_written: int | None = None
    error_type: str | None = None
    error_message: str | None = None
    """Of a dbt node: dbt's message."""
    unique_id: str | None = None
    resource_type: str | None = None
    depends_on: tuple[str, ...] = ()
    data_product: str | None = None
    environment: str | None = None
    pipeline_id: str | None = None
    pipeline_run_id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    record_id: str | None = None
    invocation_id: str | None = None


def standing(found: Iterable[Operation]) -> list[Operation]:
    """One row of each record, and no interrupted one where the operation ended after all."""
    unique: dict[Any, Operation] = {}
    for place, operation in enumerate(found):
        unique.setdefault((operation.kind, operation.record_id) if operation.record_id else place, operation)
    ended = {_whose(operation) for operation in unique.values() if operation.error_type != INTERRUPTED}
    return [
        operation
        for operation in unique.values()
        if operation.error_type != INTERRUPTED or _whose(operation) not in ended
    ]


def _whose(operation: Operation) -> tuple[Any, ...]:
    return operation.kind, operation.run_id, operation.span_id, operation.name


_NEVER = datetime.max.replace(tzinfo=timezone.utc)


def in_order(found: Iterable[Operation]) -> list[Operation]:
    """By start; what never ran comes last, in the order of the stages and then of the names."""
    order = {"integration": 0, "transformation": 1, "consumption": 2}
    return sorted(found, key=lambda o: (o.started_at is None and order[o.workload], o.started_at or _NEVER, o.name))


def operation_of(table: Table, row: dict[str, Any]) -> Operation:
    """The operation that a row tells of; columns that the table lacks are None in it."""
    # Times as datetimes, whatever the driver made of them.
    times = {column.name: _moment(row[column.name]) for column in table.columns if column.kind is Kind.TIME}
    return _READERS[table.name]({**row, **times})


def _moment(value: Any) -> datetime | None:
    try:
        return None if value is None else to_datetime(to_unix_nanos(value))
    except (ValueError, OverflowError):
        return None


def _load(row: dict[str, Any]) -> Operation:
    started = row["process_started_at"] or row["timestamp"]
    return Operation(
        **_common(row, started, row["process_completed_at"]),
        workload="integration",
        kind="table_load",
        name=f"{row['schema_name']}.{row['table_name']}" if row["schema_name"] else str(row["table_name"]),
        rows_read=row["rows_read"],
        rows_written=row["rows_written"],
        bytes_read=row["data_read"],
        bytes_written=row["data_written"],
        error_message=row["error_message"],
        pipeline_id=row["integration_pipeline_id"],
        pipeline_run_id=row["integration_pipeline_source_run_id"],
    )


def _node(row: dict[str, Any]) -> Operation:
    common = _common(row, row["process_started_at"], row["process_completed_at"])
    if row["execution_time"] is not None:
        common["duration"] = float(row["execution_time"])
    return Operation(
        **common,
        workload="transformation",
        kind="dbt_node",
        name=str(row["item_name"]),
        rows_written=None if row["rows_affected"] == -1 else row["rows_affected"],  # as hand-made writers leave it
        error_message=row["message"] or row["error_message"],
        unique_id=row["unique_id"],
        resource_type=row["resource_type"],
        depends_on=_listed(row["depends_on"]),
        pipeline_id=row["transformation_pipeline_id"],
        pipeline_run_id=row["transformation_pipeline_run_id"],
        invocation_id=row["invocation_id"],
    )


def _refresh(row: dict[str, Any]) -> Operation:
    return Operation(
        **_common(row, row["process_started_at"], row["process_completed_at"]),
        workload="consumption",
        kind="model_refresh",
        name=str(row["semantic_model_name"] or row["semantic_model_id"] or ""),
        error_message=row["error_message"],
        pipeline_id=row["data_product_refresh_pipeline_id"],
        pipeline_run_id=row["data_product_refresh_pipeline_run_id"],
    )


_READERS = {LOADS.name: _load, DBT_NODES.name: _node, REFRESHES.name: _refresh}


def _common(row: dict[str, Any], started: datetime | None, ended: datetime | None) -> dict[str, Any]:
    seconds = None if row["duration"] is None else float(row["duration"])
    if started and ended:
        seconds = (ended - started).total_seconds()
    elif started and seconds is not None:
        ended = started + timedelta(seconds=seconds)
    word = str(row["status"] or "")
    return {
        "run_id": row["orchestration_run_id"],
        "status": STATUSES.get(word.lower(), word),
        "word": word,
        "started_at": started,
        "ended_at": ended,
        "duration": seconds,
        "error_type": row["error_type"],
        "data_product": row["data_product"],
        "environment": row["environment"],
        "trace_id": row["trace_id"],
        "span_id": row["span_id"],
        "record_id": row["record_id"],
    }


def _listed(text: Any) -> tuple[str, ...]:
    """A JSON array of strings; whatever else stands there is none."""
    try:
        items = json.loads(text) if text else ()
    except ValueError:
        return ()
    return tuple(item for item in items if isinstance(item, str)) if isinstance(items, list) else ()
