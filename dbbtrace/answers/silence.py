"""For how long a run may be silent before it counts as Unfinished: what the product's earlier runs tell of it.

A sign is whatever a run leaves in the warehouse: the start and the end of a part, the end of an operation. The
judgement of a run that has ended keeps its longest pause between two signs, and the limit that follows for the runs
after it; ``monitoring_runs`` reads that limit.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from dbbtrace.answers.read import moment_of_row
from dbbtrace.answers.statistics import median
from dbbtrace.warehouse import Warehouse, views

__all__ = ["WITHOUT_HISTORY", "Silence", "limit_of", "longest_pauses", "silence_of"]

WITHOUT_HISTORY = timedelta(hours=6)
_LEAST = timedelta(minutes=30)


class Silence(NamedTuple):
    """What one run tells."""

    pause: float
    """Seconds for which it was silent at most."""
    limit: int
    """Seconds for which the next runs of its product may be."""


def limit_of(longest: Iterable[timedelta]) -> timedelta:
    """Twice the usual longest pause, at least half an hour; six hours where there is no history."""
    usual = median([one.total_seconds() for one in longest])
    return WITHOUT_HISTORY if usual is None else max(timedelta(seconds=2 * usual), _LEAST)


def silence_of(warehouse: Warehouse, run_id: str, before: Sequence[str]) -> Silence | None:
    """What a run that has ended tells of silence, with the runs before it; None where it left no signs."""
    known = _kept(warehouse, before)
    pauses = longest_pauses(warehouse, [run_id, *(one for one in before if one not in known)])
    if run_id not in pauses:
        return None
    limit = limit_of((known | pauses).values())
    return Silence(pauses[run_id].total_seconds(), round(limit.total_seconds()))


def _kept(warehouse: Warehouse, runs: Collection[str]) -> dict[str, timedelta]:
    """Run id → its longest pause, as its judgement kept it."""
    found = {}
    for run_id, detail in views.ask(warehouse, _JUDGED, runs=runs) if runs else ():
        try:
            pause = json.loads(str(detail or "{}")).get("pause")
        except ValueError:
            continue
        if isinstance(pause, (int, float)):
            found[str(run_id)] = timedelta(seconds=pause)
    return found


_JUDGED = """\
SELECT p.orchestration_run_id, p.detail
FROM meta.monitoring_run_part AS p
WHERE p.part = 'finding' AND p.error_type = 'judged'
"""


def longest_pauses(warehouse: Warehouse, runs: Collection[str]) -> dict[str, timedelta]:
    """Run id → the longest time for which it was silent, for the runs that left any sign."""
    signs: dict[str, list[datetime]] = defaultdict(list)
    for run_id, at in views.ask(warehouse, _SIGNS, runs=runs) if runs else ():
        if (moment := moment_of_row(at)) is not None:
            signs[str(run_id)].append(moment)
    return {
        run_id: max((later - one for one, later in pairwise(sorted(times))), default=timedelta())
        for run_id, times in signs.items()
    }


_SIGNS = """\
SELECT
    l.orchestration_run_id, COALESCE(MOMENT(l.process_completed_at), PLUS_SECONDS(MOMENT(l.[timestamp]), l.duration))
FROM meta.monitoring_integration AS l
UNION ALL
SELECT f.orchestration_run_id, MOMENT(MIN(f.[timestamp]))
FROM meta.monitoring_integration AS f
GROUP BY f.orchestration_run_id
UNION ALL
SELECT d.orchestration_run_id, MOMENT(d.process_completed_at)
FROM meta.monitoring_transformation_dbt AS d
WHERE COALESCE(d.process_stage, 'execute') = 'execute'
UNION ALL
SELECT r.orchestration_run_id, MOMENT(r.process_completed_at)
FROM meta.monitoring_semantic_model_refresh AS r
UNION ALL
SELECT p.orchestration_run_id, MOMENT(p.process_started_at)
FROM meta.monitoring_run_part AS p
WHERE p.part IN ('run', 'job', 'workload', 'dbt_invocation', 'step', 'attempt')
UNION ALL
SELECT e.orchestration_run_id, MOMENT(e.process_completed_at)
FROM meta.monitoring_run_part AS e
WHERE e.part IN ('run', 'job', 'workload', 'dbt_invocation', 'step', 'attempt')
"""
