"""Protobuf's wire format, without protobuf: where fields begin and end, and how many there are.

A message of 20 MB can hold ten million empty spans, which decode to gigabytes. So a large body is cut into pieces
before anything decodes it, and what can't be cut is counted first. Nothing here knows what fields mean, but for the
three levels of an OTLP trace request: resources, scopes, spans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["PIECE_BYTES", "WireError", "count_fields", "fields", "pieces"]

PIECE_BYTES = 64 << 10
"""A body up to this size is decoded whole: the worst of them takes a few megabytes."""
DEEPEST = 100
"""Levels of messages in messages: as many as protobuf's own parsers take."""

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_RESOURCE_SPANS, _SCOPE_SPANS, _SPANS, _LIBRARY_SPANS = 0x0A, 0x12, 0x12, 1000 << 3 | _LENGTH
_INNER: tuple[tuple[int, ...], ...] = ((_RESOURCE_SPANS,), (_SCOPE_SPANS, _LIBRARY_SPANS), ())
"""Level by level, the tags of the messages that are cut further."""

Tally = Callable[[int], None]
"""Told of so many more fields; raises when there are too many."""


class WireError(ValueError):
    """The bytes are not in protobuf's wire format."""


def pieces(body: bytes, tally: Tally) -> Iterator[tuple[int, bytes]]:
    """The body cut into messages that are small, or hold few fields, in their order.

    Each comes with its level: 0 for a trace request, 1 for a ResourceSpans, 2 for a ScopeSpans. Decoded one by one
    they hold what the body holds.

    Raises:
        WireError: the body is torn or damaged.
    """
    if len(body) <= PIECE_BYTES:
        yield 0, body
        return
    yield from _cut(body, 0, len(body), 0, tally)


def _cut(raw: bytes, at: int, end: int, level: int, tally: Tally) -> Iterator[tuple[int, bytes]]:
    begin = at
    found = 0
    for start, tag, content, stop in fields(raw, at, end):
        found += 1
        if tag in _INNER[level]:
            tally(found)
            found = 0
            if start > begin:
                yield level, raw[begin:start]
            yield from _cut(raw, content, stop, level + 1, tally)
            begin = stop
        elif stop - begin > PIECE_BYTES:
            tally(found)
            found = 0
            if start > begin:
                yield level, raw[begin:start]
            begin = start
    tally(found)
    if end > begin:
        yield level, raw[begin:end]


def fields(raw: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of a message: where each starts, its tag, where its content starts, and where it ends.

    Raises:
        WireError: a field is torn, or of a kind that OTLP has none of.
    """
    try:
        while at < end:
            start = at
            tag = raw[at]
            at += 1
            if tag > 127:
                tag, at = _varint(raw, start)
            kind = tag & 7
            content = at
            if kind == _LENGTH:
                length = raw[at]
                at += 1
                if length > 127:
                    length, at = _varint(raw, content)
                content = at
                at += length
            elif kind == _VARINT:
                _, at = _varint(raw, at)
            elif kind == _EIGHT_BYTES:
                at += 8
            elif kind == _FOUR_BYTES:
                at += 4
            else:
                raise WireError(f"a field of kind {kind}")
            if at > end:
                raise WireError("a field is cut off")
            yield start, tag, content, at
    except IndexError:
        raise WireError("a field is cut off") from None


def count_fields(descriptor: Any, raw: bytes, tally: Tally, level: int = 0) -> None:
    """Tally the fields of a message and of all messages in it, as protobuf's descriptor names them.

    Raises:
        WireError: it is torn, or nested too deeply.
    """
    _count(_messages_in(descriptor), raw, 0, len(raw), tally, level)


def _count(inner: Mapping[int, Any], raw: bytes, at: int, end: int, tally: Tally, level: int) -> None:
    if level > DEEPEST:
        raise WireError("messages are nested too deeply")
    for _, tag, content, stop in fields(raw, at, end):
        tally(1)
        if tag & 7 == _LENGTH and (descriptor := inner.get(tag >> 3)) is not None:
            _count(_messages_in(descriptor), raw, content, stop, tally, level + 1)


_known: dict[str, Mapping[int, Any]] = {}


def _messages_in(descriptor: Any) -> Mapping[int, Any]:
    """The fields of a message that are messages, by number."""
    known = _known.get(descriptor.full_name)
    if known is None:
        known = {field.number: field.message_type for field in descriptor.fields if field.message_type is not None}
        _known[descriptor.full_name] = known
    return known


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends."""
    value = shift = 0
    while True:
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise WireError("a number of more than ten bytes")
