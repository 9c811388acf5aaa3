"""Make spans fit for OTLP: repair what protobuf can't hold.

One bad value must cost at most itself, never its batch. Pure: no network, and no protobuf either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from operator import is_
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, Status

__all__ = ["clean"]

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
            items = [item for each in value if (item := _value(each, depth + 1)) is not None]
            return value if _same(items, value) else items
    return _text(repr(value) if depth >= _DEEPEST else str(value))


def _integer(value: Integral) -> int | str:
    number = value if isinstance(value, int) else int(value)
    if _INT64_MIN <= number <= _INT64_MAX:
        return number
    return str(number) if number.bit_length() < 4096 else hex(number)  # str() refuses very long ones


def _mapping(attributes: Mapping[Any, Any], depth: int = 0) -> Mapping[str, Any]:
    pairs = ((_text(key), _value(value, depth)) for key, value in attributes.items())
    fresh = {key: value for key, value in pairs if value is not None}
    same = _same([*fresh, *fresh.values()], [*attributes, *attributes.values()])
    return attributes if same else fresh


def _same(fresh: Sequence[Any], old: Sequence[Any]) -> bool:
    return len(fresh) == len(old) and all(map(is_, fresh, old))


def _each(repair: Callable[[Any], Any]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    def repaired(items: Sequence[Any]) -> Sequence[Any]:
        fresh = [repair(item) for item in items]
        return items if _same(fresh, items) else fresh

    return repaired


def _event(event: Event) -> Event:
    old = event.name, event.attributes or {}, event.timestamp
    new = _text(old[0]), _mapping(old[1]), _time(old[2])
    return event if _same(new, old) else Event(*new)


def _link(link: Link) -> Link:
    old = link.attributes or {}
    new = _mapping(old)
    return link if new is old else Link(link.context, new)


def _status(status: Status) -> Status:
    if status is None or status.description is None:
        return status
    description = _text(status.description)
    return status if description is status.description else Status(status.status_code, description)


def _resource(resource: Resource) -> Resource:
    old = resource.attributes
    new = _mapping(old)
    return resource if new is old else Resource(new, resource.schema_url)


def _scope(scope: InstrumentationScope | None) -> InstrumentationScope | None:
    if scope is None:
        return None
    name, version = _text(scope.name), None if scope.version is None else _text(scope.version)
    same = name is scope.name and version is scope.version
    return scope if same else InstrumentationScope(name, version, scope.schema_url)


_REPAIRS: dict[str, Callable[[Any], Any]] = {
    "name": _text,
    "start_time": _time,
    "end_time": _time,
    "attributes": _mapping,
    "events": _each(_event),
    "links": _each(_link),
    "status": _status,
    "resource": _resource,
    "instrumentation_scope": _scope,
}
