"""Can this run be trusted? Checks a run against rules that a pipeline or a person sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from dbbtrace.answers.failures import Failure, failures_of
from dbbtrace.answers.read import run_rows
from dbbtrace.answers.readable import counted
from dbbtrace.answers.rows import Run
from dbbtrace.warehouse import Warehouse

__all__ = ["Check", "Problem", "Rules", "check", "problems_of"]


@dataclass(frozen=True)
class Rules:
    """The rules for a run."""

    max_duration: timedelta | None = None
    """From the first start to the last end. If an operation still runs or the refresh is missing, to now."""
    require_refresh: bool = False
    """At least one refresh must have completed, within ``max_duration`` if that is set."""
    allow_failures: bool = False
    allow_warnings: bool = True
    allow_running: bool = False
    """Running operations are no problem, within ``max_duration`` if that is set."""


@dataclass(frozen=True)
class Problem:
    """One broken rule."""

    kind: str
    """missing, failed, warned, late, no refresh, not ended, unknown or nothing done."""
    text: str


@dataclass(frozen=True)
class Check:
    """The verdict on a run."""

    run_id: str
    run: Run | None
    """None if the run has no rows."""
    problems: tuple[Problem, ...]
    failures: tuple[Failure, ...]

    @property
    def ok(self) -> bool:
        """Whether the run meets every rule."""
        return not self.problems


def check(warehouse: Warehouse, run: str, rules: Rules | None = None, *, now: datetime | None = None) -> Check:
    """The verdict on a run, by its run id.

    Args:
        warehouse: where to look.
        run: the run's id; a run without rows breaks every rule.
        rules: the rules; by default nothing may have failed or been interrupted.
        now: the current time, for tests.
    """
    found = run_rows(warehouse, [run])
    if not found:
        return Check(run, None, (Problem("missing", "the warehouse has no rows of this run"),), ())
    failed = failures_of(warehouse, [run]).get(run, []) if found[0].failed else []
    problems = problems_of(found[0], rules or Rules(), now or datetime.now(timezone.utc))
    return Check(run, found[0], tuple(problems), tuple(failed))


def problems_of(run: Run, rules: Rules, now: datetime) -> Sequence[Problem]:
    """The rules that the run breaks."""
    problems = []
    if run.failed and not rules.allow_failures:
        said = f"{_of(run.failed, run)} failed, {counted(run.skipped, 'was', 'were')} skipped"
        problems.append(Problem("failed", said))
    if run.warned and not rules.allow_warnings:
        problems.append(Problem("warned", f"{_of(run.warned, run)} warned"))
    if run.interrupted and not rules.allow_failures:
        problems.append(
            Problem("not ended", f"{counted(run.interrupted, 'operation was', 'operations were')} interrupted")
        )
    awaited = rules.require_refresh and not run.refreshes_succeeded
    goes_on = awaited or run.running > 0
    late = _late(_took(run, now if goes_on else None), rules.max_duration, goes_on)
    problems += late
    if run.running and not rules.allow_running and (late or rules.max_duration is None):
        problems.append(
            Problem("not ended", f"{_of(run.running, run)} {'has' if run.running == 1 else 'have'} not ended")
        )
    if run.unknown:
        said = f"the outcome of {_of(run.unknown, run)} is unknown"
        problems.append(Problem("unknown", said))
    if run.status == "Skipped":
        problems.append(
            Problem(
                "nothing done",
                f"{counted(run.operations, 'operation was', 'operations were')} skipped and none was run",
            )
        )
    # Until the run is late, a refresh may still complete. A failed one will not.
    if awaited and (late or rules.max_duration is None or run.failed or run.refreshes_failed):
        problems.append(Problem("no refresh", "no refresh of a semantic model completed"))
    return problems


def _of(number: int, run: Run) -> str:
    """``1 of 33 operations``."""
    return f"{number} of {counted(run.operations, 'operation')}"


def _late(took: timedelta | None, allowed: timedelta | None, goes_on: bool) -> list[Problem]:
    if allowed is None or took is None or took <= allowed:
        return []
    verb = "has been going for" if goes_on else "took"
    return [Problem("late", f"it {verb} {_words(took)}, the limit is {_words(allowed)}")]


def _took(run: Run, now: datetime | None) -> timedelta | None:
    if run.started_at is None:
        return None
    end = now if now is not None else run.ended_at
    return end - run.started_at if end is not None else None


def _words(took: timedelta) -> str:
    minutes, seconds = divmod(round(took.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
