"""Many runs together: their record, what fails most, and what got slower."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dbbtrace.answers.audit import Audit, audit
from dbbtrace.answers.read import operations
from dbbtrace.answers.rows import Operation, Run
from dbbtrace.answers.slowest import Timing, slowest
from dbbtrace.answers.terms import Terms
from dbbtrace.warehouse import Warehouse

__all__ = ["Offender", "Overview", "read_overview"]

_WORST = 15
_FAILED = "o.superseded = 0 AND o.status = 'Failed'"


@dataclass(frozen=True)
class Offender:
    """An operation that failed more than others."""

    data_product: str | None
    environment: str | None
    kind: str
    operation_id: str
    name: str
    """For people."""
    failed: int
    runs: int
    """Runs of its product in the environment."""
    last_failed_at: datetime | None
    last_message: str | None


@dataclass(frozen=True)
class Overview:
    """The runs, and what is notable in them."""

    record: Audit
    offenders: Sequence[Offender]
    grown: Sequence[Timing]
    """What got slower, most first."""


def read_overview(
    warehouse: Warehouse,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    data_product: str | None = None,
    environment: str | None = None,
    terms: Terms | None = None,
) -> Overview:
    """Query the warehouse for the overview. The arguments are those of ``audit``."""
    record = audit(warehouse, since=since, until=until, data_product=data_product, environment=environment, terms=terms)
    grown = slowest(
        warehouse,
        since=since,
        until=until,
        data_product=data_product,
        environment=environment,
        by_change=True,
        limit=200,
    )
    noticed = [
        timing for timing in grown if timing.is_notable and (timing.change or 0) > 0 and len(timing.earlier) >= 3
    ]
    return Overview(record, _offenders(warehouse, record.runs), noticed[:_WORST])


def _offenders(warehouse: Warehouse, runs: Iterable[Run]) -> list[Offender]:
    """The operations that failed most, each with its newest message."""
    runs = list(runs)
    of_product = Counter((run.data_product, run.environment) for run in runs)
    failing = {run.run_id: run for run in runs if run.failed}
    failed: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations(warehouse, failing, where=_FAILED) if failing else ():
        failed[operation.run_id].append(operation)
    found: dict[tuple[Any, ...], list[Operation]] = defaultdict(list)
    for run in failing.values():  # newest first
        for operation in failed[run.run_id]:
            found[run.data_product, run.environment, operation.kind, operation.operation_id].append(operation)
    worst = sorted(
        found.items(), key=lambda item: (-len(item[1]), -len(item[1]) / of_product[item[0][:2]], str(item[0]))
    )
    return [
        Offender(
            product,
            place,
            kind,
            operation_id,
            group[0].label,
            len(group),
            of_product[product, place],
            group[0].started_at,
            group[0].error_message,
        )
        for (product, place, kind, operation_id), group in worst[:_WORST]
    ]
