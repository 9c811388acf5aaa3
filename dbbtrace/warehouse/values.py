"""Make any value storable in its column: cleaned where it can be, None where it can't, never an exception.

A poisoned value (a lone surrogate, a NUL, NaN, an integer beyond bigint) costs itself only, never its row or batch.
Attributes come from any language, so types are taken loosely: a count may be text or a double, a point in time text
or nanoseconds. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from math import isfinite
from typing import Any

from dbbtrace.identity import normalise_guid
from dbbtrace.times import to_unix_nanos
from dbbtrace.warehouse.schema import Column, Form, Kind

__all__ = ["cleaner", "count", "cut", "moment", "number", "text"]

_BIGINT = 1 << 63
_DECIMAL_LIMIT = 1e16  # decimal(18,2); below it Python writes floats without an exponent, which T-SQL can't cast
_EPOCH = datetime(1970, 1, 1)
_ELLIPSIS = "…"
_TIMESPECS = {0: "seconds", 3: "milliseconds", 6: "microseconds"}

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

    if column.form is Form.GUID:
        # An empty id is no id. The same few ids stand in row after row.
        guid = lru_cache(maxsize=4096)(lambda value: clean(normalise_guid(value)) or None)
        return lambda value: guid(value) if type(value) is str else guid(text(value) or "")
    if column.form is Form.UPPER:
        upper = lru_cache(maxsize=1024)(lambda value: clean(value.strip().upper()) or None)
        return lambda value: upper(value) if type(value) is str else upper(text(value) or "")
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
    return value if -_BIGINT <= value < _BIGINT else None


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


def moment(value: Any) -> datetime | None:
    """A point in time as a datetime in UTC without zone, floored to the microsecond; None where none stands."""
    if value is None:
        return None
    if type(value) is str and len(value) == 27 and value[26] == "Z":  # as times.iso_utc writes it
        try:
            return datetime.fromisoformat(value[:26])
        except ValueError:
            pass
    try:
        nanos = value if type(value) is int and value >= 10**17 else to_unix_nanos(value)
        return _EPOCH + timedelta(microseconds=nanos // 1000)
    except Exception:  # no time, or one beyond the years 1 to 9999
        return None


def _time_cleaner(column: Column) -> Cleaner:
    timespec = _TIMESPECS[column.size]

    def clean(value: Any) -> str | None:
        at = value if type(value) is datetime and value.tzinfo is None else moment(value)
        return None if at is None else at.isoformat(" ", timespec)

    return clean


_BY_KIND: dict[Kind, Callable[[Column], Cleaner]] = {
    Kind.TEXT: _text_cleaner,
    Kind.BIGINT: lambda _: count,
    Kind.DECIMAL: lambda _: _decimal,
    Kind.FLOAT: lambda _: number,
    Kind.BIT: lambda _: _bit,
    Kind.TIME: _time_cleaner,
}
