"""Group commit: requests that come while one write is under way share the next one.

A warehouse takes few, large INSERTs far better than many small ones; so one thread writes, and takes all that
waits each time. No HTTP here, and no warehouse: what stores the spans is handed in.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.diagnostics import log
from dbbtrace.errors import ConfigurationError, RefusedError, TransientError
from dbbtrace_exporters.receiver.limits import BusyError

__all__ = ["GroupCommit", "Refusals", "Store"]

Store = Callable[[Sequence[ReadableSpan]], None]
"""Returns when every span is stored; raises as ``WarehouseSpanExporter.deliver`` does. Storing again is harmless."""
Refusals = list[str]
"""Why spans of a request could not be stored; the others are."""

MAX_WAITING_SPANS = 100_000
MAX_COMMIT_SPANS = 10_000
_REPAIR_SECONDS = 30.0
"""When to ask again after a fault that only a person mends."""

_Waiting = tuple[list[ReadableSpan], "Future[Refusals]"]


class GroupCommit:
    """Stores spans in one thread of its own; ``submit()`` from any thread.

    Args:
        store: see ``Store``.
        max_waiting_spans: more are refused for now.
        committed: told how long each commit took, and whether it stored the spans.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_waiting_spans: int = MAX_WAITING_SPANS,
        committed: Callable[[float, bool], None] = lambda seconds, stored: None,
    ) -> None:
        self._store = store
        self._committed = committed
        self._max_waiting = max_waiting_spans
        self._waiting: deque[_Waiting] = deque()
        self._spans_waiting = 0
        self._closing = False
        self._changed = threading.Condition()
        self._fault = ""
        self._thread = threading.Thread(target=self._run, name="dbbtrace-commit", daemon=True)
        self._thread.start()

    @property
    def spans_waiting(self) -> int:
        """Spans whose commit has not begun."""
        return self._spans_waiting

    def submit(self, spans: list[ReadableSpan]) -> Future[Refusals]:
        """A future that is done when the spans are stored. If it is cancelled before its turn, they are let go at once.

        Raises (at once, or from the future):
            TransientError: too much waits, or the store can't now; ``retry_after`` says when to ask again.
        """
        future: Future[Refusals] = Future()
        with self._changed:
            if self._closing:
                raise TransientError("the receiver is stopping", retry_after=1)
            if self._spans_waiting and self._spans_waiting + len(spans) > self._max_waiting:
                raise BusyError(f"{self._spans_waiting} spans wait to be stored", retry_after=1)
            self._waiting.append((spans, future))
            self._spans_waiting += len(spans)
            self._changed.notify()
        future.add_done_callback(lambda done: self._forget(spans, done) if done.cancelled() else None)
        return future

    def _forget(self, spans: list[ReadableSpan], future: Future[Refusals]) -> None:
        """Nobody waits for these any more: a warehouse that hangs must not have them pile up."""
        with self._changed:
            if (spans, future) in self._waiting:
                self._waiting.remove((spans, future))
                self._spans_waiting -= len(spans)

    def close(self, timeout: float | None = None) -> None:
        """Take no more, store what waits, stop."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        while group := self._next():
            self._commit(group)

    def _next(self) -> list[_Waiting]:
        """What the next commit takes; empty only when closed and nothing is left."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if group := self._taken():
                    return group
                if not self._waiting and self._closing:
                    return []

    def _taken(self) -> list[_Waiting]:
        """All that waits, up to the size of a commit, but not what was cancelled in this very moment."""
        group: list[_Waiting] = []
        size = 0
        while self._waiting and (not group or size + len(self._waiting[0][0]) <= MAX_COMMIT_SPANS):
            spans, future = self._waiting.popleft()
            self._spans_waiting -= len(spans)
            if future.set_running_or_notify_cancel():
                group.append((spans, future))
                size += len(spans)
        return group

    def _commit(self, group: list[_Waiting]) -> None:
        started = time.monotonic()
        try:
            refused = self._refused([span for spans, _ in group for span in spans])
        except Exception as error:
            self._committed(time.monotonic() - started, False)
            fault = self._later(error)
            for _, future in group:
                future.set_exception(fault)
            return
        self._committed(time.monotonic() - started, True)
        if self._fault:
            log.warning("the warehouse takes rows again")
            self._fault = ""
        for spans, future in group:
            future.set_result([refused[id(span)] for span in spans if id(span) in refused])

    def _refused(self, spans: list[ReadableSpan]) -> dict[int, str]:
        """Store the spans; answers which are refused even alone, by ``id()``, and why."""
        try:
            self._store(spans)
        except RefusedError as error:
            if len(spans) == 1:
                log.warning("span %r can't be stored: %s", spans[0].name[:80], error)
                return {id(spans[0]): f"span {spans[0].name[:80]!r}: {error}"}
        else:
            return {}
        middle = len(spans) // 2
        return self._refused(spans[:middle]) | self._refused(spans[middle:])

    def _later(self, error: Exception) -> TransientError:
        """Whatever it is, the sender keeps its spans and comes again; what a person must mend is logged."""
        if isinstance(error, TransientError):
            return error
        text = str(error) if isinstance(error, ConfigurationError) else f"{type(error).__name__}: {error}"
        if text != self._fault:
            self._fault = text
            log.error("rows can't be stored until somebody acts; senders keep them meanwhile: %s", text)
        return TransientError("the warehouse can't be written to; see the receiver's log", retry_after=_REPAIR_SECONDS)
