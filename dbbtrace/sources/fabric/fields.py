"""A JSON object of Fabric's, read by names in any spelling: ``rowsRead``, ``RowsRead`` and ``rows_read`` are one name.

A value that makes no sense is left out, with a warning that names its path. Nothing here knows what the names mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from dbbtrace.diagnostics import complain
from dbbtrace.job.values import checked, count, is_empty, number, shown
from dbbtrace.job.values import text as text_
from dbbtrace.model.times import EARLIEST_START, NANOS, to_unix_nanos

__all__ = ["Fields", "folded"]

T = TypeVar("T")
_LATEST = 4_102_444_800 * NANOS
"""2100: with 1990, what a service has times between; 0001-01-01 and 9999-12-31 mean none."""


def folded(name: object) -> str:
    """The name without case, underscores, spaces and dashes."""
    return _folded(name if isinstance(name, str) else str(name))


@lru_cache(maxsize=4096)
def _folded(name: str) -> str:
    return name.replace("_", "").replace(" ", "").replace("-", "").lower()


class _Spelling(dict[tuple[str, ...], tuple[Any, ...]]):
    """Names that are asked for → those that an object has, as it spells them."""

    def __init__(self, members: tuple[Any, ...]) -> None:
        self.names = {folded(name): name for name in reversed(members)}
        """Folded → as it is spelled, the first of each."""

    def __missing__(self, names: tuple[str, ...]) -> tuple[Any, ...]:
        found = self[names] = tuple(self.names[name] for name in map(folded, names) if name in self.names)
        return found


_spelling = lru_cache(maxsize=1024)(_Spelling)
"""Thousands of objects have the same members."""


def _text(value: object) -> str:
    return value.strip() if type(value) is str else text_(value).strip()


def _word(value: object) -> str:
    if isinstance(value, str) and value.strip().replace(" ", "").replace("_", "").isalpha():
        return value.strip()
    raise ValueError("is not a status")


def _moment(value: object) -> int:
    nanos = to_unix_nanos(value)
    if not EARLIEST_START <= nanos < _LATEST:
        raise ValueError("is before 1990 or after 2100")
    return nanos


class Fields:
    """The object's members.

    Args:
        value: the object; anything else has no members. None too: a key that does not apply may hold it.
        path: how a warning names the object.
    """

    def __init__(self, value: object, path: str = "") -> None:
        self.path = path
        self._members: Mapping[Any, Any] = {}
        if isinstance(value, Mapping):
            self._members = value
        elif value is not None and value != "":
            complain(f"{path or 'the input'} = {shown(value)} is left out: it is not a JSON object")
        self._spelling = _spelling(tuple(self._members))

    def __bool__(self) -> bool:
        return bool(self._members)

    def __contains__(self, name: str) -> bool:
        return folded(name) in self._spelling.names

    def get(self, *names: str) -> Any:
        """The first of these members that says something; None without."""
        return self._said(names)[1]

    def object(self, *names: str) -> Fields:
        """A member that is an object; without members if it is missing."""
        path, value = self._find(names)
        return Fields(value, path)

    def list(self, *names: str) -> Iterator[Fields]:
        """The objects in a member that is a list; a single object counts as a list of one."""
        path, value = self._find(names)
        if isinstance(value, Mapping):
            value = [value]
        if isinstance(value, list):
            for place, each in enumerate(value):
                yield Fields(each, f"{path}[{place}]")
        elif value is not None:
            complain(f"{path} = {shown(value)} is left out: it is not a list")

    def text(self, *names: str) -> str | None:
        """Text without surrounding space; a number is written out."""
        return self._read(names, _text)

    def word(self, *names: str) -> str | None:
        """A status word."""
        return self._read(names, _word)

    def count(self, *names: str) -> int | None:
        """A count, also as text."""
        return self._read(names, count)

    def number(self, *names: str) -> float | None:
        """A number, also as text."""
        return self._read(names, number)

    def moment(self, *names: str) -> int | None:
        """A point in time; nanoseconds since the Unix epoch."""
        return self._read(names, _moment)

    def _find(self, names: tuple[str, ...]) -> tuple[str, Any]:
        """Path and value of the first member of these names that says something."""
        name, value = self._said(names)
        return self._path(name), value

    def _said(self, names: tuple[str, ...]) -> tuple[str, Any]:
        """Name and value of the first member of these names that says something."""
        for name in self._spelling[names]:
            value = self._members[name]
            if not is_empty(value):
                return name, value
        return names[0], None

    def _path(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def _read(self, names: tuple[str, ...], convert: Callable[[Any], T]) -> T | None:
        name, value = self._said(names)
        if value is None:
            return None
        try:
            return convert(value)
        except Exception:
            return checked(self._path(name), convert, value)  # again, to say what is wrong
