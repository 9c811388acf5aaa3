"""Finds runs that need a person: runs that failed, are late, or are missing.

``alerts`` looks once. ``Watch`` looks repeatedly and reports each problem once, and once when all is well again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

from dbbtrace.answers.check import Problem, Rules, unknown_problems
from dbbtrace.answers.failures import Failure, failures_of
from dbbtrace.answers.findings import acks
from dbbtrace.answers.job_events import schedules_learned
from dbbtrace.answers.links import fabric_pages
from dbbtrace.answers.memory import Memory
from dbbtrace.answers.read import run_keys, run_rows
from dbbtrace.answers.rows import Run, RunKey
from dbbtrace.answers.schedule import LATE_AFTER, Schedule
from dbbtrace.answers.terms import Terms
from dbbtrace.answers.verdict import verdicts
from dbbtrace.warehouse import Warehouse
from dbbtrace.warehouse.schema import PARTS

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
    page: str | None = None
    """Fabric's monitoring page, if the ids are known."""
    owner: str | None = None
    """Who looks after the product, as the settings say."""

    @property
    def is_well(self) -> bool:
        """Whether it says that all is well again."""
        return self.problems[0].kind == "well"

    @property
    def whose(self) -> str:
        """Product and environment, as one text."""
        return " ".join(filter(None, (self.data_product, self.environment)))

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
            "warned": "warns",
            "well": "is well again",
        }
        first = self.problems[0].kind
        whose = self.whose if self.data_product else f"a run without a data product {self.whose}".rstrip()
        return f"{whose} {what.get(first, first)}"


def alerts(
    warehouse: Warehouse,
    rules: Rules | None = None,
    *,
    since: datetime | None = None,
    data_product: str | None = None,
    environment: str | None = None,
    expect_every: timedelta | None = None,
    schedules: Sequence[Schedule] = (),
    now: datetime | None = None,
    terms: Terms | None = None,
) -> list[Alert]:
    """The problems that need a person now, newest run first.

    Args:
        warehouse: where to look.
        rules: the rules for each run; by default nothing may have failed or been interrupted.
        since: only runs that started since then.
        data_product, environment: see ``run_keys``.
        expect_every: report a product and environment that has had no run for this long.
        schedules: report a run that has not started 45 minutes after it was due. Of a product and environment that has
            none, Fabric's job events tell when it is due.
        now: the current time, for tests.
        terms: see ``verdict_of``.
    """
    now = now or datetime.now(timezone.utc)
    look = _Look(warehouse, rules or Rules(allow_running=True), since, data_product, environment, now, terms or Terms())
    return _in_full(warehouse, [*look.missing(expect_every), *look.overdue(schedules), *look.alerts()])


class _Look:
    """One look at the runs."""

    def __init__(
        self,
        warehouse: Warehouse,
        rules: Rules,
        since: datetime | None,
        data_product: str | None,
        environment: str | None,
        now: datetime,
        terms: Terms,
        write: bool = False,
    ) -> None:
        self._now = now
        self._warehouse = warehouse
        self._zone = terms.zone
        self._whose = (data_product, environment)
        self.keys = run_keys(warehouse, data_product=data_product, environment=environment)
        recent = [
            key.run_id for key in self.keys if since is None or (key.started_at is not None and key.started_at >= since)
        ]
        self._runs = run_rows(warehouse, recent)
        self._said = verdicts(warehouse, self._runs, now=now, terms=terms, write=write)
        known = acks(warehouse, now) if PARTS.name in warehouse.columns() else []
        acknowledged = {ack.run_id for ack in known if ack.name == ack.run_id}
        self._problems = {
            run.run_id: () if run.run_id in acknowledged else unknown_problems(self._said[run.run_id], rules, now)
            for run in self._runs
        }

    def alerts(self) -> list[Alert]:
        """The runs with problems, newest first. Querying their failures takes most of the time: see ``_in_full``."""
        return [
            Alert(run.run_id, run.data_product, run.environment, problems, self._said[run.run_id].run)
            for run in self._runs
            if (problems := self._problems[run.run_id])
        ]

    def missing(self, every: timedelta | None) -> Iterator[Alert]:
        """Products that ran, and have not run for so long."""
        if every is None:
            return
        newest: dict[tuple[str | None, str | None], datetime] = {}
        for key in self.keys:
            if key.started_at is not None and key.data_product is not None:
                whose = (key.data_product, key.environment)
                newest[whose] = max(newest.get(whose, key.started_at), key.started_at)
        for (product, place), at in sorted(newest.items(), key=str):
            if every < self._now - at < KNOWN_FOR:
                said = f"its last run started {at:%Y-%m-%d %H:%M} UTC"
                yield Alert(None, product, place, (Problem("missing", said),))

    def overdue(self, schedules: Iterable[Schedule]) -> Iterator[Alert]:
        """Runs that were due and have not started; where no schedule says when a product's are, job events do."""
        known = list(schedules)
        for schedule in [*known, *(one for one in self._learned() if not any(each.covers(one) for each in known))]:
            due = schedule.last_due(self._now - LATE_AFTER)
            starts = [key.started_at for key in self.keys if key.started_at is not None and _is_of(key, schedule)]
            last = max(starts, default=None)
            # In UTC: local times that summer time lies between are further apart, or nearer, than they look.
            if due is None or (last is not None and last >= due.astimezone(timezone.utc) - LATE_AFTER):
                continue
            before = f"; its last run started {last:%Y-%m-%d %H:%M} UTC" if last is not None else ""
            said = f"its run of {due:%a %d %b %H:%M} ({schedule.zone_name}) has not started{before}"
            yield Alert(None, schedule.data_product, schedule.environment, (Problem("missing", said),))

    def _learned(self) -> list[Schedule]:
        """What job events tell of the products that are looked at."""
        product, place = self._whose
        return [
            each
            for each in schedules_learned(self._warehouse, self._now, self._zone)
            if (product is None or each.data_product.lower() == product.lower())
            and (place is None or (each.environment or "").lower() == place.lower())
        ]

    def well_again(self, ill: Iterable[str]) -> Iterator[Alert]:
        """Products whose newest run is good, of those of which a problem was told."""
        ill = set(ill)
        for run in self._runs:  # newest first
            alert = Alert(run.run_id, run.data_product, run.environment, (Problem("well", "its newest run is good"),))
            if alert.whose in ill:
                ill.discard(alert.whose)
                if self._said[run.run_id].ok and not self._problems[run.run_id]:
                    yield replace(alert, run=self._said[run.run_id].run)


def _is_of(key: RunKey, schedule: Schedule) -> bool:
    place = schedule.environment
    return key.data_product == schedule.data_product and (
        place is None or (key.environment or "").lower() == place.lower()
    )


def _in_full(warehouse: Warehouse, found: list[Alert]) -> list[Alert]:
    """The alerts with their failures and pages."""
    failed = failures_of(warehouse, [alert.run.run_id for alert in found if alert.run and alert.run.failed])
    pages = fabric_pages(warehouse, [alert.run_id for alert in found if alert.run_id])
    return [
        replace(alert, failures=tuple(failed.get(alert.run_id or "", ())), page=pages.get(alert.run_id or ""))
        for alert in found
    ]


class Watch:
    """Looks when asked, and returns each alert once. A run is reported again only if it breaks another rule.

    What it finds out about a run that has ended is stored as findings, where that may be written.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        rules: Rules,
        *,
        since: datetime | timedelta,
        data_product: str | None = None,
        environment: str | None = None,
        expect_every: timedelta | None = None,
        schedules: Sequence[Schedule] = (),
        memory: Memory | None = None,
        terms: Callable[[], Terms] = Terms,
    ) -> None:
        self._warehouse = warehouse
        self._rules = rules
        self._since = since
        self._data_product = data_product
        self._environment = environment
        self._expect_every = expect_every
        self._schedules = schedules
        self._memory = memory or Memory()
        self._terms = terms
        self._returned: set[str] = set()
        self._good: set[str] = set()
        """Products whose newest run is good, though an older one is not."""
        self.wrong = 0
        """Problems that the last look saw, whether or not they were told before."""

    def look(self, now: datetime | None = None) -> list[Alert]:
        """The alerts that are new, oldest run first."""
        now = now or datetime.now(timezone.utc)
        since = now - self._since if isinstance(self._since, timedelta) else self._since
        look = _Look(
            self._warehouse,
            self._rules,
            since,
            self._data_product,
            self._environment,
            now,
            self._terms(),
            write=True,
        )
        found = [*look.missing(self._expect_every), *look.overdue(self._schedules), *look.alerts()]
        self.wrong = len(found)
        fresh = [alert for alert in reversed(found) if not self._is_known(alert)]
        fresh += [alert for alert in look.well_again(self._memory.ill()) if not self._is_known(alert)]
        late = {alert.whose for alert in found if alert.run_id is None}
        self._good = {alert.whose for alert in look.well_again({alert.whose for alert in found})} - late
        for alert in fresh:
            self._returned |= self._marks(alert)
        return _in_full(self._warehouse, fresh)

    def told(self, said: Iterable[Alert], now: datetime | None = None) -> None:
        """Remember that these were told, also for the next watch."""
        now = now or datetime.now(timezone.utc)
        for alert in said:
            if alert.is_well:
                self._memory.well(alert.whose)
            else:
                self._memory.tell(self._marks(alert), now)
                if alert.whose not in self._good:
                    self._memory.fell_ill(alert.whose, alert.run_id)
        self._memory.save(now)

    def _is_known(self, alert: Alert) -> bool:
        marks = self._marks(alert)
        return marks <= self._returned or (not alert.is_well and self._memory.has_told(marks))

    @staticmethod
    def _marks(alert: Alert) -> set[str]:
        whose = (alert.run_id, alert.data_product, alert.environment)
        return {
            json.dumps([*whose, problem.kind, problem.text if alert.run_id is None else problem.name])
            for problem in alert.problems
        }
