"""What a job says it does: workloads, table loads, dbt nodes, model refreshes and steps, each a context manager.

Every name here reads aloud: ``with table_load("Customer", source="MDS") as load``. Knows nothing of warehouses.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, ClassVar

from dbbtrace import attributes as key
from dbbtrace import identity
from dbbtrace.diagnostics import complain
from dbbtrace.handle import Handle
from dbbtrace.provider import now
from dbbtrace.scope import Scope
from dbbtrace.times import NANOS, iso_utc
from dbbtrace.values import Count, Guid, Moment, Number, Text, checked, guid, text

__all__ = [
    "Attempt",
    "DbtNode",
    "ModelRefresh",
    "Step",
    "TableLoad",
    "Workload",
    "consumption",
    "dbt_node",
    "integration",
    "is_failure",
    "is_running",
    "load_names",
    "model_refresh",
    "refresh_names",
    "step",
    "table_load",
    "transformation",
]

SUCCEEDED, FAILED = "Succeeded", "Failed"
_LOAD_FAILURES = frozenset({"failed", "failure", "error", "cancelled", "canceled"})
_LOAD_SUCCESSES = frozenset({"succeeded", "success", "completed"})
_DBT_FAILURES = frozenset({"error", "fail", "runtime error", "partial success"})
_RUNNING = frozenset({"unknown", "inprogress", "notstarted"})
_REFRESH_FAILURES = frozenset({"failed", "cancelled", "disabled", "timedout"})


def is_failure(word: str) -> bool:
    """Whether a status word of a load or a refresh means failure."""
    return word.strip().lower() in _LOAD_FAILURES | _REFRESH_FAILURES


def is_running(word: str) -> bool:
    """Whether a refresh service's status word means that it has not ended."""
    return word.strip().lower() in _RUNNING


class Step(Handle):
    """Work that is worth a span and gives no row."""

    def __init__(self, name: str, attributes: dict[str, Any]) -> None:
        super().__init__(str(name), {key.CICD_TASK_NAME: str(name), **attributes})


class Workload(Handle):
    """A stage of the run: what its operations inherit."""

    operation = key.OPERATION_WORKLOAD

    pipeline_id = Guid(key.PIPELINE_ID, "Pipeline that the rows of this workload name.")
    pipeline_run_id = Guid(key.PIPELINE_RUN_ID, "Run of that pipeline.")

    def __init__(self, workload: str, *, pipeline_id: object, pipeline_run_id: object, select: object = None) -> None:
        super().__init__(
            workload,
            {
                key.WORKLOAD: workload,
                key.CICD_TASK_NAME: workload,
                key.PIPELINE_ID: checked("pipeline_id", guid, pipeline_id),
                key.PIPELINE_RUN_ID: checked("pipeline_run_id", guid, pipeline_run_id),
                key.DBT_SELECT: checked("select", text, select),
            },
        )

    def _inner(self, scope: Scope) -> Scope:
        values = self._values
        return scope.inner(
            workload=values[key.WORKLOAD],
            pipeline_id=values.get(key.PIPELINE_ID),
            pipeline_run_id=values.get(key.PIPELINE_RUN_ID),
            select=values.get(key.DBT_SELECT),
        )


class Operation(Handle):
    """Work that gives a row."""

    workload: ClassVar[str]

    status = Text(key.STATUS, "Outcome as the row spells it; set at the end where the author did not.")
    pipeline_id = Guid(key.PIPELINE_ID, "Pipeline that the row names.")
    pipeline_run_id = Guid(key.PIPELINE_RUN_ID, "Run of that pipeline.")
    started_at = Moment(key.STARTED_AT, "Start that the row shows, where it is not the span's.")
    ended_at = Moment(key.ENDED_AT, "End that the row shows, where it is not the span's.")

    def _attributes(self, scope: Scope) -> dict[str, Any]:
        return {key.WORKLOAD: self.workload, **super()._attributes(scope)}


class TableLoad(Operation):
    """One table loaded from a source system: one row of monitoring_integration.

    The row's ``timestamp`` is the start: incremental loads read it as their watermark.
    """

    operation = key.OPERATION_LOAD
    workload = "integration"

    rows_read = Count(key.ROWS_READ, "Rows read from the source; count.")
    rows_written = Count(key.ROWS_WRITTEN, "Rows committed; count.")
    data_read = Count(key.DATA_READ, "Bytes read from the source; count.")
    data_written = Count(key.DATA_WRITTEN, "Bytes written; count.")
    throughput = Number(key.THROUGHPUT, "KB/s as the source reports it; otherwise the row shows bytes over seconds.")
    schema = Text(key.SCHEMA_NAME, "Schema of the table.")
    source = Text(key.SOURCE_NAME, "Source system, e.g. MDS.")
    source_type = Text(key.SOURCE_TYPE, "SQL, API or FILE.")
    load_type = Text(key.LOAD_TYPE, "FULL or INCREMENTAL.")
    identity = Text(key.IDENTITY, "Identity of the load where another record of it may come, e.g. its activity run id.")

    def attempts(self, limit: int, *, delay: float = 0.0) -> Iterator[Attempt]:
        """Try the load up to ``limit`` times, ``delay`` seconds apart; each attempt is a child span.

        ``for attempt in load.attempts(3): with attempt: copy()``. An exception in an attempt that is not the last
        is logged on its span and swallowed; that of the last goes on. KeyboardInterrupt, SystemExit and
        cancellation are never swallowed. The row is one, and shows the start of the attempt that succeeded.
        """
        for number_ in range(1, max(1, limit) + 1):
            attempt = Attempt(self, number_, last=number_ >= limit)
            yield attempt
            if attempt.succeeded or attempt.span is None:
                return
            if delay > 0:
                time.sleep(delay)

    def _conclude(self) -> None:
        values = self._values
        word = str(values.get(key.STATUS, "")).strip().lower()
        if word in _LOAD_FAILURES and not self.failed:
            self.fail(f"the job set status {values[key.STATUS]!r}", error_type=word.capitalize())
        elif word and word not in _LOAD_FAILURES | _LOAD_SUCCESSES:
            complain(f"status = {values[key.STATUS]!r} is left out: a load is Succeeded or Failed")
        values[key.STATUS] = FAILED if self.failed else SUCCEEDED


class Attempt(Handle):
    """One try of a load; see ``TableLoad.attempts``."""

    operation = key.OPERATION_ATTEMPT

    def __init__(self, load: TableLoad, number_: int, *, last: bool) -> None:
        super().__init__(f"attempt {number_}", {key.ATTEMPT: number_})
        self.number = number_
        self.succeeded = False
        self._load = load
        self._last = last

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return self._settle(error)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return self._settle(error)

    def _settle(self, error: BaseException | None) -> bool:
        """End the attempt; True, which swallows the exception, where another attempt follows."""
        started = self._span.start_time if self._span is not None else None
        failed = error is not None or self._failed is not None
        self._finish(error)
        self.succeeded = not failed
        if not failed and started is not None:
            self._load.started_at = iso_utc(started)
        if self._failed is not None and error is None and self._last:
            self._load.fail(self._failed[1], error_type=self._failed[0])
        return isinstance(error, Exception) and not self._last


class DbtNode(Operation):
    """One dbt node that the job runs itself; what dbt ran is recorded with ``record_dbt``."""

    operation = key.OPERATION_DBT_NODE
    workload = "transformation"

    message = Text(key.DBT_MESSAGE, "dbt's message.")
    rows_affected = Count(key.DBT_ROWS_AFFECTED, "Rows affected; count.")
    failures = Count(key.DBT_FAILURES, "Failures that a test counted; count.")
    relation_name = Text(key.DBT_RELATION_NAME, "Relation that the node builds.")
    adapter_message = Text(key.DBT_ADAPTER_MESSAGE, "Message of the adapter's response.")
    thread_id = Text(key.DBT_THREAD_ID, "Worker thread.")

    def _conclude(self) -> None:
        values = self._values
        word = str(values.get(key.STATUS, "")).strip().lower()
        if self.failed and word not in _DBT_FAILURES:
            word = "error"
        elif not word:
            word = "pass" if values.get(key.DBT_RESOURCE_TYPE) == "test" else "success"
        values[key.STATUS] = word
        if word in _DBT_FAILURES and not self.failed:
            self.fail(str(values.get(key.DBT_MESSAGE) or word), error_type=f"dbt.{word.replace(' ', '_')}")
        if word == "skipped":
            values[key.CICD_TASK_RUN_RESULT] = "skip"
        elif self._span is not None and self._span.start_time is not None:
            ended = now()
            values.setdefault(key.DBT_EXECUTE_STARTED_AT, iso_utc(self._span.start_time))
            values.setdefault(key.DBT_EXECUTE_COMPLETED_AT, iso_utc(ended))
            values.setdefault(key.DBT_EXECUTION_TIME, (ended - self._span.start_time) / NANOS)


class ModelRefresh(Operation):
    """One refresh of a semantic model: one row of monitoring_semantic_model_refresh, once it has ended.

    ``status`` is the service's own word; without one, leaving the block means Completed. A refresh that still runs
    at the end of the block (Unknown, InProgress) gives no row: record it when it has ended.
    """

    operation = key.OPERATION_REFRESH
    workload = "consumption"

    request_id = Text(key.REFRESH_REQUEST_ID, "Request id that the service gave: the identity of the refresh.")
    name = Text(key.MODEL_NAME, "Name of the model.")
    refresh_type = Text(key.REFRESH_TYPE, "Full, Automatic, DataOnly, ...")

    def _attributes(self, scope: Scope) -> dict[str, Any]:
        attributes = super()._attributes(scope)
        if key.WORKSPACE_ID not in self._values:
            attributes.pop(key.WORKSPACE_ID, None)  # the model's own workspace, never the run's
        return attributes

    def _conclude(self) -> None:
        values = self._values
        if key.REFRESH_REQUEST_ID in values:
            values.setdefault(key.IDENTITY, identity.refresh_identity(values[key.REFRESH_REQUEST_ID]))
        word = str(values.get(key.STATUS, "")).strip()
        if self.failed and word.lower() not in _REFRESH_FAILURES:
            word = FAILED
        values[key.STATUS] = word = word or "Completed"
        if word.lower() in _REFRESH_FAILURES and not self.failed:
            self.fail(f"the refresh ended as {word}", error_type=word)
        elif is_running(word):
            complain(f"{self._name} is {word}, still running: it gives no row now; record it when it has ended")


def integration(*, pipeline_id: object = None, pipeline_run_id: object = None) -> Workload:
    """The integration workload: tables are loaded from source systems.

    Args:
        pipeline_id, pipeline_run_id: of the pipeline that ``integration_pipeline_<Data Product>`` invoked directly;
            reports join rows to job instances by them.
    """
    return Workload("integration", pipeline_id=pipeline_id, pipeline_run_id=pipeline_run_id)


def transformation(select: object = None, *, pipeline_id: object = None, pipeline_run_id: object = None) -> Workload:
    """The transformation workload: dbt.

    Args:
        select: dbt's selector, e.g. ``+tag:Group-FinancialStatements``; rows hold it as build_models.
        pipeline_id, pipeline_run_id: of the transformation pipeline.
    """
    return Workload("transformation", pipeline_id=pipeline_id, pipeline_run_id=pipeline_run_id, select=select)


def consumption(*, pipeline_id: object = None, pipeline_run_id: object = None) -> Workload:
    """The consumption workload: semantic models are refreshed.

    Args:
        pipeline_id, pipeline_run_id: of the data_product_refresh pipeline.
    """
    return Workload("consumption", pipeline_id=pipeline_id, pipeline_run_id=pipeline_run_id)


def table_load(
    table: str,
    *,
    schema: str | None = None,
    source: str | None = None,
    source_type: str | None = None,
    load_type: str | None = None,
    pipeline_id: object = None,
    pipeline_run_id: object = None,
    identity: str | None = None,
) -> TableLoad:
    """The load of one table: one row of ``meta.monitoring_integration``, whatever happens inside.

    Args:
        table, schema: the table that is loaded.
        source: the source system, e.g. ``MDS``.
        source_type: SQL, API or FILE.
        load_type: FULL or INCREMENTAL.
        pipeline_id, pipeline_run_id: instead of those of the enclosing ``integration(...)``.
        identity: what another record of the same load would be known by, e.g. the activity run id.
    """
    names = load_names(table, schema=schema, source=source, source_type=source_type, load_type=load_type)
    return TableLoad(
        f"load {names.get(key.CICD_TASK_NAME)}",
        {
            **names,
            key.PIPELINE_ID: checked("pipeline_id", guid, pipeline_id),
            key.PIPELINE_RUN_ID: checked("pipeline_run_id", guid, pipeline_run_id),
            key.IDENTITY: checked("identity", text, identity),
        },
    )


def load_names(
    table: object, *, schema: object, source: object, source_type: object, load_type: object
) -> dict[str, Any]:
    """Attributes that say which load it is; None where unknown."""
    name = checked("table", text, table) or "?"
    schema_name = checked("schema", text, schema)
    kind = checked("load_type", text, load_type)
    if kind and kind.strip().upper() not in ("FULL", "INCREMENTAL"):
        complain(f"load_type = {kind!r} is no load type of the platform; write FULL or INCREMENTAL")
    return {
        key.TABLE_NAME: name,
        key.SCHEMA_NAME: schema_name,
        key.SOURCE_NAME: checked("source", text, source),
        key.SOURCE_TYPE: checked("source_type", text, source_type),
        key.LOAD_TYPE: kind.strip().upper() if kind else None,
        key.CICD_TASK_NAME: f"{schema_name}.{name}" if schema_name else name,
        key.DB_COLLECTION_NAME: name,
        key.DB_NAMESPACE: schema_name,
    }


def dbt_node(
    unique_id: str,
    *,
    invocation_id: str | None = None,
    select: str | None = None,
    pipeline_id: object = None,
    pipeline_run_id: object = None,
) -> DbtNode:
    """One dbt node that the job runs itself: one row of ``meta.monitoring_transformation_dbt``.

    Args:
        unique_id: e.g. ``model.shop.customers``.
        invocation_id: dbt's; with it the node is the same fact as in dbt's own artifact.
        select: selector, instead of that of the enclosing ``transformation(...)``.
    """
    node = checked("unique_id", text, unique_id) or "?"
    return DbtNode(
        node,
        {
            key.DBT_UNIQUE_ID: node,
            key.DBT_RESOURCE_TYPE: node.split(".", 1)[0] if "." in node else None,
            key.DBT_INVOCATION_ID: checked("invocation_id", text, invocation_id),
            key.IDENTITY: identity.dbt_identity(invocation_id, node) if invocation_id else None,
            key.DBT_SELECT: checked("select", text, select),
            key.CICD_TASK_NAME: node.rsplit(".", 1)[-1],
            key.PIPELINE_ID: checked("pipeline_id", guid, pipeline_id),
            key.PIPELINE_RUN_ID: checked("pipeline_run_id", guid, pipeline_run_id),
        },
    )


def model_refresh(
    model_id: str,
    *,
    name: str | None = None,
    workspace_id: str | None = None,
    request_id: str | None = None,
    refresh_type: str | None = None,
    pipeline_id: object = None,
    pipeline_run_id: object = None,
) -> ModelRefresh:
    """The refresh of one semantic model: one row of ``meta.monitoring_semantic_model_refresh`` when it has ended.

    Args:
        model_id: GUID of the model (dataset).
        name: its name.
        workspace_id: the workspace the model lives in; never taken from the run.
        request_id: what the service answered to the refresh request, if it is known already.
        pipeline_id, pipeline_run_id: instead of those of the enclosing ``consumption(...)``.
    """
    names = refresh_names(model_id, name, workspace_id, request_id, refresh_type)
    return ModelRefresh(
        f"refresh {names[key.CICD_TASK_NAME]}",
        {
            **names,
            key.PIPELINE_ID: checked("pipeline_id", guid, pipeline_id),
            key.PIPELINE_RUN_ID: checked("pipeline_run_id", guid, pipeline_run_id),
        },
    )


def refresh_names(
    model_id: object, name: object, workspace_id: object, request_id: object, refresh_type: object
) -> dict[str, Any]:
    """Attributes that say which refresh it is; None where unknown."""
    model = checked("model_id", guid, model_id) or "?"
    title = checked("name", text, name)
    return {
        key.MODEL_ID: model,
        key.MODEL_NAME: title,
        key.WORKSPACE_ID: checked("workspace_id", guid, workspace_id),
        key.REFRESH_REQUEST_ID: checked("request_id", text, request_id),
        key.REFRESH_TYPE: checked("refresh_type", text, refresh_type),
        key.CICD_TASK_NAME: title or model,
    }


def step(name: str, **attributes: Any) -> Step:
    """Any other work worth a span; ``attributes`` go on it as they are. Gives no row."""
    return Step(name, attributes)
