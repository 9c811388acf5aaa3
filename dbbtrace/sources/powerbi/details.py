"""What Power BI says of a refresh: details of an enhanced one, an entry of the history, a row of sempy's frame. Pure.

The spelling of the keys does not matter (see ``fields``). What a row needs (status, start and end, request id) is read
strictly: an entry that lacks it is refused, by the name of the field. All else is left out where it makes no sense.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from uuid import UUID

from dbbtrace.errors import UsageError
from dbbtrace.job.values import is_empty, shown
from dbbtrace.model.masking import masked_input
from dbbtrace.model.statuses import FAILED, REFRESHES, SUCCEEDED, is_running, meaning, refresh_word
from dbbtrace.model.times import EARLIEST_START, STARTS_AHEAD, to_unix_nanos
from dbbtrace.sources.fabric.fields import Fields, folded

__all__ = ["Attempt", "Details", "RefreshedPart", "attempts_of", "details_of", "entries_of", "exception_of",
           "read_details", "request_id_of"]  # fmt: skip

TIMED_OUT, CANCELLED = "TimedOut", "Cancelled"


class Attempt(NamedTuple):
    """One attempt of the service's own."""

    number: int
    name: str
    start: int
    end: int
    error: tuple[str, str] | None


class RefreshedPart(NamedTuple):
    """A table, or a partition of one."""

    table: str
    partition: str | None
    status: str | None

    @property
    def error(self) -> tuple[str, str] | None:
        """error.type and message where it was not refreshed."""
        word = self.status or ""
        if not word or is_running(word) or meaning(word, REFRESHES) == SUCCEEDED:
            return None
        return word, f"its refresh ended as {word}"


class Details(NamedTuple):
    """A refresh."""

    request: str | None
    """Its request id; None: not said."""
    status: str
    """The service's own word."""
    start: int | None
    end: int | None
    """Both are known of a refresh that is over; nanoseconds since the Unix epoch."""
    refresh_type: str | None
    error: tuple[str, str] | None
    """error.type and message of one that is over and did not refresh the model."""
    attempts: tuple[Attempt, ...]
    parts: tuple[RefreshedPart, ...]
    """Tables and partitions, as far as the service names them."""

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return not is_running(self.status)


def read_details(value: object, *, now: int, path: str = "") -> Details:
    """What the object says of a refresh.

    Args:
        now: nanoseconds since the Unix epoch: nothing started later.
        path: how messages name the object.

    Raises:
        UsageError: it is not the object of a refresh; the message names the field that is wrong.
    """
    fields = Fields(_as_mapping(value, path), path)
    word, extended = _status(fields)
    if is_running(word):
        return Details(
            request=request_id_of(fields),
            status=word,
            start=None if is_empty(fields.get("startTime")) else _moment(fields, "startTime"),
            end=None,
            refresh_type=fields.text("type", "refreshType"),
            error=None,
            attempts=(),
            parts=tuple(_parts(fields)),
        )
    start, end = _moment(fields, "startTime"), _moment(fields, "endTime")
    if not EARLIEST_START <= start <= now + STARTS_AHEAD:
        raise _wrong(fields, "startTime", "lies before 1990 or in the future")
    if end < start:
        raise _wrong(fields, "endTime", "lies before startTime")
    attempts = tuple(attempts_of(fields))
    return Details(
        request=request_id_of(fields),
        status=word,
        start=start,
        end=end,
        refresh_type=fields.text("type", "refreshType"),
        error=None if meaning(word, REFRESHES) == SUCCEEDED else _error(fields, word, extended, attempts),
        attempts=attempts,
        parts=tuple(_parts(fields)),
    )


def details_of(value: object, request: str | None, *, now: int) -> Details:
    """What the value says of one refresh: its details, or the one of several that has this request id.

    Raises:
        UsageError: it says nothing of it, or nothing tells which one is meant.
    """
    entries = entries_of(value)
    if len(entries) == 1:
        found = read_details(entries[0][1], now=now, path=entries[0][0])
        if request and found.request and found.request != request.lower():
            raise UsageError(f"requestId = {found.request!r} is left out: it is another refresh than {request}")
        return found
    if not request:
        raise UsageError(f"{len(entries)} refreshes were given: set request_id first, so that it is known which one")
    for path, entry in entries:
        with suppress(UsageError):  # of another refresh
            if request_id_of(Fields(_as_mapping(entry, path), path)) == request.lower():
                return read_details(entry, now=now, path=path)
    raise UsageError(f"none of the {len(entries)} refreshes that were given can be read as {request}")


# -- what a row needs -----------------------------------------------------------------------------------------


def _wrong(fields: Fields, name: str, why: str) -> UsageError:
    value = fields.get(name)
    path = f"{fields.path}.{name}" if fields.path else name
    return UsageError(f"{path} is missing" if is_empty(value) else f"{path} = {shown(value)} {why}")


def _status(fields: Fields) -> tuple[str, str | None]:
    """The word that says how it is, and what the service adds to it.

    The general word of a refresh that runs is Unknown; the extended one says more, and may be ahead of it.
    """
    word, extended = _word(fields, "status"), None
    if not is_empty(fields.get("extendedStatus")):
        extended = _word(fields, "extendedStatus")
        if is_running(word) and (is_running(extended) or meaning(extended, REFRESHES) is not None):
            return refresh_word(extended), extended
    return word, extended


def _word(fields: Fields, name: str) -> str:
    value = fields.get(name)
    if isinstance(value, str) and value.strip().replace(" ", "").replace("_", "").isalpha():
        return value.strip()
    raise _wrong(fields, name, "is no status: write e.g. Completed")


def _moment(fields: Fields, name: str) -> int:
    value = fields.get(name)
    if not is_empty(value):
        with suppress(ValueError, TypeError, OverflowError):
            return to_unix_nanos(value)
    raise _wrong(fields, name, "is not a point in time: write ISO 8601 text")


def request_id_of(fields: Fields) -> str | None:
    """The request id; None where nothing gives one.

    Raises:
        UsageError: what is given as one is not a GUID.
    """
    for name in ("requestId", "refreshId"):
        value = fields.get(name)
        if not is_empty(value):
            try:
                return str(value if isinstance(value, UUID) else UUID(value))
            except (ValueError, TypeError, AttributeError):
                raise _wrong(fields, name, "is not a GUID") from None
    return None


# -- what explains it -----------------------------------------------------------------------------------------


def _error(fields: Fields, word: str, extended: str | None, attempts: tuple[Attempt, ...]) -> tuple[str, str]:
    said = (
        exception_of(fields)
        or _message(fields)
        or next((each.error for each in reversed(attempts) if each.error), None)
        or ("", f"the refresh ended as {word}")
    )
    words = {folded(word), folded(extended or "")}
    if "timedout" in words:
        return TIMED_OUT, said[1]
    if words & {"cancelled", "canceled"}:
        return CANCELLED, said[1]
    return said[0] or word, said[1]


def exception_of(place: Fields) -> tuple[str, str] | None:
    """error.type and message of a serviceExceptionJson, which is JSON in a text."""
    said = place.get("serviceExceptionJson")
    try:
        value: Any = json.loads(said) if isinstance(said, str) else said
    except ValueError:
        return FAILED, masked_input(said)
    fields = Fields(value) if isinstance(value, Mapping) else Fields(None)
    code = fields.text("errorCode", "code")
    message = fields.text("errorDescription", "message")
    return (code or FAILED, masked_input(message or code or FAILED)) if code or message else None


def _message(fields: Fields) -> tuple[str, str] | None:
    """The first of the engine's messages that is an error, and how many more there are."""
    found = [each for each in _listed(fields, "messages") if folded(each.get("type") or "error") == "error"]
    texts = [(each.text("code"), each.text("message")) for each in found]
    texts = [(code, text) for code, text in texts if code or text]
    if not texts:
        return None
    code, text = texts[0]
    more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
    return code or FAILED, masked_input(text or code or "") + more


def attempts_of(fields: Fields) -> Iterator[Attempt]:
    """The attempts that have ended."""
    for number, attempt in enumerate(_listed(fields, "refreshAttempts"), 1):
        start, end = attempt.moment("startTime"), attempt.moment("endTime")
        if start is not None and end is not None:
            kind = attempt.get("type")
            suffix = f" ({kind.strip().lower()})" if isinstance(kind, str) and kind.strip().isalpha() else ""
            name = f"attempt {attempt.count('attemptId') or number}{suffix}"
            yield Attempt(number, name, start, max(start, end), exception_of(attempt))


def _parts(fields: Fields) -> Iterator[RefreshedPart]:
    for part in _listed(fields, "objects"):
        table = part.text("table")
        if table:
            yield RefreshedPart(table, part.text("partition"), part.word("status"))


# -- JSON, and what sempy makes of it -------------------------------------------------------------------------


def _as_mapping(value: object, path: str) -> Mapping[Any, Any]:
    """The object as a mapping: a dict, a row of a frame, or a dataclass such as sempy's execution details."""
    if isinstance(value, (str, bytes, bytearray)):
        value = _parsed(value)
    if isinstance(value, Mapping):
        return value
    if hasattr(value, "to_dict") and not hasattr(value, "columns"):
        value = value.to_dict()
    elif hasattr(value, "__dataclass_fields__"):
        value = vars(value)
    if isinstance(value, Mapping):
        return value
    raise UsageError(f"{path or 'the refresh'} = {shown(value)} is not a JSON object: pass what the service returned")


def _parsed(text: str | bytes | bytearray) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"what was given is not JSON ({error}): pass what the service returned") from None


def entries_of(value: object) -> list[tuple[str, Any]]:
    """The refreshes in the value, each with its path: a list, {"value": [...]}, a frame of sempy's, or a single one.

    Raises:
        UsageError: it holds none of these.
    """
    if isinstance(value, (str, bytes, bytearray)):
        value = _parsed(value)
    if hasattr(value, "columns") and hasattr(value, "to_dict"):
        value = value.to_dict("records")
    path = "refreshes"
    if isinstance(value, Mapping) and isinstance(value.get("value"), (list, tuple)):
        value, path = value["value"], "value"
    if isinstance(value, (list, tuple)):
        return [(f"{path}[{number}]", entry) for number, entry in enumerate(value)]
    return [("", value)]


def _listed(fields: Fields, name: str) -> Iterator[Fields]:
    """The objects in a member that is a list, a frame, or the text of a list."""
    value = fields.get(name)
    if hasattr(value, "columns") and hasattr(value, "to_dict"):
        value = value.to_dict("records")
    elif isinstance(value, str):
        value = _list_in(value)
    yield from Fields({name: value}, fields.path).list(name)


def _list_in(text: str) -> object:
    """The list that the text holds, as JSON or as Python writes it (sempy's frames do); otherwise the text."""
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        return ast.literal_eval(text)
    return text
