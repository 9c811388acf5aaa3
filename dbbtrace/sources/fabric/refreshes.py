"""A semantic model refresh activity → what its row says. Pure."""

from __future__ import annotations

from typing import NamedTuple

from dbbtrace.model.statuses import FAILED, REFRESHES, is_running, meaning
from dbbtrace.sources.fabric.activities import Activity
from dbbtrace.sources.fabric.copies import error_of
from dbbtrace.sources.fabric.rules import Rules
from dbbtrace.sources.powerbi.details import Attempt, attempts_of, exception_of

__all__ = ["Refresh", "read_refresh"]


class Refresh(NamedTuple):
    """A refresh."""

    model: str | None
    """None: nothing names the model, so that it can't have a row."""
    name: str | None
    workspace: str | None
    request: str | None
    refresh_type: str | None
    status: str
    """The service's own word."""
    start: int | None
    end: int | None
    error: tuple[str, str] | None
    attempts: tuple[Attempt, ...]


def read_refresh(activity: Activity, rules: Rules) -> Refresh:
    """What the activity says of the refresh: the service's own times and words come first."""
    given, output = activity.input, activity.output
    places = (given, given.object("typeProperties"), output)

    def named(key: str) -> str | None:
        return next((found for place in places if (found := place.text(*rules("refreshes", key)))), None)

    word = output.word("status")
    if word is None or (is_running(word) and activity.failed):
        word = "Completed" if not activity.failed else FAILED if activity.status.lower() == "failed" else "Cancelled"
    failed = meaning(word, REFRESHES) != "Succeeded" and not is_running(word)
    error = (
        (exception_of(output) or error_of(activity.fields, output) or (word, f"the refresh ended as {word}"))
        if failed
        else None
    )
    return Refresh(
        model=named("model"),
        name=named("name"),
        workspace=named("workspace"),
        request=next(
            (found for place in (output, given) if (found := place.text(*rules("refreshes", "request")))), None
        ),
        refresh_type=output.text("refreshType", "type"),
        status=word,
        start=_first(output.moment("startTime"), activity.start),
        end=_first(output.moment("endTime"), activity.end),
        error=error if failed else None,
        attempts=tuple(attempts_of(output)),
    )


def _first(*moments: int | None) -> int | None:
    return next((moment for moment in moments if moment is not None), None)
