"""A pipeline run with everything below it: its activity runs, and those of the pipelines that it invoked.

A child that can't be followed is a reason, by name, and costs only itself. Reads, never writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from dbbtrace.errors import DbbtraceError, TransientError
from dbbtrace.model.identity import normalise_guid
from dbbtrace.model.times import NANOS
from dbbtrace.sources.fabric.activities import Activity, newest
from dbbtrace.sources.fabric.fields import Fields, folded
from dbbtrace.sources.fabric.rules import Rules, matches
from dbbtrace.sources.fabric.service import Service

__all__ = ["Child", "PipelineRun", "Walk", "follows"]

_DEEPEST = 16
_QUIET = 600 * NANOS
"""A run whose job instance can't be read is over once everything in it has been so for this long."""
_TERMINAL = ("completed", "succeeded", "failed", "cancelled", "canceled", "deduped")


class Child(NamedTuple):
    """Where the run of an invoked pipeline is."""

    run_id: str
    workspace: str | None = None
    """None: the workspace of the pipeline that invoked it."""


@dataclass
class PipelineRun:
    """One run of one pipeline."""

    run_id: str
    workspace: str
    name: str | None
    pipeline_id: str | None
    activities: list[Activity]
    job: Fields = field(default_factory=lambda: Fields(None))
    """Its job instance; without members where it was not asked for or can't be read."""
    is_over: bool = False
    children: dict[str, PipelineRun] = field(default_factory=dict)
    """Identity of the activity that invoked it → the run."""
    parameters: Fields = field(default_factory=lambda: Fields(None))
    """With which it was invoked."""

    def all(self) -> Iterator[PipelineRun]:
        """This run and all below it."""
        yield self
        for child in self.children.values():
            yield from child.all()


def follows(activity: Activity, rules: Rules) -> bool:
    """Whether the activity invokes a pipeline."""
    return matches(activity.type, rules("children", "activity_types"))


class Walk:
    """Reads a pipeline run from the service.

    Args:
        named: name of an activity or a pipeline → where its run is, for what no output tells.
        now: nanoseconds since the Unix epoch.
        closing: the caller is the run's last activity, which still runs.
        settled: runs that an earlier walk has read to their end; this one adds to them.
    """

    def __init__(
        self,
        service: Service,
        rules: Rules,
        named: Mapping[str, Child],
        *,
        now: int,
        closing: bool = False,
        settled: dict[str, PipelineRun] | None = None,
    ) -> None:
        self._service = service
        self._rules = rules
        self._named = {folded(name): child for name, child in named.items()}
        self._now = now
        self._closing = closing
        self._settled = {} if settled is None else settled
        self._seen: set[str] = set()
        self._pipelines: dict[str, Mapping[str, str]] = {}
        self.reasons: dict[str, str] = {}
        """Activity or pipeline → why it could not be followed, or the run not be read in full."""

    def top(self, workspace: str, run_id: str, item: str | None) -> PipelineRun:
        """The run that was asked for.

        Raises:
            DbbtraceError: it can't be read.
        """
        if item is None:
            known = PipelineRun(run_id, workspace, None, None, newest(self._service.activity_runs(workspace, run_id)))
            item = self.pipeline_id_of(known)
        # The job first: a list that was read while the run went on must not be taken for that of a run that has ended.
        job = self._job(workspace, item, run_id)
        run = self._read(workspace, run_id, item)
        if job is None:
            run.is_over = self._is_quiet(run.activities)
            if run.is_over:
                self.reasons[run.name or run_id] = (
                    "its job instance could not be read, so its own times and outcome are not known"
                )
        else:
            run.job, run.is_over = job, _has_ended(job)
        if self._closing and not run.is_over:
            running = [each for each in run.activities if not each.is_over]
            run.is_over = len(running) <= 1 and all(
                matches(each.type, self._rules("outcome", "closing")) for each in running
            )
        return run

    def _read(self, workspace: str, run_id: str, item: str | None, depth: int = 0) -> PipelineRun:
        self._seen.add(run_id)
        run = PipelineRun(run_id, workspace, None, item, newest(self._service.activity_runs(workspace, run_id)))
        self.pipeline_id_of(run)
        for activity in run.activities:
            if follows(activity, self._rules) and not activity.never_started:
                self._follow(run, activity, depth)
        return run

    def _follow(self, parent: PipelineRun, activity: Activity, depth: int) -> None:
        where = self._where(parent, activity)
        if where is None:
            if activity.is_over:
                keys = ", ".join(self._rules("children", "run"))
                self.reasons[activity.name] = (
                    f"the run that it invoked is not known: its output has none of the keys {keys}; "
                    f"name it with --child {activity.name}=RUN, or its key in the rules"
                )
            return
        if where.run_id in self._seen or depth >= _DEEPEST:
            return
        if (settled := self._settled.get(where.run_id)) is not None:
            parent.children[activity.identity] = settled
            return
        pipeline, reasons = activity.input.text(*self._rules("children", "pipeline")), len(self.reasons)
        workspace = where.workspace or parent.workspace
        try:
            child = self._read(workspace, where.run_id, pipeline, depth + 1)
            child.is_over = self._waited_for(activity, child)
            if activity.is_over and not child.is_over:
                job = self._job(workspace, child.pipeline_id, child.run_id)
                if job is None:
                    child.is_over = self._is_quiet(child.activities)
                elif _has_ended(job):
                    self._seen -= {run.run_id for run in child.all()}
                    child = self._read(workspace, where.run_id, pipeline, depth + 1)  # what came since
                    child.job, child.is_over = job, True
        except TransientError:
            raise
        except DbbtraceError as error:
            self.reasons[activity.name] = f"the run {where.run_id} that it invoked could not be read: {error}"
            return
        child.parameters = activity.input.object("parameters")
        parent.children[activity.identity] = child
        if len(self.reasons) == reasons and all(run.is_over for run in child.all()):
            self._settled[where.run_id] = child

    def _where(self, parent: PipelineRun, activity: Activity) -> Child | None:
        pipeline = activity.input.text("pipelineName", "referenceName")
        for name in (activity.name, pipeline):
            if name and folded(name) in self._named:
                return self._named[folded(name)]
        run_id = _below(activity.output, self._rules("children", "run"))
        if not run_id:
            return None
        keys = self._rules("children", "workspace")
        workspace = _below(activity.output, keys) or _below(activity.input, keys)
        return Child(normalise_guid(run_id), normalise_guid(workspace) if workspace else None)

    def _waited_for(self, activity: Activity, child: PipelineRun) -> bool:
        """Whether the activity ended because the child did: one that did not wait, or was cancelled, does not know."""
        waits = str(activity.input.get("waitOnCompletion")).lower() != "false"
        return activity.is_over and waits and all(each.is_over for each in child.activities)

    def _is_quiet(self, activities: list[Activity]) -> bool:
        last = max((each.end or each.start or 0 for each in activities), default=self._now)
        return all(each.is_over for each in activities) and self._now - last > _QUIET

    def _job(self, workspace: str, item: str | None, run_id: str) -> Fields | None:
        try:
            return Fields(self._service.job(workspace, item or "", run_id), "job")
        except TransientError:
            raise
        except DbbtraceError:
            return None

    def pipeline_id_of(self, run: PipelineRun) -> str | None:
        """The pipeline's id, asked for by its name where nothing else tells."""
        if run.name is None:
            run.name = next((each.pipeline_name for each in run.activities if each.pipeline_name), None)
        if run.pipeline_id is None:
            run.pipeline_id = next((each.pipeline_id for each in run.activities if each.pipeline_id), None)
        if run.pipeline_id is None and run.name:
            run.pipeline_id = self._pipelines_of(run.workspace).get(run.name)
        return run.pipeline_id

    def _pipelines_of(self, workspace: str) -> Mapping[str, str]:
        if workspace not in self._pipelines:
            try:
                self._pipelines[workspace] = self._service.pipelines(workspace)
            except TransientError:
                raise
            except DbbtraceError:
                self._pipelines[workspace] = {}
        return self._pipelines[workspace]


def _has_ended(job: Fields) -> bool:
    return (job.word("status") or "").lower() in _TERMINAL


def _below(fields: Fields, paths: tuple[str, ...]) -> str | None:
    """The text at the first of these paths, whose parts a dot separates."""
    for path in paths:
        *above, last = path.split(".")
        place = fields
        for part in above:
            place = place.object(part)
        if text := place.text(last):
            return text
    return None
