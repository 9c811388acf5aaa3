"""``import_jobs``: Fabric's job events into the run's own record, so that a run that never started is known.

They say how a run was started, when it was scheduled, how long it waited, and that it was cancelled. Only runs of
orchestration pipelines are taken: a job event of another item does not say which run it is part of. Only warehouses get
them: to a tracing backend the run's root is enough.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.diagnostics import complain
from dbbtrace.errors import UsageError
from dbbtrace.job.finished import emit, fact
from dbbtrace.job.runs import make_scope
from dbbtrace.model import attributes as key
from dbbtrace.model.identity import normalise_run_id
from dbbtrace.model.statuses import FAILED, SUCCEEDED, is_running
from dbbtrace.model.times import NANOS, iso_utc
from dbbtrace.sources.fabric.fields import Fields
from dbbtrace.sources.fabric.rules import Rules, captured, read_rules
from dbbtrace.sources.fabric.service import Json, Service
from dbbtrace.tracing import runtime

__all__ = ["ImportedJobs", "import_jobs", "jobs_in_file", "jobs_in_service", "jobs_in_table", "jobs_in_text"]

_TABLE = re.compile(r"\w+(\.\w+){0,2}")
_NAMES = {
    "run_id": ("jobInstanceId", "id"),
    "pipeline": ("itemName", "displayName"),
    "pipeline_id": ("itemId",),
    "workspace": ("workspaceId",),
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
    """Events of other items, which are left out."""

    def __str__(self) -> str:
        others = f"; {self.others} event{'' if self.others == 1 else 's'} of other items" if self.others else ""
        return f"{self.runs} run{'' if self.runs == 1 else 's'}, {self.never_started} of them never started{others}"


@dataclass(frozen=True)
class _Job:
    """A job instance, as far as its events tell."""

    run_id: str
    pipeline: str
    pipeline_id: str | None
    workspace: str | None
    invoke_type: str | None
    status: str
    start: int | None
    end: int | None
    scheduled: int | None

    @property
    def is_over(self) -> bool:
        return not is_running(self.status)

    def after(self, earlier: _Job) -> _Job:
        """The same job with what an earlier event said where this one does not."""
        return replace(
            self,
            pipeline_id=self.pipeline_id or earlier.pipeline_id,
            workspace=self.workspace or earlier.workspace,
            invoke_type=self.invoke_type or earlier.invoke_type,
            start=earlier.start if self.start is None else self.start,
            scheduled=earlier.scheduled if self.scheduled is None else self.scheduled,
        )


def import_jobs(
    events: Iterable[Json], *, rules: str | Path | None = None, environment: str | None = None
) -> ImportedJobs:
    """Record the runs that the job events tell of; again, it adds nothing.

    Args:
        events: job events or job instances, in any order; see ``jobs_in_file``, ``jobs_in_table``, ``jobs_in_service``.
        rules: a file with rules; default: the setting fabric_rules.
        environment: TST, ACC, QUAL or PRD; default: as the settings say.

    Raises:
        UsageError: the rules make no sense.
    """
    read = read_rules(rules or runtime.current_settings().fabric_rules)
    jobs: dict[str, _Job] = {}
    others = 0
    for event in events:
        job = _read(event)
        if job is None or captured(job.pipeline, read("pipelines", "orchestration")) is None:
            others += 1
            continue
        known = jobs.get(job.run_id)
        jobs[job.run_id] = job if known is None else _later(known, job)
    emit([span for job in jobs.values() for span in _spans(job, read, environment)])
    never = sum(job.is_over and job.start is None for job in jobs.values())
    return ImportedJobs(len(jobs), never, others)


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
        workspace=normalise_run_id(fields.text(*_NAMES["workspace"])) or None,
        invoke_type=fields.text(*_NAMES["invoke_type"]),
        status=status,
        start=fields.moment("jobStartTimeUtc", "startTimeUtc", "jobStartTime"),
        end=fields.moment("jobEndTimeUtc", "endTimeUtc", "jobEndTime"),
        scheduled=fields.moment("jobScheduleTimeUtc", "scheduleTimeUtc", "jobScheduleTime"),
    )


def _spans(job: _Job, rules: Rules, environment: str | None) -> Iterator[ReadableSpan]:
    start = next((at for at in (job.start, job.scheduled, job.end) if at is not None), None)
    if start is None:
        complain(f"the job {job.run_id} is left out: it has no start, end or schedule time")
        return
    scope = make_scope(
        job.run_id,
        data_product=captured(job.pipeline, rules("pipelines", "orchestration")),
        environment=environment,
        workspace_id=job.workspace,
    )
    word = job.status.lower()
    error = None
    if job.is_over and word not in ("completed", "succeeded", "deduped"):
        kind = "Cancelled" if word.startswith("cancel") else FAILED
        error = (kind, f"the pipeline was {kind.lower()}" if kind != FAILED else "the pipeline failed")
        if job.start is None:
            error = (kind, f"{error[1]} before it started")
    waited = None if job.start is None or job.scheduled is None else max(0, job.start - job.scheduled)
    detail = {"job_status": job.status} | ({} if waited is None else {"queued_seconds": waited / NANOS})
    yield fact(
        scope,
        name=f"orchestration_run {scope.data_product or scope.run_id}",
        operation=key.OPERATION_RUN,
        identity=f"job\n{job.run_id}",
        is_root=True,
        start=start,
        end=start if not job.is_over else max(start, job.end if job.end is not None else start),
        attributes={
            key.AUDIENCE: key.FOR_ROWS,
            key.STATUS: key.STARTED if not job.is_over else FAILED if error else SUCCEEDED,
            key.JOB_INVOKE_TYPE: job.invoke_type,
            key.JOB_SCHEDULED_AT: iso_utc(job.scheduled) if job.scheduled is not None else None,
            key.PIPELINE_ID: job.pipeline_id,
            key.PIPELINE_RUN_ID: job.run_id,
            key.PART_DETAIL: json.dumps(detail),
        },
        error=error,
    )


# -- where job events are -------------------------------------------------------------------------------------


def jobs_in_file(path: str | Path) -> Iterator[Json]:
    """Job events of a file: JSON lines, a JSON list, or an answer of the job-instances API.

    Raises:
        UsageError: the file can't be read, or is not JSON.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}") from None
    return jobs_in_text(text, str(path))


def jobs_in_text(text: str, name: str) -> Iterator[Json]:
    """The same of a text.

    Raises:
        UsageError: it is not JSON.
    """
    try:
        documents = [json.loads(text)]
    except ValueError:
        lines = enumerate(text.splitlines(), 1)
        documents = [_line(line, f"{name}, line {number}") for number, line in lines if line.strip()]
    for document in documents:
        entries = document.get("value", [document]) if isinstance(document, Mapping) else document
        yield from (entry for entry in (entries if isinstance(entries, list) else []) if isinstance(entry, Mapping))


def _line(line: str, place: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise UsageError(f"{place} is not JSON: {error}") from None


def jobs_in_table(table: str, url: str | None = None) -> Iterator[Json]:
    """Job events of a table, e.g. ``dbo.dbb_orchestration_run_data`` of the lakehouse's SQL endpoint.

    Args:
        table: its name; letters, digits, underscores and dots.
        url: where it is, as for the warehouse; default: the warehouse in force.

    Raises:
        DbbtraceError: the name makes no sense, or the table can't be read.
    """
    from dbbtrace.warehouse import open_warehouse

    if _TABLE.fullmatch(table) is None:
        raise UsageError(f"table = {table!r} is not the name of a table: write e.g. dbo.dbb_orchestration_run_data")
    with open_warehouse(url, create=False) as opened:
        result = opened.query(f"SELECT * FROM {table}")
    for row in result.rows:
        yield dict(zip(result.columns, row, strict=True))


def jobs_in_service(
    service: Service, workspace_id: object = None, *, rules: str | Path | None = None
) -> Iterator[Json]:
    """The newest job instances of a workspace's orchestration pipelines.

    Raises:
        DbbtraceError: no workspace is named, or it can't be read.
    """
    settings = runtime.current_settings()
    workspace = normalise_run_id(workspace_id) or settings.workspace_id
    if not workspace:
        raise UsageError("of which workspace are the jobs? Name it, or set DBBTRACE_WORKSPACE_ID")
    read = read_rules(rules or settings.fabric_rules)
    for name, item in service.pipelines(workspace).items():
        if captured(name, read("pipelines", "orchestration")) is not None:
            for job in service.jobs(workspace, item):
                yield {**job, "itemName": name, "workspaceId": workspace}
