"""OTLP's protobuf messages, and what a file's message holds → finished spans.

The only module beside the exporters that knows protobuf: the core does without, so it is imported where such a file is
read, and by the receiver. Needs opentelemetry-proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from dbbtrace.sources.otlp.decode import Decoded, finished_span, link_to

__all__ = ["messages", "scopes_of", "spans_of_message"]


def messages(*, attributes_as_bytes: bool = False) -> tuple[Any, Any, Any]:
    """OTLP's TracesData (on the wire ExportTraceServiceRequest is the same), ResourceSpans and ScopeSpans.

    ResourceSpans has a second field for its scopes, as senders of OTLP 0.15 to 0.19 wrote it.

    Args:
        attributes_as_bytes: leave the attributes of spans undecoded.
    """
    file = descriptor_pb2.FileDescriptorProto.FromString(trace_pb2.DESCRIPTOR.serialized_pb)
    by_name = {message.name: message for message in file.message_type}
    _add_old_scopes(by_name["ResourceSpans"])
    if attributes_as_bytes:
        attributes = next(field for field in by_name["Span"].field if field.name == "attributes")
        attributes.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
        attributes.ClearField("type_name")
    pool = descriptor_pool.DescriptorPool()
    for depended_on in (common_pb2, resource_pb2):
        pool.AddSerializedFile(depended_on.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    names = ("TracesData", "ResourceSpans", "ScopeSpans")
    first, second, third = (_class(pool, pool.FindMessageTypeByName(f"{file.package}.{name}")) for name in names)
    return first, second, third


def _add_old_scopes(resource_spans: Any) -> None:
    scopes = next(field for field in resource_spans.field if field.name == "scope_spans")
    old = resource_spans.field.add()
    old.CopyFrom(scopes)
    old.name, old.json_name, old.number = "instrumentation_library_spans", "instrumentationLibrarySpans", 1000
    del resource_spans.reserved_range[:]


def _class(pool: Any, descriptor: Any) -> Any:
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)  # protobuf before 4.22


def scopes_of(resource_spans: Any) -> Iterator[Any]:
    """The ScopeSpans of a ResourceSpans, whichever field holds them."""
    yield from resource_spans.scope_spans
    yield from resource_spans.instrumentation_library_spans


_TracesData = messages()[0]


def spans_of_message(raw: bytes) -> Decoded:
    """The spans of a TracesData or ExportTraceServiceRequest.

    Raises:
        ValueError: the bytes are none.
    """
    try:
        data = _TracesData.FromString(raw)
    except DecodeError as error:
        raise ValueError(f"not an OTLP message: {error}") from None
    spans: list[ReadableSpan] = []
    faults: list[str] = []
    for of_resource in data.resource_spans:
        resource = Resource(_attributes(of_resource.resource.attributes), of_resource.schema_url)
        for of_scope in scopes_of(of_resource):
            scope = _scope(of_scope)
            for message in of_scope.spans:
                try:
                    spans.append(_span(message, resource, scope))
                except (ValueError, RecursionError) as error:  # noqa: PERF203
                    faults.append(f"span {message.name[:80]!r} ({message.span_id.hex()[:16]}): {error}")
    return spans, faults


def _scope(of_scope: Any) -> InstrumentationScope | None:
    if not of_scope.HasField("scope"):
        return None
    return InstrumentationScope(of_scope.scope.name, of_scope.scope.version or None, of_scope.schema_url or None)


def _span(message: Any, resource: Resource, scope: InstrumentationScope | None) -> ReadableSpan:
    return finished_span(
        trace_id=_id(message.trace_id, 16),
        span_id=_id(message.span_id, 8),
        parent_id=_id(message.parent_span_id, 8),
        name=message.name,
        kind=message.kind,
        start=message.start_time_unix_nano,
        end=message.end_time_unix_nano,
        attributes=_attributes(message.attributes),
        events=[Event(event.name, _attributes(event.attributes), event.time_unix_nano) for event in message.events],
        links=[
            link_to(_id(link.trace_id, 16), _id(link.span_id, 8), _attributes(link.attributes))
            for link in message.links
        ],
        status=message.status.code,
        message=message.status.message,
        state=message.trace_state,
        flags=message.flags,
        resource=resource,
        scope=scope,
    )


def _id(raw: bytes, length: int) -> int:
    if raw and len(raw) != length:
        raise ValueError(f"an id should be {length} bytes, not {len(raw)}")
    return int.from_bytes(raw, "big")


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    held = getattr(value, kind)
    if kind == "array_value":
        return tuple([_value(item) for item in held.values])
    return _attributes(held.values) if kind == "kvlist_value" else held
