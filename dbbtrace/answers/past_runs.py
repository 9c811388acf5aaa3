"""Which runs were before a run: the newest of its product, and those at the same time in the weeks before, on its day
of the week and on the day beside it. Bounded in time and number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone, tzinfo

from dbbtrace.answers.read import WORKSPACE_ENVIRONMENTS, moment_of_row
from dbbtrace.answers.rows import Run
from dbbtrace.answers.usual import beside, same_weekly_slot
from dbbtrace.model.times import moved
from dbbtrace.warehouse import Warehouse, views

__all__ = ["DAYS", "RUNS", "Entry", "directory", "is_weeks_before"]

DAYS = timedelta(days=35)
RUNS = 30
"""How far back is looked; of runs at the same time of the same day of the week as far as the days go."""
_WEEK = timedelta(days=7)
_STEPS = (timedelta(days=4), timedelta(days=12), DAYS)
"""So far back is looked in turn, until there are enough runs."""
_QUIET = timedelta(hours=6)
"""A run of which nothing was heard for so long has ended, whatever became of it."""


@dataclass(frozen=True)
class Entry:
    """One run in the directory of runs."""

    run_id: str
    at: datetime
    data_product: str | None
    environment: str | None
    ended: bool
    by_hand: bool
    repairs: bool
    last_sign: datetime
    alone: bool = False
    """It is known for its day of the week, or the one beside it; the runs around it are not."""


def directory(
    warehouse: Warehouse, tables: dict[str, views.BaseTable], now: datetime, runs: Sequence[Run], zone: tzinfo
) -> list[Entry]:
    """These runs and those before them that matter: see ``_chosen``.

    Args:
        runs: each has started.
        zone: where slots are local times.
    """
    oldest = min(run.started_at for run in runs if run.started_at is not None)
    return _chosen(_known(warehouse, tables, oldest, now, runs, zone), runs, zone)


def _known(
    warehouse: Warehouse,
    tables: dict[str, views.BaseTable],
    oldest: datetime,
    now: datetime,
    runs: Sequence[Run],
    zone: tzinfo,
) -> list[Entry]:
    products = {(run.data_product, run.environment) for run in runs}
    found: dict[str, Entry] = {}
    for back in _STEPS:
        asked = [_PARTS]
        found = _read(warehouse, tables, _PARTS, [(moved(oldest, -back), _FAR_AHEAD)], now)
        # Runs that others recorded have no parts: only where those of ours are few is it worth reading the loads.
        seen = {(one.data_product, one.environment) for one in found.values() if one.at < oldest}
        if not _are_enough(found.values(), products, oldest) and (back == DAYS or not products <= seen):
            asked.append(_LOAD_RUNS)
            found = _read(warehouse, tables, _LOAD_RUNS, [(moved(oldest, -back), _FAR_AHEAD)], now) | found
        if _are_enough(found.values(), products, oldest):
            windows = _weeks_before(max(back, _WEEK), runs, zone)
            for question in reversed(asked):
                found = _read(warehouse, tables, question, windows, now) | found
            break
    for run in runs:
        if run.run_id not in found and run.started_at is not None:
            last = run.last_sign_at or run.started_at
            found[run.run_id] = Entry(
                run.run_id, run.started_at, run.data_product, run.environment, True, False, False, last
            )
    return list(found.values())


def _weeks_before(back: timedelta, runs: Sequence[Run], zone: tzinfo) -> list[_Window]:
    """When runs were at the same time of the same day of the weeks before, and of the day beside it, beyond what was
    read already."""
    starts = [run.started_at for run in runs if run.started_at is not None][:_WEEKLY]
    oldest = min(starts)
    thens = sorted(
        moved(at, away - weeks * _WEEK)
        for at in starts
        for weeks in range(1, DAYS // _WEEK + 1)
        for away in (timedelta(), beside(at, zone))
    )
    windows: list[_Window] = []
    for then in thens:
        start, end = moved(then, -_BEGUN), moved(then, _AROUND)
        if start >= moved(oldest, -back):
            continue
        if windows and start <= windows[-1][1]:
            windows[-1] = (windows[-1][0], end)
        else:
            windows.append((start, end))
    return windows


def _read(
    warehouse: Warehouse,
    tables: dict[str, views.BaseTable],
    question: str,
    windows: Sequence[_Window],
    now: datetime,
) -> dict[str, Entry]:
    """The runs of which something is in these times."""
    if not windows:
        return {}
    when = " OR ".join(["(WHEN >= ? AND WHEN < ?)"] * len(windows)).replace("WHEN", _TIMES[question])
    bounds = [at.strftime("%Y-%m-%d %H:%M:%S") for window in windows for at in window]
    rows = views.ask(warehouse, question.replace("IN_THESE_TIMES", f"({when})"), bounds, tables=tables)
    return {entry.run_id: entry for row in rows if (entry := _entry(row, now)) is not None}


_Window = tuple[datetime, datetime]
_FAR_AHEAD = datetime(9999, 1, 1, tzinfo=timezone.utc)
_WEEKLY = 20
"""Runs, the newest, for which the weeks before are looked at."""
_BEGUN, _AROUND = timedelta(hours=4), timedelta(hours=2)
"""A run in the same slot has loads from so long before to so long after; summer time may lie between."""


def _are_enough(found: Iterable[Entry], products: Collection[tuple[str | None, str | None]], oldest: datetime) -> bool:
    """Whether no older run would be chosen: see ``_chosen``. Products that have not run for days may not exist."""
    counts: dict[tuple[str | None, str | None] | None, int] = defaultdict(int)
    for entry in found:
        whose = (entry.data_product, entry.environment)
        counts[whose if whose in products else None] += entry.at < oldest
    return (counts[None] == 0 or counts[None] >= 2 * RUNS) and all(counts[whose] >= RUNS for whose in products)


def _entry(row: Sequence[object], now: datetime) -> Entry | None:
    run_id, started, last, product, place, ended, repairs, scheduled, invoked = row
    at, last_sign = moment_of_row(scheduled) or moment_of_row(started), moment_of_row(last)
    if at is None:
        return None
    last_sign = last_sign or at
    return Entry(
        str(run_id),
        at,
        str(product) if product is not None else None,
        str(place) if place is not None else None,
        ended=bool(ended) or now - last_sign > _QUIET,
        by_hand=str(invoked or "").lower() == "manual",
        repairs=bool(repairs),
        last_sign=last_sign,
    )


_PARTS = """\
SELECT
    p.orchestration_run_id, MOMENT(MIN(p.process_started_at)),
    MOMENT(MAX(COALESCE(p.process_completed_at, p.process_started_at))), MAX(p.data_product), MAX(p.environment),
    MAX(CASE WHEN p.part = 'run' AND p.status IN ('Succeeded', 'Failed') THEN 1 ELSE 0 END),
    MAX(CASE WHEN p.part = 'link' THEN 1 ELSE 0 END),
    MOMENT(MIN(p.job_scheduled_at)), MAX(p.job_invoke_type)
FROM meta.monitoring_run_part AS p
WHERE IN_THESE_TIMES AND p.part NOT IN ('finding', 'ack') AND p.orchestration_run_id <> ''
GROUP BY UNINDEXED(p.orchestration_run_id)
"""
_LOAD_RUNS = f"""\
SELECT
    l.orchestration_run_id, MOMENT(MIN(COMPARABLE(l.[timestamp]))), MOMENT(MAX(COMPARABLE(l.[timestamp]))),
    MAX(l.data_product),
    COALESCE(
        MAX(COALESCE(l.environment, v.environment)), MAX(CASE WHEN l.record_id IS NULL THEN LOWER(l.workspace) END)
    ),
    0, 0, NULL_MOMENT, NULL_TEXT
FROM meta.monitoring_integration AS l
{WORKSPACE_ENVIRONMENTS}WHERE IN_THESE_TIMES AND l.orchestration_run_id <> ''
GROUP BY UNINDEXED(l.orchestration_run_id)
"""
_TIMES = {_PARTS: "p.process_started_at", _LOAD_RUNS: "l.[timestamp]"}


def _chosen(entries: Collection[Entry], runs: Sequence[Run], zone: tzinfo) -> list[Entry]:
    """The runs that matter: the asked ones, those of their products before them, and as many of others, which may
    load the same tables; and their products' older runs at the same time of the same day of the week."""
    first: dict[tuple[str | None, str | None] | None, datetime] = {}
    for run in runs:
        if run.started_at is not None:
            for whose in ((run.data_product, run.environment), None):
                first[whose] = min(first.get(whose, run.started_at), run.started_at)
    wanted = {run.run_id for run in runs}
    asked = [one for one in entries if one.run_id in wanted]
    last = max((one.at for one in asked), default=None)
    left = {whose: RUNS if whose is not None else 2 * RUNS for whose in first}
    chosen = []
    for one in sorted(entries, key=lambda entry: entry.at, reverse=True):
        whose = (one.data_product, one.environment) if (one.data_product, one.environment) in first else None
        is_before = one.at < first[whose] or (whose is None and one.at <= first[whose])
        if one.run_id in wanted or (last is not None and first[whose] <= one.at <= last and not is_before):
            chosen.append(one)
        elif is_before and left[whose] > 0:
            left[whose] -= 1
            chosen.append(one)
        elif any(_is_weeks_before(one, other, zone) for other in asked):
            chosen.append(replace(one, alone=True))
    return chosen


def _is_weeks_before(one: Entry, other: Entry, zone: tzinfo) -> bool:
    """Whether it is a run of the same product, at the same time of the same day of an earlier week, or of the one
    beside it."""
    same = (one.data_product, one.environment) == (other.data_product, other.environment)
    return same and is_weeks_before(one.at, other.at, zone)


def is_weeks_before(one: datetime, other: datetime, zone: tzinfo) -> bool:
    """Whether it was at the same time of the same day of an earlier week, or of the one beside it."""
    return any(_same_time_of_week(moved(one, -away), other, zone) for away in (timedelta(), beside(other, zone)))


def _same_time_of_week(one: datetime, other: datetime, zone: tzinfo) -> bool:
    apart = other - one
    if not _WEEK - _AROUND < apart <= DAYS or _AROUND < apart % _WEEK < _WEEK - _AROUND:  # which needs no time zone
        return False
    return same_weekly_slot(one, other, zone)
