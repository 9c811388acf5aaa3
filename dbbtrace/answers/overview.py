"""Many runs together: their record, what fails most, and what got slower."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dbbtrace.answers.audit import Audit, audit
from dbbtrace.answers.read import operations
from dbbtrace.answers.rows import Operation, Run
from dbbtrace.answers.slowest import Timing, slowest
from dbbtrace.answers.terms import Terms
from dbbtrace.warehouse import Warehouse

__all__ = ["Offender", "Overview", "offenders", "read_overview", "slower", "worst"]

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
    failing = {run.run_id for run in record.runs if run.failed}
    failed: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations(warehouse, failing, where=_FAILED) if failing else ():
        failed[operation.run_id].append(operation)
    return Overview(record, worst(offenders(record.runs, failed)), slower(grown))


def slower(timings: Iterable[Timing]) -> list[Timing]:
    """Of the newest timings of operations: what got notably slower, most first."""
    noticed = [one for one in timings if one.is_notable and (one.change or 0) > 0 and len(one.earlier) >= 3]
    return sorted(noticed, key=lambda one: (-(one.change or 0.0), -one.seconds, one.operation_id))[:_WORST]


def offenders(runs: Iterable[Run], failed: Mapping[str, Iterable[Operation]]) -> list[Offender]:
    """The operations that failed in these runs, each with its newest message.

    Args:
        runs: newest first.
        failed: run id → the operations whose outcome is a failure.
    """
    runs = list(runs)
    of_product = Counter((run.data_product, run.environment) for run in runs)
    found: dict[tuple[str | None, str | None, str, str], list[Operation]] = defaultdict(list)
    for run in runs:
        for one in failed.get(run.run_id, ()):
            found[run.data_product, run.environment, one.kind, one.operation_id].append(one)
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
        for (product, place, kind, operation_id), group in found.items()
    ]


def worst(found: Iterable[Offender]) -> list[Offender]:
    """Those that failed most."""

    def rank(one: Offender) -> tuple[int, float, str]:
        what = (one.data_product, one.environment, one.kind, one.operation_id)
        return -one.failed, -one.failed / one.runs, str(what)

    return sorted(found, key=rank)[:_WORST]
