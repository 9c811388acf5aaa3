"""How a pipeline run ended: its outcome, its root span, and what of it could not be read. Pure but for ``fact``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.job.finished import fact
from dbbtrace.job.scope import Scope
from dbbtrace.model import attributes as key
from dbbtrace.model import identity as identities
from dbbtrace.model.statuses import FAILED, RUNNING, SUCCEEDED
from dbbtrace.sources.fabric.activities import Activity
from dbbtrace.sources.fabric.copies import error_of
from dbbtrace.sources.fabric.rules import Rules, matches
from dbbtrace.sources.fabric.walk import PipelineRun

__all__ = ["judgement", "outcome_of", "root_of"]


def outcome_of(top: PipelineRun, rules: Rules, *, closing: bool) -> tuple[str, str | None]:
    """How the run ended, and why where it failed; RUNNING, and what still runs.

    While its closing activity runs, the service does not say it yet. Then each activity that failed is a reason. Fabric
    itself overlooks one if something else ran after it and succeeded; the activity runs don't tell what depended on
    what.

    Args:
        closing: the caller is the run's last activity.
    """
    word = (top.job.word("status") or "").lower()
    if word in ("failed", "cancelled", "canceled"):
        said = error_of(top.job)
        status = FAILED if word == "failed" else "Cancelled"
        return status, (said[1] if said else None) or _failures(top, rules) or f"the pipeline {status.lower()}"
    if not top.is_over and not closing:
        return RUNNING, None
    failures = None if word in ("completed", "succeeded") else _failures(top, rules)
    if failures:
        return FAILED, failures
    return (SUCCEEDED, None) if top.is_over else (RUNNING, _not_waited_for(top, rules))


def _failures(top: PipelineRun, rules: Rules) -> str | None:
    """The activities of the pipeline itself that failed, in words. Of what ran in a ForEach, the ForEach decides."""
    outcomes: dict[str, Activity] = {each.name: each for each in top.activities if not each.iteration}
    failed = [
        each for each in outcomes.values() if each.failed and not matches(each.name, rules("outcome", "may_fail"))
    ]
    named = [f"{each.name}: {each.error[1]}" for each in failed if each.error is not None]
    return "; ".join(named[:3]) + (f"; and {len(named) - 3} more" if len(named) > 3 else "") or None


def _not_waited_for(top: PipelineRun, rules: Rules) -> str:
    """What the closing activity should have waited for, in words."""
    closing = rules("outcome", "closing")
    running = [each.name for each in top.activities if not each.is_over and not matches(each.type, closing)]
    running = running or [each.name for each in top.activities if not each.is_over]
    are = "is" if len(running) == 1 else "are"
    return f"{', '.join(running)} {are} still running; the last activity must depend on the end of each branch"


def judgement(scope: Scope, top: PipelineRun, reasons: Mapping[str, str], clock: int) -> Iterator[ReadableSpan]:
    """What could not be read of the run. It takes the place of what an earlier import could not read; the same again
    adds nothing."""
    by = "import-run" if scope.run_id == top.run_id else f"import-run {top.run_id}"
    findings = [(name, "Incomplete", "NotRead", why) for name, why in reasons.items()]
    for name, status, kind, text in (("judged", "Judged", "judged", "read from Fabric"), *findings):
        yield fact(
            scope,
            name=f"finding {name}",
            operation=key.OPERATION_FINDING,
            identity="\n".join(("finding", by, name, *(f"{each}: {why}" for each, why in reasons.items()))),
            start=clock,
            end=clock,
            attributes={
                key.CICD_TASK_NAME: name,
                key.STATUS: status,
                key.EXPECTED_BY: by,
                key.AUDIENCE: key.FOR_ROWS,
            },
            error=(kind, text),
        )


def root_of(scope: Scope, top: PipelineRun, reason: str | None, clock: int) -> ReadableSpan:
    """The run's root span, with the service's own times.

    Args:
        reason: why it failed.
    """
    starts = [each.start for each in top.activities if each.start is not None]
    ends = [each.end for each in top.activities if each.end is not None]
    start = top.job.moment("startTimeUtc")
    end = top.job.moment("endTimeUtc")
    return fact(
        scope,
        name=f"orchestration_run {scope.data_product or scope.run_id}",
        operation=key.OPERATION_RUN,
        identity=None,
        span_id=identities.root_span_id(scope.trace_id),
        is_root=True,
        start=start if start is not None else min(starts, default=clock),
        end=end if end is not None else max(ends, default=clock),
        attributes={
            key.CICD_PIPELINE_RESULT: "failure" if reason else "success",
            key.JOB_INVOKE_TYPE: top.job.text("invokeType"),
            key.PIPELINE_ID: top.pipeline_id,
            key.PIPELINE_RUN_ID: top.run_id,
        },
        error=(error_of(top.job) or (FAILED, reason)) if reason else None,
    )
