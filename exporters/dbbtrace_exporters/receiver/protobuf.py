"""Protobuf bodies → the spans that give rows.

Spans come with what rows are made of: name, ids, attributes, status and times. Parent, events, links, resource and
scope are checked, as protobuf does it, and left out.

Reading attributes as protobuf gives them is most of the work, and most stand in span after span just as before. So
OTLP's own descriptor is taken twice: once as it is, and once with a span's attributes declared as bytes, which is the
same on the wire. What the bytes say is looked up, else split by hand where they are as plain as nearly all are, else
left to protobuf (a span of 25 attributes in all: 9.5 µs, not 21). A body in which anything is out of order is read
again by the descriptor as it is: what is refused, and how, is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from dbbtrace.model.attributes import OPERATION, ROW_OPERATIONS
from dbbtrace.sources.otlp.decode import Decoded

__all__ = ["gives_rows", "spans_of_protobuf"]

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_NO_RESOURCE = Resource({})
_UNSET, _OK = Status(StatusCode.UNSET), Status(StatusCode.OK)
_LEVELS, _QUICK_LEVELS = 100, 20
"""Of values in values: as many as protobuf takes in a body; and apart from their body, well within what it takes."""
_KEY, _VALUE, _TEXT, _INTEGER, _DOUBLE = 0x0A, 0x12, 0x0A, 0x18, 0x21
"""Tags on the wire: key and value of a KeyValue; string_value, int_value and double_value of an AnyValue."""
_double = Struct("<d").unpack_from
_MOST_REMEMBERED = 4096


class _UnusualError(ValueError):
    """Nothing for the quick way."""


def spans_of_protobuf(body: bytes) -> Decoded:
    """The spans of an ExportTraceServiceRequest that give rows, and what is wrong with spans.

    Raises:
        ValueError: the body is none.
    """
    try:
        return _spans(_Quick.FromString(body), _quick_attributes)
    except (DecodeError, UnicodeDecodeError, _UnusualError):
        pass  # what it is, the descriptor as it is says
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise ValueError(f"no ExportTraceServiceRequest: {error}") from None
    return _spans(request, _attributes)


def gives_rows(attributes: Mapping[str, Any]) -> bool:
    """Whether a span with these attributes claims an operation that gives rows."""
    operation = attributes.get(OPERATION)
    return isinstance(operation, str) and operation in ROW_OPERATIONS


def _spans(request: Any, attributes_of: Callable[[Any], dict[str, Any]]) -> Decoded:
    spans, faults = [], []
    for of_resource in request.resource_spans:
        for of_scope in of_resource.scope_spans:
            for message in of_scope.spans:
                attributes = attributes_of(message.attributes)
                try:
                    context = _context(message)
                except ValueError as error:
                    faults.append(f"span {message.name[:80]!r} ({message.span_id.hex()[:16]}): {error}")
                    continue
                if gives_rows(attributes):
                    spans.append(_span(message, context, attributes))
    return spans, faults


def _span(message: Any, context: SpanContext, attributes: dict[str, Any]) -> ReadableSpan:
    return ReadableSpan(
        message.name,
        context,
        resource=_NO_RESOURCE,
        attributes=attributes,
        status=_status(message.status) if message.HasField("status") else _UNSET,
        start_time=message.start_time_unix_nano,
        end_time=message.end_time_unix_nano,
    )


def _status(status: Any) -> Status:
    if status.code == StatusCode.ERROR.value:
        return Status(StatusCode.ERROR, status.message or None)
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
    if kind == "array_value":
        return tuple([_value(item, levels - 1) for item in held.values])
    return _attributes(held.values, levels - 1)


# -- attributes, as bytes -------------------------------------------------------------------------------------


def _quick_message() -> Any:
    """OTLP's TracesData (on the wire ExportTraceServiceRequest is the same), its spans' attributes as bytes."""
    file = descriptor_pb2.FileDescriptorProto.FromString(trace_pb2.DESCRIPTOR.serialized_pb)
    span = next(message for message in file.message_type if message.name == "Span")
    attributes = next(field for field in span.field if field.name == "attributes")
    attributes.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
    attributes.ClearField("type_name")
    pool = descriptor_pool.DescriptorPool()
    for depended_on in (common_pb2, resource_pb2):
        pool.AddSerializedFile(depended_on.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    descriptor = pool.FindMessageTypeByName(f"{file.package}.TracesData")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)  # protobuf before 4.22


_Quick = _quick_message()


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
