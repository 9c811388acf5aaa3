"""All runs, and what is missing from their record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from dbbtrace.answers.read import operations, run_keys, run_rows
from dbbtrace.answers.reasons import Verdict
from dbbtrace.answers.rows import Operation, Run
from dbbtrace.answers.terms import Terms
from dbbtrace.answers.verdict import verdicts
from dbbtrace.warehouse import Warehouse

__all__ = ["Audit", "Gap", "ProductRecord", "audit", "gaps_of", "operation_gaps"]


@dataclass(frozen=True)
class Gap:
    """One thing that is missing from a run's record."""

    run_id: str
    data_product: str | None
    environment: str | None
    gap: str
    """no table load, no dbt node, no completed refresh, no data product; interrupted, not ended, outcome unknown,
    failed without a reason, load without an end."""
    operation: str | None = None
    """The operation with the gap; None if the gap is in the run."""
    detail: str | None = None


@dataclass(frozen=True)
class ProductRecord:
    """All runs of a data product in an environment."""

    data_product: str | None
    environment: str | None
    runs: int
    succeeded: int
    """Includes runs that warned."""
    failed: int
    with_gaps: int
    first_started_at: datetime | None
    last_started_at: datetime | None


@dataclass(frozen=True)
class Audit:
    """All runs and their gaps, as far as the rows show them."""

    since: datetime | None
    products: tuple[ProductRecord, ...]
    runs: tuple[Run, ...]
    """Newest first."""
    gaps: tuple[Gap, ...]
    """In the order of the runs."""
    verdicts: Mapping[str, Verdict]
    """Run id → the verdict, with its reasons."""


def audit(
    warehouse: Warehouse,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    data_product: str | None = None,
    environment: str | None = None,
    terms: Terms | None = None,
) -> Audit:
    """Count the runs by data product and environment, and find their gaps.

    Args:
        warehouse: where to look.
        since, until, data_product, environment: see ``run_keys``.
        terms: see ``verdict_of``.
    """
    chosen = None
    if any(given is not None for given in (since, until, data_product, environment)):
        keys = run_keys(warehouse, since=since, until=until, data_product=data_product, environment=environment)
        chosen = [key.run_id for key in keys]
    found = run_rows(warehouse, chosen)
    said = verdicts(warehouse, found, terms=terms)
    runs = [said[run.run_id].run or run for run in found]
    with_gaps = [run.run_id for run in runs if _lacks_in_operations(run)]
    by_run: dict[str, list[Operation]] = defaultdict(list)
    if with_gaps:
        for operation in operations(warehouse, with_gaps, where=_LACKING):
            by_run[operation.run_id].append(operation)
    gaps = [gap for run in runs for gap in (*gaps_of(run), *operation_gaps(by_run[run.run_id]))]
    return Audit(since, _products(runs, {gap.run_id for gap in gaps}), tuple(runs), tuple(gaps), said)


def gaps_of(run: Run) -> list[Gap]:
    """The gaps of the run as a whole."""
    lacking = [
        ("no table load", run.loads == 0),
        ("no dbt node", run.nodes == 0),
        ("no completed refresh", run.refreshes_succeeded == 0),
        ("no data product", run.data_product is None),
    ]
    return [Gap(run.run_id, run.data_product, run.environment, gap) for gap, is_so in lacking if is_so]


def _lacks_in_operations(run: Run) -> int:
    return run.loads_without_end + run.interrupted + run.running + run.unknown + run.failed_without_reason


_LACKING = """\
o.superseded = 0
AND (
    o.error_type = 'Interrupted'
    OR o.status NOT IN ('Succeeded', 'Failed', 'Warned', 'Skipped')
    OR (o.status = 'Failed' AND COALESCE(o.error_message, '') = '')
    OR (o.kind = 'table_load' AND o.end_time IS NULL)
)
"""


def operation_gaps(found: Iterable[Operation]) -> list[Gap]:
    """The gaps of single operations."""
    return [
        Gap(o.run_id, o.data_product, o.environment, gap, o.label, o.error_message or o.word)
        for o in found
        if (gap := _gap_of(o)) is not None
    ]


def _gap_of(operation: Operation) -> str | None:
    if operation.error_type == "Interrupted":
        return "interrupted"
    if operation.status == "Running":
        return "not ended"
    if operation.status not in ("Succeeded", "Failed", "Warned", "Skipped"):
        return "outcome unknown"
    if operation.status == "Failed" and not operation.error_message:
        return "failed without a reason"
    return "load without an end" if operation.kind == "table_load" and operation.ended_at is None else None


def _products(runs: Iterable[Run], with_gaps: set[str]) -> tuple[ProductRecord, ...]:
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.data_product or "", run.environment or ""].append(run)
    records = []
    for _, group in sorted(groups.items()):
        starts = [run.started_at for run in group if run.started_at]
        records.append(
            ProductRecord(
                group[0].data_product,
                group[0].environment,
                runs=len(group),
                succeeded=sum(run.status in ("Succeeded", "Warned") for run in group),
                failed=sum(run.status == "Failed" for run in group),
                with_gaps=sum(run.run_id in with_gaps for run in group),
                first_started_at=min(starts, default=None),
                last_started_at=max(starts, default=None),
            )
        )
    return tuple(records)
