"""Read a batch of spans of one operation, column by column, and derive what the rows of all operations share.

Pure. A column has one item for each span: an attribute's values, or what ``flatten`` put in their place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import compress
from operator import not_
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import INVALID_SPAN_CONTEXT, StatusCode

from dbbtrace.model import attributes as key
from dbbtrace.model.identity import identity_of_span, normalise_run_id
from dbbtrace.model.statuses import is_running
from dbbtrace.model.times import EARLIEST_START, STARTS_AHEAD, credible_start
from dbbtrace.warehouse.cleaning import moments, remembering, text

__all__ = ["Batch", "copied", "stands"]


def copied(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes as a dict."""
    # Behind an SDK span's attributes is a dict that copies itself ten times faster than dict() reads it.
    copied = attributes.copy() if hasattr(attributes, "copy") else dict(attributes)
    return copied if type(copied) is dict else dict(copied)


def stands(value: object) -> bool:
    """Whether it is more than blank."""
    if type(value) is str:
        return bool(value.strip())
    return value is not None and bool((text(value) or "").strip())


class Batch:
    """Spans of one operation as columns, with one item for each span."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self._attributes: list[dict[str, Any]] = []
        self._columns: dict[str, Sequence[Any]] = {}
        self.misdated: list[ReadableSpan] = []
        """Spans that say a start that can't be."""

    def add(self, span: ReadableSpan, attributes: dict[str, Any]) -> None:
        """One more span."""
        self.spans.append(span)
        self._attributes.append(attributes)

    def __getitem__(self, source: str) -> Sequence[Any]:
        """The values of an attribute, or those that were put in its place."""
        column = self._columns.get(source)
        if column is None:
            column = self._columns[source] = [values.get(source) for values in self._attributes]
        return column

    def __setitem__(self, source: str, column: Sequence[Any]) -> None:
        self._columns[source] = column

    def without(self, need: str, *, keep_running: bool = False) -> list[ReadableSpan]:
        """Leave out the spans that give no rows: those that still run, and those that lack their run id or the
        attribute ``need``. Returns the latter."""
        self["run_id"] = _run_ids(self[key.RUN_ID])
        there = [
            run_id != "" and (bool(value.strip()) if type(value) is str else stands(value))
            for run_id, value in zip(self["run_id"], self[need], strict=True)
        ]
        lacking = list(compress(self.spans, map(not_, there)))
        self._keep(there)
        self["word"] = _words(self[key.STATUS])
        self["interrupted"] = [type_ == key.INTERRUPTED for type_ in self[key.ERROR_TYPE]]
        running = {word for word in set(self["word"]) if word is not None and is_running(word)}
        if running and not keep_running:
            self._keep(
                [gone or word not in running for word, gone in zip(self["word"], self["interrupted"], strict=True)]
            )
        return lacking

    def _keep(self, kept: Sequence[bool]) -> None:
        if not all(kept):
            self.spans = list(compress(self.spans, kept))
            self._attributes = list(compress(self._attributes, kept))
            self._columns = {source: list(compress(column, kept)) for source, column in self._columns.items()}

    # -- what all operations share ----------------------------------------------------------------------------

    def derive(self, now: int) -> None:
        """Add what no single attribute says: who it is, from when to when, and how it ended."""
        self._derive_errors()
        contexts = [span.get_span_context() or INVALID_SPAN_CONTEXT for span in self.spans]
        self["trace_id"] = [_hex_trace_id(context.trace_id) for context in contexts]
        self["span_id"] = [(context.span_id & _SPAN_BITS).to_bytes(8, "big").hex() for context in contexts]
        self["identity"] = self._identities()
        self["began"] = self._starts(now)
        self["done"] = self._either(key.ENDED_AT, [span.end_time for span in self.spans])
        self["data_product"] = self[key.DATA_PRODUCT]
        if not _nothing(manual := self[key.MANUAL]):
            self["data_product"] = [
                None if _true(by_hand) else product
                for by_hand, product in zip(manual, self[key.DATA_PRODUCT], strict=True)
            ]

    def _derive_errors(self) -> None:
        types, messages, statuses = self[key.ERROR_TYPE], self[key.ERROR_MESSAGE], [span.status for span in self.spans]
        error = StatusCode.ERROR
        failed = [status.status_code is error for status in statuses]
        if not _nothing(types):
            failed = [told or type_ is not None for told, type_ in zip(failed, types, strict=True)]
        self["failed"], self["error_message"] = failed, messages
        if any(failed) or not _nothing(messages):
            self["error_message"] = [
                message or (status.description if bad else None)
                for message, status, bad in zip(messages, statuses, failed, strict=True)
            ]

    def _identities(self) -> list[str]:
        own, span_ids = self[key.IDENTITY], self["span_id"]
        if _nothing(own):
            self["fact"] = [False] * len(own)
            return [_LIVE + span_id for span_id in span_ids]
        self["fact"] = [stands(identity) for identity in own]
        return [
            (text(identity) or "") if fact else _LIVE + span_id
            for identity, fact, span_id in zip(own, self["fact"], span_ids, strict=True)
        ]

    def _starts(self, now: int) -> list[int | None]:
        """When each began; never after ``now``, which would make the watermark skip source rows. A time that is none
        counts as now: a row without a start is one that the watermark does not see."""
        own = [span.start_time for span in self.spans]
        starts = self._either(key.STARTED_AT, own)
        known = [start for start in starts if start is not None]
        if len(known) == len(starts) and min(known) >= EARLIEST_START and max(known) <= now:
            return starts
        for place, (start, mine) in enumerate(zip(starts, moments(own), strict=True)):
            said = -1 if start is None else start
            starts[place] = credible_start(said, next(at for at in (mine, start, now) if at is not None), now)
            if not EARLIEST_START <= said <= now + STARTS_AHEAD:
                self.misdated.append(self.spans[place])
        return starts

    def _either(self, attribute: str, unix_nanos: Sequence[Any]) -> list[int | None]:
        times = moments(unix_nanos)
        if _nothing(self[attribute]):
            return times
        said = moments(self[attribute])
        return [time if at is None else at for at, time in zip(said, times, strict=True)]


_SPAN_BITS = (1 << 64) - 1
_LIVE = identity_of_span(0)[:-16]
"""Before the span id in the identity of live work."""


# -- one value ----------------------------------------------------------------------------------------------


def _nothing(column: Sequence[Any]) -> bool:
    return set(map(type, column)) == {type(None)}


def _word(value: Any) -> str | None:
    """The status as the span spells it; None if it has none."""
    word = text(value)
    return (word.strip() or None) if word else None


def _true(value: Any) -> bool:
    return value is True or (value is not None and (text(value) or "").strip().lower() in ("true", "1"))


def _run_id(value: Any) -> str:
    return normalise_run_id(value if type(value) is str else text(value))


_words, _run_ids = remembering(_word), remembering(_run_id)
_hex_trace_id = lru_cache(maxsize=1024)("{:032x}".format)
