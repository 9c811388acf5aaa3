"""Can this run be trusted? The verdict on a run, and rules that a pipeline or a person sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from dbbtrace.answers.failures import Failure, failures_of
from dbbtrace.answers.readable import counted
from dbbtrace.answers.reasons import Verdict
from dbbtrace.answers.rows import Run
from dbbtrace.answers.terms import Terms
from dbbtrace.answers.verdict import verdict_of
from dbbtrace.warehouse import Warehouse

__all__ = ["Check", "Problem", "Rules", "check", "problems_of", "unknown_problems"]


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
    """A run that is Running is no problem, within ``max_duration`` if that is set."""


@dataclass(frozen=True)
class Problem:
    """One broken rule, or one reason of the verdict."""

    kind: str
    """missing, failed, running, unfinished, incomplete, warned, late or no refresh; of an alert also well."""
    text: str
    name: str | None = None
    """The operation, part or table that it is about."""


@dataclass(frozen=True)
class Check:
    """A run, checked."""

    run_id: str
    verdict: Verdict
    problems: tuple[Problem, ...]
    failures: tuple[Failure, ...]

    @property
    def run(self) -> Run | None:
        """None if the warehouse has nothing of the run."""
        return self.verdict.run

    @property
    def ok(self) -> bool:
        """Whether the run meets every rule."""
        return not self.problems

    @property
    def exit_code(self) -> int:
        """0: it can be trusted. 1: it can't. 2: nobody knows the run. 3: it still runs."""
        kinds = {problem.kind for problem in self.problems}
        if not kinds:
            return 0
        if kinds == {"missing"}:
            return 2
        return 3 if kinds == {"running"} else 1


def check(
    warehouse: Warehouse,
    run: str,
    rules: Rules | None = None,
    *,
    now: datetime | None = None,
    terms: Terms | None = None,
    write: bool = False,
) -> Check:
    """The verdict on a run, by its run id, and the rules that it breaks.

    Args:
        warehouse: where to look.
        run: the run's id; a run without rows breaks every rule.
        rules: the rules; by default the run must be Succeeded or Warned.
        now: the current time, for tests.
        terms, write: see ``verdict_of``.
    """
    now = now or datetime.now(timezone.utc)
    said = verdict_of(warehouse, run, now=now, terms=terms, write=write)
    failed = failures_of(warehouse, [run]).get(run, []) if said.run and said.run.failed else []
    return Check(run, said, tuple(problems_of(said, rules or Rules(), now)), tuple(failed))


def problems_of(verdict: Verdict, rules: Rules, now: datetime) -> Sequence[Problem]:
    """The rules that the run breaks, and the reasons for its verdict."""
    run = verdict.run
    if run is None:
        return [
            Problem(one.kind if one.kind == "missing" else one.verdict.lower(), one.text)
            for one in verdict.reasons
            if one.verdict
        ]
    problems = []
    if run.failed and not rules.allow_failures:
        of = f"{run.failed} of {counted(run.operations, 'operation')}"
        problems.append(Problem("failed", f"{of} failed, {counted(run.skipped, 'was', 'were')} skipped"))
    for reason in verdict.reasons:
        told = reason.kind == "failed" and run.failed and not reason.known  # by the operations: see Check.failures
        if not told and _counts(reason.verdict, rules):
            problems.append(Problem(reason.verdict.lower(), reason.text, reason.name))
    awaited = rules.require_refresh and not run.refreshes_succeeded
    goes_on = awaited or run.is_open > 0
    late = _late(_took(run, now if goes_on else None), rules.max_duration, goes_on)
    problems += late
    # Until the run is late, a refresh may still complete. A failed one will not.
    if awaited and (late or rules.max_duration is None or run.failed or run.refreshes_failed):
        problems.append(Problem("no refresh", "no refresh of a semantic model completed"))
    return problems


def unknown_problems(verdict: Verdict, rules: Rules, now: datetime) -> tuple[Problem, ...]:
    """The same, for somebody who need not hear again of what is acknowledged: none, if that is all."""
    problems = tuple(problems_of(verdict, rules, now))
    told = [reason for reason in verdict.reasons if _counts(reason.verdict, rules)]
    by_rules = any(problem.kind in ("late", "no refresh") for problem in problems)
    return () if told and all(reason.known for reason in told) and not by_rules else problems


def _counts(word: str, rules: Rules) -> bool:
    """Whether a reason for this verdict breaks a rule."""
    allowed = {"Failed": rules.allow_failures, "Warned": rules.allow_warnings, "Running": rules.allow_running}
    return word != "" and not allowed.get(word, False)


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
