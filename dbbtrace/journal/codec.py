"""A span ↔ its line in the journal, exactly: what is read back can be replayed into an OTLP backend.

One JSON object a line, the kind of line as its first key (docs/journal.md lists them all). What every span shares, its
resource and instrumentation scope, is defined once and referred to by number. No files here.

Encoding stands in the job's way, so it goes past the public properties of spans: some make copies, and each is a call.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    DEFAULT_TRACE_STATE,
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from dbbtrace.journal.json_lines import dumps, dumps_checked, restored
from dbbtrace.model.attributes import plain

__all__ = ["decode", "definition_of", "fields_of", "frame_of", "line", "resource_of", "scope_of"]

_INTERNAL = SpanKind.INTERNAL
_UNSET = StatusCode.UNSET
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_NESTED: frozenset[type] = frozenset({list, dict})
_NO_STATUS = Status()


def frame_of(span: ReadableSpan, shared: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a line that stays while the span runs: the end line takes it from the start line.

    Args:
        shared: ``scope`` and ``resource``, the numbers of their definitions or the definitions themselves.
    """
    context: SpanContext = span._context  # type: ignore[assignment]
    parent = span._parent
    flags, state = context[3], context[4]
    fields: dict[str, Any] = {"trace": f"{context[0]:032x}"}
    if flags != 1:
        fields["flags"] = int(flags)
    if state is not DEFAULT_TRACE_STATE and state:
        fields["state"] = state.to_header()
    if parent is not None:
        fields["parent"] = f"{parent[1]:016x}"
        if parent[2]:
            fields["parent_remote"] = True
    kind = span._kind
    if kind is not _INTERNAL:
        fields["kind"] = kind.name
    fields["began"] = span._start_time or 0
    fields.update(shared)
    return fields


def fields_of(kind: str, span: ReadableSpan, frame: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a line; ``kind`` is ``start``, ``save`` or ``end``."""
    context: SpanContext = span._context  # type: ignore[assignment]
    fields = {kind: f"{context[1]:016x}", **frame, "name": str(span._name)}
    ended = span._end_time
    if ended is not None:
        fields["ended"] = ended
    status = span.status
    code = status.status_code
    if code is not _UNSET:
        fields["status"] = code.name
        if status.description:
            fields["message"] = str(status.description)
    attributes = span._attributes
    fields["attributes"] = plain(attributes)
    dropped: int = getattr(attributes, "dropped", 0)
    if span._events or span._links or dropped:
        _add_rare(fields, span)
    return fields


def line(kind: str, span: ReadableSpan, frame: Mapping[str, Any]) -> bytes:
    """One line for the span, newline included."""
    fields = fields_of(kind, span, frame)
    if getattr(span, "checked", False) and not span._events and not span._links:  # see LiveSpan
        return dumps_checked(fields)
    return dumps(fields)


def _add_rare(fields: dict[str, Any], span: ReadableSpan) -> None:
    """What few spans have."""
    if span.events:
        fields["events"] = list(map(_event, span.events))
    if span.links:
        fields["links"] = list(map(_link, span.links))
    counts = [span.dropped_attributes, span.dropped_events, span.dropped_links]
    if any(counts):
        fields["dropped"] = counts


def _event(event: Event) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": str(event.name), "at": event.timestamp}
    if event.attributes:
        fields["attributes"] = plain(event.attributes)
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
        fields["attributes"] = plain(link.attributes)
    if dropped := getattr(link, "dropped_attributes", 0):
        fields["dropped"] = dropped
    return fields


def definition_of(shared: Resource | InstrumentationScope | None) -> dict[str, Any] | None:
    """What defines a resource or an instrumentation scope."""
    if shared is None:
        return None
    fields: dict[str, Any] = {}
    if isinstance(shared, InstrumentationScope):
        fields["name"] = shared.name
        if shared.version:
            fields["version"] = shared.version
    attributes = getattr(shared, "attributes", None)
    if attributes:
        fields["attributes"] = plain(attributes)
    if shared.schema_url:
        fields["schema_url"] = shared.schema_url
    return fields


# -- reading --------------------------------------------------------------------------------------------------


def _values(fields: dict[str, Any] | None) -> dict[str, Any]:
    if not fields:
        return {}
    if _NESTED.isdisjoint(map(type, fields.values())):  # as JSON gave it, and nobody else's
        return fields
    return {name: restored(value) for name, value in fields.items()}


def _bounded(attributes: dict[str, Any], dropped: int) -> Any:
    """Plain attributes, or the SDK's wrapper where the number of dropped ones must be remembered."""
    if not dropped:
        return attributes
    bounded = BoundedAttributes(attributes=attributes)
    bounded.dropped = dropped
    return bounded


def _counted(items: tuple[Any, ...], dropped: int) -> Any:
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


@lru_cache(64)
def _parent(trace: str, span: str, remote: bool) -> SpanContext:
    """The parent of a span, the same for all of its children: only its id crosses OTLP, and whether it was remote."""
    return SpanContext(int(trace, 16), int(span, 16), remote, _SAMPLED)


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
    parent, began, ended = fields.get("parent"), fields["began"], fields.get("ended")
    if not isinstance(began, int) or not (ended is None or isinstance(ended, int)):
        raise TypeError("a time that is no number")
    dropped = fields.get("dropped", (0, 0, 0))
    status = Status(StatusCode[fields["status"]], fields.get("message")) if "status" in fields else _NO_STATUS
    return ReadableSpan(
        name=str(fields["name"]),
        context=_context(fields, fields[kind], fields.get("flags", 1), remote=False),
        parent=_parent(fields["trace"], parent, fields.get("parent_remote", False)) if parent is not None else None,
        resource=resource if resource is not None else Resource({}),
        attributes=_bounded(_values(fields["attributes"]), dropped[0]),
        events=_counted(tuple(map(_read_event, fields.get("events", ()))), dropped[1]),
        links=_counted(tuple(map(_read_link, fields.get("links", ()))), dropped[2]),
        kind=SpanKind[fields["kind"]] if "kind" in fields else SpanKind.INTERNAL,
        status=status,
        start_time=began,
        end_time=ended,
        instrumentation_scope=scope,
    )


def _read_event(fields: Mapping[str, Any]) -> Event:
    attributes = _bounded(_values(fields.get("attributes")), fields.get("dropped", 0))
    return Event(fields["name"], attributes, fields["at"])


def _read_link(fields: Mapping[str, Any]) -> Link:
    context = _context(fields, fields["span"], fields.get("flags", 0), remote=fields.get("remote", False))
    return Link(context, _bounded(_values(fields.get("attributes")), fields.get("dropped", 0)))
