"""A span ↔ its line in the journal, exactly: what is read back can be replayed into an OTLP backend.

One JSON object a line, ASCII, the kind of line as its first key (docs/journal.md lists them all). What every span
shares, its resource and instrumentation scope, is defined once and referred to by number. No files here.

Encoding stands in the job's way, so it is written for speed: the frame is put together as text, only the
attributes go through the JSON encoder.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

__all__ = ["body", "decode", "definition_of", "encode", "head", "resource_of", "scope_of", "tail", "to_json"]

_quote = json.encoder.encode_basestring_ascii
_INTERNAL = SpanKind.INTERNAL
_UNSET = StatusCode.UNSET
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_NESTED: frozenset[type] = frozenset({list, dict})
_NO_STATUS = Status()


def _unusual(value: object) -> object:
    """What JSON has no word for. Bytes become an object whose one key is empty: no attribute may have such a key."""
    from numbers import Integral, Real

    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"": b64encode(value).decode("ascii")}
    if isinstance(value, Mapping):
        return {str(name): inner for name, inner in value.items()}
    if hasattr(value, "dtype") and hasattr(value, "tolist"):  # numpy's, without importing it
        return value.tolist()
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, (Sequence, set, frozenset)) and not isinstance(value, str):
        return list(value)
    return str(value)


to_json: Callable[[object], str] = json.JSONEncoder(
    separators=(",", ":"), check_circular=False, default=_unusual
).encode
"""Compact JSON on one line; NaN and Infinity as JavaScript spells them; never fails on a type it doesn't know."""


def _fast_encoder() -> Callable[[object], str]:
    """``to_json`` without making an encoder at each call, which is a third of its cost; where CPython has its own."""
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    try:
        chunks = make(None, _unusual, _quote, None, ":", ",", False, False, True)
        "".join(chunks({"a": [1.5, None]}, 0))
    except Exception:  # another Python: not part of the documented json module
        return to_json
    return lambda value: "".join(chunks(value, 0))


_to_json = _fast_encoder()


def _attributes(attributes: Mapping[str, Any] | None) -> str:
    """The attributes as JSON. What can't be encoded costs its own value, never the span."""
    plain = getattr(attributes, "_dict", attributes)  # the SDK's own dict: iterating its wrapper costs 3 times as much
    if not isinstance(plain, dict):
        plain = dict(plain or {})
    try:
        return _to_json(plain)
    except (ValueError, TypeError, RecursionError, OverflowError):
        return to_json({str(name): _storable(value) for name, value in plain.items()})


def _storable(value: object) -> object:
    try:
        to_json(value)
    except Exception as error:
        return f"<{type(value).__name__} that can't be written: {type(error).__name__}>"
    return value


def head(span: ReadableSpan) -> str:
    """The part of a line that stays while the span runs, from its id on: the end line takes it from the start line."""
    context = span.context
    parent = span.parent
    text = f'"{context.span_id:016x}","trace":"{context.trace_id:032x}"'
    flags = context.trace_flags
    if flags != 1:
        text += f',"flags":{flags:d}'
    if context.trace_state:
        text += f',"state":{to_json(context.trace_state.to_header())}'
    if parent is not None:
        text += f',"parent":"{parent.span_id:016x}"'
        if parent.is_remote:
            text += ',"parent_remote":true'
    kind = span.kind
    if kind is not _INTERNAL:
        text += f',"kind":"{kind.name}"'
    return f'{text},"began":{span.start_time or 0}'


def body(span: ReadableSpan) -> str:
    """The part of a line that changes while the span runs."""
    text = f',"name":{_quote(str(span.name))}'
    ended = span.end_time
    if ended is not None:
        text += f',"ended":{ended}'
    status = span.status
    code = status.status_code
    if code is not _UNSET:
        text += f',"status":"{code.name}"'
        if status.description:
            text += f',"message":{_quote(str(status.description))}'
    attributes = span._attributes  # the public property costs a copy; so do those of events and links
    text += f',"attributes":{_attributes(attributes)}'
    dropped: int = getattr(attributes, "dropped", 0)
    if span._events or span._links or dropped:
        text += _rare(span)
    return text


def encode(kind: str, span: ReadableSpan, resource: str, scope: str) -> bytes:
    """One line for the span, newline included; ``kind`` is ``start``, ``save`` or ``end``.

    Args:
        resource: number of its definition, or the definition itself, as JSON. So is ``scope``.
    """
    return f'{{"{kind}":{head(span)}{body(span)}{tail(resource, scope)}'.encode("ascii")


def tail(resource: str, scope: str) -> str:
    """The end of a line: what the span shares with others."""
    return f',"scope":{scope},"resource":{resource}}}\n'


def _rare(span: ReadableSpan) -> str:
    """What few spans have."""
    rest: dict[str, Any] = {}
    if span.events:
        rest["events"] = [_event(event) for event in span.events]
    if span.links:
        rest["links"] = [_link(link) for link in span.links]
    dropped = [span.dropped_attributes, span.dropped_events, span.dropped_links]
    if any(dropped):
        rest["dropped"] = dropped
    return f",{to_json(rest)[1:-1]}" if rest else ""


def _event(event: Event) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": str(event.name), "at": event.timestamp}
    if event.attributes:
        fields["attributes"] = json.loads(_attributes(event.attributes))
    if dropped := getattr(event, "dropped_attributes", 0):
        fields["dropped"] = dropped
    return fields


def _link(link: Link) -> dict[str, Any]:
    context = link.context
    fields: dict[str, Any] = {"trace": f"{context.trace_id:032x}", "span": f"{context.span_id:016x}"}
    if context.trace_flags:
        fields["flags"] = int(context.trace_flags)
    if context.trace_state:
        fields["state"] = context.trace_state.to_header()
    if context.is_remote:
        fields["remote"] = True
    if link.attributes:
        fields["attributes"] = json.loads(_attributes(link.attributes))
    if dropped := getattr(link, "dropped_attributes", 0):
        fields["dropped"] = dropped
    return fields


def definition_of(shared: Resource | InstrumentationScope | None) -> str:
    """A resource or an instrumentation scope as JSON; ``null`` for none."""
    if shared is None:
        return "null"
    fields: dict[str, Any] = {}
    if isinstance(shared, InstrumentationScope):
        fields["name"] = shared.name
        if shared.version:
            fields["version"] = shared.version
    attributes = getattr(shared, "attributes", None)
    if attributes:
        fields["attributes"] = json.loads(_attributes(attributes))
    if shared.schema_url:
        fields["schema_url"] = shared.schema_url
    return to_json(fields)


# -- reading --------------------------------------------------------------------------------------------------


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_value(inner) for inner in value)
    if isinstance(value, dict):
        if len(value) == 1 and isinstance(value.get(""), str):
            return b64decode(value[""])
        return {name: _value(inner) for name, inner in value.items()}
    return value


def _values(fields: dict[str, Any] | None) -> dict[str, Any]:
    if not fields:
        return {}
    if _NESTED.isdisjoint(map(type, fields.values())):  # as JSON gave it, and nobody else's
        return fields
    return {name: _value(value) for name, value in fields.items()}


def _bounded(attributes: dict[str, Any], dropped: int) -> Any:
    """Plain attributes, or the SDK's wrapper where the number of dropped ones must be remembered."""
    if not dropped:
        return attributes
    bounded = BoundedAttributes(attributes=attributes)
    bounded.dropped = dropped
    return bounded


def _counted(items: list[Any], dropped: int) -> Any:
    """Likewise for events and links."""
    if not dropped:
        return items
    counted = BoundedList.from_seq(None, items)
    counted.dropped = dropped
    return counted


def _context(fields: Mapping[str, Any], span: str, flags: int, *, remote: bool) -> SpanContext:
    state = TraceState.from_header([fields["state"]]) if "state" in fields else None
    trace_flags = _SAMPLED if flags == 1 else TraceFlags(flags)
    return SpanContext(int(fields["trace"], 16), int(span, 16), remote, trace_flags, state)


def resource_of(fields: Mapping[str, Any] | None) -> Resource:
    """The resource that a definition describes."""
    fields = fields or {}
    return Resource(_values(fields.get("attributes")), fields.get("schema_url", ""))


def scope_of(fields: Mapping[str, Any] | None) -> InstrumentationScope | None:
    """The instrumentation scope that a definition describes."""
    if fields is None:
        return None
    given = (fields.get("name", ""), fields.get("version"), fields.get("schema_url"))
    attributes = _values(fields.get("attributes"))
    return InstrumentationScope(*given, attributes) if attributes else InstrumentationScope(*given)


def decode(
    kind: str, fields: Mapping[str, Any], resource: Resource | None, scope: InstrumentationScope | None
) -> ReadableSpan:
    """The span of a line of that kind.

    Raises:
        KeyError, ValueError, TypeError: the line is not one that ``encode`` wrote.
    """
    context = _context(fields, fields[kind], fields.get("flags", 1), remote=False)
    parent = None
    if "parent" in fields:
        # Of the parent only the id crosses OTLP, and whether it was remote.
        parent = SpanContext(context.trace_id, int(fields["parent"], 16), fields.get("parent_remote", False), _SAMPLED)
    dropped = fields.get("dropped", (0, 0, 0))
    status = Status(StatusCode[fields["status"]], fields.get("message")) if "status" in fields else _NO_STATUS
    return ReadableSpan(
        name=fields["name"],
        context=context,
        parent=parent,
        resource=resource if resource is not None else Resource({}),
        attributes=_bounded(_values(fields["attributes"]), dropped[0]),
        events=_counted(list(map(_read_event, fields.get("events", ()))), dropped[1]),
        links=_counted(list(map(_read_link, fields.get("links", ()))), dropped[2]),
        kind=SpanKind[fields["kind"]] if "kind" in fields else SpanKind.INTERNAL,
        status=status,
        start_time=fields["began"],
        end_time=fields.get("ended"),
        instrumentation_scope=scope,
    )


def _read_event(fields: Mapping[str, Any]) -> Event:
    attributes = _bounded(_values(fields.get("attributes")), fields.get("dropped", 0))
    return Event(fields["name"], attributes, fields["at"])


def _read_link(fields: Mapping[str, Any]) -> Link:
    context = _context(fields, fields["span"], fields.get("flags", 0), remote=fields.get("remote", False))
    return Link(context, _bounded(_values(fields.get("attributes")), fields.get("dropped", 0)))
