"""Inserts many rows in one step of SQLite.

Each step releases the interpreter's lock and waits for it again. Next to a busy job, one row per step takes six times
as long as 25 rows per step. Binding a value costs more than reusing it, so values that all rows of a batch share are
bound once per step. In an idle process, a batch takes two thirds of the time of ``executemany``. Transactions are the
caller's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, count
from typing import Any, Final, NamedTuple

__all__ = ["ROWS", "Values", "insert_many"]

ROWS: Final = 25
"""Rows per step. For the widest table this makes 775 parameters. SQLite before 3.32 allows 999."""

_SHARES: Final = not (3, 12) <= sys.version_info < (3, 12, 4)
"""Whether sqlite3 accepts ``?1`` without a warning: https://github.com/python/cpython/issues/117995."""


class Values(NamedTuple):
    """An INSERT ... VALUES ...: its width, and what comes before and after the rows."""

    columns: int
    before: str
    after: str

    def __str__(self) -> str:
        """The statement for one row."""
        return f"{self.before} ({', '.join('?' * self.columns)}){self.after}"


def insert_many(connection: Any, values: Values, rows: Sequence[Sequence[Any]]) -> int:
    """Run the statement with all rows; returns how many were new."""
    whole = len(rows) - len(rows) % ROWS
    written = 0
    if whole:
        columns = list(zip(*rows[:whole], strict=True))
        shared = tuple([place for place, column in enumerate(columns) if _SHARES and _one_for_all(column)])
        own = list(zip(*[column for place, column in enumerate(columns) if place not in shared], strict=True))
        common = [columns[place][0] for place in shared]
        steps = ([*common, *chain.from_iterable(own[first : first + ROWS])] for first in range(0, whole, ROWS))
        written += connection.executemany(_statement(values, shared), steps).rowcount
    if whole < len(rows):
        written += connection.executemany(str(values), rows[whole:]).rowcount
    return int(written)


def _one_for_all(column: Sequence[Any]) -> bool:
    """Of texts alone: 0.0 and -0.0 are equal too."""
    first = column[0]
    return first == column[-1] and (first is None or type(first) is str) and column.count(first) == len(column)


@lru_cache(maxsize=64)
def _statement(values: Values, shared: tuple[int, ...]) -> str:
    """The statement for ``ROWS`` rows: the first parameters are the shared columns', in their order."""
    number = {place: number for number, place in enumerate(shared, 1)}
    own = count(len(shared) + 1)
    rows = []
    for _ in range(ROWS):
        marks = [f"?{number.get(place) or next(own)}" if shared else "?" for place in range(values.columns)]
        rows.append(f"({', '.join(marks)})")
    return f"{values.before} {', '.join(rows)}{values.after}"
