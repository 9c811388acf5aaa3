"""The verdict on a run: Failed, Running, Unfinished, Incomplete, Warned or Succeeded, the first that applies; and why.

``monitoring_runs`` ranks what the tables hold. Here comes to it what takes history, the run's graph or this machine's
journal. Each reason is one sentence that names what to look at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from dbbtrace.answers import read
from dbbtrace.answers.earlier import local_zone
from dbbtrace.answers.findings import Tolerance
from dbbtrace.answers.judge import Judge, of_this_machine
from dbbtrace.answers.read import run_rows
from dbbtrace.answers.reasons import VERDICTS, Here, Reason, Verdict
from dbbtrace.answers.rows import Run
from dbbtrace.answers.suggest import check_known
from dbbtrace.warehouse import Warehouse

__all__ = ["judged", "runs", "verdict_of", "verdicts"]

DEFAULT_ZONE = "Europe/Brussels"
"""Where the platform's slots are local time."""


def verdict_of(
    warehouse: Warehouse,
    run_id: str,
    *,
    now: datetime | None = None,
    here: Here | None = None,
    zone: str = DEFAULT_ZONE,
    tolerance: Tolerance | None = None,
    write: bool = False,
) -> Verdict:
    """The verdict on one run, compared with earlier ones.

    Args:
        warehouse: where to look.
        run_id: the run's id.
        now: the present, for tests.
        here: what this machine's journal knows.
        zone: time zone of the platform's slots.
        tolerance: how far reconciled figures may differ.
        write: store what was found, where that may be written; the view ``monitoring_runs`` then says the same.
    """
    found = run_rows(warehouse, [run_id])
    if not found:
        return _unknown(run_id, here)
    knowledge = {run_id: here} if here is not None else {}
    return verdicts(warehouse, found, now=now, here=knowledge, zone=zone, tolerance=tolerance, write=write, anew=True)[
        run_id
    ]


def _unknown(run_id: str, here: Here | None) -> Verdict:
    if here is not None and (here.started or here.waiting):
        reason = of_this_machine(here) or Reason("Running", "running", "nothing of it is in the warehouse yet")
        return Verdict(run_id, reason.verdict, (reason,))
    return Verdict(run_id, "Unfinished", (Reason("Unfinished", "missing", "nothing of this run is in the warehouse"),))


def judged(warehouse: Warehouse, found: Sequence[Run], *, now: datetime | None = None) -> list[Run]:
    """The runs with their verdicts as status and the first reason, in the order given."""
    said = verdicts(warehouse, found, now=now)
    return [said[run.run_id].run or run for run in found]


def runs(
    warehouse: Warehouse,
    *,
    data_product: str | None = None,
    environment: str | None = None,
    status: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
    now: datetime | None = None,
    here: Mapping[str, Here] | None = None,
) -> list[Run]:
    """The runs that fit, newest first, with their verdicts.

    Args:
        status: only runs with this verdict; whatever the case.
        now: the present, for tests.
        here: what this machine's journal knows of runs.
        data_product, environment, since, until, limit: see ``run_keys``.

    Raises:
        UsageError: there is no such verdict, product or environment.
    """
    if status is not None:
        check_known("status", status, VERDICTS)
    found = read.runs(
        warehouse,
        data_product=data_product,
        environment=environment,
        since=since,
        until=until,
        limit=limit if status is None else None,
    )
    said = verdicts(warehouse, found, now=now, here=here)
    of_all = [said[run.run_id].run or run for run in found]
    return [run for run in of_all if status is None or run.status.lower() == status.lower()][:limit]


def verdicts(
    warehouse: Warehouse,
    found: Sequence[Run],
    *,
    now: datetime | None = None,
    here: Mapping[str, Here] | None = None,
    zone: str = DEFAULT_ZONE,
    tolerance: Tolerance | None = None,
    write: bool = False,
    anew: bool = False,
) -> dict[str, Verdict]:
    """Run id → the verdict on it.

    Args:
        found: rows of ``monitoring_runs``, newest first.
        anew: judge also what was judged before.
        now, here, zone, tolerance, write: see ``verdict_of``.
    """
    if not found:
        return {}
    now = now or datetime.now(timezone.utc)
    judge = Judge(warehouse, found, now, here or {}, local_zone(zone), tolerance or Tolerance(), anew)
    said = {run.run_id: judge.verdict(run) for run in found}
    if write:
        judge.write(said)
    return said
