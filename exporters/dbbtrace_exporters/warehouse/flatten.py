"""Turn finished spans into their rows. Pure: no clock, no network, no driver.

A span gives rows when it carries ``dbb.operation`` and what that operation needs; every other span is ignored. What
still runs gives none. No attribute value makes it raise: see ``dbbtrace.warehouse.cleaning``.

Three steps, each of which only calls down: ``batch`` reads the spans as columns, the functions here add what the
operation's own columns need, ``rows`` makes the rows. Column by column costs half of what row by row does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from dbbtrace.model import attributes as key
from dbbtrace.model.parts import NEEDED, PART_OF_OPERATION, claims_rows, own_attributes
from dbbtrace.model.statuses import NODES, SKIPPED, meaning, row_of_load, row_of_node, row_of_refresh
from dbbtrace.model.times import NANOS
from dbbtrace.warehouse.cleaning import count, moments, numbers, text
from dbbtrace.warehouse.schema import DBT_NODES, LOADS, PARTS, REFRESHES, VALIDATIONS, Row
from dbbtrace_exporters.warehouse.batch import Batch, copied, stands
from dbbtrace_exporters.warehouse.rows import Stage, rows_from

__all__ = ["Flattened", "flatten", "rows_of"]

_KB = 1024
_FOREVER = 253_402_300_799 * NANOS
"""The end of the year 9999."""


class Flattened(NamedTuple):
    """What a batch gives."""

    rows: list[Row]
    """Table by table, each in the order of the spans."""
    lacking: list[ReadableSpan]
    """Spans that claim an operation but lack what its rows need: see ``model.parts.lacking``."""
    misdated: list[ReadableSpan]
    """Spans that say they started before 1990 or in the future; their rows show the span's own start, or now."""


def rows_of(span: ReadableSpan) -> list[Row]:
    """The rows of a finished span: one, for a dbt node up to two, for most spans none."""
    return flatten([span]).rows


def flatten(spans: Sequence[ReadableSpan], *, now: int = _FOREVER) -> Flattened:
    """The rows of finished spans.

    Args:
        now: what the clock says, in nanoseconds since the Unix epoch: no row starts later.
    """
    batches = {operation: Batch() for operation in NEEDED}
    started, ended, counted = Batch(), Batch(), Batch()
    for span in spans:
        attributes = span.attributes
        if attributes:
            values = copied(attributes)
            operation = values.get(key.OPERATION)
            if isinstance(operation, str) and operation in batches:
                batches[operation].add(span, values)
            elif claims_rows(values, failed=span.status.status_code is StatusCode.ERROR):
                (started if values.get(key.STATUS) == key.STARTED else ended).add(span, values)
                if key.COUNTED_ROWS in values:
                    counted.add(span, values)
    flat = Flattened([], [], [])
    for operation, batch in batches.items():
        if batch.spans:
            flat.lacking.extend(batch.without(NEEDED[operation]))
        if batch.spans:
            batch.derive(now)
            flat.misdated.extend(batch.misdated)
            flat.rows.extend(_FLATTEN[operation](batch))
    for batch, stage in ((started, "started"), (ended, "")):
        if batch.spans:
            flat.lacking.extend(batch.without(key.OPERATION, keep_running=True))
        if batch.spans:
            batch.derive(now)
            flat.rows.extend(_parts(batch, stage))
    if counted.spans:
        counted.without(key.COUNTED_AS)
    if counted.spans:
        counted.derive(now)
        flat.rows.extend(_counts(counted))
    return flat


# -- table load ---------------------------------------------------------------------------------------------


def _loads(batch: Batch) -> list[Row]:
    batch["status"] = list(map(row_of_load, batch["word"], batch["failed"], batch["interrupted"]))
    batch["throughput"] = _throughputs(batch)
    [rows] = rows_from(batch, LOADS, Stage(batch["began"], batch["done"]))
    return rows


def _throughputs(batch: Batch) -> list[float | None]:
    """KB/s as the source reports it, else from bytes and seconds."""
    reported = numbers(batch[key.THROUGHPUT])
    if None not in reported:
        return reported
    sizes = zip(batch[key.DATA_READ], batch[key.DATA_WRITTEN], batch["began"], batch["done"], strict=True)
    return [_throughput(*size) if speed is None else speed for speed, size in zip(reported, sizes, strict=True)]


def _throughput(read: Any, written: Any, started_at: int | None, ended_at: int | None) -> float | None:
    size = count(read)
    size = count(written) if size is None else size
    if size is None or started_at is None or ended_at is None or ended_at <= started_at:
        return None
    return size / _KB / ((ended_at - started_at) / NANOS)


# -- dbt node -----------------------------------------------------------------------------------------------


def _dbt_nodes(batch: Batch) -> list[Row]:
    ids = [text(value) or "" for value in batch[key.DBT_UNIQUE_ID]]
    batch["item_name"] = [unique_id.rsplit(".", 1)[-1] or unique_id for unique_id in ids]
    batch["invocation_id"] = [
        invocation if stands(invocation) else trace_id
        for invocation, trace_id in zip(batch[key.DBT_INVOCATION_ID], batch["trace_id"], strict=True)
    ]
    batch["status"] = list(map(row_of_node, batch["word"], batch["failed"], batch["interrupted"]))
    batch["rows_affected"] = [
        value if value is None else _rows_affected(value) for value in batch[key.DBT_ROWS_AFFECTED]
    ]
    batch[key.DBT_FAILURES] = [
        # The count without a decimal point, where it is one.
        int(value) if isinstance(value, float) and value.is_integer() else value
        for value in batch[key.DBT_FAILURES]
    ]
    compiled = _stage(batch, key.DBT_COMPILE_STARTED_AT, key.DBT_COMPILE_COMPLETED_AT)
    executed = _executed(batch)
    compile_rows, execute_rows = rows_from(batch, DBT_NODES, Stage(*compiled, "compile"), Stage(*executed, "execute"))
    rows = []
    for compile_row, execute_row, started, completed, interrupted in zip(
        compile_rows, execute_rows, *compiled, batch["interrupted"], strict=True
    ):
        if not interrupted and (started is not None or completed is not None):
            rows.append(compile_row)
        rows.append(execute_row)
    return rows


def _stage(batch: Batch, started: str, completed: str) -> tuple[list[int | None], list[int | None]]:
    return moments(batch[started]), moments(batch[completed])


def _executed(batch: Batch) -> tuple[list[int | None], list[int | None]]:
    """When the nodes executed: as dbt timed it; live work without dbt's timing as its span says; else unknown."""
    started, ended = _stage(batch, key.DBT_EXECUTE_STARTED_AT, key.DBT_EXECUTE_COMPLETED_AT)
    for place, timed in enumerate(zip(started, ended, strict=True)):
        if timed == (None, None):
            live = not batch["fact"][place] or batch["interrupted"][place] or batch[key.STARTED_AT][place] is not None
            if live and meaning(text(batch["status"][place]) or "", NODES) != SKIPPED:
                started[place], ended[place] = batch["began"][place], batch["done"][place]
    return started, ended


def _rows_affected(value: Any) -> int | None:
    """-1 is how adapters say that they don't know."""
    affected = count(value)
    return affected if affected is not None and affected >= 0 else None


# -- model refresh ------------------------------------------------------------------------------------------


def _refreshes(batch: Batch) -> list[Row]:
    batch["status"] = list(map(row_of_refresh, batch["word"], batch["failed"], batch["interrupted"]))
    [rows] = rows_from(batch, REFRESHES, Stage(batch["began"], batch["done"]))
    return rows


# -- the run's own record -----------------------------------------------------------------------------------


def _parts(batch: Batch, stage: str) -> list[Row]:
    batch["part"] = [PART_OF_OPERATION[operation] for operation in batch[key.OPERATION]]
    batch["name"] = [
        name if stands(name) else span.name for name, span in zip(batch[key.CICD_TASK_NAME], batch.spans, strict=True)
    ]
    batch["status"] = list(map(_part_status, batch["word"], batch["failed"], batch["interrupted"]))
    batch["parent_span_id"] = [f"{span.parent.span_id:016x}" if span.parent else None for span in batch.spans]
    batch[key.PART_NODES] = [
        of_job if of_job is not None else of_dbt
        for of_job, of_dbt in zip(batch[key.PART_NODES], batch[key.DBT_NODES], strict=True)
    ]
    attributes = [span.attributes or {} for span in batch.spans]
    batch["detail"] = list(map(_detail, batch[key.PART_DETAIL], batch[key.OPERATION], attributes))
    batch["fact"] = [False] * len(batch.spans)  # nobody else writes this table
    ended = [None] * len(batch.spans) if stage else batch["done"]
    [rows] = rows_from(batch, PARTS, Stage(batch["began"], ended, stage))
    return rows


def _counts(batch: Batch) -> list[Row]:
    """How many rows readers found in tables."""
    batch["fact"] = [False] * len(batch.spans)
    [rows] = rows_from(batch, VALIDATIONS, Stage(batch["began"], batch["done"]))
    return rows


def _part_status(word: str | None, failed: bool, interrupted: bool) -> str:
    return key.INTERRUPTED if interrupted else word or ("Failed" if failed else "Succeeded")


def _detail(said: Any, operation: str, attributes: Mapping[str, Any]) -> str | None:
    """What the job says of it; else what a workload builds, or a step's own attributes, those for which there is no
    room left out."""
    if said is not None:
        return text(said)
    if operation == key.OPERATION_WORKLOAD and (select := text(attributes.get(key.DBT_SELECT))):
        return json.dumps({"select": select}, ensure_ascii=False)
    own = own_attributes(attributes) if PART_OF_OPERATION[operation] in ("step", "attempt") else {}
    while own:
        detail = json.dumps(own, ensure_ascii=False, default=str)
        if len(detail.encode("utf-8", "replace")) <= _MOST_DETAIL:
            return detail
        own.popitem()
    return None


_MOST_DETAIL = 8000
"""Bytes that the column takes."""

_FLATTEN: dict[str, Callable[[Batch], list[Row]]] = {
    key.OPERATION_LOAD: _loads,
    key.OPERATION_DBT_NODE: _dbt_nodes,
    key.OPERATION_REFRESH: _refreshes,
}
