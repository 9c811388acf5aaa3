"""Reads the runs before a run, and their loads: what ``usual`` learns from. Bounded in time and number."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timezone, tzinfo

from dbbtrace.answers.past_runs import DAYS, RUNS, Entry, directory, is_weeks_before
from dbbtrace.answers.read import moment_of_row
from dbbtrace.answers.rows import Run
from dbbtrace.answers.usual import Load, PastRun
from dbbtrace.graph import TableKey
from dbbtrace.model.statuses import LOADS, SUCCEEDED, meaning
from dbbtrace.warehouse import Warehouse, views

__all__ = ["Earlier", "local_zone", "read_earlier"]


class Earlier:
    """The runs before some runs, and the loads of all of them."""

    def __init__(
        self, entries: Iterable[Entry], loads: Iterable[Load], selects: dict[str, str], zone: tzinfo = timezone.utc
    ) -> None:
        self.entries = {entry.run_id: entry for entry in entries}
        self._ordered = sorted(self.entries.values(), key=lambda entry: entry.at)
        self._selects = selects
        self._zone = zone
        self.by_run: dict[str, list[Load]] = defaultdict(list)
        self._by_table: dict[TableKey, list[Load]] = defaultdict(list)
        for load in sorted(loads, key=lambda load: load.started_at):
            entry = self.entries.get(load.run_id)
            load = load._replace(counts=entry is None or not entry.repairs)
            self.by_run[load.run_id].append(load)
            if entry is None or not entry.alone:  # else nobody knows how long before the table had been loaded
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
        newest, older = same[-RUNS:], same[:-RUNS]
        weekly = [one for one in older if is_weeks_before(one.at, entry.at, self._zone)]
        found = [self.past_run(one.run_id, usual) for one in reversed([*weekly, *newest])]
        return [replace(one, alone=place >= len(newest)) for place, one in enumerate(found) if one is not None]

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

    def ended_before(self, run: Run) -> list[str]:
        """The newest runs of the product that had ended before it."""
        return [one.run_id for one in self.before(run) if one.ended and not one.alone]


def read_earlier(warehouse: Warehouse, runs: Sequence[Run], now: datetime, zone: tzinfo) -> Earlier:
    """What was before these runs, and their own loads.

    Args:
        zone: where slots are local times.
    """
    if all(run.started_at is None for run in runs):
        return Earlier([], [], {})
    tables = views.look(warehouse)
    chosen = directory(warehouse, tables, now, [run for run in runs if run.started_at is not None], zone)
    loads = _loads(warehouse, tables, [one.run_id for one in chosen])
    return Earlier(chosen, loads, _selects(warehouse, tables, chosen), zone)


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
        succeeded = meaning(str(status), LOADS) == SUCCEEDED
        load = Load(str(run_id), key, name, full, succeeded, at, _number(rows), _number(size))
        # The same load, written by hand and by us, is one.
        found[run_id, key, at.replace(microsecond=0)] = load
    return list(found.values())


def _number(stored: object) -> int | None:
    """What a count says; in an SQLite file others may have put anything there."""
    try:
        return None if stored is None else int(stored)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return None


_LOADS = """\
SELECT
    l.orchestration_run_id, l.source_name, l.schema_name, l.table_name, l.load_type, l.status,
    COALESCE(MOMENT(l.process_started_at), MOMENT(l.[timestamp])),
    COALESCE(l.rows_written, l.rows_read), COALESCE(l.data_written, l.data_read), l.error_type
FROM meta.monitoring_integration AS l
"""


def _selects(warehouse: Warehouse, tables: dict[str, views.BaseTable], chosen: Collection[Entry]) -> dict[str, str]:
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
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return timezone.utc
