"""Makes any value storable in its column: cleaned if possible, otherwise None, never an exception.

An invalid value (a lone surrogate, a NUL, NaN, an integer beyond bigint) costs only itself, never its row or batch.
Attributes come from any language, so types are flexible: a count may be text or a double, and a point in time may be
text or nanoseconds. Pure.

First come the rules, for one value. Below them whole columns are cleaned, which costs a third of cleaning values one
by one: a value that needs nothing done to it, as nearly all do, is told by a test inside the loop, and a text that is
in row after row is looked up. Whatever is left goes to the rules.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, Final

from dbbtrace.model.identity import normalise_guid
from dbbtrace.model.times import NANOS, format_all_utc, format_utc, to_unix_nanos
from dbbtrace.warehouse.schema import Column, Form, Kind

__all__ = [
    "Cleaner",
    "ColumnCleaner",
    "cleaner",
    "column_cleaner",
    "count",
    "cut",
    "moment",
    "moments",
    "number",
    "numbers",
    "remembering",
    "shortened",
    "text",
]

_BIGINT: Final = 1 << 63
"""The smallest whole number that is too large for a bigint."""
_DECIMAL_LIMIT = 1e16  # decimal(18,2); below it Python writes floats without an exponent, which T-SQL can't cast
_FIRST: Final = -62_135_596_800 * NANOS
_LAST: Final = 253_402_300_800 * NANOS
"""The years 1 to 9999, in nanoseconds since the Unix epoch."""
_NANOS_FROM: Final = 10**17
"""A number of at least this size is nanoseconds."""
_ELLIPSIS = "…"
_MOST_REMEMBERED = 1024
_LONGEST_REMEMBERED = 255

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
    """Any value as text that every database accepts. Lone surrogates and NUL become U+FFFD."""
    if value is None:
        return None
    try:
        value = value if isinstance(value, str) else str(value)
    except Exception:  # __str__ of any type may fail
        return None
    if value.isascii():
        return value.replace("\0", "\ufffd") if "\0" in value else str(value)
    whole = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return str(whole.replace("\0", "\ufffd"))


def cut(value: str, size: int) -> str:
    """The text in at most ``size`` UTF-8 bytes. Longer text is cut at a character boundary and ends in ``…``."""
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

    if column.form is Form.GUID:  # an empty id means no id
        return lambda value: clean(normalise_guid(text(value) or "")) or None
    if column.form is Form.UPPER:
        return lambda value: clean((text(value) or "").strip().upper()) or None
    if column.form is Form.LIST:
        return lambda value: _as_list(value, size)
    return clean


def _as_list(value: Any, size: int) -> str | None:
    """A JSON array of strings in at most ``size`` bytes. Strings that do not fit are replaced by one last ``"…"``."""
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
            value = int(value)  # exact for long numbers, unlike a float
        except Exception:
            as_float = number(value)
            if as_float is None:
                return None
            value = int(as_float)
    return value if -_BIGINT <= value < _BIGINT else None


def number(value: Any) -> float | None:
    """A finite float, from anything that can be read as one; otherwise None."""
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
    """A point in time as nanoseconds since the Unix epoch, floored to the microsecond; None if it isn't one, or lies
    beyond the years 1 to 9999."""
    if value is None:
        return None
    try:
        nanos = value if type(value) is int and value >= _NANOS_FROM else to_unix_nanos(value)
    except Exception:
        return None
    return nanos - nanos % 1000 if _FIRST <= nanos < _LAST else None


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


# -- whole columns ------------------------------------------------------------------------------------------

ColumnCleaner = Callable[[Sequence[Any]], Sequence[Any]]


def column_cleaner(column: Column, *, repeats: bool = True) -> ColumnCleaner:
    """The function that makes any values storable in the column.

    Args:
        column: where they go.
        repeats: whether the same few texts are in row after row.
    """
    clean = cleaner(column)
    if column.kind is Kind.TEXT and repeats and column.form is not Form.LIST:
        return remembering(clean)
    if column.kind is Kind.TEXT and column.form is Form.AS_IS:
        return _short_texts(column, clean)
    if column.kind is Kind.TIME:
        return lambda values: shortened(format_all_utc(moments(values)), column.size)
    by_kind = {Kind.BIGINT: _counts, Kind.DECIMAL: _decimals(clean), Kind.FLOAT: numbers}
    return by_kind.get(column.kind) or _one_by_one(clean, column.missing)


def _one_by_one(clean: Cleaner, missing: str | None) -> ColumnCleaner:
    return lambda values: [missing if value is None else clean(value) for value in values]


class _Memory(dict[Any, Any]):
    """What texts become. Takes no value that can't be hashed."""

    def __init__(self, clean: Cleaner) -> None:
        super().__init__()
        self._clean = clean

    def __missing__(self, value: Any) -> Any:
        cleaned = self._clean(value)
        # Only texts: 1, 1.0 and True would be taken for one another.
        if value is None or (type(value) is str and len(value) <= _LONGEST_REMEMBERED):
            if len(self) >= _MOST_REMEMBERED:
                self.clear()
            self[value] = cleaned
        return cleaned


def remembering(clean: Cleaner) -> ColumnCleaner:
    """What it makes of each value, for a column in which the same few texts are in row after row."""
    look_up = _Memory(clean).__getitem__

    def clean_all(values: Sequence[Any]) -> Sequence[Any]:
        try:
            return list(map(look_up, values))
        except Exception:  # a list or an object where a text should be
            return list(map(clean, values))

    return clean_all


def _short_texts(column: Column, clean: Cleaner) -> ColumnCleaner:
    size, missing = column.size, column.missing
    return lambda values: [
        missing
        if value is None
        else value
        if type(value) is str and len(value) <= size and value.isascii() and "\0" not in value
        else clean(value)
        for value in values
    ]


def _counts(values: Sequence[Any]) -> Sequence[Any]:
    return [
        value if value is None or (type(value) is int and -_BIGINT <= value < _BIGINT) else count(value)
        for value in values
    ]


def _decimals(clean: Cleaner) -> ColumnCleaner:
    return lambda values: [
        None if value is None else round(value, 2) if type(value) is float and -1e15 < value < 1e15 else clean(value)
        for value in values
    ]


def numbers(values: Sequence[Any]) -> list[float | None]:
    """Numbers as ``number`` makes them."""
    return [value if type(value) is float and isfinite(value) else number(value) for value in values]


def moments(values: Sequence[Any]) -> list[int | None]:
    """Points in time as ``moment`` makes them."""
    return [
        value - value % 1000 if type(value) is int and _NANOS_FROM <= value < _LAST else moment(value)
        for value in values
    ]


def shortened(times: Sequence[str | None], digits: int) -> list[str | None]:
    """Times as ``times.format_all_utc`` writes them, with so many digits."""
    length = len(format_utc(0, digits))
    return [time and time[:length] for time in times]
