"""Reads what was loaded, built and refreshed before a point in time, as far back as a question needs it.

Most answers need the last days; a table that is loaded once a year needs more. So the newest rows are read first, and
older ones only of the names that turned out to be missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from dbbtrace.answers.ages import of_environment
from dbbtrace.answers.inputs import Work
from dbbtrace.answers.read import listed, moment_of_row
from dbbtrace.graph import Table, TableKey
from dbbtrace.model.statuses import LOADS, NODES, REFRESHES, SUCCEEDED, WARNED
from dbbtrace.model.times import moved
from dbbtrace.warehouse import Warehouse, views

__all__ = ["WINDOWS", "Histories", "NodeRow", "Refresh"]

WINDOWS: tuple[timedelta | None, ...] = (timedelta(days=3), timedelta(days=30), None)
"""So far back is looked in turn; None: at everything."""
_MOST_NAMES = 500
"""Names that one statement is given; of more all rows are read."""


class NodeRow(NamedTuple):
    """What the newest row of a dbt node says of it."""

    name: str
    resource_type: str | None
    materialized: str | None
    depends_on: tuple[str, ...]
    data_product: str | None
    environments: tuple[str, ...]
    """All in which it has rows."""


class Refresh(NamedTuple):
    """One refresh of a semantic model, as its row says."""

    operation_id: str
    """The model's id; its name where the row has none."""
    name: str
    depends_on: tuple[str, ...]
    succeeded: bool
    work: Work
    data_product: str | None
    environment: str | None


@dataclass
class Histories:
    """The rows of one environment, up to a point in time.

    Args:
        environment: rows of others are left out; None: all are read.
    """

    warehouse: Warehouse
    at: datetime
    environment: str | None = None
    works: dict[str, list[Work]] = field(default_factory=dict)
    """Table or node → what succeeded, by end."""
    nodes: dict[str, NodeRow] = field(default_factory=dict)

    def read_nodes(self, since: datetime | None, names: Collection[str] | None = None) -> None:
        """Read dbt's nodes, and when they were built.

        Args:
            since: only rows of builds since then; None: all.
            names: only of these; None: of all.
        """
        where, values = self._where(
            "COMPARABLE(COALESCE(d.process_started_at, d.generated_at))", "d.process_started_at", since
        )
        where += " AND COALESCE(d.process_stage, 'execute') = 'execute'" + of_environment("d", self.environment, values)
        where += _named("NODE_ID(d.unique_id, d.relation_name, d.item_name)", names, values)
        found: dict[str, list[Work]] = defaultdict(list)
        for row in views.ask(self.warehouse, _NODES.replace(" CHOSEN", where), values):
            name, status, error_type, started, ended, duration, run_id, place, kind, stored, reads, product, *places = (
                row
            )
            if NODES.get(str(status or "").lower()) in (SUCCEEDED, WARNED) and error_type != "Interrupted":
                self._add(found[str(name)], (started, ended, duration), run_id)
            if place == 1:
                environments = tuple(sorted({str(each).upper() for each in places if each}))
                self.nodes[str(name)] = NodeRow(str(name), kind, stored, listed(reads), product, environments)
        self._keep(found)

    def read_loads(self, names: Mapping[TableKey, str], since: datetime | None) -> None:
        """Read when tables were loaded.

        Args:
            names: table → its name in ``works``.
            since: only loads since then; None: all.
        """
        if not names:
            return
        where, values = self._where("COMPARABLE(l.[timestamp])", "l.[timestamp]", since)
        where += _named("LOWER(l.table_name)", {table for _, _, table in names}, values)
        found: dict[str, list[Work]] = defaultdict(list)
        sql = _LOADS + where + of_environment("l", self.environment, values)
        for source, schema, table, status, error_type, *times, run_id in views.ask(self.warehouse, sql, values):
            key = Table(str(source or ""), str(schema or ""), str(table)).key
            if key in names and LOADS.get(str(status or "").lower()) == SUCCEEDED and error_type != "Interrupted":
                self._add(found[names[key]], times, run_id)
        self._keep(found)

    def refreshes(self, since: datetime | None = None) -> list[Refresh]:
        """The refreshes of all semantic models since then, newest first. There are few."""
        where, values = self._where("COMPARABLE(r.process_started_at)", "r.process_started_at", since)
        found = []
        sql = _REFRESHES + where + of_environment("r", self.environment, values)
        for model, name, status, error_type, reads, *times, run_id, product, environment in views.ask(
            self.warehouse, sql, values
        ):
            works: list[Work] = []
            self._add(works, times, run_id)
            key = str(model or name or "").lower()
            if works and key:
                fine = REFRESHES.get(str(status or "").lower()) == SUCCEEDED and error_type != "Interrupted"
                found.append(Refresh(key, str(name or model), listed(reads), fine, works[0], product, environment))
        return sorted(found, key=lambda one: one.work.started_at, reverse=True)

    def _where(self, column: str, indexed: str, since: datetime | None) -> tuple[str, list[Any]]:
        """The condition on the time, in whichever spelling it is stored.

        Args:
            indexed: the column by which the rows are found; those without a time there are looked at, too.
        """
        until = moved(self.at, 1)
        where, values = f" WHERE {column} <= ?", [until.strftime(_FORM)]
        if since is not None:
            where += f" AND {column} >= ? AND (({indexed} >= ? AND {indexed} < ?) OR {indexed} IS NULL)"
            values += [since.strftime(_FORM), f"{since:%Y-%m-%d}", f"{moved(until, timedelta(days=1)):%Y-%m-%d}"]
        return where, values

    def _add(self, works: list[Work], times: Iterable[Any], run_id: Any) -> None:
        started, ended, duration = times
        begun, end = moment_of_row(started), moment_of_row(ended)
        if begun is None:
            return
        end = end or moved(begun, float(duration or 0))
        if end <= moved(self.at, 1):
            works.append(Work(end, begun, str(run_id)))

    def _keep(self, found: Mapping[str, list[Work]]) -> None:
        for name, works in found.items():
            self.works[name] = sorted({*self.works.get(name, ()), *works})


_FORM = "%Y-%m-%d %H:%M:%S"
_NODES = """\
SELECT
    n.node, n.status, n.error_type, MOMENT(n.process_started_at), MOMENT(n.process_completed_at), n.duration,
    n.orchestration_run_id, n.place, n.resource_type, n.materialized,
    CASE WHEN n.place = 1 THEN n.depends_on END, n.data_product, n.first_place, n.last_place
FROM (
    SELECT
        NODE_ID(d.unique_id, d.relation_name, d.item_name) AS node, d.status, d.error_type, d.process_started_at,
        d.process_completed_at, d.duration, d.orchestration_run_id, d.resource_type, d.materialized, d.depends_on,
        d.data_product,
        MIN(CASE WHEN d.environment <> 'UNKNOWN' THEN LOWER(d.environment) END)
            OVER (PARTITION BY NODE_ID(d.unique_id, d.relation_name, d.item_name)) AS first_place,
        MAX(CASE WHEN d.environment <> 'UNKNOWN' THEN LOWER(d.environment) END)
            OVER (PARTITION BY NODE_ID(d.unique_id, d.relation_name, d.item_name)) AS last_place,
        ROW_NUMBER() OVER (
            PARTITION BY NODE_ID(d.unique_id, d.relation_name, d.item_name)
            ORDER BY CASE WHEN d.record_id IS NULL THEN 1 ELSE 0 END, d.generated_at DESC, d.process_started_at DESC
        ) AS place
    FROM meta.monitoring_transformation_dbt AS d CHOSEN
) AS n
"""
_LOADS = """\
SELECT
    l.source_name, l.schema_name, l.table_name, l.status, l.error_type,
    COALESCE(MOMENT(l.process_started_at), MOMENT(l.[timestamp])), MOMENT(l.process_completed_at), l.duration,
    l.orchestration_run_id
FROM meta.monitoring_integration AS l"""
_REFRESHES = """\
SELECT
    r.semantic_model_id, r.semantic_model_name, r.status, r.error_type, r.depends_on, MOMENT(r.process_started_at),
    MOMENT(r.process_completed_at), r.duration, r.orchestration_run_id, r.data_product, r.environment
FROM meta.monitoring_semantic_model_refresh AS r"""


def _named(column: str, names: Collection[str] | None, values: list[Any]) -> str:
    """The condition that a column is one of the names."""
    if names is None or len(names) > _MOST_NAMES:
        return ""
    values += sorted(names)
    return f" AND {column} IN ({', '.join('?' * len(names)) or 'NULL'})"
