"""When runs are due, as Fabric's job events tell: learned from when earlier runs were scheduled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import date, datetime, time, timedelta

from dbbtrace.answers.earlier import local_zone
from dbbtrace.answers.read import moment_of_row
from dbbtrace.answers.schedule import Schedule
from dbbtrace.model.times import in_zone
from dbbtrace.warehouse import Warehouse, views
from dbbtrace.warehouse.schema import PARTS

__all__ = ["schedules_learned"]

_DAYS = timedelta(days=35)
_IN_A_ROW = 4
"""Days on which a run was scheduled at a time, after which it is due there every day."""
_OF, _CAME = 4, 3
"""Else it is due on a day of the week on which it was scheduled in three of the last four weeks."""
_FORGOTTEN = 2
"""Absences after which a time is forgotten."""
_WEEKDAYS, _WEEKEND = range(5), range(5, 7)


def schedules_learned(warehouse: Warehouse, now: datetime, zone: str) -> list[Schedule]:
    """The schedules of products in environments, as their runs' job events tell.

    Args:
        warehouse: where to look.
        now: the present.
        zone: name of the time zone in which runs are scheduled.
    """
    if PARTS.name not in warehouse.columns():
        return []
    since = (now - _DAYS).strftime("%Y-%m-%d %H:%M:%S")
    groups: dict[tuple[str, str | None], list[datetime]] = defaultdict(list)
    local = local_zone(zone)
    for product, place, scheduled in views.ask(warehouse, _SCHEDULED, [since]):
        at = moment_of_row(scheduled)
        if at is not None and at <= now:
            groups[str(product), place].append(in_zone(at, local))
    found = []
    for (product, place), moments in sorted(groups.items(), key=str):
        by_days: dict[frozenset[int], set[time]] = defaultdict(set)
        for clock, days in _due(moments, now.astimezone(local)).items():
            by_days[days].add(clock)
        for days, times in by_days.items():
            found.append(Schedule(product, place, tuple(sorted(times)), days, local, zone))
    return found


def _due(moments: Sequence[datetime], now: datetime) -> dict[time, frozenset[int]]:
    """Time of day → the days of the week on which a run is due then."""
    days_of: dict[time, set[date]] = defaultdict(set)
    for at in moments:
        days_of[at.time().replace(second=0, microsecond=0)].add(at.date())
    first = min(at.date() for at in moments)
    due = {}
    for clock, on in days_of.items():
        last = now.date() if clock <= now.time() else now.date() - timedelta(days=1)
        known = [last - timedelta(days=ago) for ago in range((last - first).days + 1)]
        due[clock] = _days(on, known, _WEEKDAYS) | _days(on, known, _WEEKEND)
    return {clock: days for clock, days in due.items() if days}


def _days(on: Collection[date], known: Collection[date], group: Collection[int]) -> frozenset[int]:
    """The days of the group (weekdays or a weekend) on which a run is due, where it was scheduled on some of the known
    days; newest first."""
    such = [day in on for day in known if day.weekday() in group]
    rows = [all(such[first : first + _IN_A_ROW]) for first in range(len(such) - _IN_A_ROW + 1)]
    if any(rows[: _FORGOTTEN + 1]):
        return frozenset(group)
    if any(rows) and not any(such[: _FORGOTTEN + 1]):
        return frozenset()  # it came every day, and was called off
    return frozenset(day for day in group if _is_weekly([each in on for each in known if each.weekday() == day]))


def _is_weekly(came: Sequence[bool]) -> bool:
    """Whether it was scheduled in three of the last four weeks; the newest may be the one that is missing."""
    return sum(came[:_OF]) >= _CAME or sum(came[1 : _OF + 1]) >= _CAME


_SCHEDULED = """\
SELECT p.data_product, p.environment, MOMENT(p.job_scheduled_at)
FROM meta.monitoring_run_part AS p
WHERE
    p.part = 'run'
    AND p.process_started_at >= ?
    AND p.job_scheduled_at IS NOT NULL
    AND p.data_product IS NOT NULL
    AND LOWER(COALESCE(p.job_invoke_type, 'scheduled')) <> 'manual'
"""
