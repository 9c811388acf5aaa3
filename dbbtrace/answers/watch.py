"""Finds runs that need a person: runs that failed, are late, or are missing.

``alerts`` looks once. ``Watch`` looks repeatedly and reports each problem once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

from dbbtrace.answers.check import Problem, Rules, problems_of
from dbbtrace.answers.failures import Failure, failures_of
from dbbtrace.answers.read import run_keys, run_rows
from dbbtrace.answers.rows import Run, RunKey
from dbbtrace.answers.verdict import verdicts
from dbbtrace.warehouse import Warehouse

__all__ = ["Alert", "Watch", "alerts"]

KNOWN_FOR = timedelta(days=30)
"""A product that ran within this time is expected to run again."""


@dataclass(frozen=True)
class Alert:
    """One problem that a person should know about."""

    run_id: str | None
    """None if the run is missing."""
    data_product: str | None
    environment: str | None
    problems: tuple[Problem, ...]
    run: Run | None = None
    failures: tuple[Failure, ...] = ()

    @property
    def title(self) -> str:
        """A short title: the product, and what is wrong."""
        what = {
            "late": "is late",
            "missing": "did not run",
            "no refresh": "has no refresh",
            "unfinished": "did not finish",
            "incomplete": "is incomplete",
            "running": "still runs",
        }
        first = self.problems[0].kind
        whose = " ".join(filter(None, (self.data_product or "a run without a data product", self.environment)))
        return f"{whose} {what.get(first, first)}"


def alerts(
    warehouse: Warehouse,
    rules: Rules | None = None,
    *,
    since: datetime | None = None,
    data_product: str | None = None,
    environment: str | None = None,
    expect_every: timedelta | None = None,
    now: datetime | None = None,
) -> list[Alert]:
    """The problems that need a person now, newest run first.

    Args:
        warehouse: where to look.
        rules: the rules for each run; by default nothing may have failed or been interrupted.
        since: only runs that started since then.
        data_product, environment: see ``run_keys``.
        expect_every: report a product and environment that has had no run for this long.
        now: the current time, for tests.
    """
    rules = rules or Rules(allow_running=True)
    found = _problems(warehouse, rules, since, data_product, environment, expect_every, now)
    return _with_failures(warehouse, found)


def _problems(
    warehouse: Warehouse,
    rules: Rules,
    since: datetime | None,
    data_product: str | None,
    environment: str | None,
    expect_every: timedelta | None,
    now: datetime | None,
) -> list[Alert]:
    """The alerts, newest run first, without their failures. Querying the failures takes most of the time."""
    now = now or datetime.now(timezone.utc)
    keys = run_keys(warehouse, data_product=data_product, environment=environment)
    recent = [key.run_id for key in keys if since is None or (key.started_at is not None and key.started_at >= since)]
    rows = run_rows(warehouse, recent)
    said = verdicts(warehouse, rows, now=now)
    judged = [(run, tuple(problems_of(said[run.run_id], rules, now))) for run in rows]
    found = [
        Alert(run.run_id, run.data_product, run.environment, problems, said[run.run_id].run)
        for run, problems in judged
        if problems
    ]
    return [*_missing(keys, expect_every, now), *found]


def _with_failures(warehouse: Warehouse, found: list[Alert]) -> list[Alert]:
    failed = failures_of(warehouse, [alert.run.run_id for alert in found if alert.run and alert.run.failed])
    return [replace(alert, failures=tuple(failed.get(alert.run_id or "", ()))) for alert in found]


def _missing(keys: Iterable[RunKey], every: timedelta | None, now: datetime) -> Iterable[Alert]:
    if every is None:
        return
    newest: dict[tuple[str | None, str | None], datetime] = {}
    for key in keys:
        if key.started_at is not None and key.data_product is not None:
            whose = (key.data_product, key.environment)
            newest[whose] = max(newest.get(whose, key.started_at), key.started_at)
    for (product, place), at in sorted(newest.items(), key=str):
        if every < now - at < KNOWN_FOR:
            said = f"its last run started {at:%Y-%m-%d %H:%M} UTC"
            yield Alert(None, product, place, (Problem("missing", said),))


class Watch:
    """Looks when asked, and returns each alert once. A run is reported again only if it breaks another rule."""

    def __init__(
        self,
        warehouse: Warehouse,
        rules: Rules,
        *,
        since: datetime,
        data_product: str | None = None,
        environment: str | None = None,
        expect_every: timedelta | None = None,
    ) -> None:
        self._warehouse = warehouse
        self._rules = rules
        self._since = since
        self._data_product = data_product
        self._environment = environment
        self._expect_every = expect_every
        self._said: set[tuple[str | None, ...]] = set()

    def look(self, now: datetime | None = None) -> list[Alert]:
        """The alerts that are new, oldest run first."""
        found = _problems(
            self._warehouse,
            self._rules,
            self._since,
            self._data_product,
            self._environment,
            self._expect_every,
            now,
        )
        fresh = [alert for alert in reversed(found) if not self._marks(alert) <= self._said]
        for alert in fresh:
            self._said |= self._marks(alert)
        return _with_failures(self._warehouse, fresh)

    @staticmethod
    def _marks(alert: Alert) -> set[tuple[str | None, ...]]:
        whose = (alert.run_id, alert.data_product, alert.environment)
        return {(*whose, problem.kind, problem.text if alert.run_id is None else None) for problem in alert.problems}
