"""A pipeline run → finished spans: root, workloads, table loads, refreshes, steps. Pure but for ``fact``.

Every span's identity is its activity run, so that a run that is read again gives the same spans. What has not ended
gives none yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags

from dbbtrace.job.api import load_names, refresh_names
from dbbtrace.job.finished import fact
from dbbtrace.job.scope import Scope
from dbbtrace.model import attributes as key
from dbbtrace.model import identity as identities
from dbbtrace.model.statuses import FAILED, SUCCEEDED, is_running
from dbbtrace.model.times import EARLIEST_START
from dbbtrace.sources.fabric.activities import Activity, tried_again
from dbbtrace.sources.fabric.copies import Copy
from dbbtrace.sources.fabric.loads import Load, Names, loads_of
from dbbtrace.sources.fabric.refreshes import read_refresh
from dbbtrace.sources.fabric.rules import Rules, captured, matches
from dbbtrace.sources.fabric.spans import load_spans
from dbbtrace.sources.fabric.walk import PipelineRun, Walk, follows
from dbbtrace.sources.powerbi.spans import attempt_spans

__all__ = ["Build"]

NOT_STARTED = "NotStarted"
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


@dataclass(frozen=True)
class _Level:
    """Where in the run a pipeline is."""

    scope: Scope
    parent: SpanContext
    integration: bool = False
    """Below an integration pipeline: its Copies are table loads."""
    source: str | None = None
    """Source system that the pipeline is for."""
    has_source: bool = False
    """The scope names the pipeline that the integration pipeline invoked."""


class Build:
    """Makes the spans of a run.

    Args:
        scope: of the orchestration run.
        walk: that read the run; it takes further reasons.
        now: nanoseconds since the Unix epoch.
        rows_only: make no spans that give no row: stages of Copies, and steps that succeeded.
    """

    def __init__(self, scope: Scope, rules: Rules, walk: Walk, now: int, *, rows_only: bool = False) -> None:
        self._scope = scope
        self._rows_only = rows_only
        self._rules = rules
        self._walk = walk
        self._now = now
        self.counts: Counter[str] = Counter()
        """Loads, failed, not started, refreshes, steps."""
        self._tried_again: set[str] = set()
        """Activity runs that a later attempt took the place of: their failure decides nothing."""

    def spans(self, top: PipelineRun) -> Iterator[ReadableSpan]:
        """All but the root."""
        root = SpanContext(self._scope.trace_id, identities.root_span_id(self._scope.trace_id), True, _SAMPLED)
        yield from self._run(top, self._enter(top, _Level(self._scope, root)))

    # -- pipelines --------------------------------------------------------------------------------------------

    def _enter(self, run: PipelineRun, outer: _Level) -> _Level:
        """The level inside of a pipeline."""
        name, rules = run.name, self._rules
        scope = outer.scope.inner(workspace_id=run.workspace)
        source = captured(name, rules("pipelines", "source"))
        if outer.integration:
            if not outer.has_source:
                scope = scope.inner(pipeline_run_id=run.run_id, pipeline_id=run.pipeline_id)
            return replace(outer, scope=scope, source=outer.source or source or None, has_source=True)
        if source is not None:
            scope = scope.inner(workload="integration", pipeline_run_id=run.run_id, pipeline_id=run.pipeline_id)
            return replace(outer, scope=scope, integration=True, source=source or None, has_source=True)
        workload = self._workload(name)
        if workload is None:
            return replace(outer, scope=scope)
        if workload == "integration":
            return replace(outer, scope=scope.inner(workload=workload), integration=True)
        inner = scope.inner(workload=workload, pipeline_run_id=run.run_id, pipeline_id=run.pipeline_id)
        return replace(outer, scope=inner)

    def _workload(self, name: str | None) -> str | None:
        stages = ("integration", "transformation", "consumption")
        return next((stage for stage in stages if matches(name, self._rules("pipelines", stage))), None)

    def _run(self, run: PipelineRun, level: _Level) -> Iterator[ReadableSpan]:
        loads = loads_of(run, self._rules, level.source) if level.integration else None
        if loads is not None:
            yield from self._expected(run, level, loads.planned)
            for load in loads.copies:
                if load.is_final:
                    yield from self._load(run, level, load)
            for load in loads.missing:
                yield from self._not_started(run, level, load)
        around = self._for_eachs(run, level)
        self._tried_again |= tried_again(run.activities)
        for activity in run.activities:
            if loads is not None and matches(activity.type, self._rules("loads", "activity_types")):
                continue
            parent = around.get(activity.iteration, level.parent)
            if follows(activity, self._rules):
                yield from self._invoked(run, activity, replace(level, parent=parent))
            elif activity.is_over and not activity.never_started:
                inside = [each for each in run.activities if each.iteration in around] if _is_for_each(activity) else ()
                yield from self._activity(activity, replace(level, parent=parent), inside)

    def _for_eachs(self, run: PipelineRun, level: _Level) -> dict[str, SpanContext]:
        """Iteration → the ForEach's span, where a pipeline has one; of several nothing tells which."""
        found = [each for each in run.activities if _is_for_each(each)]
        if len(found) != 1:
            return {}
        context = self._context(found[0])
        return {each.iteration: context for each in run.activities if each.iteration and each is not found[0]}

    def _invoked(self, run: PipelineRun, activity: Activity, level: _Level) -> Iterator[ReadableSpan]:
        """The span of an activity that invokes a pipeline, and all that is below it."""
        child = run.children.get(activity.identity)
        name = (child.name if child else None) or activity.input.text("pipelineName", "referenceName") or activity.name
        context = self._context(activity)
        workload = None if level.integration else self._workload(name)
        if activity.is_over and not activity.never_started:
            scope = level.scope
            if child is not None:
                scope = scope.inner(pipeline_run_id=child.run_id, pipeline_id=child.pipeline_id)
            if workload is not None:
                scope = scope.inner(workload=workload)
            inside = child.activities if child is not None else ()
            yield from self._step(activity, replace(level, scope=scope), workload or name, workload, inside=inside)
        if child is not None:
            yield from self._run(child, replace(self._enter(child, level), parent=context))

    # -- loads ------------------------------------------------------------------------------------------------

    def _expected(self, run: PipelineRun, level: _Level, planned: list[Names]) -> Iterator[ReadableSpan]:
        """What the pipeline says that it will load: the run's declared set."""
        by = run.name or run.run_id
        start = min((each.start for each in run.activities if each.start is not None), default=self._now)
        for names in planned:
            yield fact(
                level.scope,
                name=f"expected {names.label}",
                operation=key.OPERATION_EXPECTED,
                identity="\n".join(("expected", "integration", names.label, by)),
                start=start,
                end=start,
                attributes={
                    key.CICD_TASK_NAME: names.label,
                    key.WORKLOAD: "integration",
                    key.EXPECTED_BY: by,
                    key.STATUS: "Expected",
                    key.AUDIENCE: key.FOR_ROWS,
                },
                parent=level.parent,
            )

    def _load(self, run: PipelineRun, level: _Level, load: Load) -> Iterator[ReadableSpan]:
        last, copies, identity = load.attempts[-1], list(load.copies), load.attempts[-1].identity
        if copies[-1].status not in (SUCCEEDED, FAILED):
            # The list says that it runs, the pipeline that nothing does. Should it say more later, that is another row.
            reason = f"{run.name or 'the pipeline'} has ended, and its activities do not say how this Copy did"
            copies[-1] = replace(copies[-1], status=FAILED, error=("NotEnded", reason), metrics={})
            identity += "\nnot ended"
        copy = copies[-1]
        start, end = self._period(copy, last, run)
        if start is None:
            name = load.names.label if load.names.table else last.name
            self._walk.reasons[name] = (
                "its Copy succeeded, but nothing says when it started (executionDetails[0].start, activityRunStart), "
                "which incremental loads read as their watermark"
            )
            return
        self.counts["loads"] += 1
        self.counts["failed"] += copy.status == FAILED
        yield from load_spans(
            level.scope,
            copies,
            _load_names(load.names),
            identity=identity,
            start=start,
            end=max(start, end),
            parent=self._context(load.parent) if load.parent else level.parent,
            with_stages=not self._rows_only,
        )

    def _period(self, copy: Copy, activity: Activity, run: PipelineRun) -> tuple[int | None, int]:
        """Start and end of a load; no start where it succeeded and nothing tells."""
        start = next(
            (at for at in (copy.start, activity.start) if at is not None and EARLIEST_START <= at <= self._now), None
        )
        end = next((at for at in (copy.end, activity.end) if at is not None), None)
        if start is None and copy.status == FAILED:
            start = end if end is not None else max((each.start or 0 for each in run.activities), default=self._now)
        return start, end if end is not None else start or self._now

    def _not_started(self, run: PipelineRun, level: _Level, load: Load) -> Iterator[ReadableSpan]:
        cause, around = load.instead, load.parent
        start = next(
            (each.start for each in (cause, around) if each is not None and each.start is not None),
            min((each.start for each in run.activities if each.start is not None), default=self._now),
        )
        reason = "its Copy never started"
        if cause is not None and cause.error is not None:
            reason += f": {cause.name} failed: {cause.error[0]}: {cause.error[1]}"
        elif around is not None:
            reason += f": {around.name} ended as {around.status}"
        self.counts["loads"] += 1
        self.counts["failed"] += 1
        self.counts["not started"] += 1
        yield from load_spans(
            level.scope,
            [Copy(status=FAILED, error=(NOT_STARTED, reason), start=start, end=None)],
            _load_names(load.names),
            identity="\n".join(("not started", run.run_id, *load.names.key)),
            start=start,
            end=max(start, cause.end or start) if cause is not None else start,
            parent=self._context(around) if around is not None else level.parent,
        )

    # -- all other activities ---------------------------------------------------------------------------------

    def _activity(self, activity: Activity, level: _Level, inside: Sequence[Activity]) -> Iterator[ReadableSpan]:
        if matches(activity.type, self._rules("refreshes", "activity_types")):
            yield from self._refresh(activity, level)
        else:
            yield from self._step(activity, level, activity.name, inside=inside)

    def _refresh(self, activity: Activity, level: _Level) -> Iterator[ReadableSpan]:
        refresh = read_refresh(activity, self._rules)
        if refresh.model is None or refresh.start is None or is_running(refresh.status):
            yield from self._step(activity, level, activity.name)
            why = "nothing names its model"
            if refresh.model:
                why = "it still runs: the activity did not wait for it"
                why += f"; dbbtrace refresh --request {refresh.request} follows it" if refresh.request else ""
            self._walk.reasons[activity.name] = f"the refresh has no row: {why}"
            return
        names = refresh_names(refresh.model, refresh.name, refresh.workspace, refresh.request, refresh.refresh_type)
        identity = identities.refresh_identity(refresh.request) if refresh.request else activity.identity
        self.counts["refreshes"] += 1
        self.counts["failed"] += refresh.error is not None
        end = max(refresh.start, refresh.end or refresh.start)
        span = fact(
            level.scope,
            name=f"refresh {names[key.CICD_TASK_NAME]}",
            operation=key.OPERATION_REFRESH,
            identity=identity,
            start=refresh.start,
            end=end,
            # the model's own workspace, never the pipeline's
            attributes={**names, key.WORKLOAD: "consumption", key.STATUS: refresh.status,
                        key.CICD_TASK_RUN_RESULT: "failure" if refresh.error else "success"},
            parent=level.parent,
            error=refresh.error,
        )  # fmt: skip
        yield span
        task = str(names[key.CICD_TASK_NAME])
        yield from attempt_spans(level.scope, refresh.attempts, task, identity=identity, parent=span.context)

    def _step(
        self,
        activity: Activity,
        level: _Level,
        name: str,
        workload: str | None = None,
        *,
        inside: Sequence[Activity] = (),
    ) -> Iterator[ReadableSpan]:
        """The span of an activity that is a step, or a whole workload.

        Args:
            inside: what ran in it. Where that failed, its own failure says nothing more, and has no row.
        """
        self.counts["steps"] += 1
        if workload is None and self._rows_only and not activity.failed:
            return
        operation = key.OPERATION_WORKLOAD if workload else key.OPERATION_STEP
        if activity.identity in self._tried_again:
            operation = key.OPERATION_ATTEMPT
        start = activity.start if activity.start is not None else activity.end or self._now
        attributes: dict[str, Any] = {
            key.CICD_TASK_NAME: name,
            key.CICD_TASK_RUN_RESULT: "failure" if activity.failed else "success",
        }
        if operation == key.OPERATION_STEP and any(each.failed for each in inside):
            attributes[key.PART_ROW] = False
        if activity.attempt or operation == key.OPERATION_ATTEMPT:
            attributes[key.ATTEMPT] = activity.attempt + 1
        yield fact(
            level.scope,
            name=name,
            operation=operation,
            identity=activity.identity,
            start=start,
            end=activity.end if activity.end is not None else start,
            attributes=attributes,
            parent=level.parent,
            error=activity.error,
        )

    def _context(self, activity: Activity) -> SpanContext:
        """Of the activity's span, which may follow later."""
        trace_id = self._scope.trace_id
        return SpanContext(trace_id, identities.span_id_of(trace_id, activity.identity), False, _SAMPLED)


def _is_for_each(activity: Activity) -> bool:
    return activity.type.lower() == "foreach"


def _load_names(names: Names) -> dict[str, Any]:
    return load_names(
        names.table or "?",
        schema=names.schema,
        source=names.source,
        source_type=names.source_type,
        load_type=names.load_type,
    )
