"""OTLP's JSON, as parsed, → finished spans. Shared by files (``files``) and the receiver; knows no files.

Follows the OTLP/JSON mapping: ids in hex, 64-bit integers as text or number, enums as number (or by name), unknown
keys ignored. Names from before OTLP 0.15 are read too, and a ResourceSpans without the document around it. One span
that makes no sense costs itself only; where spans should be and are not, that is a fault, never silence.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from dbbtrace.model.masking import masked_attributes, masked_input

__all__ = ["Decoded", "finished_span", "is_other_signal", "link_to", "spans_of_json"]

Decoded = tuple[list[ReadableSpan], list[str]]
"""The spans of a request, and what is wrong with those that are left out."""

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_REMOTE = 0x200
"""Flag of a span whose parent is remote."""
_KINDS = {number + 1: kind for number, kind in enumerate(SpanKind)}
_KIND_NUMBERS = {f"SPAN_KIND_{kind.name}": number for number, kind in _KINDS.items()}
_STATUS_NUMBERS = {f"STATUS_CODE_{code.name}": code.value for code in StatusCode}
_OTHER_SIGNALS = frozenset({"resourceMetrics", "resourceLogs", "resourceProfiles"})
_SCOPES = frozenset({"scopeSpans", "instrumentationLibrarySpans"})
"""The scopes of a resource; the second is their name before OTLP 0.15."""
_WITHOUT_SPANS = frozenset({"resource", "schemaUrl", "scope", "instrumentationLibrary"})
"""What a resource or a scope has besides."""
_SENSELESS = (ValueError, TypeError, AttributeError, RecursionError, OverflowError)
"""What input that makes no sense raises: 1e400 is infinity in Python, and no whole number."""
_DEEPEST = 64
"""Levels of values in values: as many as protobuf's parser takes, and far from Python's own limit."""


def spans_of_json(document: object) -> Decoded:
    """The spans of a parsed TracesData or ExportTraceServiceRequest.

    Raises:
        ValueError: that is not an OTLP document.
    """
    if not isinstance(document, Mapping):
        raise ValueError(f"not OTLP: a JSON object should be here, not {type(document).__name__}")
    if "resourceSpans" not in document and not _SCOPES.isdisjoint(document):
        document = {"resourceSpans": [document]}
    if document and "resourceSpans" not in document:
        raise ValueError(f"no OTLP traces: resourceSpans is missing, there is {_names(document)}")
    spans: list[ReadableSpan] = []
    faults: list[str] = []
    for of_resource in _items(document, "resourceSpans"):
        try:
            _take(of_resource, spans, faults)
        except _SENSELESS as error:  # noqa: PERF203
            faults.append(f"a resource: {error}")
    return spans, faults


def _take(of_resource: object, spans: list[ReadableSpan], faults: list[str]) -> None:
    """Add the spans of a resource, and what is wrong with those that are left out."""
    fields = _object(of_resource, "resourceSpans")
    resource = _resource(fields)
    faults += _missing(fields, _SCOPES, "resource", "scopeSpans")
    for of_scope in (scope for name in sorted(_SCOPES) for scope in _list(fields, name)):
        scope = _scope(of_scope)
        faults += _missing(of_scope, {"spans"}, "scope", "spans")
        for span in _items(of_scope, "spans"):
            try:
                spans.append(_span(_object(span, "spans"), resource, scope))
            except _SENSELESS as error:  # noqa: PERF203
                faults.append(f"span {_shown(span)}: {error}")


def _missing(fields: Mapping[str, Any], wanted: Set[str], owner: str, name: str) -> list[str]:
    """The fault of an object that holds something, but not the list it is for."""
    if wanted.isdisjoint(fields) and (others := {key: None for key in fields if key not in _WITHOUT_SPANS}):
        return [f"a {owner} without {name}: there is {_names(others)}"]
    return []


def _names(fields: Mapping[str, Any]) -> str:
    return ", ".join(str(name)[:40] for name in sorted(fields)[:3])


def is_other_signal(document: object) -> bool:
    """Whether this is OTLP, but metrics, logs or profiles."""
    return isinstance(document, Mapping) and "resourceSpans" not in document and not _OTHER_SIGNALS.isdisjoint(document)


def finished_span(
    *,
    trace_id: int,
    span_id: int,
    parent_id: int,
    name: str,
    kind: int,
    start: int,
    end: int,
    attributes: dict[str, Any],
    events: Sequence[Event],
    links: Sequence[Link],
    status: int,
    message: str,
    state: str,
    flags: int,
    resource: Resource,
    scope: InstrumentationScope | None,
) -> ReadableSpan:
    """A span from OTLP's own numbers; ``parent_id`` 0: it has no parent. Times are nanoseconds since the epoch.

    Raises:
        ValueError: invalid ids, or a span that has not ended.
    """
    if not 0 < trace_id < 1 << 128 or not 0 < span_id < 1 << 64:
        raise ValueError("trace id or span id is missing or invalid")
    if not end:
        raise ValueError("it has not ended")
    trace_state = TraceState.from_header([state]) if state else None
    parent = SpanContext(trace_id, parent_id, bool(flags & _REMOTE), _SAMPLED) if parent_id else None
    code = StatusCode(status) if status in (1, 2) else StatusCode.UNSET
    return ReadableSpan(
        name=name,
        context=SpanContext(trace_id, span_id, False, _SAMPLED, trace_state),
        parent=parent,
        resource=resource,
        attributes=masked_attributes(attributes),
        events=events,
        links=links,
        kind=_KINDS.get(kind, SpanKind.INTERNAL),
        status=Status(code, masked_input(message) or None) if code is StatusCode.ERROR else Status(code),
        start_time=start,
        end_time=end,
        instrumentation_scope=scope,
    )


def link_to(trace_id: int, span_id: int, attributes: dict[str, Any]) -> Link:
    """A link to a span elsewhere."""
    return Link(SpanContext(trace_id, span_id, True, _SAMPLED), attributes)


def _span(fields: Mapping[str, Any], resource: Resource, scope: InstrumentationScope | None) -> ReadableSpan:
    status = fields.get("status") or {}
    return finished_span(
        trace_id=_id(fields, "traceId", 32),
        span_id=_id(fields, "spanId", 16),
        parent_id=_id(fields, "parentSpanId", 16),
        name=str(fields.get("name") or ""),
        kind=_number(fields, "kind", _KIND_NUMBERS),
        start=_number(fields, "startTimeUnixNano"),
        end=_number(fields, "endTimeUnixNano"),
        attributes=_attributes(fields),
        events=[
            Event(str(event.get("name") or ""), masked_attributes(_attributes(event)), _number(event, "timeUnixNano"))
            for event in _list(fields, "events")
        ],
        links=[
            link_to(_id(link, "traceId", 32), _id(link, "spanId", 16), _attributes(link))
            for link in _list(fields, "links")
        ],
        status=_number(status, "code", _STATUS_NUMBERS),
        message=str(status.get("message") or ""),
        state=str(fields.get("traceState") or ""),
        flags=_number(fields, "flags"),
        resource=resource,
        scope=scope,
    )


def _resource(fields: Mapping[str, Any]) -> Resource:
    attributes = _attributes(fields.get("resource") or {})
    return Resource(attributes, str(fields.get("schemaUrl") or ""))


def _scope(fields: Mapping[str, Any]) -> InstrumentationScope | None:
    scope = fields.get("scope") or fields.get("instrumentationLibrary")
    if not scope:
        return None
    version = scope.get("version")
    url = fields.get("schemaUrl")
    return InstrumentationScope(str(scope.get("name") or ""), version and str(version), url and str(url))


def _list(fields: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    """The objects of a repeated field; anything else is an error."""
    return (_object(item, name) for item in _items(fields, name))


def _items(fields: Mapping[str, Any], name: str) -> Sequence[object]:
    """What is in a repeated field, whatever it is."""
    items = fields.get(name) or ()
    if not isinstance(items, (list, tuple)):
        raise ValueError(f"{name} is not a list")
    return items


def _object(item: object, name: str) -> Mapping[str, Any]:
    if not isinstance(item, Mapping):
        raise ValueError(f"{name} holds something that is not an object")
    return item


def _id(fields: Mapping[str, Any], name: str, digits: int) -> int:
    """An id in hex; 0 if it is missing. Base64, which protobuf's own JSON has, is not OTLP's JSON."""
    text = fields.get(name) or ""
    if not isinstance(text, str) or (text and len(text) != digits):
        raise ValueError(f"{name} is not {digits} hex digits")
    return int(text or "0", 16)


def _number(fields: Mapping[str, Any], name: str, names: Mapping[str, int] | None = None) -> int:
    value = fields.get(name) or 0
    if isinstance(value, str) and names and value in names:
        return names[value]
    try:
        return int(value)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"{name} is not a number") from None


def _attributes(fields: Mapping[str, Any], name: str = "attributes", depth: int = 0) -> dict[str, Any]:
    return {str(pair.get("key") or ""): _value(pair.get("value"), depth) for pair in _list(fields, name)}


def _value(value: Any, depth: int) -> Any:
    """What an AnyValue holds."""
    if not isinstance(value, Mapping) or not value:
        return None
    if depth > _DEEPEST:
        raise ValueError("values are nested too deeply")
    kind, held = next(iter(value.items()))
    if kind in ("stringValue", "boolValue"):
        return held
    if kind == "intValue":
        return int(held)
    if kind == "doubleValue":
        return float(held)
    if kind == "bytesValue":
        return b64decode(held)
    if kind == "arrayValue":
        return tuple(_value(item, depth + 1) for item in (held or {}).get("values") or ())
    if kind == "kvlistValue":
        return _attributes(held or {}, "values", depth + 1)
    return None


def _shown(fields: object) -> str:
    if not isinstance(fields, Mapping):
        return f"{str(fields)[:80]!r}"
    return f"{str(fields.get('name'))[:80]!r} ({str(fields.get('spanId'))[:16]})"
