"""One line for a job that only reports: ``record_load(...)``, ``record_refresh(...)``, after the work was done."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace import attributes as key
from dbbtrace import identity as identities
from dbbtrace.diagnostics import complain, guard
from dbbtrace.facts import emit, fact
from dbbtrace.provider import now
from dbbtrace.runs import scope_for
from dbbtrace.scope import Scope
from dbbtrace.spans import FAILED, SUCCEEDED, is_failure, is_running, load_names, refresh_names
from dbbtrace.times import iso_utc, to_unix_nanos
from dbbtrace.values import checked, count, number, text

__all__ = ["record_load", "record_refresh"]


def record_load(
    table: str,
    *,
    started_at: object,
    ended_at: object = None,
    schema: str | None = None,
    source: str | None = None,
    source_type: str | None = None,
    load_type: str | None = None,
    status: str | None = None,
    rows_read: object = None,
    rows_written: object = None,
    data_read: object = None,
    data_written: object = None,
    throughput: object = None,
    error_type: str | None = None,
    error_message: str | None = None,
    identity: str | None = None,
    run_id: object = None,
    data_product: str | None = None,
    environment: str | None = None,
    workspace_id: object = None,
    pipeline_id: object = None,
    pipeline_run_id: object = None,
) -> None:
    """Record a table load that is over: one row of ``meta.monitoring_integration``.

    Args:
        started_at: when the load started: a datetime, ISO 8601 text or epoch seconds; without zone it is UTC.
            Required, because incremental loads read it as their watermark.
        ended_at: when it ended; default now.
        status: Succeeded or Failed; default Failed if an error is given, else Succeeded.
        rows_read, rows_written: counts. data_read, data_written: bytes. throughput: KB/s as the source reports it.
        identity: what makes the load the same when it is recorded again, e.g. its activity run id; default table,
            source, pipeline run and start. Recorded twice, it is one row.
        run_id, data_product, environment, workspace_id: where no run is open; see ``join_run``.

    The other arguments are those of ``table_load``. Never raises into the job.
    """
    with guard("record a load"):
        scope = scope_for(
            run_id,
            data_product=data_product,
            environment=environment,
            workspace_id=workspace_id,
            pipeline_id=pipeline_id,
            pipeline_run_id=pipeline_run_id,
        )
        start, end = _period(scope, started_at, ended_at)
        names = load_names(table, schema=schema, source=source, source_type=source_type, load_type=load_type)
        failed = is_failure(status) if status else bool(error_type or error_message)
        identity = checked("identity", text, identity) or identities.load_identity(
            scope.pipeline_run_id or "",
            names[key.SOURCE_NAME] or "",
            names[key.SCHEMA_NAME] or "",
            names[key.TABLE_NAME],
            iso_utc(start),
        )
        emit([_operation(
            scope, f"load {names[key.CICD_TASK_NAME]}", key.OPERATION_LOAD, identity, start, end, failed,
            (error_type, error_message),
            {
                **names,
                key.WORKLOAD: "integration",
                key.STATUS: FAILED if failed else SUCCEEDED,
                key.ROWS_READ: checked("rows_read", count, rows_read),
                key.ROWS_WRITTEN: checked("rows_written", count, rows_written),
                key.DATA_READ: checked("data_read", count, data_read),
                key.DATA_WRITTEN: checked("data_written", count, data_written),
                key.THROUGHPUT: checked("throughput", number, throughput),
            },
        )])  # fmt: skip


def record_refresh(
    model_id: str,
    *,
    status: str = "Completed",
    started_at: object,
    ended_at: object = None,
    name: str | None = None,
    workspace_id: str | None = None,
    request_id: str | None = None,
    refresh_type: str | None = None,
    error_type: str | None = None,
    error_message: str | None = None,
    run_id: object = None,
    data_product: str | None = None,
    environment: str | None = None,
    pipeline_id: object = None,
    pipeline_run_id: object = None,
) -> None:
    """Record a model refresh that is over: one row of ``meta.monitoring_semantic_model_refresh``.

    Args:
        status: the service's own word. A refresh that still runs (Unknown, InProgress) gives nothing, with a warning.
        started_at, ended_at: as the service reports them; UTC. ended_at: default now.
        request_id: identity of the refresh; default model and start. Recorded twice, it is one row.
        workspace_id: the model's own; never taken from the run.

    The other arguments are those of ``model_refresh`` and ``record_load``. Never raises into the job.
    """
    with guard("record a refresh"):
        scope = scope_for(
            run_id,
            data_product=data_product,
            environment=environment,
            pipeline_id=pipeline_id,
            pipeline_run_id=pipeline_run_id,
        )
        names = refresh_names(model_id, name, workspace_id, request_id, refresh_type)
        word = (checked("status", text, status) or "Completed").strip()
        if is_running(word):
            complain(f"the refresh of {names[key.CICD_TASK_NAME]} is {word}: record it when it has ended")
            return
        start, end = _period(scope, started_at, ended_at)
        failed = is_failure(word) or bool(error_type or error_message)
        identity = identities.refresh_identity(
            names[key.REFRESH_REQUEST_ID] or f"{names[key.MODEL_ID]} {iso_utc(start)}"
        )
        emit([_operation(
            scope, f"refresh {names[key.CICD_TASK_NAME]}", key.OPERATION_REFRESH, identity, start, end, failed,
            (error_type, error_message or (f"the refresh ended as {word}" if failed else None)),
            {**names, key.WORKLOAD: "consumption", key.STATUS: word},
        )])  # fmt: skip


def _period(scope: Scope, started_at: object, ended_at: object) -> tuple[int, int]:
    """Start and end in nanoseconds. A start that can't be read is taken as the run's in this job: never the end,
    which would make the watermark skip source rows."""
    end = checked("ended_at", to_unix_nanos, ended_at)
    end = now() if end is None else end
    start = checked("started_at", to_unix_nanos, started_at)
    if start is None:
        start = min(scope.began_at, end)
    if end < start:
        complain(f"ended_at = {iso_utc(end)} is left out: it lies before started_at = {iso_utc(start)}")
        end = start
    return start, end


def _operation(
    scope: Scope,
    name: str,
    operation: str,
    identity: str,
    start: int,
    end: int,
    failed: bool,
    error: tuple[str | None, str | None],
    attributes: dict[str, Any],
) -> ReadableSpan:
    error_type, message = error
    attributes[key.CICD_TASK_RUN_RESULT] = "failure" if failed else "success"
    return fact(
        scope,
        name=name,
        operation=operation,
        identity=identity,
        start=start,
        end=end,
        attributes=attributes,
        error=(error_type or "Failed", message or error_type or "Failed") if failed else None,
    )
