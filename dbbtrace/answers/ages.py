"""How old the tables are: the last load of each that succeeded, whichever run it was in, against the usual interval."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Any

from dbbtrace.answers.read import moment_of_row
from dbbtrace.answers.readable import duration_of, moment_of
from dbbtrace.answers.statistics import median
from dbbtrace.graph import Table, TableKey
from dbbtrace.model.times import in_zone
from dbbtrace.warehouse import Warehouse, views

__all__ = ["Age", "ages", "loaded_tables", "of_environment", "usual_interval"]

_BACK = timedelta(days=35)
_FAR_BACK = timedelta(days=400)
"""So far back is looked for a table's interval; and for one that is loaded seldom."""
_LEAST = 5
"""Loads from which an interval is learned."""
_SLOT = timedelta(minutes=45)
"""Around a time of the week."""
_WEEKS = 4
_MOST_NAMES = 300
"""Names that one statement is given; of more tables all are read."""
_SLACK = timedelta(minutes=30)


@dataclass(frozen=True)
class Age:
    """How old a table is."""

    table: Table
    now: datetime
    last_success: datetime | None
    """Start of its last load that succeeded; None: there was none."""
    run_id: str | None = None
    """The run of that load."""
    usual: timedelta | None = None
    """The usual interval between loads that succeed; None: there were too few to tell."""
    failing_since: datetime | None = None
    """Start of the first load that failed since."""

    @property
    def age(self) -> timedelta | None:
        """From the last load that succeeded to now."""
        return self.now - self.last_success if self.last_success is not None else None

    @property
    def overdue(self) -> bool:
        """Whether the next load should long have come: by a quarter of the usual interval, at least half an hour."""
        if self.age is None or self.usual is None:
            return False
        return self.age > self.usual + max(self.usual / 4, _SLACK)

    def __str__(self) -> str:
        if self.age is None:
            return "never loaded"
        usual = f"; usual is every {duration_of(self.usual.total_seconds())}" if self.usual is not None else ""
        failing = f"; failing since {moment_of(self.failing_since)} UTC" if self.failing_since is not None else ""
        age = duration_of(self.age.total_seconds())
        return f"loaded at {moment_of(self.last_success)} UTC, {age} ago{usual}{failing}"


def loaded_tables(warehouse: Warehouse, since: datetime | None = None) -> list[Table]:
    """Every table of which there is a load, in whichever run; of a long history much fewer rows are read where it is
    known since when."""
    values = [] if since is None else [f"{since:%Y-%m-%d}"]
    sql = _TABLES.replace(" CHOSEN", "" if since is None else " WHERE l.[timestamp] >= ?")
    return [Table(*(str(part or "") for part in row)) for row in views.ask(warehouse, sql, values)]


_TABLES = """\
SELECT l.source_name, l.schema_name, l.table_name
FROM meta.monitoring_integration AS l CHOSEN
GROUP BY l.source_name, l.schema_name, l.table_name
"""


def ages(
    warehouse: Warehouse, tables: Collection[Table], now: datetime, zone: tzinfo, environment: str | None = None
) -> dict[TableKey, Age]:
    """How old each of the tables is now.

    Args:
        environment: loads of others are left out; None: all count, as for the watermark.
    """
    found = _ages(warehouse, tables, now, zone, environment, _BACK)
    seldom = [table for table in tables if found[table.key].usual is None]
    return found | _ages(warehouse, seldom, now, zone, environment, _FAR_BACK) if seldom else found


def of_environment(alias: str, environment: str | None, values: list[Any]) -> str:
    """The condition on rows of an environment, and of none that is known; its value is added to the values."""
    if environment is None:
        return ""
    values.append(environment.lower())
    return f" AND (LOWER({alias}.environment) IN (?, 'unknown') OR {alias}.environment IS NULL)"


def _ages(
    warehouse: Warehouse,
    tables: Collection[Table],
    now: datetime,
    zone: tzinfo,
    environment: str | None,
    back: timedelta,
) -> dict[TableKey, Age]:
    names = sorted({table.table for table in tables})
    values: list[Any] = [(now - back).strftime("%Y-%m-%d %H:%M:%S")]
    sql = _LOADS + of_environment("l", environment, values)
    if len(names) <= _MOST_NAMES:
        sql += f" AND l.table_name IN ({', '.join('?' * len(names))})"
        values += names
    by_table: dict[TableKey, dict[datetime, tuple[bool, str]]] = defaultdict(dict)
    for source, schema, table, status, started, run_id in views.ask(warehouse, sql, values):
        at = moment_of_row(started)
        if at is not None and at <= now:
            key = Table(str(source or ""), str(schema or ""), str(table)).key
            succeeded = str(status) == "Succeeded"
            before = by_table[key].get(at)
            by_table[key][at] = (succeeded or (before is not None and before[0]), str(run_id))
    return {table.key: _age(table, by_table[table.key], now, zone) for table in tables}


_LOADS = """\
SELECT
    l.source_name, l.schema_name, l.table_name, l.status,
    COALESCE(MOMENT(l.process_started_at), MOMENT(l.[timestamp])), l.orchestration_run_id
FROM meta.monitoring_integration AS l
WHERE l.[timestamp] >= ?"""


def _age(table: Table, loads: dict[datetime, tuple[bool, str]], now: datetime, zone: tzinfo) -> Age:
    succeeded = sorted(at for at, (fine, _) in loads.items() if fine)
    if not succeeded:
        return Age(table, now, None, failing_since=min(loads, default=None))
    last = succeeded[-1]
    failed = sorted(at for at, (fine, _) in loads.items() if not fine)
    since = failed[bisect_right(failed, last) :]
    return Age(table, now, last, loads[last][1], usual_interval(succeeded, now, zone), since[0] if since else None)


def usual_interval(starts: Sequence[datetime], at: datetime, zone: tzinfo) -> timedelta | None:
    """How long it usually is at this time of the week from one load of a table that succeeds to the next.

    On a Monday morning the usual interval goes back to Friday. It is the middle one of the last four weeks, else of
    all that is known; None where nobody can tell.

    Args:
        starts: of the loads that succeeded, oldest first.
    """
    if len(starts) < _LEAST:
        return None
    local, weekly = in_zone(at, zone), []
    for weeks in range(1, _WEEKS + 1):
        then = local - timedelta(weeks=weeks)  # the same time of day, whatever summer time did
        first, last = bisect_right(starts, then - _SLOT) - 1, bisect_right(starts, then) - 1
        if first >= 0 and last + 1 < len(starts):
            weekly.append(max(starts[place + 1] - starts[place] for place in range(first, last + 1)))
    known = weekly if len(weekly) > 1 else [later - before for before, later in pairwise(starts)]
    return timedelta(seconds=median([one.total_seconds() for one in known]) or 0.0)
