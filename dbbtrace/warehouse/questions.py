"""The questions asked of the three tables: which runs there are, and what happened in one of them.

Read the same from every dialect, and from tables without dbbtrace's columns. Doubles of one record and interrupted
rows beside an ended one are left out here, as the design's views do. Only ``execute`` rows of dbt are operations.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from dbbtrace.attributes import INTERRUPTED
from dbbtrace.errors import UsageError
from dbbtrace.identity import normalise_run_id, trace_id_of
from dbbtrace.times import to_datetime, to_unix_nanos
from dbbtrace.warehouse.schema import DBT_NODES, LOADS, REFRESHES, SCHEMA, Kind, Table
from dbbtrace.warehouse.warehouse import Warehouse

__all__ = ["STATUSES", "Operation", "RunSummary", "find_run", "operations", "runs"]

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
_START = {LOADS.name: "timestamp", DBT_NODES.name: "process_started_at", REFRESHES.name: "process_started_at"}
_PAGE = 50
"""Runs whose operations are read at once."""


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


@dataclass(frozen=True)
class RunSummary:
    """One orchestration run."""

    run_id: str
    data_product: str | None
    environment: str | None
    status: str
    """Failed if any operation's outcome is, else Running if one is, else Warned, else Succeeded."""
    started_at: datetime | None
    ended_at: datetime | None
    duration: float | None
    """Seconds from the first start to the last end."""
    loads: int
    nodes: int
    refreshes: int
    failed: int
    skipped: int
    rows_written: int | None


# -- asking -------------------------------------------------------------------------------------------------


def runs(
    warehouse: Warehouse,
    *,
    limit: int = 20,
    data_product: str | None = None,
    environment: str | None = None,
    status: str | None = None,
    since: datetime | None = None,
) -> list[RunSummary]:
    """The runs, newest first.

    Args:
        warehouse: where to look.
        limit: at most so many.
        data_product: only this product's; case matters as it does to the tables.
        environment: only runs in it; whatever the case.
        status: only runs that ended so; whatever the case.
        since: only runs with an operation that started then or later; without zone it is UTC.
    """
    found: list[RunSummary] = []
    ids = [run_id for run_id, _ in _run_ids(warehouse, data_product, since)]
    for start in range(0, len(ids), _PAGE):
        page = ids[start : start + _PAGE]
        by_run: dict[str, list[Operation]] = {run_id: [] for run_id in page}
        for operation in _operations(warehouse, page):
            by_run[operation.run_id].append(operation)
        for run_id, group in by_run.items():
            summary = _summary(run_id, group)
            if _matches(summary.environment, environment) and _matches(summary.status, status):
                found.append(summary)
        if len(found) >= limit:
            break
    return found[:limit]


def operations(warehouse: Warehouse, run_id: str) -> list[Operation]:
    """Every operation of a run, ordered by start; those that never ran follow the ones before them in name order."""
    return _operations(warehouse, [normalise_run_id(run_id)])


def find_run(warehouse: Warehouse, text: str) -> str:
    """The run id that the text means: a run id, a trace id, the start of either that fits only one, or ``last``.

    Raises:
        UsageError: it fits none, or several.
    """
    wanted = normalise_run_id(text)
    ids = [run_id for run_id, _ in _run_ids(warehouse, None, None)]
    if wanted.lower() == "last":
        if not ids:
            raise UsageError(f"there are no runs in {warehouse.name}")
        return ids[0]
    if wanted in ids:
        return wanted
    prefix = wanted.lower()
    fitting = [
        run_id
        for run_id in ids
        if prefix and (run_id.lower().startswith(prefix) or f"{trace_id_of(run_id):032x}".startswith(prefix))
    ]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UsageError(f"{text!r} fits {len(fitting)} runs, e.g. {fitting[0]} and {fitting[1]}: write more of it")
    raise UsageError(f"no run {text!r} in {warehouse.name}: `dbbtrace runs` lists those that are there")


def _matches(value: str | None, wanted: str | None) -> bool:
    return wanted is None or (value or "").lower() == wanted.lower()


def _run_ids(warehouse: Warehouse, data_product: str | None, since: datetime | None) -> list[tuple[str, str]]:
    """(run id, newest start) of every run, newest first."""
    newest: dict[str, str] = {}
    for table, columns in _tables(warehouse):
        run, start = columns["orchestration_run_id"], columns[_START[table.name]]
        conditions, values = [f"COALESCE({run}, '') <> ''"], list[Any]()
        if data_product is not None:
            conditions.append(f"{columns['data_product']} = ?")
            values.append(data_product)
        if since is not None:
            conditions.append(f"{start} >= ?")
            values.append(_as_text(since))
        rows = warehouse.query(
            f"SELECT {run}, MIN({start}) FROM {warehouse.dialect.target(table.name)}"
            f" WHERE {' AND '.join(conditions)} GROUP BY {run}",
            values,
        ).rows
        for run_id, at in rows:
            begun = str(at or "")
            newest[run_id] = min(filter(None, (newest.get(run_id), begun)), default="")
    return sorted(newest.items(), key=lambda pair: (pair[1], pair[0]), reverse=True)


def _as_text(at: datetime) -> str:
    aware = at if at.tzinfo else at.replace(tzinfo=timezone.utc)
    return aware.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def _tables(warehouse: Warehouse) -> list[tuple[Table, dict[str, str]]]:
    """The tables that are there, with the schema's column names → as they are quoted; absent columns read as NULL."""
    quote = warehouse.dialect.quote
    result = []
    for table in (LOADS, DBT_NODES, REFRESHES):
        shape = warehouse.shapes().get(table.name)
        if shape is not None:
            spelled = {name: quote(found.name) for name, found in shape.found}
            result.append((table, {column.name: spelled.get(column.name, "NULL") for column in table.columns}))
    if not result:
        raise UsageError(f"schema {SCHEMA} of {warehouse.name} has none of the tables yet: run `dbbtrace migrate`")
    return result


# -- reading ------------------------------------------------------------------------------------------------


def _operations(warehouse: Warehouse, run_ids: Sequence[str]) -> list[Operation]:
    found: list[Operation] = []
    for table, columns in _tables(warehouse):
        chosen = ", ".join(f"{sql} AS {warehouse.dialect.quote(name)}" for name, sql in columns.items())
        marks = ", ".join("?" * len(run_ids))
        where = f"{columns['orchestration_run_id']} IN ({marks})"
        if table is DBT_NODES:
            where += f" AND COALESCE({columns['process_stage']}, 'execute') = 'execute'"
        result = warehouse.query(
            f"SELECT {chosen} FROM {warehouse.dialect.target(table.name)} WHERE {where}", list(run_ids)
        )
        names = list(columns)
        found += [_READERS[table.name](_typed(table, dict(zip(names, row, strict=True)))) for row in result.rows]
    return _in_order(_standing(found))


def _standing(found: Iterable[Operation]) -> list[Operation]:
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


def _in_order(found: list[Operation]) -> list[Operation]:
    order = {"integration": 0, "transformation": 1, "consumption": 2}
    return sorted(found, key=lambda o: (o.started_at is None and order[o.workload], o.started_at or _NEVER, o.name))


def _typed(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """The row with points in time as datetimes, whatever the driver made of them."""
    for column in table.columns:
        if column.kind is Kind.TIME:
            row[column.name] = _moment(row[column.name])
    return row


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
        rows_written=row["rows_affected"],
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


# -- summing up ---------------------------------------------------------------------------------------------


def _summary(run_id: str, group: Sequence[Operation]) -> RunSummary:
    outcomes = [operation.status for operation in _outcomes(group)]
    starts = [operation.started_at for operation in group if operation.started_at]
    ends = [operation.ended_at for operation in group if operation.ended_at]
    started, ended = min(starts, default=None), max(ends, default=None)
    rows = [operation.rows_written for operation in group if operation.kind == "table_load"]
    known = [count for count in rows if count is not None]
    status = next((word for word in ("Failed", "Running", "Warned") if word in outcomes), "Succeeded")
    return RunSummary(
        run_id,
        next((operation.data_product for operation in group if operation.data_product), None),
        next((operation.environment for operation in group if operation.environment), None),
        status,
        started,
        ended,
        (ended - started).total_seconds() if started and ended else None,
        loads=sum(operation.kind == "table_load" for operation in group),
        nodes=sum(operation.kind == "dbt_node" for operation in group),
        refreshes=sum(operation.kind == "model_refresh" for operation in group),
        failed=outcomes.count("Failed"),
        skipped=outcomes.count("Skipped"),
        rows_written=sum(known) if known else None,
    )


def _outcomes(group: Iterable[Operation]) -> list[Operation]:
    """Where several rows of one table stand, the load that started last is the outcome."""
    last: dict[Any, Operation] = {}
    for place, operation in enumerate(group):  # ordered by start
        last[operation.name if operation.kind == "table_load" else place] = operation
    return list(last.values())
