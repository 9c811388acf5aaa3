"""The verdict on a run: Failed, Running, Unfinished, Incomplete, Warned or Succeeded, the first that applies; and why.

``monitoring_runs`` ranks what the tables hold. Here comes to it what takes history, the run's graph or this machine's
journal. Each reason is one sentence that names what to look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

from dbbtrace.answers import read
from dbbtrace.answers.judge import Judge, of_this_machine, unknown_journals
from dbbtrace.answers.read import run_rows
from dbbtrace.answers.reasons import VERDICTS, Reason, Verdict
from dbbtrace.answers.rows import Run
from dbbtrace.answers.suggest import check_known
from dbbtrace.answers.terms import Terms
from dbbtrace.warehouse import Warehouse

__all__ = ["judged", "runs", "verdict_of", "verdicts"]


def verdict_of(
    warehouse: Warehouse,
    run_id: str,
    *,
    now: datetime | None = None,
    terms: Terms | None = None,
    write: bool = False,
) -> Verdict:
    """The verdict on one run, compared with earlier ones.

    Args:
        warehouse: where to look.
        run_id: the run's id.
        now: the present, for tests.
        terms: what it depends on besides the warehouse.
        write: store what was found, where that may be written; the view ``monitoring_runs`` then says the same.
    """
    found = run_rows(warehouse, [run_id])
    if not found:
        return _unknown(run_id, terms or Terms())
    return verdicts(warehouse, found, now=now, terms=terms, write=write, anew=True)[run_id]


def _unknown(run_id: str, terms: Terms) -> Verdict:
    here, unread = terms.here.get(run_id), unknown_journals(terms)
    reason = Reason("Unfinished", "missing", "nothing of this run is in the warehouse")
    if here is not None and (here.started or here.waiting):
        reason = of_this_machine(here) or Reason("Running", "running", "nothing of it is in the warehouse yet")
    return Verdict(run_id, reason.verdict, (reason, *unread))


def judged(
    warehouse: Warehouse, found: Sequence[Run], *, now: datetime | None = None, terms: Terms | None = None
) -> list[Run]:
    """The runs with their verdicts as status and the first reason, in the order given."""
    said = verdicts(warehouse, found, now=now, terms=terms)
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
    terms: Terms | None = None,
) -> list[Run]:
    """The runs that fit, newest first, with their verdicts.

    Args:
        status: only runs with this verdict; whatever the case.
        now: the present, for tests.
        terms: what verdicts depend on besides the warehouse.
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
    said = verdicts(warehouse, found, now=now, terms=terms)
    of_all = [said[run.run_id].run or run for run in found]
    return [run for run in of_all if status is None or run.status.lower() == status.lower()][:limit]


def verdicts(
    warehouse: Warehouse,
    found: Sequence[Run],
    *,
    now: datetime | None = None,
    terms: Terms | None = None,
    write: bool = False,
    anew: bool = False,
) -> dict[str, Verdict]:
    """Run id → the verdict on it.

    Args:
        found: rows of ``monitoring_runs``, newest first.
        anew: judge also what was judged before.
        now, terms, write: see ``verdict_of``.
    """
    if not found:
        return {}
    now = now or datetime.now(timezone.utc)
    judge = Judge(warehouse, found, now, terms or Terms(), anew)
    said = {run.run_id: judge.verdict(run) for run in found}
    if write:
        judge.write(said)
    return said
