"""Typed values of a handle: ``load.rows_written = 10`` is checked where it is written.

A value that makes no sense is left out, with a warning that names it and the line; strict raises. Nothing here
converts silently what could be a mistake: 10.5 rows is not a count, and neither is True.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
from functools import lru_cache
from operator import index
from typing import Any, Generic, Protocol, TypeVar, overload
from uuid import UUID

from dbbtrace.diagnostics import complain
from dbbtrace.model.identity import normalise_guid
from dbbtrace.model.masking import masked_input
from dbbtrace.model.times import iso_utc, to_unix_nanos

__all__ = [
    "Count",
    "Guid",
    "Message",
    "Moment",
    "Number",
    "Text",
    "Value",
    "checked",
    "checked_guid",
    "checked_text",
    "count",
    "error_type_of",
    "guid",
    "is_empty",
    "message",
    "message_of",
    "moment",
    "number",
    "required",
    "shown",
    "text",
]

T = TypeVar("T")
_BIGINT = 2**63


def count(value: object) -> int:
    """A whole number from 0 to 2**63 - 1: int, numpy integers, integral Decimal or float, or their digits as text.

    Raises:
        ValueError: anything else.
    """
    whole = value if type(value) is int else _whole(value)
    if not 0 <= whole < _BIGINT:
        raise ValueError("is not a count: it must lie between 0 and 2**63 - 1")
    return whole


def _whole(value: object) -> int:
    import numbers  # slow to import, and seldom needed
    from decimal import Decimal

    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):  # numpy's, by either of its names
        raise ValueError("is not a count")
    if isinstance(value, str):
        value = value.strip()
        if not value.isdecimal():
            raise ValueError("is not a count")
        return int(value)
    if isinstance(value, (float, Decimal)) or (isinstance(value, numbers.Real) and not hasattr(value, "__index__")):
        if not math.isfinite(value) or value != math.floor(value):
            raise ValueError("is not a count")
        return index(math.floor(value))
    try:
        return index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError("is not a count") from None


def number(value: object) -> float:
    """A finite number that is not negative.

    Raises:
        ValueError: anything else.
    """
    if type(value) not in (float, int) and not _reads_as_number(value):
        raise ValueError("is not a number")
    try:
        result = float(value)  # type: ignore[arg-type]
    except ValueError:
        raise ValueError("is not a number") from None
    if not math.isfinite(result) or result < 0:
        raise ValueError("is not a number: it must be finite and not negative")
    return result


def _reads_as_number(value: object) -> bool:
    import numbers
    from decimal import Decimal

    return isinstance(value, (numbers.Real, Decimal, str)) and not isinstance(value, bool)


def text(value: object) -> str:
    """Text; a number is written out, anything else is refused (a frame or an object pasted by mistake).

    Raises:
        ValueError: it is not text.
    """
    if isinstance(value, str):
        return str.__str__(value)  # of an enum or numpy's: the plain text
    import numbers

    if isinstance(value, (UUID, numbers.Number)) and not isinstance(value, bool):
        if value != value:  # NaN: how pandas says that a cell is empty
            raise ValueError("is not text")
        return str(value)
    raise ValueError("is not text")


def message(value: object) -> str:
    """Text with its secrets masked.

    Raises:
        ValueError: it is no text.
    """
    return masked_input(text(value))


def guid(value: object) -> str:
    """A GUID in lower case, or the text as it is: Fabric's ids are joined by equality.

    Raises:
        ValueError: it is not text.
    """
    return _normalised(text(value))


_normalised = lru_cache(256)(normalise_guid)
"""A job's loads name the same few pipelines."""


def moment(value: object) -> str:
    """A point in time as attributes hold it; see ``times.to_unix_nanos`` for what is read.

    Raises:
        ValueError: it is not a point in time.
    """
    return iso_utc(to_unix_nanos(value))


def checked(name: str, convert: Callable[[Any], T], value: object) -> T | None:
    """The value converted; None where it is None, or makes no sense (then said)."""
    if value is None:
        return None
    try:
        return convert(value)
    except Exception as error:  # also what the value's own methods raise
        _refuse(name, value, error)
        return None


def checked_text(name: str, value: object) -> str | None:
    """``checked(name, text, value)``; most often there is nothing to do."""
    return value if type(value) is str else checked(name, text, value)


def checked_guid(name: str, value: object) -> str | None:
    """``checked(name, guid, value)``, likewise."""
    return _normalised(value) if type(value) is str else checked(name, guid, value)


def _refuse(name: str, value: object, error: Exception) -> None:
    reason = message_of(error) or type(error).__name__
    complain(f"{name} = {shown(value)} is left out: {'it ' if reason.startswith('is ') else ''}{reason}")


def required(name: str, convert: Callable[[Any], str], value: object) -> str:
    """The text converted; ``?`` if it is missing or makes no sense: the rest of the row is worth keeping."""
    converted = checked(name, convert, value)
    if converted is not None and converted.strip():
        return converted
    if value is None or converted is not None:
        complain(f"{name} = {shown(value)}: it names nothing; the row will show ?")
    return "?"


def shown(value: object) -> str:
    """The value as a message shows it: short, whatever it is."""
    try:
        return _repr.repr(value)
    except Exception:  # an integer of too many digits
        return f"<{type(value).__name__}>"


_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 80


_NOTHING = frozenset({"", "[]", "{}", "null", "none", "nan", "nat", "<na>"})
"""How what is empty is written out: by a pipeline's expression, by str()."""


def is_empty(value: object) -> bool:
    """Whether this says nothing: None, blank text, an empty list or mapping, NaN or NaT (an empty cell of pandas), or
    one of these as text."""
    if type(value) is str:
        return value.strip().lower() in _NOTHING
    if value is None or isinstance(value, BaseException):
        return value is None
    try:
        if isinstance(value, str):
            return value.strip().lower() in _NOTHING
        return len(value) == 0 if hasattr(value, "__len__") else bool(value != value)
    except Exception:  # pandas.NA has no truth; an array of several neither
        return type(value).__name__ in ("NAType", "NaTType")


def message_of(value: object) -> str:
    """The text of anything, an exception's too; never raises."""
    try:
        return str.__str__(str(value))
    except Exception:
        return f"<{type(value).__name__} that has no text>"


def error_type_of(error: object) -> str:
    """``error.type`` of an exception: its class, with the module unless built in (OpenTelemetry's convention)."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


class Holder(Protocol):
    """What has such values: a handle."""

    _values: dict[str, Any]

    def _set(self, attribute: str, value: Any) -> None: ...


class Value(Generic[T]):
    """Descriptor of one attribute of a handle; None takes the value back."""

    convert: Callable[[Any], Any]

    def __init__(self, key: str, doc: str) -> None:
        self.key = key
        self.__doc__ = doc

    def __set_name__(self, owner: type[Holder], name: str) -> None:
        self.name = name

    @overload
    def __get__(self, handle: None, owner: type[Holder]) -> Value[T]: ...

    @overload
    def __get__(self, handle: Holder, owner: type[Holder]) -> T | None: ...

    def __get__(self, handle: Holder | None, owner: type[Holder]) -> Value[T] | T | None:
        if handle is None:
            return self
        return handle._values.get(self.key)

    def __set__(self, handle: Holder, value: object) -> None:
        try:
            converted = None if value is None else self.convert(value)
        except Exception as error:
            _refuse(self.name, value, error)
        else:
            handle._set(self.key, converted)


class Count(Value[int]):
    """A count: ``rows_written``."""

    convert = staticmethod(count)


class Number(Value[float]):
    """A number: ``throughput``."""

    convert = staticmethod(number)


class Text(Value[str]):
    """Text: ``source``."""

    convert = staticmethod(text)


class Message(Value[str]):
    """Text of others, which may hold a secret: ``message``."""

    convert = staticmethod(message)


class Guid(Value[str]):
    """A Fabric id: ``pipeline_run_id``."""

    convert = staticmethod(guid)


class Moment(Value[str]):
    """A point in time: ``started_at``; reads back as ISO 8601 text."""

    convert = staticmethod(moment)
