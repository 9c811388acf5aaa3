"""How the newest run of each data product went, as gauges for Prometheus: the verdict, findings, whether a run is late.

The warehouse is asked when somebody reads the gauges, at most once a minute, in a thread of its own that takes a tenth
of a core at most. Writes nothing: ``dbbtrace check`` and the jobs judge runs.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, NamedTuple

from dbbtrace.diagnostics import log
from dbbtrace_exporters.receiver.exposition import Family

if TYPE_CHECKING:
    from dbbtrace.answers import Run, RunKey, Terms, Verdict
    from dbbtrace.answers.schedule import Schedule
    from dbbtrace.settings import Settings
    from dbbtrace.warehouse import Warehouse

__all__ = ["FINDINGS", "Verdicts"]

FINDINGS = (
    "absent", "lost", "empty", "not counted", "stale", "volume", "warning", "reconciliation", "unrepaired",
)  # fmt: skip
"""Kinds of reasons that have a series, whether or not there are any."""

_EVERY_SECONDS = 60.0
_WAIT_SECONDS = 5.0
"""How long a reader waits for a look; after that it gets what the last one saw. Prometheus gives up after 10 s."""
_OVERDUE_SECONDS = 180.0
"""A look that takes longer gets no answer; a warehouse that sleeps takes up to 90 s to wake."""
_REST = 10
"""How much longer than a look took of this process's time the next one waits at least: histories may be long."""
_KNOWN_FOR = timedelta(days=35)
"""A product that ran within this time has series."""
_MOST = 200
"""Products in an environment that have series: names come from senders, and each gives some thirty series."""

_Whose = tuple[str, str]


class _Seen(NamedTuple):
    families: list[Family]
    at: float


class Verdicts:
    """The gauges; any thread may call it.

    Args:
        opened: opens the warehouse; called, and what it opens closed, for each look.
        settings: what verdicts depend on besides the warehouse, and when runs are due.
    """

    def __init__(self, opened: Callable[[], Warehouse], settings: Settings) -> None:
        self._opened, self._settings = opened, settings
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._looked_at = self._rests_until = float("-inf")
        self._seen = _Seen([], 0.0)
        self._fault = ""
        self._answered = False

    def __call__(self) -> list[Family]:
        with self._lock:
            now = time.monotonic()
            if not self._is_looking() and now - self._looked_at > _EVERY_SECONDS and now > self._rests_until:
                self._looked_at = now
                self._thread = threading.Thread(target=self._look, name="dbbtrace-verdicts", daemon=True)
                self._thread.start()
            thread = self._thread
        if thread is not None:
            thread.join(_WAIT_SECONDS)
        said = "Whether the warehouse answered the last time that it was asked for the gauges of runs."
        up = Family("dbbtrace_runs_up", "gauge", said).add(int(self._answered and not self._is_overdue()))
        read = Family("dbbtrace_runs_read_timestamp_seconds", "gauge", "When it last answered.").add(self._seen.at)
        return [up, read, *self._seen.families]

    def _is_looking(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _is_overdue(self) -> bool:
        return self._is_looking() and time.monotonic() - self._looked_at > _OVERDUE_SECONDS

    def _look(self) -> None:
        try:
            with self._opened() as warehouse:
                self._seen = _Seen(_families(warehouse, self._settings), time.time())
        except Exception as error:  # whatever it is, the receiver goes on, and the gauge says so
            self._answered = False
            if self._fault != str(error):
                self._fault = str(error)
                log.warning("the warehouse can't be asked for the gauges of runs: %s: %s", type(error).__name__, error)
        else:
            self._answered, self._fault = True, ""
        self._rests_until = time.monotonic() + _REST * time.thread_time()


def _families(warehouse: Warehouse, settings: Settings) -> list[Family]:
    from dbbtrace.answers import run_keys, run_rows, verdicts
    from dbbtrace.answers.schedule import schedules_of
    from dbbtrace.operate.verdict import terms_of

    now, terms = datetime.now(timezone.utc), terms_of(settings)
    schedules = schedules_of(settings.schedules, settings.timezone)
    newest = _newest(run_keys(warehouse, since=now - _KNOWN_FOR))
    shown = dict(list(newest.items())[:_MOST])
    runs = {run.run_id: run for run in run_rows(warehouse, shown.values())}
    said = verdicts(warehouse, list(runs.values()), now=now, terms=terms)
    found = [(whose, said[run_id], runs[run_id]) for whose, run_id in sorted(shown.items()) if run_id in said]
    late = _late(warehouse, terms, schedules, now, shown)
    left_out = Family("dbbtrace_products_left_out", "gauge", f"Products beyond the first {_MOST}, without series.")
    return [*_of_runs(found, now), late, left_out.add(len(newest) - len(shown))]


def _newest(keys: Iterable[RunKey]) -> dict[_Whose, str]:
    """Product and environment → run id of the newest run. Runs by hand have no product and are left out."""
    found: dict[_Whose, str] = {}
    for key in keys:  # newest first
        if key.data_product:
            found.setdefault((key.data_product, key.environment or ""), key.run_id)
    return found


def _of_runs(found: Iterable[tuple[_Whose, Verdict, Run]], now: datetime) -> list[Family]:
    from dbbtrace.answers.reasons import VERDICTS

    verdict = Family("dbbtrace_run_verdict", "gauge", "1 for the verdict on the newest run.")
    started = Family("dbbtrace_run_started_timestamp_seconds", "gauge", "When the newest run started.")
    seconds = Family("dbbtrace_run_duration_seconds", "gauge", "How long the newest run took, or has taken so far.")
    findings = Family("dbbtrace_run_findings", "gauge", "Findings on the newest run that nobody has acknowledged.")
    operations = Family("dbbtrace_run_operations", "gauge", "Operations of the newest run, by how they went.")
    for (product, place), said, run in found:
        labels = {"data_product": product, "environment": place}
        for word in VERDICTS:
            verdict.add(int(word == said.word), **labels, verdict=word)
        if run.started_at is not None:
            until = run.ended_at if run.ended_at is not None and said.word != "Running" else now
            started.add(run.started_at.timestamp(), **labels)
            seconds.add(max((until - run.started_at).total_seconds(), 0.0), **labels)
        counted = Counter(reason.kind for reason in said.reasons if reason.verdict)
        for kind in FINDINGS:
            findings.add(counted[kind], **labels, kind=kind)
        for status in ("succeeded", "failed", "warned", "skipped", "running", "unknown"):
            operations.add(getattr(run, status), **labels, status=status)
    return [verdict, started, seconds, findings, operations]


def _late(
    warehouse: Warehouse, terms: Terms, schedules: Sequence[Schedule], now: datetime, shown: Iterable[_Whose]
) -> Family:
    """Whose run was due and has not started; where no schedule says when it is due, Fabric's job events do."""
    from dbbtrace.answers import alerts

    late = {
        (alert.data_product or "", (alert.environment or "").lower())
        for alert in alerts(warehouse, since=now, schedules=schedules, now=now, terms=terms)
        if alert.run_id is None
    }
    known = set(shown)
    never_ran = {one for one in late if not any(_is_of(whose, one) for whose in known)}
    family = Family("dbbtrace_run_late", "gauge", "1: a run was due 45 minutes ago or earlier, and has not started.")
    for product, place in sorted(known | never_ran):
        is_late = any(_is_of((product, place), one) for one in late)
        family.add(int(is_late), data_product=product, environment=place)
    return family


def _is_of(whose: _Whose, late: _Whose) -> bool:
    """Whether what is late is of this product; a schedule that names no environment is of all."""
    return whose[0] == late[0] and late[1] in ("", whose[1].lower())
