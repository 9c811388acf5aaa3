"""Make any value storable in its column: cleaned where it can be, None where it can't, never an exception.

A poisoned value (a lone surrogate, a NUL, NaN, an integer beyond bigint) costs itself only, never its row or batch.
Attributes come from any language, so types are taken loosely: a count may be text or a double, a point in time text
or nanoseconds. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isfinite
from typing import Any, Final

from dbbtrace.model.identity import normalise_guid
from dbbtrace.model.times import NANOS, format_utc, to_unix_nanos
from dbbtrace.warehouse.schema import Column, Form, Kind

__all__ = ["BIGINT", "LAST", "NANOS_FROM", "Cleaner", "cleaner", "count", "cut", "moment", "number", "text"]

BIGINT: Final = 1 << 63
"""The first whole number that no bigint holds."""
_DECIMAL_LIMIT = 1e16  # decimal(18,2); below it Python writes floats without an exponent, which T-SQL can't cast
_FIRST: Final = -62_135_596_800 * NANOS
LAST: Final = 253_402_300_800 * NANOS
"""The years 1 to 9999, in nanoseconds since the Unix epoch."""
NANOS_FROM: Final = 10**17
"""A number from here on is nanoseconds."""
_ELLIPSIS = "…"

Cleaner = Callable[[Any], Any]


def cleaner(column: Column) -> Cleaner:
    """The function that makes any value storable in the column."""
    clean = _BY_KIND[column.kind](column)
    if column.missing is None:
        return clean
    missing = column.missing
    return lambda value: missing if (cleaned := clean(value)) is None else cleaned


# -- text ---------------------------------------------------------------------------------------------------


def text(value: Any) -> str | None:
    """Any value as text that every database takes: no lone surrogate, no NUL; both show as U+FFFD."""
    if value is None:
        return None
    try:
        value = value if isinstance(value, str) else str(value)
    except Exception:  # somebody's __str__
        return None
    if value.isascii():
        return value.replace("\0", "\ufffd") if "\0" in value else str(value)
    whole = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return str(whole.replace("\0", "\ufffd"))


def cut(value: str, size: int) -> str:
    """The text in at most ``size`` UTF-8 bytes, cut on a character boundary and, when cut, ending in ``…``."""
    if len(value) * 4 <= size or (len(value) <= size and value.isascii()):
        return value
    encoded = value.encode("utf-8")
    if len(encoded) <= size:
        return value
    mark = _ELLIPSIS if size >= 3 else ""
    return encoded[: size - len(mark) * 3].decode("utf-8", "ignore") + mark


def _text_cleaner(column: Column) -> Cleaner:
    size = column.size

    def clean(value: Any) -> str | None:
        if type(value) is str and len(value) <= size and value.isascii() and "\0" not in value:
            return value
        cleaned = text(value)
        return None if cleaned is None else cut(cleaned, size)

    if column.form is Form.GUID:  # an empty id is no id
        return lambda value: clean(normalise_guid(text(value) or "")) or None
    if column.form is Form.UPPER:
        return lambda value: clean((text(value) or "").strip().upper()) or None
    if column.form is Form.LIST:
        return lambda value: _as_list(value, size)
    return clean


def _as_list(value: Any, size: int) -> str | None:
    """A JSON array of strings in at most ``size`` bytes; what does not fit is replaced by one last ``"…"``."""
    if value is None:
        return None
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        cleaned = text(value)
        return None if cleaned is None else cut(cleaned, size)
    items = [cleaned for item in value if (cleaned := text(item)) is not None]
    whole = json.dumps(items, ensure_ascii=False)
    if len(whole.encode("utf-8")) <= size:
        return whole
    used, kept = len('["…"]'.encode()), []
    for item in items:
        used += len(json.dumps(item, ensure_ascii=False).encode("utf-8")) + 2
        if used > size:
            break
        kept.append(item)
    return json.dumps([*kept, _ELLIPSIS], ensure_ascii=False)


# -- numbers ------------------------------------------------------------------------------------------------


def count(value: Any) -> int | None:
    """A whole number that fits bigint, from int, float, numpy, Decimal or text; otherwise None."""
    if type(value) is not int:
        if value is None:
            return None
        try:
            value = int(value)  # exact for long texts, which a float is not
        except Exception:
            as_float = number(value)
            if as_float is None:
                return None
            value = int(as_float)
    return value if -BIGINT <= value < BIGINT else None


def number(value: Any) -> float | None:
    """A finite float, from anything that reads as one; otherwise None."""
    if value is None:
        return None
    try:
        as_float: float = float(value)
    except Exception:
        return None
    return as_float if isfinite(as_float) else None


def _decimal(value: Any) -> float | None:
    as_float = number(value)
    if as_float is None or not abs(rounded := round(as_float, 2)) < _DECIMAL_LIMIT:
        return None
    return rounded


_BITS = {"true": 1, "1": 1, "yes": 1, "false": 0, "0": 0, "no": 0}


def _bit(value: Any) -> int | None:
    if isinstance(value, bool):
        return int(value)
    cleaned = text(value)
    return None if cleaned is None else _BITS.get(cleaned.strip().lower())


# -- points in time -----------------------------------------------------------------------------------------


def moment(value: Any) -> int | None:
    """A point in time as nanoseconds since the Unix epoch, floored to the microsecond; None where none stands, or one
    beyond the years 1 to 9999."""
    if value is None:
        return None
    try:
        nanos = value if type(value) is int and value >= NANOS_FROM else to_unix_nanos(value)
    except Exception:
        return None
    return nanos - nanos % 1000 if _FIRST <= nanos < LAST else None


def _time_cleaner(column: Column) -> Cleaner:
    digits = column.size

    def clean(value: Any) -> str | None:
        at = moment(value)
        return None if at is None else format_utc(at, digits)

    return clean


_BY_KIND: dict[Kind, Callable[[Column], Cleaner]] = {
    Kind.TEXT: _text_cleaner,
    Kind.BIGINT: lambda _: count,
    Kind.DECIMAL: lambda _: _decimal,
    Kind.FLOAT: lambda _: number,
    Kind.BIT: lambda _: _bit,
    Kind.TIME: _time_cleaner,
}
