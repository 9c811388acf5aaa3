"""What is in force in this process: settings, provider and delivery; configured from the environment at first use."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.diagnostics import log
from dbbtrace.settings import Settings, read
from dbbtrace.tracing.provider import Provider

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from dbbtrace.access.credentials import AccessToken
    from dbbtrace.delivery import Delivery

__all__ = [
    "Runtime",
    "all_stood",
    "arguments",
    "configure_by",
    "current",
    "current_settings",
    "end_run",
    "end_runs",
    "end_runs_by",
    "install",
    "installed",
    "judge",
    "judge_by",
    "retire",
    "stop",
    "try_again",
]

_installed: Runtime | None = None
_configure: Callable[[], None]
"""Puts something in force from the environment: see ``configure``, which knows how."""
end_runs: Callable[[], None]
"""Ends what was begun for the whole process: see ``job.process_runs``."""
judge: Callable[[str, float], None]
"""Judges a run that has ended, in so many seconds at most: see ``operate.verdict``."""
_past: list[Runtime] = []
"""What was in force before, and may still have something to deliver."""
all_stood = True
"""Whether all rows were in the warehouse when the last ``stop`` was done."""
_LONGEST_JUDGING = 30.0
"""Seconds that the end of a run waits at most for its verdict, however long it may wait for its rows."""
_ONCE_MORE = 0.2
"""Seconds that the exit waits after the end of a run has waited in vain: beyond its deadline a job never waits."""


class Runtime:
    """What is in force. Never changed: see ``but``.

    Args:
        arguments: what ``configure()`` was told, None where it was told nothing.
        access_token: for the warehouse, as ``configure()`` was given it.
        fabric_token: for Fabric's API, as ``configure()`` was given it.
        exporters: further exporters that ``configure()`` was given.
        held: a test holds it: whatever the job configures, it stays.
    """

    def __init__(
        self,
        settings: Settings,
        provider: Provider,
        delivery: Delivery,
        arguments: dict[str, Any],
        *,
        access_token: str | Callable[[], str] | None = None,
        fabric_token: AccessToken | None = None,
        exporters: tuple[SpanExporter, ...] = (),
        held: bool = False,
    ) -> None:
        self.settings = settings
        self.provider = provider
        self.delivery = delivery
        self.arguments = arguments
        self.access_token = access_token
        self.fabric_token = fabric_token
        self.exporters = exporters
        self.held = held

    def but(self, **changes: Any) -> Runtime:
        """The same with changes."""
        return Runtime(**{**vars(self), **changes})

    def save(self, span: ReadableSpan) -> None:
        """Journal a running span's attributes again."""
        self.delivery.save(span)

    def emit(self, spans: Sequence[ReadableSpan]) -> None:
        """Hand finished spans to the delivery; not once the interpreter is being taken apart."""
        if not sys.is_finalizing():
            self.delivery.emit(spans)

    @property
    def takes_all(self) -> bool:
        """Whether spans that give no row go anywhere."""
        return self.delivery.takes_all

    def flush(self, timeout: float) -> bool:
        """Wait until all rows recorded so far are in the warehouse, and those of earlier configurations too."""
        deadline = time.monotonic() + timeout
        delivered = self.delivery.flush(timeout)
        for past in [] if self.held else list(_past):
            delivered &= past.delivery.flush(timeout if timeout < 0 else max(0.0, deadline - time.monotonic()))
        return delivered

    def forget_losses(self) -> None:
        """The outermost run begins: what was lost before is not held against it."""
        for each in (self, *([] if self.held else list(_past))):
            each.delivery.forget_losses()

    def flush_at_end_of_run(self) -> float:
        """Wait for the rows until the deadline; one log line if some are left in the journal.

        Forwarding goes on meanwhile. Where the wait was in vain, the process's exit hardly waits for the same again.

        Returns:
            The seconds until the deadline; 0 where rows are left.
        """
        timeout, began = self.settings.rows_timeout, time.monotonic()
        self.delivery.force_flush(0)
        if self.flush(timeout):
            return max(0.0, timeout - (time.monotonic() - began)) if timeout >= 0 else _LONGEST_JUDGING
        self.delivery.exit_timeout = min(self.delivery.exit_timeout, _ONCE_MORE)
        log.warning(
            "not all rows are in the warehouse after %g s; they wait in the journal (%s) and are delivered by "
            "the next job that uses it, or by `dbbtrace flush`",
            timeout,
            self.settings.journal_dir,
        )
        return 0.0


def current() -> Runtime:
    """What is in force; configured from the environment if nothing is."""
    if _installed is None:
        _configure()
    assert _installed is not None
    return _installed


def configure_by(configure: Callable[[], None]) -> None:
    """Use this from now on to configure, where nobody has yet."""
    global _configure
    _configure = configure


def end_runs_by(end: Callable[[], None]) -> None:
    """Use this from now on to end what was begun for the whole process."""
    global end_runs
    end_runs = end


def judge_by(function: Callable[[str, float], None]) -> None:
    """Use this from now on to judge runs that have ended."""
    global judge
    judge = function


def end_run(run_id: str) -> None:
    """The run has ended: wait for its rows until the deadline, and have it judged in the time that is left."""
    judge(run_id, min(current().flush_at_end_of_run(), _LONGEST_JUDGING))


def arguments() -> dict[str, Any]:
    """What ``configure()`` was told; nothing if it was not called."""
    return dict(_installed.arguments) if _installed is not None else {}


def current_settings() -> Settings:
    """The settings read again: a notebook may have set variables since."""
    return read(**arguments())[0]


def installed() -> Runtime | None:
    """What is in force; None if nothing is."""
    return _installed


def try_again() -> None:
    """Somebody may have mended what is wrong: a destination that takes no spans is tried once, at once."""
    if _installed is not None:
        _installed.delivery.try_again()


def install(runtime: Runtime | None) -> None:
    """Put this in force; None: the next use configures again."""
    global _installed
    _installed = runtime


def retire(runtime: Runtime) -> None:
    """Another is in force now: let this one finish, and be done with those that have."""
    _past.append(runtime)
    for past in list(_past):
        if not past.delivery.left() and not past.provider.has_open_spans_of(past.delivery):
            _past.remove(past)
            past.delivery.shutdown(0)


def stop(runtime: Runtime, timeout: float) -> None:
    """Flush until the deadline and stop, this and what was in force before; the rest stays in the journal."""
    global all_stood
    deadline = time.monotonic() + timeout
    all_stood = True
    for each in (runtime, *_past):
        each.provider.processor = None
        each.delivery.force_flush(0)  # or forwarding would begin when the rows are done
        all_stood &= each.delivery.flush(timeout if timeout < 0 else max(0.0, deadline - time.monotonic()))
        each.delivery.shutdown(max(0.0, deadline - time.monotonic()))
    _past.clear()
