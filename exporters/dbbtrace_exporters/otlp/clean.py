"""Make spans fit for OTLP: repair what protobuf can't hold, and cut a batch into requests of bounded size.

One bad value must cost at most itself, never its batch. Pure: no network, and no protobuf either: sizes are upper
bounds reckoned from the values, since encoding twice would cost more than a request that is a little smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, Status

__all__ = ["clean", "requests_of", "size_bound"]

_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1
_UINT64_MAX = (1 << 64) - 1
_DEEPEST = 16
"""Levels of lists in lists that are followed; what lies deeper is sent as text."""


def clean(span: ReadableSpan) -> ReadableSpan:
    """The span itself where OTLP can hold it, otherwise a copy with the bad values repaired.

    Lone surrogates become U+FFFD, integers beyond 64 bits and unknown types become text, None goes.
    """
    old = {name: getattr(span, name) for name in _REPAIRS}  # once: each look at some of them makes a new object
    new = {name: repair(old[name]) for name, repair in _REPAIRS.items()}
    if all(new[name] is old[name] for name in _REPAIRS):
        return span
    return ReadableSpan(context=span.get_span_context(), parent=span.parent, kind=span.kind, **new)


def _text(text: object) -> str:
    if not isinstance(text, str):
        return _text(str(text))
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _time(unix_nanos: int | None) -> int | None:
    return unix_nanos if unix_nanos is None or 0 <= unix_nanos <= _UINT64_MAX else max(0, min(unix_nanos, _UINT64_MAX))


def _value(value: Any, depth: int = 0) -> Any:
    """The value as OTLP can hold it; the same object where it can; None: leave it out."""
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, (bool, float, bytes)):
        return value
    if isinstance(value, Integral):
        return _integer(value)
    if isinstance(value, Real):
        return float(value)
    if depth < _DEEPEST:
        if isinstance(value, Mapping):
            return _mapping(value, depth + 1)
        if isinstance(value, Sequence):
            items = [item for item in (_value(item, depth + 1) for item in value) if item is not None]
            return value if _same(items, value) else items
    return _text(repr(value) if depth >= _DEEPEST else str(value))


def _integer(value: Integral) -> int | str:
    number = value if isinstance(value, int) else int(value)
    if _INT64_MIN <= number <= _INT64_MAX:
        return number
    return str(number) if number.bit_length() < 4096 else hex(number)  # str() refuses very long ones


def _mapping(attributes: Mapping[Any, Any], depth: int = 0) -> Mapping[str, Any]:
    if not attributes:
        return attributes
    pairs = {_text(key): _value(value, depth) for key, value in attributes.items()}
    fresh = {key: value for key, value in pairs.items() if value is not None}
    same = _same(fresh, attributes) and _same(list(fresh.values()), list(attributes.values()))
    return attributes if same else fresh


def _same(fresh: Iterable[Any], old: Iterable[Any]) -> bool:
    old = list(old)
    new = list(fresh)
    return len(new) == len(old) and all(a is b for a, b in zip(new, old, strict=True))


def _events(events: Sequence[Event]) -> Sequence[Event]:
    fresh = [_event(event) for event in events]
    return events if _same(fresh, events) else fresh


def _event(event: Event) -> Event:
    old = event.name, event.attributes, event.timestamp
    name, attributes, time = _text(old[0]), _mapping(old[1] or {}), _time(old[2])
    if name is old[0] and time is old[2] and (attributes is old[1] or not old[1]):
        return event
    return Event(name, attributes, time)


def _links(links: Sequence[Link]) -> Sequence[Link]:
    fresh = [_link(link) for link in links]
    return links if _same(fresh, links) else fresh


def _link(link: Link) -> Link:
    old = link.attributes
    attributes = _mapping(old or {})
    return link if attributes is old or not old else Link(link.context, attributes)


def _status(status: Status) -> Status:
    if status is None or status.description is None:
        return status
    description = _text(status.description)
    return status if description is status.description else Status(status.status_code, description)


def _resource(resource: Resource) -> Resource:
    old = resource.attributes
    attributes = _mapping(old)
    return resource if attributes is old else Resource(attributes, resource.schema_url)


def _scope(scope: InstrumentationScope | None) -> InstrumentationScope | None:
    if scope is None:
        return None
    name, version = _text(scope.name), None if scope.version is None else _text(scope.version)
    if name is scope.name and version is scope.version:
        return scope
    return InstrumentationScope(name, version, scope.schema_url)


_REPAIRS: dict[str, Callable[[Any], Any]] = {
    "name": _text,
    "start_time": _time,
    "end_time": _time,
    "attributes": _mapping,
    "events": _events,
    "links": _links,
    "status": _status,
    "resource": _resource,
    "instrumentation_scope": _scope,
}


def requests_of(spans: Sequence[ReadableSpan], max_bytes: int) -> Iterator[list[ReadableSpan]]:
    """The spans, in order, in as few requests as keep each below the size; a span that is larger goes alone."""
    request: list[ReadableSpan] = []
    resources: set[int] = set()
    size = 0
    for span in spans:
        own, of_resource = size_bound(span), _resource_bound(span.resource)
        more = own if id(span.resource) in resources else own + of_resource
        if request and size + more > max_bytes:
            yield request
            request, resources, size, more = [], set(), 0, own + of_resource
        request.append(span)
        resources.add(id(span.resource))
        size += more
    if request:
        yield request


def size_bound(span: ReadableSpan) -> int:
    """Bytes that the span takes in a request, at most; its resource not counted."""
    return (
        256  # ids, times, kind, flags, lengths, scope
        + _bound(span.name)
        + _bound(span.status.description if span.status else None)
        + _bound(span.attributes or {})
        + sum(64 + _bound(event.name) + _bound(event.attributes or {}) for event in span.events or ())
        + sum(96 + _bound(link.attributes or {}) for link in span.links or ())
        + (_bound(span.context.trace_state) if span.context else 0)
    )


def _resource_bound(resource: Resource) -> int:
    return 64 + _bound(resource.attributes) + _bound(resource.schema_url)


def _bound(value: Any) -> int:
    if isinstance(value, str):
        return 12 + (len(value) if value.isascii() else 4 * len(value))
    if isinstance(value, bytes):
        return 12 + len(value)
    if isinstance(value, Mapping):
        return 12 + sum(12 + _bound(key) + _bound(item) for key, item in value.items())
    if isinstance(value, Sequence):
        return 12 + sum(map(_bound, value))
    return 12
