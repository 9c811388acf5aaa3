"""What goes over the receiver's wire: request bodies → spans, and answers → bodies, in protobuf and in JSON.

No server, no warehouse. Bodies are never trusted: what they unpack to is limited while it is unpacked.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from dbbtrace.sources.otlp_decode import Decoded, finished_span, link_to, spans_of_json

__all__ = ["JSON", "PROTOBUF", "TooLargeError", "accepted", "failed", "spans_in", "unpacked"]

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
_CODES = {400: 3, 401: 16, 408: 4, 413: 8, 415: 3, 429: 8, 503: 14}
"""HTTP status → google.rpc.Code."""


class TooLargeError(ValueError):
    """The body, or what it unpacks to, is beyond the limit."""


def unpacked(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """The body without its gzip. A bomb is stopped at the limit, not unpacked and then measured.

    Raises:
        TooLargeError: it is beyond the limit.
        ValueError: it is no gzip.
    """
    if encoding != "gzip":
        return body
    parts: list[bytes] = []
    size = 0
    while body:  # a gzip file may have several members
        member = zlib.decompressobj(wbits=31)
        try:
            parts.append(member.decompress(body, max_bytes - size + 1))
        except zlib.error as error:
            raise ValueError(f"no gzip: {error}") from None
        size += len(parts[-1])
        if size > max_bytes:
            raise TooLargeError(f"more than {max_bytes} bytes after gunzip")
        if not member.eof:
            raise ValueError("no gzip: it is cut off")
        body = member.unused_data
    return b"".join(parts)


def spans_in(body: bytes, content_type: str) -> Decoded:
    """The spans of an ExportTraceServiceRequest, and what is wrong with those left out.

    Raises:
        ValueError: the body is none.
    """
    if content_type == JSON:
        try:
            document = json.loads(body) if body else {}
        except RecursionError:
            raise ValueError("JSON is nested too deeply") from None
        return spans_of_json(document)
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise ValueError(f"no ExportTraceServiceRequest: {error}") from None
    return _spans_of_message(request)


def _spans_of_message(request: ExportTraceServiceRequest) -> Decoded:
    spans, faults = [], []
    for of_resource in request.resource_spans:
        resource = Resource(_attributes(of_resource.resource.attributes), of_resource.schema_url)
        for of_scope in of_resource.scope_spans:
            named = of_scope.scope.name or of_scope.scope.version
            url = of_scope.schema_url or None
            version = of_scope.scope.version or None
            scope = InstrumentationScope(of_scope.scope.name, version, url) if named else None
            for message in of_scope.spans:
                try:
                    spans.append(_span(message, resource, scope))
                except ValueError as error:  # noqa: PERF203
                    faults.append(f"span {message.name[:80]!r} ({message.span_id.hex()[:16]}): {error}")
    return spans, faults


def _span(message: Any, resource: Resource, scope: InstrumentationScope | None) -> Any:
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
        flags=getattr(message, "flags", 0),
        resource=resource,
        scope=scope,
    )


def _id(raw: bytes, length: int) -> int:
    if raw and len(raw) != length:
        raise ValueError(f"an id should be {length} bytes, not {len(raw)}")
    return int.from_bytes(raw, "big")


def _attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    # Most values are texts, and asking for the text is a third faster than asking first which kind it is.
    return {pair.key: value.string_value or _value(value) for pair in pairs for value in (pair.value,)}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    held = getattr(value, kind)
    if kind == "array_value":
        return tuple(_value(item) for item in held.values)
    if kind == "kvlist_value":
        return _attributes(held.values)
    return held


def accepted(faults: Sequence[str], content_type: str) -> bytes:
    """The body of a 200: empty, or partial_success that says what could not be stored and why."""
    response = ExportTraceServiceResponse()
    fields: Mapping[str, Any] = {}
    if faults:
        said = "; ".join(faults[:5])[:1000] + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
        response.partial_success.rejected_spans = len(faults)
        response.partial_success.error_message = said.encode("utf-8", "replace").decode()
        fields = {"partialSuccess": {"rejectedSpans": str(len(faults)), "errorMessage": said}}
    return json.dumps(fields).encode() if content_type == JSON else response.SerializeToString()


def failed(status: int, message: str, content_type: str) -> bytes:
    """The body of an error: a google.rpc.Status."""
    code = _CODES.get(status, 2)
    text = message.encode("utf-8", "replace").decode()
    if content_type == PROTOBUF:
        body: bytes = Status(code=code, message=text).SerializeToString()
        return body
    return json.dumps({"code": code, "message": text}).encode()
