"""JSON as the journal has it: every value comes back as it was, whatever wrote it and whatever reads it.

orjson does it where it can, at a tenth of the cost; the standard library where orjson is missing, refuses (lone
surrogates, integers beyond 64 bits, keys that are no text) or would lose a value (it writes NaN as null).
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

try:
    import orjson
except ImportError:  # a platform it is not built for
    orjson = None  # type: ignore[assignment]

__all__ = ["dumps", "dumps_checked", "loads", "restored"]

_LEAST, _MOST = -(2**63), 2**64 - 1
"""Integers that every JSON library reads as such."""


def _unusual(value: object) -> object:
    """What JSON has no word for. Bytes become an object whose one key is empty: no attribute may have such a key;
    integers that would not be read as such likewise."""
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


def restored(value: Any) -> Any:
    """A value as it was before it was written: sequences are tuples, bytes bytes."""
    if isinstance(value, list):
        return tuple(map(restored, value))
    if isinstance(value, dict):
        unusual = value.get("") if len(value) == 1 else None
        if isinstance(unusual, str):
            return b64decode(unusual)
        if isinstance(unusual, list):
            return int(unusual[0])
        return {name: restored(inner) for name, inner in value.items()}
    return value


# -- exactly --------------------------------------------------------------------------------------------------

_encode, _encode_ascii = (
    json.JSONEncoder(ensure_ascii=ascii, separators=(",", ":"), check_circular=False, default=_unusual).encode
    for ascii in (False, True)
)
_decode = json.JSONDecoder().decode


def _exact(value: Any) -> Any:
    """The value as the standard library writes it without losing anything."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return value if _LEAST <= value <= _MOST else {"": [str(value)]}
    if isinstance(value, float) or value is None:
        return value
    if isinstance(value, dict):
        return {str(name): _exact(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return list(map(_exact, value))
    return _exact(_unusual(value))


def _storable(value: object) -> Any:
    """The value, or why it can't be written."""
    try:
        exact = _exact(value)
        _encode(exact)
    except Exception as error:
        return f"<{type(value).__name__} that can't be written: {type(error).__name__}>"
    return exact


def _each_alone(value: Any) -> Any:
    """The value with attributes of which each that can't be written costs itself alone."""
    if isinstance(value, dict):
        return {
            name: {str(key): _storable(one) for key, one in inner.items()}
            if name == "attributes"
            else _each_alone(inner)
            for name, inner in value.items()
        }
    return [_each_alone(inner) for inner in value] if isinstance(value, list) else _exact(value)


def _dumps_exactly(fields: dict[str, Any]) -> bytes:
    """Whatever the fields hold."""
    exact = _each_alone(fields)
    try:
        return _encode(exact).encode() + b"\n"
    except UnicodeEncodeError:  # half of a surrogate pair
        return _encode_ascii(exact).encode() + b"\n"


def _dumps_plainly(fields: dict[str, Any]) -> bytes:
    """By the standard library, without a look into values that need none."""
    attributes = fields.get("attributes", {})
    frame = [value for name, value in fields.items() if name != "attributes"]
    try:
        if all(map(_is_plain, attributes.values())) and all(map(_is_plain, frame)):
            return _encode(fields).encode() + b"\n"
    except (TypeError, ValueError):
        pass
    return _dumps_exactly(fields)


def _is_plain(value: object) -> bool:
    kind = type(value)
    return kind is str or kind is bool or kind is float or (kind is int and _LEAST <= cast("int", value) <= _MOST)


def _loads_exactly(data: bytes) -> Any:
    return _decode(data.decode("utf-8", "surrogatepass"))


# -- fast -----------------------------------------------------------------------------------------------------


def _dumps_checked(fields: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(fields, _unusual, _OPTIONS)
    except (TypeError, ValueError, RecursionError, OverflowError):
        return _dumps_exactly(fields)


def _dumps_fast(fields: dict[str, Any]) -> bytes:
    line = _dumps_checked(fields)
    return line if b"null" not in line or re.search(_NULL, line) is None else _dumps_exactly(fields)


_NULL = rb"null(?<=[:,[]null)"
"""Where null may stand there as a value: the word alone stands in the name of every not_null test of dbt's."""


def _loads_fast(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except ValueError:
        return _loads_exactly(data)


_OPTIONS = (
    orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
    if orjson is not None
    else 0
)
dumps: Callable[[dict[str, Any]], bytes] = _dumps_fast if orjson is not None else _dumps_plainly
"""One line, newline included, for the fields. What stands under ``attributes`` may be anything: it never fails on
account of an attribute that can't be written, which is replaced by a text that says so."""
dumps_checked: Callable[[dict[str, Any]], bytes] = _dumps_checked if orjson is not None else _dumps_plainly
"""The same for fields that hold neither None nor NaN."""
loads: Callable[[bytes], Any] = _loads_fast if orjson is not None else _loads_exactly
"""What ``dumps`` wrote; see ``restored`` for its values.

Raises:
    ValueError, RecursionError: it is no JSON.
"""
