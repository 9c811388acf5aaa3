"""What is slow, and what got slower: compares each operation with its own history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from dbbtrace.answers.graph import BUILT
from dbbtrace.answers.read import run_keys
from dbbtrace.answers.rows import Run, RunKey, label_of
from dbbtrace.answers.statistics import median, p95
from dbbtrace.errors import UsageError
from dbbtrace.warehouse import Warehouse, views

__all__ = ["HISTORY", "Timing", "history_of", "slowest", "timing_of"]

HISTORY = 20
"""How many earlier runs an operation is compared with."""
NOTICED_SECONDS = 1.0
NOTICED_CHANGE = 0.25
"""A duration that differs by less than these from the median is as usual."""


@dataclass(frozen=True)
class Timing:
    """How long one operation took, compared with its successes in earlier runs."""

    run_id: str
    data_product: str | None
    environment: str | None
    kind: str
    name: str
    """For people."""
    operation_id: str
    seconds: float
    earlier: tuple[float, ...]
    """Seconds in earlier runs, oldest first."""
    median: float | None
    """Median of the earlier ones."""
    p95: float | None
    """95th percentile of the earlier ones, nearest rank."""
    change: float | None
    """Relative difference from the median: 0.5 is 50% longer, -0.5 is half as long. None without history."""

    @property
    def is_notable(self) -> bool:
        """Whether the difference is more than noise: a second and a quarter, and beyond 95% of the earlier ones."""
        if self.change is None or self.median is None or self.p95 is None:
            return False
        if abs(self.seconds - self.median) < NOTICED_SECONDS or abs(self.change) < NOTICED_CHANGE:
            return False
        return self.seconds > self.p95 if self.change > 0 else self.seconds < min(self.earlier)


def slowest(
    warehouse: Warehouse,
    *,
    run: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    data_product: str | None = None,
    environment: str | None = None,
    history: int = HISTORY,
    by_change: bool = False,
    limit: int | None = 20,
) -> list[Timing]:
    """The operations that took longest, longest first.

    Args:
        warehouse: where to look.
        run: this run's operations; None: the newest success of each operation in each product and environment.
        since: only operations whose newest success is in a run that started since then; their history may be
            older. Ignored with ``run``.
        until: only runs that started before then; ignored with ``run``.
        data_product, environment: see ``run_keys``; ignored with ``run``.
        history: how many earlier runs of the product in the environment to compare with.
        by_change: sort by the largest increase; operations without history are left out.
        limit: the largest number to return.

    Raises:
        UsageError: the run does not exist.
    """
    if run:
        timings = _timings(warehouse, [_before(warehouse, run, history)])
    else:
        keys = run_keys(warehouse, until=until, data_product=data_product, environment=environment)
        timings = _timings(warehouse, [_enough(warehouse, group) for group in _by_product(keys, since, history)])
    if by_change:
        timings = [timing for timing in timings if timing.change is not None]
        timings.sort(key=lambda timing: (-(timing.change or 0.0), -timing.seconds, timing.operation_id))
    else:
        timings.sort(key=lambda timing: (-timing.seconds, timing.operation_id))
    return timings[:limit]


def history_of(warehouse: Warehouse, run: str, *, history: int = HISTORY) -> dict[tuple[str, str], Timing]:
    """Every operation of the run with a duration, by kind and operation_id, compared with its history."""
    group = _before(warehouse, run, history)
    return {(timing.kind, timing.operation_id): timing for timing in _timings(warehouse, [group])}


@dataclass(frozen=True)
class _Group:
    """Runs of one product in one environment."""

    runs: Sequence[RunKey]
    """Newest first."""
    chosen: int
    """How many of the newest runs are asked about. The others are their history."""
    history: int
    one: bool
    """True for one run, with all its operations. Otherwise only successes are compared."""


def _before(warehouse: Warehouse, run: str, history: int) -> _Group:
    """The run, and earlier runs of its product and environment."""
    known = run_keys(warehouse, among=[run])
    if not known:
        raise UsageError(f"no run {run!r} in the warehouse; `dbbtrace runs` lists the runs")
    [one] = known
    product, place = whose = _whose(one)
    told_apart = product is not None and place is not None and one.started_at is not None
    keys = run_keys(
        warehouse,
        data_product=product,
        environment=place,
        until=one.started_at,
        limit=history if told_apart else None,  # else others are among them
    )
    before = [key for key in keys if _whose(key) == whose and key.run_id != run][:history]
    return _Group([one, *before], 1, history, one=True)


def _by_product(keys: Iterable[RunKey], since: datetime | None, history: int) -> Iterator[_Group]:
    """For each product and environment: the runs since then, and the earlier runs to compare them with."""
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=timezone.utc)
    groups: dict[Any, list[RunKey]] = defaultdict(list)
    for key in keys:
        groups[_whose(key)].append(key)
    for group in groups.values():
        chosen = sum(since is None or (key.started_at is not None and key.started_at >= since) for key in group)
        if chosen:
            yield _Group(group[: chosen + history], chosen, history, one=False)


def _whose(key: RunKey) -> tuple[str | None, str | None]:
    return key.data_product, key.environment


_TIMES = """\
SELECT o.orchestration_run_id, o.kind, o.operation_id, o.operation, o.status, o.seconds, o.start_time
FROM meta.monitoring_operations AS o
WHERE o.superseded = 0 AND o.seconds IS NOT NULL AND o.status <> 'Skipped'
"""
_KNOWN_NODES = """\
SELECT d.data_product, NODE_ID(NULL_TEXT, d.relation_name, d.item_name), MAX(d.unique_id)
FROM meta.monitoring_transformation_dbt AS d
WHERE d.unique_id <> ''
GROUP BY d.data_product, NODE_ID(NULL_TEXT, d.relation_name, d.item_name)
HAVING MIN(d.unique_id) = MAX(d.unique_id)
"""
"""The name that other writers use for a node → its unique_id, joined as in ``monitoring_performance``."""


_NAMES = """\
SELECT 'table_load', CONCAT(COALESCE(l.source_name, ''), '/', COALESCE(l.schema_name, ''), '/', NAMED(l.table_name))
FROM meta.monitoring_integration AS l
GROUP BY l.source_name, l.schema_name, l.table_name
UNION ALL
SELECT 'dbt_node', NODE_ID(d.unique_id, d.relation_name, d.item_name)
FROM meta.monitoring_transformation_dbt AS d
GROUP BY NODE_ID(d.unique_id, d.relation_name, d.item_name)
UNION ALL
SELECT 'model_refresh', NAMED(r.semantic_model_id, r.semantic_model_name)
FROM meta.monitoring_semantic_model_refresh AS r
GROUP BY r.semantic_model_id, r.semantic_model_name
"""
"""The operations that runs contain, with any outcome. This is fast, because no rows are ranked."""


def _enough(warehouse: Warehouse, group: _Group) -> _Group:
    """The group without older runs that add nothing. Most operations succeed in nearly every run."""
    near = group.history
    if group.chosen <= near:
        return group
    newest = views.ask(warehouse, _TIMES, runs=[key.run_id for key in group.runs[:near]])
    known = {(kind, operation_id) for _, kind, operation_id, _, status, *_ in newest if status in BUILT}
    older = views.ask(warehouse, _NAMES, runs=[key.run_id for key in group.runs[near : group.chosen]])
    if known.issuperset(map(tuple, older)):
        return _Group(group.runs[: 2 * near], near, near, one=False)
    return group


def _timings(warehouse: Warehouse, groups: Sequence[_Group]) -> list[Timing]:
    """Durations in the given run; for many runs, the newest success of each operation in each group."""
    runs = [key.run_id for group in groups for key in group.runs]
    times: dict[str, list[Sequence[Any]]] = defaultdict(list)
    for run_id, *time in views.ask(warehouse, _TIMES, runs=runs):
        times[run_id].append(time)
    nodes = {time[1] for found in times.values() for time in found if time[0] == "dbt_node"}
    known = {}
    if any(not label_of("dbt_node", "", name) for name in nodes):  # other writers name some nodes differently
        known = {(product, name): node for product, name, node in views.ask(warehouse, _KNOWN_NODES, runs=runs)}
        for found in times.values():  # two writers of one node in one run: the later row first
            found.sort(key=lambda time: (time[-1] is not None, time[-1]), reverse=True)
    return [timing for group in groups for timing in _of_group(group, times, known)]


def _of_group(
    group: _Group, times: Mapping[str, Sequence[Sequence[Any]]], known: Mapping[tuple[str, str], str]
) -> Iterator[Timing]:
    product = group.runs[0].data_product or ""
    newest: dict[tuple[str, str], tuple[int, Sequence[Any]]] = {}
    earlier: dict[tuple[str, str], list[float]] = defaultdict(list)
    for place, key in enumerate(group.runs):  # newest first
        for time in times.get(key.run_id, ()):
            kind, operation_id, _, status, seconds, _ = time
            built = status in BUILT
            what = (kind, known.get((product, operation_id), operation_id) if kind == "dbt_node" else operation_id)
            found = newest.get(what)
            if found is None:
                if place < group.chosen and (built or group.one):
                    newest[what] = (place, time)
            elif built and place - found[0] <= group.history:
                earlier[what].append(seconds)
    for what, (place, (kind, operation_id, name, _, seconds, _)) in newest.items():
        label = label_of(kind, name, operation_id)
        yield timing_of(group.runs[place], kind, operation_id, label, seconds, tuple(reversed(earlier[what])))


def timing_of(
    key: RunKey | Run, kind: str, operation_id: str, label: str, seconds: float, before: tuple[float, ...]
) -> Timing:
    """A duration compared with earlier ones, the oldest of them first."""
    ordered = sorted(before)
    usual = median(ordered)
    return Timing(
        key.run_id,
        key.data_product,
        key.environment,
        kind,
        label,
        operation_id,
        seconds,
        before,
        usual,
        p95(ordered),
        seconds / usual - 1 if usual else None,
    )
