"""Protobuf bodies → the spans that give rows, and all of dbt's own.

Spans come with what rows are made of: name, ids, attributes, status and times. Events, links and resource are checked,
as protobuf does it, and left out; so are parent and scope, except those of dbt's own spans.

Reading attributes as protobuf gives them is most of the work, and most attributes are the same in span after span. So
OTLP's own descriptor is taken twice: once as it is, and once with a span's attributes declared as bytes, which is the
same on the wire. Those bytes are looked up, else split by hand where they are as plain as nearly all are, else left to
protobuf (a span of 25 attributes in all: 9.5 µs, not 21). A piece in which anything is out of order is read again by
the descriptor as it is: what is refused, and how, is the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from struct import Struct
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from dbbtrace.model.masking import masked_attributes, masked_input
from dbbtrace.model.parts import claims_rows
from dbbtrace.sources.dbt.spans import SCOPE
from dbbtrace.sources.otlp.decode import Decoded
from dbbtrace.sources.otlp.protobuf import messages, scopes_of
from dbbtrace.sources.otlp.wire import PIECE_BYTES, WireError, count_fields, pieces

__all__ = ["gives_rows", "spans_of_protobuf"]

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_NO_RESOURCE = Resource({})
_DBTS = InstrumentationScope(SCOPE)
_UNSET, _OK = Status(StatusCode.UNSET), Status(StatusCode.OK)
_LEVELS, _QUICK_LEVELS = 100, 20
"""Of values in values: as many as protobuf takes in a body; and apart from their body, well within what it takes."""
_KEY, _VALUE, _TEXT, _INTEGER, _DOUBLE = 0x0A, 0x12, 0x0A, 0x18, 0x21
"""Tags on the wire: key and value of a KeyValue; string_value, int_value and double_value of an AnyValue."""
_double = Struct("<d").unpack_from
_MOST_REMEMBERED = 4096
_SPAN_ELEMENTS = 10
"""A span that is kept takes the room of so many attributes."""

Weigh = Callable[[int], None]
"""Told of so many more elements (spans, attributes, values); raises where there are too many."""


class _Nested(threading.local):
    """Values in lists and maps, counted where they are made."""

    elements = 0


_nested = _Nested()


class _UnusualError(ValueError):
    """Nothing for the quick way."""


def spans_of_protobuf(body: bytes, weigh: Weigh = lambda elements: None) -> Decoded:
    """The spans of an ExportTraceServiceRequest that give rows, all of dbt's own, and what is wrong with spans.

    A large body is decoded piece by piece; ``weigh`` is told of what is kept, and raises where that is too much.

    Raises:
        ValueError: the body is none.
    """
    spans: list[ReadableSpan] = []
    faults: list[str] = []
    try:
        for level, piece in pieces(body, weigh):
            if len(piece) > PIECE_BYTES:  # one field; its elements are counted before they are made
                count_fields(_WHOLE[level].DESCRIPTOR, piece, weigh)
            _nested.elements = 0
            more, wrong = _decoded(level, piece)
            weigh(sum([_SPAN_ELEMENTS + len(span.attributes or ()) for span in more]) + len(wrong) + _nested.elements)
            spans += more
            faults += wrong
    except WireError as error:
        raise ValueError(f"no ExportTraceServiceRequest: {error}") from None
    return spans, faults


def _decoded(level: int, piece: bytes) -> Decoded:
    try:
        return _spans(level, _QUICK[level].FromString(piece), _quick_attributes)
    except (DecodeError, UnicodeDecodeError, _UnusualError):
        pass  # what it is, the descriptor as it is says
    try:
        message = _WHOLE[level].FromString(piece)
    except DecodeError as error:
        raise ValueError(f"no ExportTraceServiceRequest: {error}") from None
    return _spans(level, message, _attributes)


def gives_rows(attributes: Mapping[str, Any], status: int = 0) -> bool:
    """Whether a span with these attributes, which ended so, claims an operation that gives rows."""
    return claims_rows(attributes, failed=status == StatusCode.ERROR.value)


def _scopes(level: int, message: Any) -> Iterator[Any]:
    """The ScopeSpans of a message of this level: 0 holds resources, 1 scopes, 2 is one."""
    if level == 0:
        for of_resource in message.resource_spans:
            yield from _scopes(1, of_resource)
    elif level == 1:
        yield from scopes_of(message)
    else:
        yield message


def _spans(level: int, message: Any, attributes_of: Callable[[Any], dict[str, Any]]) -> Decoded:
    spans, faults = [], []
    for of_scope in _scopes(level, message):
        scope = _DBTS if of_scope.scope.name == SCOPE else None
        for span in of_scope.spans:
            attributes = attributes_of(span.attributes)
            try:
                context = _context(span)
            except ValueError as error:
                faults.append(f"span {span.name[:80]!r} ({span.span_id.hex()[:16]}): {error}")
                continue
            if scope is not None or gives_rows(attributes, span.status.code):
                spans.append(_span(span, context, attributes, scope))
    return spans, faults


def _span(
    message: Any, context: SpanContext, attributes: dict[str, Any], scope: InstrumentationScope | None
) -> ReadableSpan:
    parent_id = int.from_bytes(message.parent_span_id, "big") if scope is not None else 0
    return ReadableSpan(
        message.name,
        context,
        SpanContext(context.trace_id, parent_id, True, _SAMPLED) if parent_id else None,
        resource=_NO_RESOURCE,
        attributes=masked_attributes(attributes),
        status=_status(message.status) if message.HasField("status") else _UNSET,
        start_time=message.start_time_unix_nano,
        end_time=message.end_time_unix_nano,
        instrumentation_scope=scope,
    )


def _status(status: Any) -> Status:
    if status.code == StatusCode.ERROR.value:
        return Status(StatusCode.ERROR, masked_input(status.message) or None)
    return _OK if status.code == StatusCode.OK.value else _UNSET


def _context(message: Any) -> SpanContext:
    """Who the span is.

    Raises:
        ValueError: ids that are none, here, in the parent or in a link; or it has not ended.
    """
    trace_id, span_id = _id(message.trace_id, 16), _id(message.span_id, 8)
    if len(message.parent_span_id) != 8:
        _id(message.parent_span_id, 8)
    for link in message.links:
        _id(link.trace_id, 16), _id(link.span_id, 8)
    if not trace_id or not span_id:
        raise ValueError("trace id or span id is missing or invalid")
    if not message.end_time_unix_nano:
        raise ValueError("it has not ended")
    return SpanContext(trace_id, span_id, False, _SAMPLED)


def _id(raw: bytes, length: int) -> int:
    if raw and len(raw) != length:
        raise ValueError(f"an id should be {length} bytes, not {len(raw)}")
    return int.from_bytes(raw, "big")


# -- attributes, as protobuf gives them -----------------------------------------------------------------------


def _attributes(pairs: Any, levels: int = _LEVELS) -> dict[str, Any]:
    return {pair.key: _value(pair.value, levels) for pair in pairs}


def _value(value: Any, levels: int) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    held = getattr(value, kind)
    if kind not in ("array_value", "kvlist_value"):
        return held
    if not levels:
        raise _UnusualError("values are nested too deeply")
    _nested.elements += len(held.values)
    if kind == "array_value":
        return tuple([_value(item, levels - 1) for item in held.values])
    return _attributes(held.values, levels - 1)


# -- attributes, as bytes -------------------------------------------------------------------------------------


_QUICK = messages(attributes_as_bytes=True)
_WHOLE = messages()
"""By level: a request, a ResourceSpans, a ScopeSpans."""


class _Keys(dict[bytes, str | None]):
    """The head of a KeyValue, through the tag of its value → the key; None where it is no plain head."""

    def __missing__(self, head: bytes) -> str | None:
        if head[1] > 127 or len(head) != head[1] + 3 or head[0] != _KEY or head[-1] != _VALUE:
            return None
        key = str(head[2:-1], "utf-8")
        if len(self) >= _MOST_REMEMBERED:
            self.clear()
        self[head] = key
        return key


class _Pairs(dict[bytes, tuple[str, Any]]):
    """A KeyValue's bytes → its key and value; those with short texts are remembered."""

    def __init__(self) -> None:
        super().__init__()
        self._keys = _Keys()

    def __missing__(self, raw: bytes) -> tuple[str, Any]:
        # KEY length key... VALUE length, and then TEXT length text..., INTEGER varint, DOUBLE eight bytes, or other
        try:
            at = raw[1] + 4
            key = self._keys[raw[: at - 1]]
            size = len(raw) - at
            if key is not None and raw[at - 1] == size < 128:
                tag = raw[at]
                if tag == _TEXT and raw[at + 1] == size - 2:
                    if len(self) >= _MOST_REMEMBERED:
                        self.clear()
                    self[raw] = pair = key, str(raw[at + 2 :], "utf-8")
                    return pair
                if tag == _INTEGER:
                    number = shift = 0
                    for byte in raw[at + 1 :]:
                        number |= (byte & 0x7F) << shift
                        shift += 7
                        if byte < 0x80:
                            break
                    if 0 < shift == 7 * (size - 1) < 64 and raw[-1] < 0x80:
                        return key, number
                elif tag == _DOUBLE and size == 9:
                    return key, _double(raw, at + 1)[0]
        except IndexError:  # shorter than what is plain
            pass
        message = common_pb2.KeyValue.FromString(raw)
        return message.key, _value(message.value, _QUICK_LEVELS)


_pair_of = _Pairs().__getitem__


def _quick_attributes(pairs: Any) -> dict[str, Any]:
    return dict(map(_pair_of, pairs[:]))
