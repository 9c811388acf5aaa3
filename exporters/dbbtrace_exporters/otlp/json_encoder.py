"""Spans → OTLP as JSON, without protobuf, which dbt-core 1.7 can't have at the version that OTLP needs.

OTLP's JSON is protobuf's, except that ids are in hex and enumerations are numbers. 64-bit integers are text.
What is encoded is what ``encode_spans`` of the stock packages encodes. Spans are cleaned before (``clean.py``).
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext

__all__ = ["encode", "encoder"]

_HAS_IS_REMOTE, _IS_REMOTE = 0x100, 0x200
"""SpanFlags: whether the parent (of a link: the other span) is remote is known; and it is."""


def encoder() -> Callable[[Sequence[ReadableSpan]], bytes]:
    """The stock JSON encoder where it is installed and works as expected (it is a beta), otherwise ours."""
    try:
        from opentelemetry.exporter.otlp.json.common.trace_encoder import encode_spans

        encode_spans(()).to_json().encode()
    except Exception:
        return encode
    return lambda spans: encode_spans(spans).to_json().encode()


def encode(spans: Sequence[ReadableSpan]) -> bytes:
    """An ExportTraceServiceRequest with the spans, grouped by resource and scope.

    Raises:
        OverflowError: an id is too long to be one.
    """
    resources: dict[int, tuple[Resource, dict[InstrumentationScope | None, list[Any]]]] = {}
    for span in spans:
        _, scopes = resources.setdefault(id(span.resource), (span.resource, {}))
        scopes.setdefault(span.instrumentation_scope, []).append(_span(span))
    return orjson.dumps({"resourceSpans": [_resource_spans(*each) for each in resources.values()]})


def _resource_spans(resource: Resource, scopes: Mapping[InstrumentationScope | None, list[Any]]) -> dict[str, Any]:
    return {
        "resource": {"attributes": _pairs(resource.attributes)},
        "scopeSpans": [
            {"scope": _scope(scope), "spans": spans, "schemaUrl": (scope.schema_url if scope else None) or ""}
            for scope, spans in scopes.items()
        ],
        "schemaUrl": resource.schema_url or "",
    }


def _scope(scope: InstrumentationScope | None) -> dict[str, Any]:
    if scope is None:
        return {}
    return {"name": scope.name, "version": scope.version or "", "attributes": _pairs(scope.attributes)}


def _span(span: ReadableSpan) -> dict[str, Any]:
    context, parent = span.get_span_context(), span.parent
    assert context
    fields: dict[str, Any] = {
        **_ids(context),
        "flags": _flags(parent),
        "name": span.name,
        "kind": span.kind.value + 1,  # the specification's 0 is "unspecified"
        "startTimeUnixNano": str(span.start_time or 0),
        "endTimeUnixNano": str(span.end_time or 0),
        "attributes": _pairs(span.attributes),
        "status": {"code": span.status.status_code.value, "message": span.status.description or ""},
        "droppedAttributesCount": span.dropped_attributes,
        "droppedEventsCount": span.dropped_events,
        "droppedLinksCount": span.dropped_links,
    }
    if parent is not None:
        fields["parentSpanId"] = parent.span_id.to_bytes(8, "big").hex()
    if context.trace_state:
        fields["traceState"] = context.trace_state.to_header()
    if span.events:
        fields["events"] = list(map(_event, span.events))
    if span.links:
        fields["links"] = list(map(_link, span.links))
    return fields


def _event(event: Event) -> dict[str, Any]:
    return {
        "name": event.name,
        "timeUnixNano": str(event.timestamp or 0),
        "attributes": _pairs(event.attributes),
        "droppedAttributesCount": event.dropped_attributes,
    }


def _link(link: Link) -> dict[str, Any]:
    return {
        **_ids(link.context),
        "flags": _flags(link.context),
        "attributes": _pairs(link.attributes),
        "droppedAttributesCount": link.dropped_attributes,
    }


def _ids(context: SpanContext) -> dict[str, str]:
    return {"traceId": context.trace_id.to_bytes(16, "big").hex(), "spanId": context.span_id.to_bytes(8, "big").hex()}


def _flags(other: SpanContext | None) -> int:
    return _HAS_IS_REMOTE | (_IS_REMOTE if other is not None and other.is_remote else 0)


def _pairs(attributes: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in (attributes or {}).items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, int):
        return {"intValue": str(int(value))}
    if isinstance(value, float):
        return {"doubleValue": float(value) if math.isfinite(value) else _NOT_FINITE[str(float(value))]}
    if isinstance(value, bytes):
        return {"bytesValue": b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {"kvlistValue": {"values": _pairs(value)}}
    return {"arrayValue": {"values": list(map(_value, value))}}


_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
