"""What takes long, and what takes longer than it used to: each operation against its own history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dbbtrace.answers.graph import BUILT
from dbbtrace.answers.read import run_keys
from dbbtrace.answers.rows import RunKey, label_of
from dbbtrace.answers.statistics import median, p95
from dbbtrace.errors import UsageError
from dbbtrace.warehouse import Warehouse, views

__all__ = ["Timing", "history_of", "slowest"]

HISTORY = 20
"""Earlier runs that an operation is compared with."""


@dataclass(frozen=True)
class Timing:
    """How long one operation took, against its history: its successes in the runs before."""

    run_id: str
    data_product: str | None
    environment: str | None
    kind: str
    name: str
    """For people."""
    operation_id: str
    seconds: float
    earlier: tuple[float, ...]
    """Seconds in the runs before, oldest first."""
    median: float | None
    """Of the earlier ones."""
    p95: float | None
    """Of the earlier ones, nearest rank."""
    change: float | None
    """Seconds against the median: 0.5 is half as long again, -0.5 half. None without history."""


def slowest(
    warehouse: Warehouse,
    *,
    run: str | None = None,
    since: datetime | None = None,
    data_product: str | None = None,
    environment: str | None = None,
    history: int = HISTORY,
    by_change: bool = False,
    limit: int | None = 20,
) -> list[Timing]:
    """The operations that took longest, longest first.

    Args:
        warehouse: where to look.
        run: this run's operations; None: of each product and environment the newest time of each operation.
        since, data_product, environment: see ``run_keys``; with ``run`` they are not asked.
        history: how many earlier runs of the product in the environment to compare with.
        by_change: those that grew most first; operations without history are left out.
        limit: at most so many.

    Raises:
        UsageError: there is no such run.
    """
    keys = run_keys(warehouse, since=None if run else since, data_product=data_product, environment=environment)
    groups = [_before(keys, run, history)] if run else _by_product(keys, history)
    timings = _timings(warehouse, groups, run)
    if by_change:
        timings = [timing for timing in timings if timing.change is not None]
        timings.sort(key=lambda timing: (-(timing.change or 0.0), -timing.seconds, timing.operation_id))
    else:
        timings.sort(key=lambda timing: (-timing.seconds, timing.operation_id))
    return timings[:limit]


def history_of(warehouse: Warehouse, run: str, *, history: int = HISTORY) -> dict[tuple[str, str], Timing]:
    """Every operation of the run that took time, by kind and operation_id, against its history."""
    group = _before(run_keys(warehouse), run, history)
    return {(timing.kind, timing.operation_id): timing for timing in _timings(warehouse, [group], run)}


def _before(keys: Sequence[RunKey], run: str, history: int) -> list[RunKey]:
    """The run and those of its product and environment that began before it, newest first."""
    place = next((place for place, key in enumerate(keys) if key.run_id == run), None)
    if place is None:
        raise UsageError(f"no run {run!r} in the warehouse: `dbbtrace runs` lists those that are there")
    whose = _whose(keys[place])
    return [keys[place], *[key for key in keys[place + 1 :] if _whose(key) == whose][:history]]


def _by_product(keys: Iterable[RunKey], history: int) -> list[list[RunKey]]:
    """The newest runs of each product and environment, newest first."""
    groups: dict[Any, list[RunKey]] = defaultdict(list)
    for key in keys:
        if len(groups[_whose(key)]) <= history:
            groups[_whose(key)].append(key)
    return list(groups.values())


def _whose(key: RunKey) -> tuple[str | None, str | None]:
    return key.data_product, key.environment


_TIMES = """\
SELECT o.orchestration_run_id, o.kind, o.operation_id, o.operation, o.status, o.seconds
FROM meta.monitoring_operations AS o
WHERE o.superseded = 0 AND o.seconds IS NOT NULL AND o.status <> 'Skipped'
"""


def _timings(warehouse: Warehouse, groups: Sequence[Sequence[RunKey]], run: str | None) -> list[Timing]:
    """What took time in the run; without one the newest success of each operation of each group."""
    times: dict[str, list[Sequence[Any]]] = defaultdict(list)
    for run_id, *time in views.ask(warehouse, _TIMES, runs=[key.run_id for group in groups for key in group]):
        times[run_id].append(time)
    return [timing for group in groups for timing in _of_group(group, times, run)]


def _of_group(group: Sequence[RunKey], times: dict[str, list[Sequence[Any]]], run: str | None) -> Iterable[Timing]:
    newest: dict[tuple[str, str], tuple[RunKey, str, float]] = {}
    earlier: dict[tuple[str, str], list[float]] = defaultdict(list)
    for key in group:  # newest first
        for kind, operation_id, name, status, seconds in times[key.run_id]:
            what = (kind, operation_id)
            if what not in newest and (status in BUILT or key.run_id == run):
                newest[what] = (key, name, seconds)
            elif status in BUILT:
                earlier[what].append(seconds)
    for (kind, operation_id), (key, name, seconds) in newest.items():
        if run is None or key.run_id == run:
            before = tuple(reversed(earlier[kind, operation_id]))
            usual = median(before)
            yield Timing(
                key.run_id,
                key.data_product,
                key.environment,
                kind,
                label_of(kind, name, operation_id),
                operation_id,
                seconds,
                before,
                usual,
                p95(before),
                seconds / usual - 1 if usual else None,
            )
