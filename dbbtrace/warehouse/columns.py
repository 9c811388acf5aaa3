"""Clean values a column at a time, which costs a third of cleaning them one by one.

What needs nothing done to it, as nearly every value, is told by a test that stands in the loop; texts that stand in row
after row are looked up. What is left goes through ``values``, which decides; here nothing does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

from dbbtrace.model.times import format_all_utc, format_utc
from dbbtrace.warehouse.cleaning import BIGINT, LAST, NANOS_FROM, Cleaner, cleaner, count, moment, number
from dbbtrace.warehouse.schema import Column, Form, Kind

__all__ = ["ColumnCleaner", "column_cleaner", "moments", "numbers", "remembering", "shortened"]

ColumnCleaner = Callable[[Sequence[Any]], Sequence[Any]]

_MOST_REMEMBERED = 1024
_LONGEST_REMEMBERED = 255


def column_cleaner(column: Column, *, repeats: bool = True) -> ColumnCleaner:
    """The function that makes any values storable in the column.

    Args:
        column: where they go.
        repeats: the same few texts stand there in row after row.
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
    """What it makes of each value, for a column in which the same few texts stand in row after row."""
    look_up = _Memory(clean).__getitem__

    def clean_all(values: Sequence[Any]) -> Sequence[Any]:
        try:
            return list(map(look_up, values))
        except Exception:  # a list or an object where a text should stand
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
        value if value is None or (type(value) is int and -BIGINT <= value < BIGINT) else count(value)
        for value in values
    ]


def _decimals(clean: Cleaner) -> ColumnCleaner:
    return lambda values: [
        None if value is None else round(value, 2) if type(value) is float and -1e15 < value < 1e15 else clean(value)
        for value in values
    ]


def numbers(values: Sequence[Any]) -> list[float | None]:
    """Numbers as ``values.number`` makes them."""
    return [value if type(value) is float and isfinite(value) else number(value) for value in values]


# -- points in time -----------------------------------------------------------------------------------------


def moments(values: Sequence[Any]) -> list[int | None]:
    """Points in time as ``values.moment`` makes them."""
    return [
        value - value % 1000 if type(value) is int and NANOS_FROM <= value < LAST else moment(value) for value in values
    ]


def shortened(times: Sequence[str | None], digits: int) -> list[str | None]:
    """Times as ``times.format_all_utc`` writes them, with so many digits."""
    length = len(format_utc(0, digits))
    return [time and time[:length] for time in times]
