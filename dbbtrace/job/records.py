"""One line for a job that only reports: ``record_load(...)``, ``record_refresh(...)``, after the work was done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.diagnostics import complain, guard
from dbbtrace.job.api import load_names, model_names, refresh_names
from dbbtrace.job.context import scope_for
from dbbtrace.job.expected import Expected
from dbbtrace.job.finished import emit, fact
from dbbtrace.job.lineage import lineage_of, loaded
from dbbtrace.job.operations import load_status
from dbbtrace.job.parts import record_expected
from dbbtrace.job.refreshes import refresh_failed
from dbbtrace.job.scope import Scope
from dbbtrace.job.values import checked, count, error_type_of, is_empty, message_of, number, shown, text
from dbbtrace.model import attributes as key
from dbbtrace.model import identity as identities
from dbbtrace.model.statuses import FAILED, LOADS, SUCCEEDED, is_running, meaning
from dbbtrace.model.times import EARLIEST_START, STARTS_AHEAD, credible_start, iso_utc, to_unix_nanos
from dbbtrace.tracing.provider import now

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
    error_message: object = None,
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
        status: Succeeded or Failed; default Failed if an error is given, else Succeeded. An unknown word counts
            as Failed.
        error_type, error_message: why it failed; the message may be the exception itself. Empty (None, "", [], NaN,
            NaT): no error.
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
            workload="integration",
        )
        start, end = _period(scope, started_at, ended_at)
        names = load_names(table, schema=schema, source=source, source_type=source_type, load_type=load_type)
        word = checked("status", load_status, status)
        error = _error(error_type, error_message)
        if status is not None and word is None:  # An unknown word must not move the watermark.
            error = error or (FAILED, f"recorded with status {shown(status)}")
        elif word is not None:
            error = (error or (FAILED, f"recorded with status {word}")) if meaning(word, LOADS) == FAILED else None
        identity = checked("identity", text, identity) or identities.load_identity(
            scope.pipeline_run_id or "",
            names[key.SOURCE_NAME] or "",
            names[key.SCHEMA_NAME] or "",
            names[key.TABLE_NAME],
            iso_utc(start),
        )
        load = _operation(
            scope, f"load {names[key.CICD_TASK_NAME]}", key.OPERATION_LOAD, identity, start, end, error,
            {
                **names,
                key.WORKLOAD: "integration",
                key.STATUS: FAILED if error else SUCCEEDED,
                key.ROWS_READ: checked("rows_read", count, rows_read),
                key.ROWS_WRITTEN: checked("rows_written", count, rows_written),
                key.DATA_READ: checked("data_read", count, data_read),
                key.DATA_WRITTEN: checked("data_written", count, data_written),
                key.THROUGHPUT: checked("throughput", number, throughput),
            },
        )  # fmt: skip
        if load.context is not None:
            loaded(load.context, names[key.TABLE_NAME], names[key.SCHEMA_NAME], names[key.SOURCE_NAME])
        emit([load])


def record_refresh(
    model_id: str,
    *,
    status: str | None = None,
    started_at: object,
    ended_at: object = None,
    name: str | None = None,
    workspace_id: str | None = None,
    request_id: str | None = None,
    refresh_type: str | None = None,
    reads: Sequence[str] = (),
    error_type: str | None = None,
    error_message: object = None,
    run_id: object = None,
    data_product: str | None = None,
    environment: str | None = None,
    pipeline_id: object = None,
    pipeline_run_id: object = None,
) -> None:
    """Record a model refresh that is over: one row of ``meta.monitoring_semantic_model_refresh``.

    Args:
        status: the service's own word; default Failed if an error is given, else Completed. A refresh that still runs
            (Unknown, InProgress) gives no row, with a warning; the run is Incomplete until it is recorded as ended.
        started_at, ended_at: as the service reports them; UTC. ended_at: default now.
        request_id: identity of the refresh; default model and start. Recorded twice, it is one row.
        workspace_id: the model's own; never taken from the run.
        reads: names of dbt models that it reads, or their unique_ids.

    The other arguments are those of ``model_refresh`` and ``record_load``. Never raises into the job.
    """
    with guard("record a refresh"):
        scope = scope_for(
            run_id,
            data_product=data_product,
            environment=environment,
            pipeline_id=pipeline_id,
            pipeline_run_id=pipeline_run_id,
            workload="consumption",
        )
        names = refresh_names(model_id, name, workspace_id, request_id, refresh_type)
        error = _error(error_type, error_message)
        word = (checked("status", text, status) or "").strip() or (FAILED if error else "Completed")
        if is_running(word):
            record_expected(scope, [Expected(str(names[key.CICD_TASK_NAME]), "consumption")], "record_refresh", now())
            complain(f"the refresh of {names[key.CICD_TASK_NAME]} is {word}: record it when it has ended")
            return
        start, end = _period(scope, started_at, ended_at)
        if refresh_failed(word):
            error = error or (word, f"the refresh ended as {word}")
        said = checked("reads", model_names, reads) or ()
        read = lineage_of(scope.trace_id).read_by(names[key.MODEL_NAME], said) or None
        identity = identities.refresh_identity(
            names[key.REFRESH_REQUEST_ID] or f"{names[key.MODEL_ID]} {iso_utc(start)}"
        )
        emit([_operation(
            scope, f"refresh {names[key.CICD_TASK_NAME]}", key.OPERATION_REFRESH, identity, start, end, error,
            {**names, key.WORKLOAD: "consumption", key.STATUS: word, key.MODEL_READS: read},
        )])  # fmt: skip


def _period(scope: Scope, started_at: object, ended_at: object) -> tuple[int, int]:
    """Start and end in nanoseconds. A start that can't be read, or can't be, is taken as the run's in this job: never
    the end, which would make the watermark skip source rows."""
    clock = now()
    end = checked("ended_at", to_unix_nanos, ended_at)
    end = clock if end is None else end
    said = checked("started_at", to_unix_nanos, started_at)
    if said is None:
        start = min(scope.began_at, end)
        complain(f"started_at: no start is known; {iso_utc(start)}, when the run began here, is used instead")
    else:
        start = credible_start(said, min(scope.began_at, end), clock)
        if not EARLIEST_START <= said <= clock + STARTS_AHEAD:
            when = "after now" if said > clock else "before 1990"
            complain(
                f"started_at = {shown(started_at)} is left out: it is {when}; {iso_utc(start)}, when the run began "
                "here, is used instead"
            )
    if end < start:
        complain(f"ended_at = {iso_utc(end)} is left out: it lies before started_at = {iso_utc(start)}")
        end = start
    return start, end


def _error(error_type: object, error_message: object) -> tuple[str, str] | None:
    """error.type and message; None where nothing went wrong."""
    error_type, error_message = (None if is_empty(value) else value for value in (error_type, error_message))
    if error_type is None and error_message is None:
        return None
    kind = checked("error_type", text, error_type)
    if kind is None:
        kind = error_type_of(error_message) if isinstance(error_message, BaseException) else FAILED
    return kind, (message_of(error_message) if error_message is not None else "") or kind


def _operation(
    scope: Scope,
    name: str,
    operation: str,
    identity: str,
    start: int,
    end: int,
    error: tuple[str, str] | None,
    attributes: dict[str, Any],
) -> ReadableSpan:
    attributes[key.CICD_TASK_RUN_RESULT] = "failure" if error else "success"
    return fact(
        scope,
        name=name,
        operation=operation,
        identity=identity,
        start=start,
        end=end,
        attributes=attributes,
        error=error,
    )
