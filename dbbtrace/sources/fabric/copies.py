"""A Copy activity → what its row says. Pure: no clock, no network, no span.

Takes the activity's output, or the whole activity object around it (as an expression, the monitoring page or the REST
API gives it). Keys appear only when they apply: a failed Copy has none of the row and byte keys. Whatever is missing or
mistyped, a Copy that failed is read as failed. Only what is no activity at all is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dbbtrace.errors import UsageError
from dbbtrace.job.values import shown
from dbbtrace.model import attributes as key
from dbbtrace.model.identity import activity_identity
from dbbtrace.model.masking import masked_input
from dbbtrace.model.statuses import FAILED, LOADS, SUCCEEDED, is_running, meaning
from dbbtrace.model.times import EARLIEST_START, NANOS
from dbbtrace.sources.fabric.fields import Fields

__all__ = ["Copy", "attempts_of", "error_of", "read_copy"]

_STAGES = (("queue", "queuingDuration"), ("time to first byte", "timeToFirstByte"), ("transfer", "transferDuration"))
_SUCCESS_KEYS = ("rowsCopied", "rowsRead", "dataRead", "dataWritten", "filesRead", "filesWritten", "throughput")
"""A failed Copy has none of them."""
_OF_AN_ACTIVITY = ("output", "status", "activityRunId", "activityName", "activityType", "activityRunStart")
"""Keys that the whole activity has and its output has not."""


@dataclass(frozen=True)
class Copy:
    """One attempt of a Copy activity."""

    status: str
    """Succeeded or Failed; Running: it has not ended."""
    error: tuple[str, str] | None
    """error.type and message of a Copy that failed."""
    start: int | None
    """Nanoseconds since the Unix epoch; None: nothing tells, or what tells can't be."""
    end: int | None
    metrics: dict[str, Any] = field(default_factory=dict)
    """Attribute → rows, bytes and throughput, as far as they are known."""
    stages: tuple[tuple[str, int], ...] = ()
    """What the time went into: name and nanoseconds, in their order."""
    activity_run_id: str | None = None
    attempt: int = 0
    """How many attempts came before it."""

    @property
    def identity(self) -> str | None:
        """What the activity run is known by, whoever records it; None: only its output is known."""
        return activity_identity(self.activity_run_id) if self.activity_run_id else None


def _parsed(value: object) -> list[Mapping[str, Any]]:
    """The activity objects in the value: one, or a list of attempts; JSON text is read.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(value, (str, bytes, bytearray)):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"the Copy's output is not JSON ({error}): pass @activity('...').output") from None
    objects = value.get("value", [value]) if isinstance(value, Mapping) else value
    if isinstance(objects, (list, tuple)) and objects and all(isinstance(each, Mapping) for each in objects):
        return list(objects)
    raise UsageError(f"the Copy's output = {shown(value)} is not a JSON object: pass @activity('...').output")


def read_copy(activity: Fields, output: Fields) -> Copy:
    """What the activity and its output say of one attempt."""
    detail = next(output.list("executionDetails"), Fields(None))
    status = _status(activity, output)
    start, end = _period(activity, output, detail)
    error = None
    if status == FAILED:
        error = error_of(activity, output) or (activity.word("status") or FAILED, _unexplained(activity, output))
    return Copy(
        status=status,
        error=error,
        start=start,
        end=end,
        metrics=_metrics(output) if status == SUCCEEDED else _read_so_far(output),
        stages=_stages(detail),
        activity_run_id=(activity.text("activityRunId") or "").lower() or None,
        attempt=activity.count("retryAttempt") or 0,
    )


def attempts_of(output: object) -> list[Copy]:
    """The attempts that the output holds, in their order.

    Raises:
        UsageError: it holds none, or the last one has not ended.
    """
    copies = sorted(map(_read, _parsed(output)), key=lambda copy: (copy.attempt, copy.start or 0))
    if copies[-1].status not in (SUCCEEDED, FAILED):
        raise UsageError("the Copy's status says that it still runs: record it when it has ended")
    return copies


def _read(value: Mapping[str, Any]) -> Copy:
    given = Fields(value)
    if any(name in given for name in _OF_AN_ACTIVITY):
        return read_copy(given, given.object("output"))
    return read_copy(Fields(None), given)


def error_of(*places: Fields) -> tuple[str, str] | None:
    """error.type and message of the first place that has an error, whatever it is called there; None without."""
    for place in places:
        said = place.get("error", "failureReason")
        if isinstance(said, str):
            return FAILED, masked_input(said.strip())
        found = [*place.list("error", "failureReason"), *place.list("errors")]
        found = [each for each in found if _says_something(each)]
        if found:
            code = found[0].text("errorCode", "code") or found[0].text("failureType") or FAILED
            message = masked_input(found[0].text("message") or code)
            return code, message if len(found) == 1 else f"{message} (and {len(found) - 1} more)"
    return None


def _says_something(error: Fields) -> bool:
    """Whether it is an error: of an activity that succeeded, all its members are empty."""
    return any(error.get(name) is not None for name in ("errorCode", "code", "message"))


def _status(activity: Fields, output: Fields) -> str:
    word = activity.word("status")
    if word is not None:
        if is_running(word):
            return "Running"
        return SUCCEEDED if meaning(word, LOADS) == SUCCEEDED else FAILED  # a word that nobody knows too
    words = [each.word("status") for each in output.list("executionDetails")]
    known = [word for word in words if word is not None]
    if known:
        return SUCCEEDED if all(meaning(word, LOADS) == SUCCEEDED for word in known) else FAILED
    if error_of(activity, output):
        return FAILED
    return SUCCEEDED if any(name in output for name in _SUCCESS_KEYS) else FAILED


def _unexplained(activity: Fields, output: Fields) -> str:
    word = activity.word("status") or next(
        (text for each in output.list("executionDetails") if (text := each.word("status"))), None
    )
    if word is not None:
        return f"the Copy ended as {word}, without a message"
    return "the output has no executionDetails[0].status, no errors and none of the keys of a Copy that succeeded"


def _period(activity: Fields, output: Fields, detail: Fields) -> tuple[int | None, int | None]:
    """Start and end. The Copy's own start comes first: incremental loads read it as their watermark."""
    end = activity.moment("executionEndTime", "activityRunEnd")
    took = _nanos(output, "copyDuration")
    took = _nanos(detail, "duration") if took is None else took
    start = next(
        (
            moment
            for moment in (detail.moment("start"), activity.moment("executionStartTime", "activityRunStart"))
            if moment is not None and moment >= EARLIEST_START and (end is None or moment <= end)
        ),
        None,
    )
    if start is None and end is not None and took is not None:
        start = end - took
    if end is None and start is not None and took is not None:
        end = start + took
    return start, end


def _nanos(place: Fields, name: str) -> int | None:
    seconds = place.number(name)
    return None if seconds is None or seconds > 10**9 else int(seconds * NANOS)


def _metrics(output: Fields) -> dict[str, Any]:
    found = _read_so_far(output)
    written = output.count("rowsCopied", "rowsWritten")
    if found.get(key.DATA_WRITTEN) == 0:
        written = 0
    if written is not None:
        found[key.ROWS_WRITTEN] = written
    return found


def _read_so_far(output: Fields) -> dict[str, Any]:
    """What a Copy that failed may say too; rows that it wrote are not known to be committed."""
    values = {
        key.ROWS_READ: output.count("rowsRead"),
        key.DATA_READ: output.count("dataRead"),
        key.DATA_WRITTEN: output.count("dataWritten"),
        key.THROUGHPUT: output.number("throughput"),
    }
    return {name: value for name, value in values.items() if value is not None}


def _stages(detail: Fields) -> tuple[tuple[str, int], ...]:
    durations = detail.object("detailedDurations")
    spent = ((name, _nanos(durations, spelled)) for name, spelled in _STAGES)
    return tuple((name, nanos) for name, nanos in spent if nanos is not None)
