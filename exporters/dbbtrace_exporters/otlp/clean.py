"""Make spans fit for OTLP: repair what protobuf can't hold.

One bad value must cost at most itself, never its batch. Pure: no network, and no protobuf either.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
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


def _text(text: object) -> str:
    text = text if isinstance(text, str) else str(text)
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _time(unix_nanos: int) -> int:
    return max(0, min(unix_nanos, _UINT64_MAX))


def _value(value: Any, depth: int = 0) -> Any:
    """The value as OTLP can hold it; the same object where it can; None: leave it out."""
    if isinstance(value, str):
        return value if value.isascii() else _text(value)
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
    number = int(value)
    if _INT64_MIN <= number <= _INT64_MAX:
        return number
    return str(number) if number.bit_length() < 4096 else hex(number)  # str() refuses very long ones


def _mapping(attributes: Mapping[Any, Any], depth: int = 0) -> Mapping[str, Any]:
    pairs = ((_text(key), _value(value, depth)) for key, value in attributes.items())
    fresh = {key: value for key, value in pairs if value is not None}
    return attributes if _same([*fresh, *fresh.values()], [*attributes, *attributes.values()]) else fresh


def _each(repair: Callable[[Any], Any]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    def repaired(items: Sequence[Any]) -> Sequence[Any]:
        fresh = [repair(item) for item in items]
        return items if _same(fresh, items) else fresh

    return repaired


def _parts(kind: Callable[..., Any], *kept: str, **repairs: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What repairs an object by its parts, which are named as the arguments that make one are. None stays None."""

    def repaired(whole: Any) -> Any:
        old = {name: getattr(whole, name) for name in repairs}  # once: each look at some of them makes a new object
        new = {name: part if part is None else repairs[name](part) for name, part in old.items()}
        if _same(new.values(), old.values()):
            return whole
        return kind(**{name: getattr(whole, name) for name in kept}, **new)

    return repaired


def _same(fresh: Collection[Any], old: Collection[Any]) -> bool:
    return len(fresh) == len(old) and all(map(is_, fresh, old))


clean: Callable[[ReadableSpan], ReadableSpan] = _parts(
    ReadableSpan,
    "context",
    "parent",
    "kind",
    name=_text,
    start_time=_time,
    end_time=_time,
    attributes=_mapping,
    events=_each(_parts(Event, name=_text, attributes=_mapping, timestamp=_time)),
    links=_each(_parts(Link, "context", attributes=_mapping)),
    status=_parts(Status, "status_code", description=_text),
    resource=_parts(Resource, "schema_url", attributes=_mapping),
    instrumentation_scope=_parts(InstrumentationScope, "schema_url", "attributes", name=_text, version=_text),
)
"""The span itself where OTLP can hold it, otherwise a copy with the bad values repaired.

Lone surrogates become U+FFFD, integers beyond 64 bits and unknown types become text, None goes.
"""
