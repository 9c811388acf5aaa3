"""The questions asked of the three tables: which runs there are, and what happened in one of them.

Read the same from every dialect, and from tables without dbbtrace's columns. Doubles of one record and interrupted
rows beside an ended one are left out here, as the design's views do. Only ``execute`` rows of dbt are operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from dbbtrace.errors import UsageError
from dbbtrace.identity import normalise_run_id, trace_id_of
from dbbtrace.warehouse.operations import STATUSES, Operation, in_order, operation_of, standing
from dbbtrace.warehouse.schema import DBT_NODES, LOADS, REFRESHES, SCHEMA, Table
from dbbtrace.warehouse.warehouse import Warehouse

__all__ = ["STATUSES", "Operation", "RunSummary", "find_run", "operations", "runs"]

_START = {LOADS.name: "timestamp", DBT_NODES.name: "process_started_at", REFRESHES.name: "process_started_at"}
_PAGE = 50
"""Runs whose operations are read at once."""


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
        found += [operation_of(table, dict(zip(names, row, strict=True))) for row in result.rows]
    return in_order(standing(found))


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
