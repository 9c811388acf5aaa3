"""Turn a finished span into its rows. Pure: no clock, no network, no driver.

A span gives rows when it carries ``dbb.operation`` and what that operation needs; every other span is passed by. What
still runs gives none. No attribute value makes it raise: see ``dbbtrace.warehouse.values``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from dbbtrace import attributes as key
from dbbtrace.identity import identity_of_span, normalise_run_id, record_id
from dbbtrace.times import NANOS, format_utc
from dbbtrace.warehouse.schema import DBT_NODES, LOADS, REFRESHES, TABLES, Column, Kind, Row, Table
from dbbtrace.warehouse.values import Cleaner, Memory, cleaner, count, moment, number, text

__all__ = ["lacks", "rows_of"]

Values = dict[str, Any]

_NEEDS = {
    key.OPERATION_LOAD: (key.RUN_ID, key.TABLE_NAME),
    key.OPERATION_DBT_NODE: (key.RUN_ID, key.DBT_UNIQUE_ID),
    key.OPERATION_REFRESH: (key.RUN_ID, key.MODEL_ID),
}
_RUNNING = frozenset({"unknown", "inprogress", "notstarted", "running", "queued", "started", "compiling", "executing"})
_SUCCEEDED = frozenset({"succeeded", "success", "completed", "ok"})
_REFRESH_WORDS = {word.lower(): word for word in ("Completed", "Failed", "Cancelled", "Disabled", "Unknown")}
_REFRESH_WORDS |= {"succeeded": "Completed", "success": "Completed"}
_KB = 1024


def rows_of(span: ReadableSpan) -> list[Row]:
    """The rows of a finished span: one, for a dbt node up to two, for most spans none."""
    attributes = span.attributes
    operation = attributes.get(key.OPERATION) if attributes else None
    if not attributes or not isinstance(operation, str) or operation not in _NEEDS:
        return []
    values = _copied(attributes)
    for name in _NEEDS[operation]:
        if not _stands(values.get(name)):
            return []
    return _FLATTEN[operation](_Operation(span, values))


def _copied(attributes: Mapping[str, Any]) -> Values:
    # Behind an SDK span's attributes is a dict that copies itself ten times faster than dict() reads it.
    copied = attributes.copy() if hasattr(attributes, "copy") else dict(attributes)
    return copied if type(copied) is dict else dict(copied)


def lacks(span: ReadableSpan) -> tuple[str, ...]:
    """The attributes without which a span that claims an operation can't give its rows; () when it has them all."""
    attributes = span.attributes or {}
    needs = _NEEDS.get(str(attributes.get(key.OPERATION)), ())
    return tuple([name for name in needs if not _stands(attributes.get(name))])


def _stands(value: object) -> bool:
    if type(value) is str:
        return bool(value.strip())
    return value is not None and bool((text(value) or "").strip())


class _Operation:
    """What all operations share: who it is, in which run, from when to when, and how it ended."""

    __slots__ = ("cleaned", "ended_at", "error", "identity", "interrupted", "run_id", "started_at", "values")

    def __init__(self, span: ReadableSpan, values: Values) -> None:
        context = span.get_span_context()
        trace_id, span_id = (context.trace_id, context.span_id) if context else (0, 0)
        identity = values.get(key.IDENTITY)
        self.identity = text(identity) if _stands(identity) else None
        self.run_id = _run_id(values[key.RUN_ID])
        self.interrupted = values.get(key.ERROR_TYPE) == key.INTERRUPTED
        self.error = span.status.status_code is StatusCode.ERROR or values.get(key.ERROR_TYPE) is not None
        self.started_at = _either(values.get(key.STARTED_AT), span.start_time)
        self.ended_at = _either(values.get(key.ENDED_AT), span.end_time)
        values["run_id"] = self.run_id
        values["trace_id"] = f"{trace_id:032x}"
        values["span_id"] = f"{span_id:016x}"
        values["identity"] = self.identity or identity_of_span(span_id)
        values["data_product"] = None if _true(values.get(key.MANUAL)) else values.get(key.DATA_PRODUCT)
        values["error_message"] = values.get(key.ERROR_MESSAGE) or (span.status.description if self.error else None)
        self.values = values
        self.cleaned: list[Any] | None = None

    def at(self, started_at: int | None, ended_at: int | None) -> None:
        """Say from when to when the next row is."""
        self.values["started_at"] = started_at
        self.values["ended_at"] = ended_at
        self.values["seconds"] = _seconds(started_at, ended_at)

    def row(self, table: Table, stage: str = "") -> Row:
        """The row of these values."""
        values = self.values
        identity = values["identity"]
        ended_id = None
        if self.interrupted:
            ended_id = record_id(self.run_id, identity, stage)
            identity += ":interrupted"
        id_ = values["record_id"] = record_id(self.run_id, identity, stage)
        get = values.get
        if self.cleaned is None:
            try:
                self.cleaned = [
                    clean(value) if (value := get(source)) is not None else missing
                    for source, clean, missing in _REMEMBERING[table.name]
                ]
            except TypeError:  # a list or an object where a text should stand
                self.cleaned = [
                    clean(value) if (value := get(source)) is not None else missing
                    for source, clean, missing in _CLEANING[table.name]
                ]
        else:  # the second row of a dbt node
            for place, source, clean in _VARYING:
                self.cleaned[place] = clean(value) if (value := get(source)) is not None else None
        return Row(table, tuple(self.cleaned), id_, self.identity is not None, ended_id)


_DERIVED = frozenset({"record_id", "trace_id", "span_id", "stage"})
"""Values that are made here, and right as they are."""
_UNIQUE = frozenset({"item_name", key.TABLE_NAME})
"""Where short texts come from that differ from row to row."""


def _cleaner(column: Column) -> Cleaner:
    if column.source in _DERIVED:
        return str
    if column.source in ("started_at", "ended_at"):
        return partial(format_utc, digits=column.size)
    return cleaner(column)


def _remembering(column: Column) -> Cleaner:
    repeats = column.kind is Kind.TEXT and column.size <= 255 and column.source not in _DERIVED | _UNIQUE
    return Memory(cleaner(column)).__getitem__ if repeats else _cleaner(column)


_CLEANING = {table.name: [(c.source, _cleaner(c), c.missing) for c in table.columns] for table in TABLES}
"""For each column where its value comes from, how it is cleaned, and what stands for a missing one."""
_REMEMBERING = {table.name: [(c.source, _remembering(c), c.missing) for c in table.columns] for table in TABLES}
"""The same, faster, but not for values that can't be hashed."""
_VARYING = [
    (place, source, clean)
    for place, (source, clean, _) in enumerate(_REMEMBERING[DBT_NODES.name])
    if source in ("record_id", "stage", "started_at", "ended_at", "seconds")
]


# -- table load ---------------------------------------------------------------------------------------------


def _load(operation: _Operation) -> list[Row]:
    word = _word(operation.values)
    if word is None:
        status = "Failed" if operation.error else "Succeeded"
    elif _plain(word) in _RUNNING and not operation.interrupted:
        return []
    else:  # A word nobody knows must not move the watermark.
        status = "Succeeded" if _plain(word) in _SUCCEEDED and not operation.interrupted else "Failed"
    operation.at(operation.started_at, operation.ended_at)
    operation.values["status"] = status
    operation.values["throughput"] = _throughput(operation)
    return [operation.row(LOADS)]


def _throughput(operation: _Operation) -> float | None:
    """KB/s as the source reports it, else from bytes and seconds."""
    values = operation.values
    reported = number(values.get(key.THROUGHPUT))
    if reported is not None or operation.started_at is None or operation.ended_at is None:
        return reported
    size = count(values.get(key.DATA_READ))
    size = count(values.get(key.DATA_WRITTEN)) if size is None else size
    seconds = (operation.ended_at - operation.started_at) / NANOS
    return size / _KB / seconds if size is not None and seconds > 0 else None


_NEVER = (None, None)


# -- dbt node -----------------------------------------------------------------------------------------------


def _dbt_node(operation: _Operation) -> list[Row]:
    values = operation.values
    word = _word(values)
    if word is not None and _plain(word) in _RUNNING and not operation.interrupted:
        return []
    unique_id = text(values[key.DBT_UNIQUE_ID]) or ""
    values["item_name"] = unique_id.rsplit(".", 1)[-1] or unique_id
    invocation = values.get(key.DBT_INVOCATION_ID)
    values["invocation_id"] = invocation if _stands(invocation) else values["trace_id"]
    values["status"] = "error" if operation.interrupted else word or ("error" if operation.error else "success")
    values["rows_affected"] = _rows_affected(values.get(key.DBT_ROWS_AFFECTED))
    values[key.DBT_FAILURES] = _failures(values.get(key.DBT_FAILURES))
    rows = []
    compiled = _stage(values, key.DBT_COMPILE_STARTED_AT, key.DBT_COMPILE_COMPLETED_AT)
    if compiled != _NEVER and not operation.interrupted:
        operation.at(*compiled)
        values["stage"] = "compile"
        rows.append(operation.row(DBT_NODES, "compile"))
    operation.at(*_executed(operation))
    values["stage"] = "execute"
    rows.append(operation.row(DBT_NODES, "execute"))
    return rows


def _stage(values: Values, started: str, completed: str) -> tuple[int | None, int | None]:
    return moment(values.get(started)), moment(values.get(completed))


def _executed(operation: _Operation) -> tuple[int | None, int | None]:
    """When the node executed: as dbt timed it; live work without dbt's timing as its span says; else unknown."""
    values = operation.values
    timed = _stage(values, key.DBT_EXECUTE_STARTED_AT, key.DBT_EXECUTE_COMPLETED_AT)
    if timed != _NEVER:
        return timed
    live = operation.identity is None or operation.interrupted or key.STARTED_AT in values
    ran = _plain(text(values["status"]) or "") != "skipped"
    return (operation.started_at, operation.ended_at) if live and ran else (None, None)


def _rows_affected(value: Any) -> int | None:
    """-1 is how adapters say that they don't know."""
    affected = count(value)
    return affected if affected is not None and affected >= 0 else None


def _failures(value: Any) -> Any:
    """The count without a decimal point, where it is one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


# -- model refresh ------------------------------------------------------------------------------------------


def _refresh(operation: _Operation) -> list[Row]:
    word = _word(operation.values)
    if operation.interrupted:
        status = word if word is not None and _plain(word) not in _RUNNING else "Unknown"
    elif word is None:
        status = "Failed" if operation.error else "Completed"
    elif _plain(word) in _RUNNING:
        return []
    else:
        status = word
    operation.at(operation.started_at, operation.ended_at)
    operation.values["status"] = _REFRESH_WORDS.get(status.lower(), status)
    return [operation.row(REFRESHES)]


# -- shared -------------------------------------------------------------------------------------------------


def _run_id(value: Any) -> str:
    return _normalised(value) if type(value) is str else normalise_run_id(text(value))


_normalised = lru_cache(maxsize=1024)(normalise_run_id)
"""A run's spans all name the same one."""


def _word(values: Values) -> str | None:
    """The status as the span spells it; None when it says none."""
    word = text(values.get(key.STATUS))
    return (word.strip() or None) if word else None


@lru_cache(maxsize=256)
def _plain(word: str) -> str:
    return word.lower().replace(" ", "").replace("_", "")


def _true(value: Any) -> bool:
    return value is True or (value is not None and (text(value) or "").strip().lower() in ("true", "1"))


def _either(attribute: Any, unix_nanos: int | None) -> int | None:
    at = moment(attribute)
    return moment(unix_nanos) if at is None else at


def _seconds(started_at: int | None, ended_at: int | None) -> int | None:
    """Whole seconds, floored; a clock that was set back makes none."""
    return max((ended_at - started_at) // NANOS, 0) if started_at is not None and ended_at is not None else None


_FLATTEN: dict[str, Callable[[_Operation], list[Row]]] = {
    key.OPERATION_LOAD: _load,
    key.OPERATION_DBT_NODE: _dbt_node,
    key.OPERATION_REFRESH: _refresh,
}
