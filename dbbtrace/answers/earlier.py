"""Reads the runs before a run, and their loads: what ``usual`` learns from. Bounded in time and number."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise

from dbbtrace.answers.read import WORKSPACE_ENVIRONMENTS, moment_of_row
from dbbtrace.answers.rows import Run
from dbbtrace.answers.usual import Load, PastRun
from dbbtrace.graph import TableKey
from dbbtrace.warehouse import Warehouse, views

__all__ = ["Earlier", "local_zone", "read_earlier"]

DAYS = timedelta(days=35)
RUNS = 30
"""How far back is looked."""
_STEPS = (timedelta(days=4), timedelta(days=12), DAYS)
"""So far back is looked in turn, until there are enough runs."""
_QUIET = timedelta(hours=6)
"""A run of which nothing was heard for so long has ended, whatever became of it."""


@dataclass(frozen=True)
class _Entry:
    """One run in the directory of runs."""

    run_id: str
    at: datetime
    data_product: str | None
    environment: str | None
    ended: bool
    by_hand: bool
    repairs: bool
    last_sign: datetime


class Earlier:
    """The runs before some runs, and the loads of all of them."""

    def __init__(self, entries: Iterable[_Entry], loads: Iterable[Load], selects: dict[str, str]) -> None:
        self.entries = {entry.run_id: entry for entry in entries}
        self._ordered = sorted(self.entries.values(), key=lambda entry: entry.at)
        self._selects = selects
        self.by_run: dict[str, list[Load]] = defaultdict(list)
        self._by_table: dict[TableKey, list[Load]] = defaultdict(list)
        for load in sorted(loads, key=lambda load: load.started_at):
            entry = self.entries.get(load.run_id)
            load = load._replace(counts=entry is None or not entry.repairs)
            self.by_run[load.run_id].append(load)
            self._by_table[load.key].append(load)

    def past_run(self, run_id: str, usual_select: str | None = None) -> PastRun | None:
        """The run as one learns from it; None where it is not in the directory."""
        entry = self.entries.get(run_id)
        if entry is None:
            return None
        select = self._selects.get(run_id)
        partial = bool(select and usual_select and select != usual_select)
        return PastRun(
            run_id,
            entry.at,
            entry.ended,
            teaches=not (entry.by_hand or entry.repairs or partial),
            tables=frozenset(load.key for load in self.by_run[run_id]),
        )

    def before(self, run: Run) -> list[PastRun]:
        """The runs of the same product and environment before it, newest first."""
        entry = self.entries.get(run.run_id)
        if entry is None or run.data_product is None:
            return []
        usual = self.usual_select(run)
        same = [
            one
            for one in self._ordered
            if one.at < entry.at
            and one.at >= entry.at - DAYS
            and (one.data_product, one.environment) == (entry.data_product, entry.environment)
        ]
        found = [self.past_run(one.run_id, usual) for one in reversed(same[-RUNS:])]
        return [one for one in found if one is not None]

    def usual_select(self, run: Run) -> str | None:
        """What the product's runs build mostly."""
        counts: dict[str, int] = defaultdict(int)
        for entry in self.entries.values():
            if (entry.data_product, entry.environment) == (run.data_product, run.environment):
                select = self._selects.get(entry.run_id)
                if select:
                    counts[select] += 1
        return max(counts, key=lambda select: counts[select], default=None)

    def loads_before(self, load: Load) -> Sequence[Load]:
        """All loads of the table that started before, oldest first; in other runs or this one."""
        all_of_it = self._by_table[load.key]
        return all_of_it[: bisect_left([one.started_at for one in all_of_it], load.started_at)]

    def last_success(self, key: TableKey, before: datetime) -> datetime | None:
        """Start of the table's last load that succeeded."""
        starts = [one.started_at for one in self._by_table[key] if one.succeeded and one.started_at < before]
        return starts[-1] if starts else None

    def pauses(self, run: Run) -> list[timedelta]:
        """The longest time for which each earlier run of the product was silent, as far as its loads tell."""
        found = []
        for past in self.before(run):
            entry = self.entries[past.run_id]
            signs = sorted([entry.at, entry.last_sign, *(load.started_at for load in self.by_run[past.run_id])])
            found.append(max((later - one for one, later in pairwise(signs)), default=timedelta()))
        return found


def read_earlier(warehouse: Warehouse, runs: Sequence[Run], now: datetime) -> Earlier:
    """What was before these runs, and their own loads."""
    starts = [run.started_at for run in runs if run.started_at is not None]
    if not starts:
        return Earlier([], [], {})
    tables = views.look(warehouse)
    since = (min(starts) - DAYS).strftime("%Y-%m-%d %H:%M:%S")
    entries = _directory(warehouse, tables, since, now, runs)
    chosen = _chosen(entries, runs)
    return Earlier(
        chosen, _loads(warehouse, tables, [one.run_id for one in chosen]), _selects(warehouse, tables, chosen)
    )


def _directory(
    warehouse: Warehouse, tables: dict[str, views.BaseTable], since: str, now: datetime, runs: Sequence[Run]
) -> list[_Entry]:
    found = {
        entry.run_id: entry
        for row in views.ask(warehouse, _PARTS, [since], tables=tables)
        if (entry := _entry(row, now)) is not None
    }
    # Runs that others recorded have no parts: only where those of ours are few is it worth reading all loads.
    products = {(run.data_product, run.environment) for run in runs}
    known = [entry for entry in found.values() if (entry.data_product, entry.environment) in products]
    if len(known) < RUNS * len(products):
        oldest = min(run.started_at for run in runs if run.started_at is not None)
        by_loads: dict[str, _Entry] = {}
        for back in _STEPS:
            at = max(since, (oldest - back).strftime("%Y-%m-%d %H:%M:%S"))
            rows = views.ask(warehouse, _LOAD_RUNS, [at], tables=tables)
            by_loads = {entry.run_id: entry for row in rows if (entry := _entry(row, now)) is not None}
            if _are_enough([*found.values(), *by_loads.values()], products, oldest):
                break
        found = by_loads | found
    for run in runs:
        if run.run_id not in found and run.started_at is not None:
            last = run.last_sign_at or run.started_at
            found[run.run_id] = _Entry(
                run.run_id, run.started_at, run.data_product, run.environment, True, False, False, last
            )
    return list(found.values())


def _are_enough(found: Iterable[_Entry], products: Collection[tuple[str | None, str | None]], oldest: datetime) -> bool:
    """Whether no older run would be chosen: see ``_chosen``. Products that have not run for days may not exist."""
    counts: dict[tuple[str | None, str | None] | None, int] = defaultdict(int)
    for entry in found:
        whose = (entry.data_product, entry.environment)
        counts[whose if whose in products else None] += entry.at < oldest
    return (counts[None] == 0 or counts[None] >= 2 * RUNS) and all(counts[whose] >= RUNS for whose in products)


def _entry(row: Sequence[object], now: datetime) -> _Entry | None:
    run_id, started, last, product, place, ended, repairs, scheduled, invoked = row
    at, last_sign = moment_of_row(scheduled) or moment_of_row(started), moment_of_row(last)
    if at is None:
        return None
    last_sign = last_sign or at
    return _Entry(
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
WHERE p.process_started_at >= ? AND p.part NOT IN ('finding', 'ack') AND p.orchestration_run_id <> ''
GROUP BY p.orchestration_run_id
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
{WORKSPACE_ENVIRONMENTS}WHERE l.[timestamp] >= ? AND l.orchestration_run_id <> ''
GROUP BY l.orchestration_run_id
"""


def _chosen(entries: Collection[_Entry], runs: Sequence[Run]) -> list[_Entry]:
    """The runs that matter: the asked ones, those of their products before them, and as many of others, which may
    load the same tables."""
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
    return chosen


def _loads(warehouse: Warehouse, tables: dict[str, views.BaseTable], runs: Collection[str]) -> list[Load]:
    found: dict[tuple[object, ...], Load] = {}
    for row in views.ask(warehouse, _LOADS, runs=runs, tables=tables):
        run_id, source, schema, table, load_type, status, started, rows, size, error_type = row
        at = moment_of_row(started)
        if at is None or error_type == "Interrupted":
            continue
        key = (str(source or "").lower(), str(schema or "").lower(), str(table or "").lower())
        name = f"{schema}.{table}" if schema else str(table)
        full = str(load_type or "FULL").upper() != "INCREMENTAL"
        load = Load(str(run_id), key, name, full, str(status) == "Succeeded", at, rows, size)
        # The same load, written by hand and by us, is one.
        found[run_id, key, at.replace(microsecond=0)] = load
    return list(found.values())


_LOADS = """\
SELECT
    l.orchestration_run_id, l.source_name, l.schema_name, l.table_name, l.load_type, l.status,
    COALESCE(MOMENT(l.process_started_at), MOMENT(l.[timestamp])),
    COALESCE(l.rows_written, l.rows_read), COALESCE(l.data_written, l.data_read), l.error_type
FROM meta.monitoring_integration AS l
"""


def _selects(warehouse: Warehouse, tables: dict[str, views.BaseTable], chosen: Collection[_Entry]) -> dict[str, str]:
    """Run id → the selector of its transformation, where the job said one."""
    found = {}
    for run_id, detail in views.ask(warehouse, _SELECTS, runs=[one.run_id for one in chosen], tables=tables):
        try:
            said = json.loads(detail or "{}")
        except ValueError:
            continue
        if isinstance(said, dict) and isinstance(said.get("select"), str):
            found[str(run_id)] = said["select"]
    return found


_SELECTS = """\
SELECT p.orchestration_run_id, MAX(p.detail)
FROM meta.monitoring_run_part AS p
WHERE p.part = 'workload' AND p.workload = 'transformation'
GROUP BY p.orchestration_run_id
"""


def local_zone(name: str) -> tzinfo:
    """The time zone; UTC where this Python knows none of that name."""
    from datetime import timezone
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return timezone.utc
