"""What is usual, learned from earlier runs: which tables come in which slot, and how much each brings. Pure.

A slot is a time of day (45 minutes around it) on weekdays or at the weekend, where people live: summer time moves it
in UTC. What was done by hand, repairs and loads after a failed one teach nothing and are not held against anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from math import exp, log, sqrt
from typing import NamedTuple

from dbbtrace.answers.statistics import median
from dbbtrace.graph import TableKey

__all__ = ["Absence", "Load", "PastRun", "Volume", "absences", "usual_pause", "volume_of"]

_SLOT = 45
"""Minutes around a slot's time."""
_OF, _CAME = 4, 3
"""A table is due where it came in three of the last four runs of the slot."""
_LEAST = 5
"""Loads from which anything is learned."""
_FORGOTTEN = 2
"""Absences after which a table is no longer expected."""
_NONE_BEFORE = 10
"""Loads that all brought something, before one that brings nothing is odd."""


class Load(NamedTuple):
    """One load of a table, in whichever run."""

    run_id: str
    key: TableKey
    name: str
    """``schema.table``, for people."""
    full: bool
    succeeded: bool
    started_at: datetime
    rows: int | None
    bytes: int | None
    counts: bool = True
    """Its run was no repair."""


@dataclass(frozen=True)
class PastRun:
    """A run, and which tables it loaded."""

    run_id: str
    at: datetime
    """When it was scheduled, else when it started."""
    ended: bool
    teaches: bool
    """It was no repair, not by hand, and built what its product usually builds."""
    tables: frozenset[TableKey]


class Absence(NamedTuple):
    """A table that usually comes and did not."""

    key: TableKey
    came: int
    of: int
    """In so many of the last so many runs of the slot; 0: it comes at intervals of its own."""


class Volume(NamedTuple):
    """A load that brought far more or far less than usual."""

    load: Load
    what: str
    """rows or bytes."""
    value: int
    low: float
    high: float
    """The usual range."""


# -- which tables come --------------------------------------------------------------------------------------


def _slot_of(at: datetime, zone: tzinfo) -> tuple[bool, int]:
    local = at.astimezone(zone)
    return local.weekday() >= 5, local.hour * 60 + local.minute


def _same_slot(one: datetime, other: datetime, zone: tzinfo) -> bool:
    (weekend, minute), (other_weekend, other_minute) = _slot_of(one, zone), _slot_of(other, zone)
    apart = abs(minute - other_minute)
    return weekend == other_weekend and min(apart, 1440 - apart) <= _SLOT


def absences(run: PastRun, earlier: Sequence[PastRun], zone: tzinfo) -> list[Absence]:
    """The tables that were due in the run and did not come.

    Args:
        earlier: runs of the same product and environment before it, newest first.
    """
    if not run.teaches:
        return []
    learned = [one for one in earlier if one.ended and one.teaches]
    known = {key for one in learned for key in one.tables} - run.tables
    found = []
    for key in sorted(known):
        due = _due(key, run, learned, zone)
        if due is not None and not _is_forgotten(key, learned, zone):
            found.append(due)
    return found


def _due(key: TableKey, run: PastRun, earlier: Sequence[PastRun], zone: tzinfo) -> Absence | None:
    slot = [one for one in earlier if _same_slot(one.at, run.at, zone)][:_OF]
    if len(slot) >= _CAME:
        came = sum(key in one.tables for one in slot)
        return Absence(key, came, len(slot)) if came >= _CAME else None
    if _has_slots(earlier, zone):
        return None
    times = [one.at for one in earlier if key in one.tables]
    if len(times) < _LEAST:
        return None
    usual = median([(later - before).total_seconds() for later, before in pairwise(times)])
    assert usual is not None
    return Absence(key, 0, 0) if (run.at - times[0]).total_seconds() >= 0.75 * usual else None


def _has_slots(earlier: Sequence[PastRun], zone: tzinfo) -> bool:
    """Whether most runs were at times at which others were, too."""
    regular = sum(sum(_same_slot(one.at, other.at, zone) for other in earlier) > _CAME - 1 for one in earlier)
    return regular * 2 >= len(earlier) > 0


def _is_forgotten(key: TableKey, earlier: Sequence[PastRun], zone: tzinfo) -> bool:
    """Whether it has been absent twice already where it was due."""
    absent = 0
    for place, one in enumerate(earlier):
        if key in one.tables:
            return False
        absent += _due(key, one, earlier[place + 1 :], zone) is not None
        if absent >= _FORGOTTEN:
            return True
    return False


# -- how much they bring --------------------------------------------------------------------------------------


def volume_of(load: Load, before: Sequence[Load], zone: tzinfo) -> Volume | None:
    """What is odd about the volume of a load; None: nothing, or nobody can tell.

    Args:
        before: all loads of the table before it, of whichever product, oldest first.
    """
    if not load.succeeded or not load.counts or not before or not before[-1].succeeded:
        return None
    return _full(load, before) if load.full else _incremental(load, before, zone)


def _learned(before: Sequence[Load]) -> list[tuple[Load, Load]]:
    """The loads that teach, each with the one before it."""
    return [
        (one, previous)
        for one, previous in zip(before[1:], before, strict=False)
        if one.succeeded and one.counts and previous.succeeded
    ]


def _full(load: Load, before: Sequence[Load]) -> Volume | None:
    learned = [one for one, _ in _learned(before) if one.full][-30:]
    for what in ("rows", "bytes"):
        value = getattr(load, what)
        past = [float(getattr(one, what)) for one in learned if getattr(one, what)]
        if value is not None and len(past) >= _LEAST and (odd := _odd(value, past, 0.05, 8.0, log(2.0))) is not None:
            return Volume(load, what, value, *odd)
    return None


def _incremental(load: Load, before: Sequence[Load], zone: tzinfo) -> Volume | None:
    """Compared by rows for each hour since the table's last load, with others of the slot."""
    if load.rows is None:
        return None
    learned = _learned(before)
    if load.rows == 0:
        last = [one.rows for one, _ in learned if one.rows is not None and not one.full][-_NONE_BEFORE:]
        if len(last) < _NONE_BEFORE or 0 in last:
            return None
    hours = _hours(load, before[-1])
    past = [
        one.rows / _hours(one, previous)
        for one, previous in learned
        if one.rows
        and not one.full
        and _hours(one, previous) >= 0.25
        and _same_slot(one.started_at, load.started_at, zone)
    ][-30:]
    if hours < 0.25 or len(past) < _LEAST:
        return None
    usual = median(past)
    assert usual is not None
    if usual * hours < 10:
        return None  # so few rows come as they like
    least = 0.3 + 1 / sqrt(usual * hours)
    odd = _odd(load.rows / hours, past, least, 4.5, log(4.0))
    return None if odd is None else Volume(load, "rows", load.rows, odd[0] * hours, odd[1] * hours)


def _hours(load: Load, previous: Load) -> float:
    return max((load.started_at - previous.started_at).total_seconds() / 3600, 1e-6)


def _odd(value: float, past: Iterable[float], least: float, times: float, factor: float) -> tuple[float, float] | None:
    """The usual range, if the value is outside of it.

    By the median of logarithms and their median distance from it, which a few odd ones among them don't move.

    Args:
        least: spread (of logarithms) that is always granted.
        times: so many spreads from the middle is usual.
        factor: and so far, in logarithms, always.
    """
    logs = [log(one) for one in past]
    middle = median(logs) or 0.0
    spread = max(1.4826 * (median([abs(one - middle) for one in logs]) or 0.0), least)
    allowed = max(times * spread * (1 + 2 / len(logs)), factor)
    if value > 0 and abs(log(value) - middle) <= allowed:
        return None
    return exp(middle - allowed), exp(middle + allowed)


# -- how long they pause ------------------------------------------------------------------------------------


def usual_pause(longest: Sequence[timedelta]) -> timedelta:
    """How long a run may be silent before it counts as Unfinished: twice the usual longest pause of its product's
    runs, at least half an hour; six hours where there is no history."""
    if not longest:
        return timedelta(hours=6)
    usual = median([one.total_seconds() for one in longest]) or 0.0
    return max(timedelta(seconds=2 * usual), timedelta(minutes=30))
