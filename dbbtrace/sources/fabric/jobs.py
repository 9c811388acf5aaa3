"""``import_jobs``: Fabric's job events into the run's own record, so that a run that never started is known.

They say how a run was started, when it was scheduled, how long it waited, and that it was cancelled. A job event of
another pipeline does not say which run it is part of: the rows that name the job's id do, and without one it is left
out. Only warehouses get them: to a tracing backend the run's root is enough. ``job_events`` finds events.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.diagnostics import complain
from dbbtrace.job.context import make_scope
from dbbtrace.job.finished import emit, fact
from dbbtrace.model import attributes as key
from dbbtrace.model.identity import normalise_run_id
from dbbtrace.model.statuses import FAILED, SUCCEEDED, is_running
from dbbtrace.model.times import NANOS, iso_utc
from dbbtrace.sources.fabric.fields import Fields
from dbbtrace.sources.fabric.job_runs import PartOf, runs_of
from dbbtrace.sources.fabric.rules import captured, read_rules
from dbbtrace.sources.fabric.service import Json
from dbbtrace.tracing import runtime

__all__ = ["ImportedJobs", "import_jobs"]

_NAMES = {
    "run_id": ("jobInstanceId", "id"),
    "pipeline": ("itemName", "displayName"),
    "pipeline_id": ("itemId",),
    "kind": ("itemKind", "itemType"),
    "workspace": ("workspaceId",),
    "workspace_name": ("workspaceName",),
    "type": ("jobType",),
    "invoke_type": ("jobInvokeType", "invokeType"),
    "status": ("jobStatus", "status"),
}


@dataclass(frozen=True)
class ImportedJobs:
    """What ``import_jobs`` found."""

    runs: int
    """Runs of orchestration pipelines."""
    never_started: int
    """Runs that ended without a start."""
    others: int
    """Events of other items that belong to no known run, which are left out."""
    children: int = 0
    """Jobs of other pipelines, in runs whose rows name them."""
    refused: int = 0
    """Events without an id, a status or any time; a log line names what each lacks."""

    def __str__(self) -> str:
        children = (
            f"; {self.children} job{'' if self.children == 1 else 's'} of their pipelines" if self.children else ""
        )
        others = f"; {self.others} event{'' if self.others == 1 else 's'} of other items" if self.others else ""
        runs = f"{self.runs} run{'' if self.runs == 1 else 's'}, {self.never_started} of them never started"
        refused = f"; {_counted(self.refused, 'event')} refused" if self.refused else ""
        return f"{runs}{children}{others}{refused}"


@dataclass(frozen=True)
class _Job:
    """A job instance, as far as its events tell."""

    run_id: str
    pipeline: str
    pipeline_id: str | None
    kind: str | None
    workspace: str | None
    workspace_name: str | None
    type: str | None
    invoke_type: str | None
    status: str
    start: int | None
    end: int | None
    scheduled: int | None

    @property
    def began(self) -> int | None:
        """Its start, or what is next to it."""
        return next((at for at in (self.start, self.scheduled, self.end) if at is not None), None)

    @property
    def is_over(self) -> bool:
        return not is_running(self.status)

    def after(self, earlier: _Job) -> _Job:
        """The same job with what an earlier event said where this one does not."""
        return replace(
            self,
            pipeline_id=self.pipeline_id or earlier.pipeline_id,
            kind=self.kind or earlier.kind,
            workspace=self.workspace or earlier.workspace,
            workspace_name=self.workspace_name or earlier.workspace_name,
            type=self.type or earlier.type,
            invoke_type=self.invoke_type or earlier.invoke_type,
            start=earlier.start if self.start is None else self.start,
            scheduled=earlier.scheduled if self.scheduled is None else self.scheduled,
        )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def import_jobs(
    events: Iterable[Json], *, rules: str | Path | None = None, environment: str | None = None
) -> ImportedJobs:
    """Record the runs that the job events tell of; again, it adds nothing.

    Import them after the rows of their runs: those say which run the job of an invoked pipeline is part of.

    Args:
        events: job events or job instances, in any order; ``job_events`` finds them.
        rules: a file with rules; default: the setting fabric_rules.
        environment: TST, ACC, QUAL or PRD; default: as the settings say.

    Raises:
        UsageError: the rules make no sense.
    """
    read = read_rules(rules or runtime.current_settings().fabric_rules)
    jobs: dict[str, _Job] = {}
    count: Counter[str] = Counter()
    refused = 0
    for event in events:
        job = _read(event)
        if job is None:
            refused += 1
            continue
        earlier = jobs.get(job.run_id)
        jobs[job.run_id] = job if earlier is None else _later(earlier, job)
        count[job.run_id] += 1
    runs = {
        job.run_id: PartOf(job.run_id, product)
        for job in jobs.values()
        if (product := captured(job.pipeline, read("pipelines", "orchestration"))) is not None
    }
    part_of = {**runs_of(jobs.keys() - runs.keys()), **runs}
    others = sum(number for job, number in count.items() if job not in part_of)
    for job_id in [each for each in part_of if jobs[each].began is None]:
        complain(f"the job {job_id} is left out: it has no start, end or schedule time")
        refused += count[job_id]
        del part_of[job_id]
        runs.pop(job_id, None)
    emit(
        [
            span
            for job in jobs.values()
            if job.run_id in part_of
            for span in _spans(job, part_of[job.run_id], environment)
        ]
    )
    never = sum(jobs[run].is_over and jobs[run].start is None for run in runs)
    return ImportedJobs(len(runs), never, others, len(part_of) - len(runs), refused)


def _later(one: _Job, other: _Job) -> _Job:
    """What is known of the job: an event that ends it counts, else the one that has a start."""
    first, last = sorted((one, other), key=lambda job: (job.is_over, job.start is not None))
    return last.after(first)


def _read(event: Json) -> _Job | None:
    fields = Fields(event)
    fields = fields.object("data") or fields  # of a CloudEvent
    run_id = normalise_run_id(fields.text(*_NAMES["run_id"]))
    status = fields.word(*_NAMES["status"])
    if not run_id or status is None:
        complain(f"a job event is left out: it has no {'status' if run_id else 'job_instance_id'}")
        return None
    return _Job(
        run_id=run_id,
        pipeline=fields.text(*_NAMES["pipeline"]) or "",
        pipeline_id=normalise_run_id(fields.text(*_NAMES["pipeline_id"])) or None,
        kind=fields.text(*_NAMES["kind"]),
        workspace=normalise_run_id(fields.text(*_NAMES["workspace"])) or None,
        workspace_name=fields.text(*_NAMES["workspace_name"]),
        type=fields.text(*_NAMES["type"]),
        invoke_type=fields.text(*_NAMES["invoke_type"]),
        status=status,
        start=fields.moment("jobStartTimeUtc", "startTimeUtc", "jobStartTime"),
        end=fields.moment("jobEndTimeUtc", "endTimeUtc", "jobEndTime"),
        scheduled=fields.moment("jobScheduleTimeUtc", "scheduleTimeUtc", "jobScheduleTime"),
    )


def _spans(job: _Job, part_of: PartOf, environment: str | None) -> Iterator[ReadableSpan]:
    start = job.began
    if start is None:
        return
    scope = make_scope(
        part_of.run_id, data_product=part_of.data_product, environment=environment, workspace_id=job.workspace
    )
    is_root, error = job.run_id == part_of.run_id, _error(job)
    yield fact(
        scope,
        name=f"orchestration_run {scope.data_product or scope.run_id}" if is_root else f"job {job.pipeline}",
        operation=key.OPERATION_RUN if is_root else key.OPERATION_STEP,
        identity=f"job\n{job.run_id}",
        is_root=is_root,
        start=start,
        end=start if not job.is_over else max(start, job.end if job.end is not None else start),
        attributes={
            key.CICD_TASK_NAME: job.pipeline or None,
            key.AUDIENCE: key.FOR_ROWS,
            key.PART_ROW: None if is_root else True,
            key.STATUS: key.STARTED if not job.is_over else FAILED if error else SUCCEEDED,
            key.JOB_INVOKE_TYPE: job.invoke_type,
            key.JOB_SCHEDULED_AT: iso_utc(job.scheduled) if job.scheduled is not None else None,
            key.PIPELINE_ID: job.pipeline_id,
            key.PIPELINE_RUN_ID: job.run_id,
            key.PART_DETAIL: json.dumps(_detail(job), ensure_ascii=False),
        },
        error=error,
    )


def _error(job: _Job) -> tuple[str, str] | None:
    """error.type and message of a job that did not do its work."""
    word = job.status.lower()
    if not job.is_over or word in ("completed", "succeeded"):
        return None
    if word == "deduped":
        return "Deduped", "the pipeline was not started: another run of it was going on"
    kind = "Cancelled" if word.startswith("cancel") else FAILED
    said = f"the pipeline was {kind.lower()}" if kind != FAILED else "the pipeline failed"
    return kind, said if job.start is not None else f"{said} before it started"


def _detail(job: _Job) -> dict[str, Any]:
    """What the event says and no column holds; ``monitoring_jobs`` reads it."""
    said: dict[str, Any] = {
        "job_status": job.status,
        "job_type": job.type,
        "item_kind": job.kind,
        "workspace_name": job.workspace_name,
    }
    if job.start is None:
        said["started"] = "no"
    elif job.scheduled is not None:
        said["queued_seconds"] = max(0, job.start - job.scheduled) / NANOS
    return {name: value for name, value in said.items() if value is not None}
