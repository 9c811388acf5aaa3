"""One destination: a thread that takes what waits and delivers it, in batches, as long as it takes.

Destinations know nothing of each other: a dead one delays nobody. Work of the exporter is kept from other
instrumentation, so that delivering spans makes no spans. Never raises, never reads settings.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.delivery.backoff import Patience
from dbbtrace.delivery.bell import Answer, Bell
from dbbtrace.delivery.sink import Outlet, UnexplainedError
from dbbtrace.delivery.source import BATCH, Item, Source
from dbbtrace.diagnostics import log
from dbbtrace.errors import ConfigurationError, TransientError
from dbbtrace.journal.writer import Position

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from dbbtrace.delivery.batch import Outcome

__all__ = ["LINGER", "OUR_THREADS", "Request", "Worker", "quietly"]

LINGER = 5.0
"""Seconds that spans wait for company; a flush ends the wait at once."""
OUR_THREADS: set[int] = set()
"""Threads whose own spans are never journalled."""

_SUSPICIOUS = 3
"""UnexplainedError failures in a row before a span is suspected."""


def quietly() -> None:
    """Mark this thread as ours: other instrumentation leaves it alone, and what it spans is not journalled."""
    OUR_THREADS.add(threading.get_ident())
    for name in (otel_context._SUPPRESS_INSTRUMENTATION_KEY, "suppress_instrumentation"):
        otel_context.attach(otel_context.set_value(name, True))


class Request(NamedTuple):
    """Somebody waits until all that had ended by then is settled."""

    source: Source
    position: Position
    answer: Answer


class Worker:
    """Delivers to one destination.

    Args:
        name: of the destination, for log lines.
        make: makes the exporter, in the destination's own thread.
        set_aside: keeps what the destination refuses; raises OSError where it can't.
        settled: called in the destination's thread when more is settled.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], SpanExporter],
        set_aside: Callable[[Sequence[tuple[ReadableSpan, str]]], None],
        settled: Callable[[Source], None] = lambda source: None,
    ) -> None:
        self.name = name
        self.source: Source | None = None
        """What this process journals itself: always first."""
        self.adopted: deque[Source] = deque()
        """Sources of others, one after the other."""
        self.stopped: str | None = None
        """Why nothing will be delivered in this process any more."""
        self.stored = self.refused = self.own_settled = self.own_refused = 0
        self.error: str | None = None
        """Why delivery waits."""
        self.running = False
        self._outlet = Outlet(name, make)
        self._patience = Patience()
        self._set_aside = set_aside
        self._settled = settled
        self._bell = Bell()
        self._requests: deque[Request] = deque()
        self._thread: threading.Thread | None = None
        self._turn = threading.Lock()
        """Held by the one thread that delivers."""
        self._closing = False
        self._unexplained = 0
        self._waiting_since: float | None = None
        self._ahead = False
        """The destination is to be opened before there is anything to deliver."""

    # -- any thread ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Have a thread. Late in the interpreter's exit there can be none: then spans stay in the journal."""
        if self.running or self.stopped:
            return
        self._closing = False
        self._thread = thread = threading.Thread(target=self._run, name=f"dbbtrace {self.name}", daemon=True)
        try:
            self.running = True
            thread.start()
        except BaseException as error:
            self.running = False  # a thread that started all the same, before Ctrl-C struck, corrects this
            if not isinstance(error, RuntimeError):
                raise
            self.error = str(error)

    def open_ahead(self) -> None:
        """Open the destination now, in its thread: an exporter with ``connect()`` is asked to connect."""
        self._ahead = True
        self.start()

    def wake(self) -> None:
        """There is something to do."""
        self._bell.ring()

    def ask(self, source: Source, position: Position) -> Answer:
        """Deliver without delay; where the answer will be, once all up to the position is settled, or can't be."""
        request = Request(source, position, Answer())
        self._requests.append(request)
        self._patience.hurry()
        self.start()
        if not self.running:
            request.answer.give(False)
        self.wake()
        return request.answer

    def close(self, timeout: float) -> None:
        """Shut the exporter down once nothing waits; wait for it at most so long."""
        self._closing = True
        self.wake()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread() and timeout > 0:
            thread.join(timeout)

    # -- the destination's thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        if not self._turn.acquire(blocking=False):
            return
        quietly()
        self.running = True
        try:
            if self._ahead:
                self._ahead = False
                self._outlet.open_ahead()
            while not self.stopped:
                if self._is_idle() and self._closing:
                    break
                self._wait()
                try:
                    self._round()
                except Exception as error:  # ours: a fault here must not end delivery
                    log.exception("dbbtrace stumbled while delivering to %s", self.name)
                    self._pause(TransientError(repr(error)))
            self._outlet.shut_down()
        finally:
            OUR_THREADS.discard(threading.get_ident())
            self._turn.release()
            self.running = False
            self._answer()
            if not self._is_idle():  # put in at the last moment
                self.start()

    def _sources(self) -> list[Source]:
        own = [self.source] if self.source is not None else []
        return [*own, *list(self.adopted)]

    def _is_idle(self) -> bool:
        return all(source.is_empty for source in self._sources())

    def _wait(self) -> None:
        """Until there is enough to deliver, or somebody asks, or it has waited long enough."""
        while True:
            timeout = self._timeout()
            if timeout is not None and timeout <= 0:
                return
            if not self._bell.wait(timeout):
                return
            if self._closing and self._is_idle():
                return

    def _timeout(self) -> float | None:
        """Seconds until there is something to do; None: until it rings."""
        pause = self._patience.remaining()
        if pause > 0:
            return pause
        if self._requests or self.adopted:
            return 0
        own = self.source
        if own is None or own.is_empty:
            self._waiting_since = None
            return None
        if self._closing or own.left or own.waiting >= BATCH:
            return 0
        now = time.monotonic()
        self._waiting_since = self._waiting_since or now
        return self._waiting_since + LINGER - now

    def _round(self) -> None:
        """One batch, own spans first."""
        self._waiting_since = None
        source = next((each for each in self._sources() if not each.is_empty), None)
        if source is not None:
            self._deliver(source)
        self._answer()

    def _deliver(self, source: Source) -> None:
        from dbbtrace.delivery.batch import Outcome, settle  # the first span does not wait for it

        source.in_hand = True
        fresh = source.take(BATCH - len(source.left))
        items = [*source.left, *fresh]
        outcome: Outcome[Item] = Outcome()
        if source.given_up:  # taking found that the journal is no longer ours
            outcome.left = items
        elif items:
            outcome = settle(self._outlet.send, items, suspect=self._unexplained >= _SUSPICIOUS)
            self._bury(outcome)
        self.stored += outcome.stored
        self.refused += len(outcome.refused)
        if source is self.source:
            self.own_settled += outcome.stored + len(outcome.refused)
            self.own_refused += len(outcome.refused)
        source.settle(outcome.left)
        source.in_hand = False
        self._settled(source)
        if isinstance(outcome.error, ConfigurationError):
            self._stop(outcome.error)
        elif outcome.error is not None:
            self._pause(outcome.error)
        else:
            if self.error is not None:
                log.info("%s takes spans again", self.name)
            self._patience.succeeded()
            self._unexplained = 0
            self.error = None
        if source.is_empty and source in self.adopted:
            self.adopted.remove(source)

    def _bury(self, outcome: Outcome[Item]) -> None:
        if not outcome.refused:
            return
        try:
            self._set_aside([(item.span, reason) for item, reason in outcome.refused])
        except OSError as error:  # nowhere to put it: better tried again than lost
            outcome.left = [*outcome.left, *(item for item, _ in outcome.refused)]
            outcome.refused = []
            outcome.error = outcome.error or TransientError(f"the dead-letter file can't be written: {error}")

    def _pause(self, error: TransientError) -> None:
        if self.error is None:
            log.warning("%s does not take spans now (%s); they wait", self.name, error)
        self.error = str(error)
        self._unexplained = self._unexplained + 1 if isinstance(error, UnexplainedError) else 0
        self._patience.failed(error)

    def _stop(self, error: ConfigurationError) -> None:
        self.stopped = self.error = str(error)
        log.log(
            logging.ERROR,
            "dbbtrace stops delivering to %s in this process: %s; spans stay in the journal",
            self.name,
            error,
        )
        for source in self._sources():
            source.forget()
        self.adopted.clear()

    def _answer(self) -> None:
        """Answer whoever waited for what is now settled."""
        for request in list(self._requests):
            verdict = self._verdict(request)
            if verdict is not None:
                self._requests.remove(request)
                request.answer.give(verdict)

    def _verdict(self, request: Request) -> bool | None:
        source = request.source
        if source.given_up:
            return False
        if source.is_empty or (source.settled >= request.position and not source.left):
            return True
        return False if self.stopped or not self.running else None
