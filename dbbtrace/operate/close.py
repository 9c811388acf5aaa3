"""End a run whose root was not emitted: where the orchestrator is a pipeline, ``dbbtrace close`` is its last activity.

The root is a fact like any other: its span id follows from the run id, so what the run's jobs did hangs on it already.
"""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from dbbtrace.answers.read import FAILED_PARTS, operations, parts
from dbbtrace.answers.repeated import not_done_again
from dbbtrace.answers.rows import Operation, Part, outcomes
from dbbtrace.diagnostics import log
from dbbtrace.errors import DbbtraceError, RunFailedError, UsageError
from dbbtrace.job.context import make_scope
from dbbtrace.job.finished import emit, fact
from dbbtrace.job.scope import Scope
from dbbtrace.model import attributes as key
from dbbtrace.model import identity
from dbbtrace.model.statuses import FAILED, SUCCEEDED, meaning
from dbbtrace.model.times import NANOS, to_unix_nanos
from dbbtrace.tracing import runtime
from dbbtrace.tracing.provider import now

__all__ = ["close_run", "root_of", "rows_of_run"]

_LATE = 3600 * NANOS
"""Closing a run later than this is not counted as part of it."""


def close_run(
    run_id: object = None,
    *,
    status: str | None = None,
    started_at: object = None,
    ended_at: object = None,
    data_product: str | None = None,
    environment: str | None = None,
    workspace_id: object = None,
    raise_on_failure: bool = False,
) -> bool:
    """Emit the run's root span, unless a job that shares our journal directory has. Returns whether it was emitted.

    Waits at most DBBTRACE_ROWS_TIMEOUT seconds until the rows are in the warehouse, and the run was compared with
    earlier ones.

    Args:
        run_id: the run; else DBBTRACE_ORCHESTRATION_RUN_ID.
        status: Succeeded or Failed; else as the run's rows and its jobs say.
        started_at, ended_at: a datetime, ISO 8601 text or epoch seconds; else the second in which the first row
            started, and now, or the second in which the last row ended where that is more than an hour ago.
        data_product, environment, workspace_id: else as the environment or the run's rows say.
        raise_on_failure: for the last activity of a pipeline, which must end as the pipeline did.

    Raises:
        UsageError: no run is named, or a value makes no sense.
        RunFailedError: the run failed; only with ``raise_on_failure``, and once everything else is done.
    """
    start, end = _moment("started_at", started_at), _moment("ended_at", ended_at)
    if status is not None and meaning(status) not in (SUCCEEDED, FAILED):
        raise UsageError(f"status = {status!r}: write Succeeded or Failed")
    if not identity.normalise_run_id(run_id) and not runtime.current_settings().orchestration_run_id:
        raise UsageError("which run is to be closed? Name its run id, or set DBBTRACE_ORCHESTRATION_RUN_ID")
    scope = make_scope(run_id, data_product=data_product, environment=environment, workspace_id=workspace_id)
    runtime.current().flush_at_end_of_run()  # rows of this process count too
    is_ours = runtime.current().delivery.claim(f"root-{scope.trace_id:032x}")
    if not is_ours and not raise_on_failure:
        return False
    known, failed_parts = rows_of_run(scope.run_id)
    first, last = _around(known)
    root = root_of(
        scope,
        known,
        failed_parts,
        status=status,
        start=first if start is None else start,
        end=last if end is None else end,
    )
    if is_ours:
        emit([root])
    runtime.end_run(scope.run_id)
    if raise_on_failure and root.status.status_code is StatusCode.ERROR:
        raise RunFailedError(f"the run {scope.run_id} failed: {root.status.description}")
    return is_ours


def _around(known: Sequence[Operation]) -> tuple[int | None, int]:
    """From when to when the run was, with a little room: what happened around the rows must fit in."""
    starts = [to_unix_nanos(each.started_at) for each in known if each.started_at]
    ends = [to_unix_nanos(each.ended_at) for each in known if each.ended_at]
    start = min(starts) // NANOS * NANOS if starts else None
    if ends and now() - max(ends) > _LATE:
        return start, (max(ends) // NANOS + 1) * NANOS
    return start, now()


def root_of(
    scope: Scope,
    known: Sequence[Operation],
    failed_parts: Sequence[Part] = (),
    *,
    status: str | None = None,
    start: int | None = None,
    end: int | None = None,
) -> ReadableSpan:
    """The root span of a run of which these operations, and the parts that failed, are known; start and end in
    nanoseconds since the Unix epoch."""
    for operation in known:
        scope = scope.inner(
            data_product=scope.data_product or operation.data_product,
            environment=scope.environment or operation.environment,
        )
    if end is None:
        end = max((to_unix_nanos(each.ended_at) for each in known if each.ended_at), default=now())
    if start is None:
        start = min((to_unix_nanos(each.started_at) for each in known if each.started_at), default=end)
    done = outcomes(known)
    failures = sum(operation.status == FAILED for operation in done)
    failed = meaning(status) == FAILED if status is not None else bool(failures or failed_parts)
    reason = "the run failed"
    if failures:
        reason = f"{failures} of {len(done)} operations failed"
    elif failed_parts:
        first = failed_parts[0]
        reason = f"{first.part} {first.name or first.workload or '?'}: {first.error_message or 'it failed'}"
    return fact(
        scope,
        name=f"orchestration_run {scope.data_product or scope.run_id}",
        operation=key.OPERATION_RUN,
        identity=None,
        span_id=identity.root_span_id(scope.trace_id),
        is_root=True,
        start=start,
        end=end,
        attributes={key.CICD_PIPELINE_RESULT: "failure" if failed else "success"},
        error=(FAILED, reason) if failed else None,
    )


def rows_of_run(run_id: str) -> tuple[list[Operation], list[Part]]:
    """The run's operations and the parts of it that failed, as the warehouse in force has them; none, with a warning,
    where it can't be asked."""
    from dbbtrace.warehouse import open_warehouse

    if (runtime.current().settings.warehouse or "none").lower() == "none":
        return [], []
    try:
        with open_warehouse(create=False) as warehouse:
            found = [each for each in operations(warehouse, [run_id]) if each.workload != "reconciliation"]
            failed = parts(warehouse, [run_id], where=FAILED_PARTS)
            if any(part.begun_again for part in failed):
                left = {one.part.span_id for one in not_done_again(parts(warehouse, [run_id]), found) if one.certain}
                failed = [part for part in failed if not part.begun_again or part.span_id in left]
            return found, failed
    except DbbtraceError as error:
        log.warning("the warehouse can't be asked about the run: %s", error)
        return [], []


def _moment(name: str, at: object) -> int | None:
    try:
        return None if at is None else to_unix_nanos(at)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{name}: {error}; write e.g. 2026-11-24T16:45:00Z") from None
