"""What is usual, learned from earlier runs: which tables come in which slot, and how much each brings. Pure.

A slot is a time of day (45 minutes around it) on weekdays or at the weekend, where people live: summer time moves it
in UTC. A table that comes once a week has one day of the week in its slot. What was done by hand, repairs and loads
after a failed one teach nothing and are not held against anybody.
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
from dbbtrace.model.times import in_zone

__all__ = ["Absence", "Load", "PastRun", "Volume", "absences", "beside", "same_weekly_slot", "volume_of"]

_SLOT = 45
"""Minutes around a slot's time."""
_SATURDAY = 5
_WEEK = timedelta(days=7)
_OF, _CAME = 4, 3
"""A table is due where it came in three of the last four runs of the slot, or of the slot on that day of the week."""
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
    alone: bool = False
    """It is older than the newest runs, and runs at other times around it are not known."""


class Absence(NamedTuple):
    """A table that usually comes and did not."""

    key: TableKey
    came: int
    of: int
    """In so many of the last so many runs of the slot; 0: it comes at intervals of its own."""
    weekly: bool = False
    """Of the slot on the same day of the week."""

    @property
    def usual(self) -> str:
        """How it usually comes: ``in 4 of the last 4 runs at this time``."""
        when = "at this time on this day of the week" if self.weekly else "at this time"
        return f"in {self.came} of the last {self.of} runs {when}" if self.of else "at this interval"


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


def same_slot(one: datetime, other: datetime, zone: tzinfo) -> bool:
    """Whether both are at the same local time of day, both on weekdays or both at a weekend."""
    (day, minute), (other_day, other_minute) = _slot_of(one, zone), _slot_of(other, zone)
    return (day >= _SATURDAY) == (other_day >= _SATURDAY) and _near(minute, other_minute)


def same_weekly_slot(one: datetime, other: datetime, zone: tzinfo) -> bool:
    """Whether both are at the same local time of the same day of the week."""
    (day, minute), (other_day, other_minute) = _slot_of(one, zone), _slot_of(other, zone)
    return day == other_day and _near(minute, other_minute)


def beside(at: datetime, zone: tzinfo) -> timedelta:
    """How far away the same time of a day beside it is, a weekday of a weekday."""
    return timedelta(days=-1 if _slot_of(at, zone)[0] in (4, 6) else 1)


def _slot_of(at: datetime, zone: tzinfo) -> tuple[int, int]:
    local = in_zone(at, zone)
    return local.weekday(), local.hour * 60 + local.minute


def _near(minute: int, other: int) -> bool:
    apart = abs(minute - other)
    return min(apart, 1440 - apart) <= _SLOT


def absences(run: PastRun, earlier: Sequence[PastRun], zone: tzinfo) -> list[Absence]:
    """The tables that were due in the run and did not come.

    Args:
        earlier: runs of the same product and environment before it, newest first.
    """
    if not run.teaches:
        return []
    learned = _Learned([one for one in earlier if one.ended and one.teaches], zone)
    known = {key for one in learned.runs for key in one.tables} - run.tables
    found = []
    for key in sorted(known):
        due = learned.due(key, run)
        if due is not None and not learned.has_forgotten(key):
            found.append(due)
    return found


class _Learned:
    """What earlier runs teach about which tables come."""

    def __init__(self, runs: Sequence[PastRun], zone: tzinfo) -> None:
        self.runs = runs
        self._zone = zone
        self._before: dict[str, tuple[list[PastRun], list[PastRun], bool]] = {}

    def due(self, key: TableKey, run: PastRun, place: int = 0) -> Absence | None:
        """Whether the table was due in a run; ``place`` is that of the first run before it."""
        slot, weekly, has_slots = self._peers(run, place)
        came = sum(key in one.tables for one in slot)
        if came >= _CAME:
            return Absence(key, came, len(slot))
        came = sum(key in one.tables for one in weekly)
        if came >= _CAME and self._is_weekly(key, run, place, key in weekly[0].tables):
            return Absence(key, came, len(weekly), weekly=True)
        if len(slot) >= _CAME or has_slots:
            return None
        times = [one.at for one in self.runs[place:] if key in one.tables and not one.alone]
        if len(times) < _LEAST:
            return None
        usual = median([(later - before).total_seconds() for later, before in pairwise(times)])
        assert usual is not None
        return Absence(key, 0, 0) if (run.at - times[0]).total_seconds() >= 0.75 * usual else None

    def _peers(self, run: PastRun, place: int) -> tuple[list[PastRun], list[PastRun], bool]:
        """The last runs before it in its slot, those of the same day of the week, and whether most runs have a slot."""
        known = self._before.get(run.run_id)
        if known is None:
            before = self.runs[place:]
            together = [one for one in before if not one.alone]
            slot = [one for one in together if same_slot(one.at, run.at, self._zone)]
            weekly = [one for one in before if same_weekly_slot(one.at, run.at, self._zone)]
            known = self._before[run.run_id] = (slot[:_OF], weekly[:_OF], _has_slots(together, self._zone))
        return known

    def _is_weekly(self, key: TableKey, run: PastRun, place: int, came_last: bool) -> bool:
        """Whether a table that came on this day of the week hardly came on others, as far as the newest runs tell, and
        those of the day beside it in the weeks before. If these are of few weeks, one that came every day until a week
        ago looks the same: it must have come last week."""
        others = [one for one in self.runs[place:] if not same_weekly_slot(one.at, run.at, self._zone)]
        newest = [one for one in others if not one.alone]
        days_beside = [one for one in others if one.alone]
        weeks = ((run.at - newest[-1].at) // _WEEK if newest else 0) + len(days_beside)
        came = sum(key in one.tables and same_slot(one.at, run.at, self._zone) for one in newest)
        came += sum(key in one.tables for one in days_beside)
        return came * _CAME <= weeks and (came_last or weeks >= _CAME)

    def has_forgotten(self, key: TableKey) -> bool:
        """Whether the table has been absent twice already where it was due."""
        absent = 0
        for place, one in enumerate(self.runs):
            if key in one.tables:
                return False
            absent += self.due(key, one, place + 1) is not None
            if absent >= _FORGOTTEN:
                return True
        return False


def _has_slots(earlier: Sequence[PastRun], zone: tzinfo) -> bool:
    """Whether most runs were at times at which others were, too."""
    regular = sum(sum(same_slot(one.at, other.at, zone) for other in earlier) > _CAME - 1 for one in earlier)
    return regular * 2 >= len(earlier) > 0


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
        past = [float(getattr(one, what)) for one in learned if (getattr(one, what) or 0) > 0]
        if value is None or value < 0 or len(past) < _LEAST:  # a negative count says that nobody knows
            continue
        if (odd := _odd(value, past, 0.05, 8.0, log(2.0))) is not None:
            return Volume(load, what, value, *odd)
    return None


def _incremental(load: Load, before: Sequence[Load], zone: tzinfo) -> Volume | None:
    """Compared by rows for each hour since the table's last load, with others of the slot."""
    if load.rows is None or load.rows < 0:
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
        if one.rows is not None
        and one.rows > 0
        and not one.full
        and _hours(one, previous) >= 0.25
        and same_slot(one.started_at, load.started_at, zone)
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
