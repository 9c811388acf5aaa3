"""May this run be trusted? Rules that a pipeline or a person sets, and what of the run breaks them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from dbbtrace.answers.failures import Failure, failures_of
from dbbtrace.answers.read import run_rows
from dbbtrace.answers.rows import Run
from dbbtrace.warehouse import Warehouse

__all__ = ["Check", "Problem", "Rules", "check", "problems_of"]


@dataclass(frozen=True)
class Rules:
    """What a run must keep to."""

    max_duration: timedelta | None = None
    """From its first start to its last end, or to now where something still runs or its refresh is awaited."""
    require_refresh: bool = False
    """At least one refresh must have completed; within ``max_duration``, where that is given."""
    allow_failures: bool = False
    allow_warnings: bool = True
    allow_running: bool = False
    """What still runs is no problem, within ``max_duration`` where that is given."""


@dataclass(frozen=True)
class Problem:
    """One rule that is broken."""

    kind: str
    """missing, failed, warned, late, no refresh, not ended, unknown or nothing done."""
    text: str


@dataclass(frozen=True)
class Check:
    """The verdict on a run."""

    run_id: str
    run: Run | None
    """None: no row of it stands."""
    problems: tuple[Problem, ...]
    failures: tuple[Failure, ...]

    @property
    def ok(self) -> bool:
        """Whether every rule is kept."""
        return not self.problems


def check(warehouse: Warehouse, run: str, rules: Rules | None = None, *, now: datetime | None = None) -> Check:
    """The verdict on a run, by its run id.

    Args:
        warehouse: where to look.
        run: the run's id; one of which no row stands breaks every rule.
        rules: what it must keep to; default nothing failed, nothing was interrupted.
        now: the present, for tests.
    """
    found = run_rows(warehouse, [run])
    if not found:
        return Check(run, None, (Problem("missing", "no row of this run stands in the warehouse"),), ())
    failed = failures_of(warehouse, [run]).get(run, []) if found[0].failed else []
    problems = problems_of(found[0], rules or Rules(), now or datetime.now(timezone.utc))
    return Check(run, found[0], tuple(problems), tuple(failed))


def problems_of(run: Run, rules: Rules, now: datetime) -> Sequence[Problem]:
    """The rules that the run breaks."""
    problems = []
    if run.failed and not rules.allow_failures:
        said = f"{run.failed} of {run.operations} operations failed, {run.skipped} were skipped"
        problems.append(Problem("failed", said))
    if run.warned and not rules.allow_warnings:
        problems.append(Problem("warned", f"{run.warned} of {run.operations} operations warned"))
    if run.interrupted and not rules.allow_failures:
        problems.append(Problem("not ended", f"{run.interrupted} operations were interrupted"))
    awaited = rules.require_refresh and not run.refreshes_succeeded
    goes_on = awaited or run.running > 0
    late = _late(_took(run, now if goes_on else None), rules.max_duration, goes_on)
    problems += late
    if run.running and not rules.allow_running and (late or rules.max_duration is None):
        problems.append(Problem("not ended", f"{run.running} of {run.operations} operations have not ended"))
    if run.unknown:
        said = f"of {run.unknown} of {run.operations} operations nobody knows the outcome"
        problems.append(Problem("unknown", said))
    if run.status == "Skipped":
        problems.append(Problem("nothing done", f"all of its {run.operations} operations were skipped"))
    # Until the run is late its refresh may still come; one that failed will not.
    if awaited and (late or rules.max_duration is None or run.failed or run.refreshes_failed):
        problems.append(Problem("no refresh", "no refresh of a semantic model completed"))
    return problems


def _late(took: timedelta | None, allowed: timedelta | None, goes_on: bool) -> list[Problem]:
    if allowed is None or took is None or took <= allowed:
        return []
    verb = "has been going for" if goes_on else "took"
    return [Problem("late", f"it {verb} {_words(took)}, allowed are {_words(allowed)}")]


def _took(run: Run, now: datetime | None) -> timedelta | None:
    if run.started_at is None:
        return None
    end = now if now is not None else run.ended_at
    return end - run.started_at if end is not None else None


def _words(took: timedelta) -> str:
    minutes, seconds = divmod(round(took.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
