"""Reads the views into typed values: runs, their summaries, their operations.

Each question is one query, limited to the named runs. This keeps answers fast.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

from dbbtrace.answers.rows import Operation, Part, Run, RunKey
from dbbtrace.answers.suggest import check_known, suggestion
from dbbtrace.errors import UsageError
from dbbtrace.model.times import moved, to_datetime, to_unix_nanos
from dbbtrace.warehouse import Warehouse, views

__all__ = [
    "FAILED_PARTS",
    "ids_starting",
    "listed",
    "moment_of_row",
    "operations",
    "parts",
    "relations",
    "run_keys",
    "run_rows",
    "runs",
]

FAILED_PARTS = """\
p.superseded = 0
AND p.status IN ('Failed', 'Interrupted')
AND p.part IN ('job', 'workload', 'dbt_invocation')
AND NOT (p.part = 'dbt_invocation' AND COALESCE(p.error_message, '') LIKE '% nodes failed: %')
"""
"""Chooses, of ``parts``, those whose failure is the run's. Where nodes of a dbt invocation failed, the nodes decide."""
_RUN_COLUMNS = {"run_id": "orchestration_run_id", "started_at": "start_time", "ended_at": "end_time"}
_RUN_COLUMNS_OF_RUN = {**_RUN_COLUMNS, "last_sign_at": "last_sign"}
_OPERATION_COLUMNS = {**_RUN_COLUMNS, "name": "operation", "word": "status_word"}


def run_keys(
    warehouse: Warehouse,
    *,
    data_product: str | None = None,
    environment: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
    among: Collection[str] | None = None,
) -> list[RunKey]:
    """The runs, newest first.

    Args:
        warehouse: where to look.
        data_product: only runs of this product; case-sensitive.
        environment: only runs in this environment; case-insensitive.
        since: only runs that started since then; a time without zone is UTC.
        until: only runs that started before then.
        limit: the largest number to return.
        among: only these runs, which is much faster to ask; None: all.

    Raises:
        UsageError: no run at all is of this product, or in this environment.
    """
    if among is None and (since is not None or limit is not None):
        newest = _newest(warehouse, data_product, environment, _aware(since), _aware(until), limit)
        if newest is not None:
            return newest
    keys = _of(list(_all_keys(warehouse, among).values()), data_product, environment)
    return _ordered(keys, _aware(since), _aware(until))[:limit]


def _newest(
    warehouse: Warehouse,
    data_product: str | None,
    environment: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int | None,
) -> list[RunKey] | None:
    """The newest runs that fit, without a look at older ones; None where these must be looked at, too.

    A run that started in a time has a row in it. Without a time, one looks further and further back until there are as
    many runs as are wanted.
    """
    tables = views.look(warehouse)
    back = timedelta(days=1)
    [[last]] = views.ask(warehouse, _LAST_SIGN, tables=tables)
    begun = moment_of_row(last)
    if begun is None:
        return None
    if until is not None:
        begun = min(begun, until)
    latest = _day(moved(begun, timedelta(days=1)))
    while True:
        start = since if since is not None else moved(begun, -back)
        ids = {run_id for (run_id,) in views.ask(warehouse, _BETWEEN, [_day(start), latest] * 4, tables=tables)}
        found = _all_keys(warehouse, ids).values()
        fitting = [
            key
            for key in found
            if (data_product is None or key.data_product == data_product)
            and (environment is None or (key.environment or "").lower() == environment.lower())
        ]
        keys = _ordered(fitting, start, until)
        if keys and (since is not None or (limit is not None and len(keys) >= limit)):
            return keys[:limit]
        if since is not None or back > _FAR_BACK:
            return None
        back *= 4


def _day(at: datetime) -> str:
    return at.astimezone(timezone.utc).date().isoformat()  # both '2026-11-24 08:00' and '2026-11-24T08:00' are later


_FAR_BACK = timedelta(days=400)
_LAST_SIGN = """\
SELECT MAX(m.last_time)
FROM (
    SELECT MAX(l.[timestamp]) AS last_time FROM meta.monitoring_integration AS l
    UNION ALL
    SELECT MAX(d.process_started_at) FROM meta.monitoring_transformation_dbt AS d
    UNION ALL
    SELECT MAX(r.process_started_at) FROM meta.monitoring_semantic_model_refresh AS r
    UNION ALL
    SELECT MAX(p.process_started_at) FROM meta.monitoring_run_part AS p
) AS m
"""


def _ids_between(of_load: str, of_others: str, spelled: int = 1) -> str:
    """SQL for the ids of runs with a row in which a column lies between two values, or two others for each spelling."""
    of = {
        "integration": of_load,
        "transformation_dbt": of_others,
        "semantic_model_refresh": of_others,
        "run_part": of_others,
    }
    return "UNION\n".join(
        f"SELECT t.orchestration_run_id FROM meta.monitoring_{table} AS t WHERE t.{name} >= ? AND t.{name} < ?\n"
        for table, name in of.items()
        for _ in range(spelled)
    )


_BETWEEN = _ids_between("[timestamp]", "process_started_at")


def ids_starting(warehouse: Warehouse, prefix: str) -> list[str]:
    """The run ids that are GUIDs and start so, as run or as trace id; none unless it has the 8 characters by which a
    GUID is told apart. Without a look at all runs."""
    digits = prefix.lower().replace("-", "")
    if re.fullmatch("[0-9a-f]{8,32}", digits) is None:
        return []
    start = "-".join(filter(None, (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])))
    bounds = [start, f"{start}g", start.upper(), f"{start.upper()}G"] * 4
    found = {str(run_id) for (run_id,) in views.ask(warehouse, _STARTING, bounds)}
    return sorted(run_id for run_id in found if run_id.startswith(start))


_STARTING = _ids_between("stored_run_id", "stored_run_id", spelled=2)


def _all_keys(warehouse: Warehouse, among: Collection[str] | None) -> dict[str, RunKey]:
    """Run id → its key."""
    found: dict[str, RunKey] = {}
    workspaces: dict[str, str] = {}
    for run_id, started_at, product, place, workspace in views.ask(warehouse, _RUN_KEYS, runs=among):
        key = RunKey(run_id, moment_of_row(started_at), product, place)
        found[run_id] = _merged(found[run_id], key) if run_id in found else key
        if workspace:
            workspaces[run_id] = workspace
    for run_id, workspace in workspaces.items():
        if found[run_id].environment is None:  # as in monitoring_runs
            found[run_id] = replace(found[run_id], environment=workspace)
    return found


def _ordered(keys: Iterable[RunKey], since: datetime | None, until: datetime | None) -> list[RunKey]:
    """Those that started in that time, newest first."""
    oldest = datetime.min.replace(tzinfo=timezone.utc)
    keys = [
        key
        for key in keys
        if (since is None or (key.started_at is not None and key.started_at >= since))
        and (until is None or (key.started_at is not None and key.started_at < until))
    ]
    return sorted(keys, key=lambda key: (key.started_at or oldest, key.run_id), reverse=True)


def _of(keys: list[RunKey], data_product: str | None, environment: str | None) -> list[RunKey]:
    """The runs of the product and environment. A name that no run has is a mistake: nothing fits it, ever."""
    if data_product is not None and keys:
        known = {key.data_product for key in keys if key.data_product}
        if data_product not in known:
            raise UsageError(f"no data product {data_product!r}{suggestion(data_product, known)}")
        keys = [key for key in keys if key.data_product == data_product]
    if environment is not None and keys:
        check_known("environment", environment, {key.environment for key in keys if key.environment})
        keys = [key for key in keys if (key.environment or "").lower() == environment.lower()]
    return keys


def _aware(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=timezone.utc) if at is not None and at.tzinfo is None else at


WORKSPACE_ENVIRONMENTS = """\
LEFT JOIN (
    SELECT LOWER(TEXT(x.workspace_id)) AS workspace_id, MAX(x.environment) AS environment
    FROM meta.environments AS x
    WHERE x.environment <> ''
    GROUP BY LOWER(TEXT(x.workspace_id))
) AS v ON v.workspace_id = LOWER(l.workspace) AND l.environment IS NULL
"""
"""The environment of hand-made loads, which name only their workspace; see ``monitoring_operations``."""
_RUN_KEYS = f"""\
SELECT
    l.orchestration_run_id, MOMENT(MIN(COMPARABLE(l.[timestamp]))), MAX(l.data_product),
    MAX(COALESCE(l.environment, v.environment)), MAX(CASE WHEN l.record_id IS NULL THEN LOWER(l.workspace) END)
FROM meta.monitoring_integration AS l
{WORKSPACE_ENVIRONMENTS}WHERE l.orchestration_run_id <> ''
GROUP BY l.orchestration_run_id
UNION ALL
SELECT
    d.orchestration_run_id, MOMENT(MIN(COMPARABLE(d.process_started_at))), MAX(d.data_product),
    MAX(CASE WHEN d.environment <> 'UNKNOWN' THEN d.environment END), NULL_TEXT
FROM meta.monitoring_transformation_dbt AS d
WHERE d.orchestration_run_id <> ''
GROUP BY d.orchestration_run_id
UNION ALL
SELECT
    r.orchestration_run_id, MOMENT(MIN(COMPARABLE(r.process_started_at))), MAX(r.data_product), MAX(r.environment),
    NULL_TEXT
FROM meta.monitoring_semantic_model_refresh AS r
WHERE r.orchestration_run_id <> ''
GROUP BY r.orchestration_run_id
UNION ALL
SELECT k.orchestration_run_id, NULL_MOMENT, MAX(k.data_product), NULL_TEXT, NULL_TEXT
FROM kpi_reconciliation_history AS k
WHERE k.orchestration_run_id <> ''
GROUP BY k.orchestration_run_id
UNION ALL
SELECT
    p.orchestration_run_id, MOMENT(MIN(p.process_started_at)), MAX(p.data_product), MAX(p.environment), NULL_TEXT
FROM meta.monitoring_run_part AS p
WHERE p.orchestration_run_id <> '' AND p.part IN ('run', 'job', 'workload', 'dbt_invocation', 'step', 'attempt')
GROUP BY p.orchestration_run_id
"""


def _merged(one: RunKey, other: RunKey) -> RunKey:
    starts = [key.started_at for key in (one, other) if key.started_at]
    return RunKey(
        one.run_id,
        min(starts, default=None),
        max(filter(None, (one.data_product, other.data_product)), default=None),
        max(filter(None, (one.environment, other.environment)), default=None),
    )


def run_rows(warehouse: Warehouse, runs: Iterable[str] | None = None) -> list[Run]:
    """The rows of ``monitoring_runs`` for these runs (None: for all), newest first."""
    if runs is not None and not (runs := list(runs)):
        return []
    names = [field.name for field in fields(Run)]
    columns = ", ".join(f"r.{_RUN_COLUMNS_OF_RUN.get(name, name)}" for name in names)
    rows = views.ask(warehouse, f"SELECT {columns} FROM meta.monitoring_runs AS r", runs=runs)
    oldest = datetime.min.replace(tzinfo=timezone.utc)
    found = [Run(*values) for values in _typed(names, rows)]
    return sorted(found, key=lambda run: (run.started_at or oldest, run.run_id), reverse=True)


def runs(
    warehouse: Warehouse,
    *,
    data_product: str | None = None,
    environment: str | None = None,
    status: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
) -> list[Run]:
    """The runs that match, newest first.

    Args:
        status: only runs with this status; case-insensitive.
        data_product, environment, since, until, limit: see ``run_keys``.
    """
    chosen = None
    given = (data_product, environment, since, until)
    if any(one is not None for one in given) or (limit is not None and status is None):
        keys = run_keys(
            warehouse,
            data_product=data_product,
            environment=environment,
            since=since,
            until=until,
            limit=None if status else limit,
        )
        chosen = [key.run_id for key in keys]
    found = run_rows(warehouse, chosen)
    return [run for run in found if status is None or run.status.lower() == status.lower()][:limit]


def operations(
    warehouse: Warehouse, runs: Collection[str], *, where: str = "", parameters: Sequence[Any] = ()
) -> list[Operation]:
    """The operations of the runs, by start. Those that never ran come at the end of their run.

    Args:
        where: an SQL condition on ``monitoring_operations AS o``.
        parameters: the values for the condition.
    """
    names = [field.name for field in fields(Operation)]
    columns = ", ".join(f"o.{_OPERATION_COLUMNS.get(name, name)}" for name in names)
    sql = f"SELECT {columns} FROM meta.monitoring_operations AS o" + (f" WHERE {where}" if where else "")
    rows = views.ask(warehouse, sql, parameters, runs=runs)
    latest = datetime.max.replace(tzinfo=timezone.utc)
    found = [Operation(*values) for values in _typed(names, rows)]
    return sorted(found, key=lambda o: (o.run_id, o.started_at or latest, _PLACE[o.workload], o.name, o.operation_id))


def parts(warehouse: Warehouse, runs: Collection[str], *, where: str = "") -> list[Part]:
    """The parts of the runs that are no operations, by start.

    Args:
        where: SQL that chooses among them, in terms of ``monitoring_parts AS p``.
    """
    names = [field.name for field in fields(Part)]
    columns = ", ".join(f"p.{_RUN_COLUMNS.get(name, name)}" for name in names)
    sql = f"SELECT {columns} FROM meta.monitoring_parts AS p" + (f" WHERE {where}" if where else "")
    latest = datetime.max.replace(tzinfo=timezone.utc)
    found = [Part(*values) for values in _typed(names, views.ask(warehouse, sql, runs=runs))]
    return sorted(found, key=lambda part: (part.run_id, part.started_at or latest, part.part, part.name or ""))


_PLACE = {"integration": 0, "transformation": 1, "consumption": 2, "reconciliation": 3}


def relations(warehouse: Warehouse, runs: Collection[str]) -> dict[str, str]:
    """operation_id of a dbt node → the relation that it fills in these runs, as dbt spells it."""
    rows = views.ask(warehouse, _RELATIONS, runs=runs) if runs else []
    return {str(node): str(relation) for node, relation in rows if str(relation).lower() != "none"}


_RELATIONS = """\
SELECT NODE_ID(d.unique_id, d.relation_name, d.item_name), MAX(d.relation_name)
FROM meta.monitoring_transformation_dbt AS d
WHERE d.relation_name <> ''
GROUP BY NODE_ID(d.unique_id, d.relation_name, d.item_name)
"""


def _typed(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[list[Any]]:
    """The rows' values for the dataclasses: ``..._at`` as aware datetimes, seconds as floats, lists as tuples."""
    readers: dict[str, Callable[[Any], Any]] = {
        "seconds": _float,
        "slowest_seconds": _float,
        "depends_on": listed,
        "superseded": bool,
        "begun_again": bool,
    }
    columns = [
        (place, moment_of_row if name.endswith("_at") else readers[name])
        for place, name in enumerate(names)
        if name.endswith("_at") or name in readers
    ]
    for row in rows:
        values = list(row)
        for place, read in columns:
            values[place] = read(values[place])
        yield values


def _float(value: Any) -> float | None:
    """Some servers answer a decimal, which Python doesn't calculate with floats."""
    return None if value is None else float(value)


def moment_of_row(value: Any) -> datetime | None:
    """The point in time as an aware datetime, whatever type the driver returned."""
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
        return at.replace(tzinfo=timezone.utc) if at.tzinfo is None else at
    except ValueError:
        pass
    try:
        return to_datetime(to_unix_nanos(value))
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=8192)
def listed(text: str | None) -> tuple[str, ...]:
    """A JSON array of strings; None for anything else."""
    try:
        items = json.loads(text) if text else ()
    except ValueError:
        return ()
    return tuple(item for item in items if isinstance(item, str)) if isinstance(items, list) else ()
