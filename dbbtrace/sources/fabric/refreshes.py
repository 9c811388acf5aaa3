"""A semantic model refresh activity → what its row says. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from dbbtrace.model.statuses import FAILED, REFRESHES, is_running, meaning
from dbbtrace.sources.fabric.activities import Activity
from dbbtrace.sources.fabric.copies import error_of
from dbbtrace.sources.fabric.fields import Fields
from dbbtrace.sources.fabric.rules import Rules

__all__ = ["Attempt", "Refresh", "read_refresh"]


class Attempt(NamedTuple):
    """One attempt of the service's own."""

    number: int
    name: str
    start: int
    end: int
    error: tuple[str, str] | None


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
        (_exception(output) or error_of(activity.fields, output) or (word, f"the refresh ended as {word}"))
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
        attempts=tuple(_attempts(output)),
    )


def _first(*moments: int | None) -> int | None:
    return next((moment for moment in moments if moment is not None), None)


def _attempts(output: Fields) -> Iterator[Attempt]:
    for number, attempt in enumerate(output.list("refreshAttempts"), 1):
        start, end = attempt.moment("startTime"), attempt.moment("endTime")
        if start is not None and end is not None:
            kind = attempt.text("type")
            name = f"attempt {attempt.count('attemptId') or number}{f' ({kind.lower()})' if kind else ''}"
            yield Attempt(number, name, start, end, _exception(attempt))


def _exception(place: Fields) -> tuple[str, str] | None:
    """error.type and message of a serviceExceptionJson, which is JSON in a text."""
    said = place.get("serviceExceptionJson")
    try:
        value: Any = json.loads(said) if isinstance(said, str) else said
    except ValueError:
        return None
    fields = Fields(value) if isinstance(value, dict) else Fields(None)
    code = fields.text("errorCode", "code")
    message = fields.text("errorDescription", "message")
    return (code or FAILED, message or code or FAILED) if code or message else None
