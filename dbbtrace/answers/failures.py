"""What failed, why, and which nodes were not built because of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from dbbtrace.answers.graph import NOT_BUILT, RunGraph
from dbbtrace.answers.read import operations, run_keys
from dbbtrace.answers.rows import Operation
from dbbtrace.model.statuses import STATUSES
from dbbtrace.warehouse import Warehouse

__all__ = ["Failure", "failures", "failures_among", "failures_of"]


@dataclass(frozen=True)
class Failure:
    """One operation whose outcome is a failure."""

    operation: Operation
    held_up: tuple[Operation, ...]
    """The dbt nodes that were not built because of it, nearest first."""


def failures(
    warehouse: Warehouse,
    *,
    run: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    data_product: str | None = None,
    environment: str | None = None,
    limit: int | None = None,
) -> list[Failure]:
    """The failures, newest run first. In a run they are ordered by start.

    Args:
        warehouse: where to look.
        run: only this run's failures; otherwise those of the runs that the next arguments select.
        since, until, data_product, environment: see ``run_keys``.
        limit: the largest number to return.
    """
    ids = [run] if run is not None else [
        key.run_id
        for key in run_keys(warehouse, since=since, until=until, data_product=data_product, environment=environment)
    ]  # fmt: skip
    found = failures_of(warehouse, _failing(warehouse, ids))
    return [failure for run_id in ids for failure in found.get(run_id, ())][:limit]


def failures_of(warehouse: Warehouse, runs: Collection[str]) -> dict[str, list[Failure]]:
    """Run id → its failures, for runs with failures."""
    by_run: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations(warehouse, runs, where=NOT_BUILT) if runs else ():
        by_run[operation.run_id].append(operation)
    return {run_id: found for run_id, group in by_run.items() if (found := failures_among(group))}


def failures_among(found: Iterable[Operation] | RunGraph) -> list[Failure]:
    """The failures among the operations of one run."""
    graph = found if isinstance(found, RunGraph) else RunGraph(found)
    return [
        Failure(operation, tuple(graph.held_up(operation)))
        for operation in graph.outcomes
        if operation.status == "Failed"
    ]


def _failing(warehouse: Warehouse, ids: list[str]) -> set[str]:
    """The runs with a row whose status is a failure, found without ranking rows."""
    from dbbtrace.warehouse.views import ask

    words = ", ".join(f"'{word}'" for word, status in STATUSES.items() if status == "Failed")
    rows = ask(warehouse, _FAILING.replace("WORDS", words), runs=ids)
    return {run_id for (run_id,) in rows}


_FAILING = """\
SELECT l.orchestration_run_id FROM meta.monitoring_integration AS l WHERE LOWER(l.status) IN (WORDS)
UNION
SELECT d.orchestration_run_id FROM meta.monitoring_transformation_dbt AS d WHERE LOWER(d.status) IN (WORDS)
UNION
SELECT r.orchestration_run_id FROM meta.monitoring_semantic_model_refresh AS r WHERE LOWER(r.status) IN (WORDS)
"""
