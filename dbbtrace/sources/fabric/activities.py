"""An activity run of a pipeline, as the service lists it. Pure.

Whatever is missing or mistyped, the rest is read: see ``fields``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from dbbtrace.job.values import guid
from dbbtrace.model.identity import activity_identity
from dbbtrace.model.statuses import is_running
from dbbtrace.sources.fabric.copies import Copy, error_of, read_copy
from dbbtrace.sources.fabric.fields import Fields

__all__ = ["Activity", "newest", "tried_again"]

_NEVER_STARTED = ("skipped", "inactive")
_SUCCEEDED = ("succeeded", "completed", "success")


class Activity:
    """One activity run: one attempt of an activity."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        self.fields = fields = Fields(raw)
        self.name = fields.text("activityName") or "?"
        self.type = fields.text("activityType") or "?"
        self.run_id = (fields.text("activityRunId") or "").lower()
        self.iteration = fields.text("iterationHash") or ""
        self.attempt = fields.count("retryAttempt") or 0
        self.start = fields.moment("activityRunStart")
        self.end = fields.moment("activityRunEnd")
        self.status = fields.word("status") or ("Succeeded" if self.end is not None else "InProgress")
        self.is_over = not is_running(self.status)
        """Whether it has ended."""
        self.never_started = self.status.lower() in _NEVER_STARTED
        """Whether the pipeline left it out."""
        self.failed = self.is_over and not self.never_started and self.status.lower() not in _SUCCEEDED
        """Whether it ended in another way than well."""

    @cached_property
    def pipeline_name(self) -> str | None:
        return self.fields.text("pipelineName")

    @cached_property
    def pipeline_id(self) -> str | None:
        return guid(self.fields.text("pipelineId") or "") or None

    @cached_property
    def input(self) -> Fields:
        return self.fields.object("input")

    @cached_property
    def output(self) -> Fields:
        return self.fields.object("output")

    @cached_property
    def copy(self) -> Copy:
        return read_copy(self.fields, self.output)

    @property
    def error(self) -> tuple[str, str] | None:
        """error.type and message of one that failed."""
        if not self.failed:
            return None
        return error_of(self.fields, self.output) or (self.status, f"{self.name} ended as {self.status}")

    @cached_property
    def identity(self) -> str:
        """What the activity run is known by."""
        if self.run_id:
            return activity_identity(self.run_id)
        pipeline_run_id = guid(self.fields.text("pipelineRunId") or "")
        parts = (pipeline_run_id, self.name, self.iteration, str(self.attempt), str(self.start or ""))
        return "\n".join(("activity", *parts))


def newest(activities: Iterable[Mapping[str, Any]]) -> list[Activity]:
    """The activity runs without doubles: a list that changes between two pages may have one on both. Of two records of
    one activity run, the one that has ended counts, else the later one."""
    found: dict[str, Activity] = {}
    for raw in activities:
        activity = Activity(raw)
        known = found.get(activity.identity)
        if known is None or activity.is_over or not known.is_over:
            found[activity.identity] = activity
    return sorted(found.values(), key=lambda activity: (activity.start or 0, activity.attempt))


def tried_again(activities: Iterable[Activity]) -> set[str]:
    """Identities of the activity runs that a later attempt took the place of."""
    last: dict[tuple[str, str], Activity] = {}
    earlier = set()
    for activity in activities:
        known = last.get((activity.name, activity.iteration))
        if known is not None and known.attempt != activity.attempt:
            known, activity = sorted((known, activity), key=lambda each: each.attempt)
            earlier.add(known.identity)
        last[activity.name, activity.iteration] = activity
    return earlier
