"""A span's way into the log: one at a time, what can't be done at once right after, and destinations woken.

Made anew in a forked child.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.delivery.logs import Logs, fault
from dbbtrace.delivery.options import Options
from dbbtrace.delivery.signals import Turn
from dbbtrace.delivery.sink import Destination
from dbbtrace.delivery.worker import Worker
from dbbtrace.journal.writer import SpanKey, span_key

__all__ = ["Recorder"]


class Recorder:
    """Records the spans of one process.

    Args:
        foreign: spans that a parent process started: they are the parent's to end.
        first: see ``Logs``.
        progressed: called in a destination's thread when it has settled more, with how many spans.
    """

    def __init__(
        self,
        destinations: Sequence[Destination],
        options: Options,
        foreign: frozenset[SpanKey],
        first: Callable[[], None],
        progressed: Callable[[int], object],
    ) -> None:
        self.turn = Turn()
        self.outside: deque[Callable[[], object]] = deque()
        """What a signal handler that struck amid journalling does right after it."""
        self.foreign = foreign
        self.workers = [Worker(each, partial(options.set_aside, each.name), progressed) for each in destinations]
        self.logs = Logs(options, self.workers, self.turn, first)
        self._takes = [each.takes for each in destinations]
        self._later: deque[tuple[str, Sequence[ReadableSpan]]] = deque()

    def record(self, event: str, spans: Sequence[ReadableSpan]) -> None:
        """Take the turn and record spans that ``start``, ``save`` their attributes, ``end``, or arrive as ``facts``.

        The one place where work is put off: a signal handler or a finaliser that strikes while its own thread is
        amid this leaves its spans to it.
        """
        turn = self.turn
        if turn.is_mine():
            self._later.append((event, spans))
            return
        with turn.lock:
            self._record(event, spans)
        if self._later or self.outside:
            self.catch_up()

    def lose(self, spans: Sequence[ReadableSpan]) -> None:
        """They could not be recorded, for a fault of ours: a flush must not say that all is well."""
        for worker in self.workers:
            worker.lose(sum(map(worker.destination.takes, spans)))

    def catch_up(self) -> None:
        """Take the turn and do what was put off."""
        while self._later and not self.turn.is_mine():
            with self.turn.lock, suppress(IndexError):
                event, spans = self._later[0]
                try:
                    self._record(event, spans)
                except Exception as error:
                    self.lose(spans)
                    fault("journal a span", error)
                self._later.popleft()  # not before: cut short, it is recorded again
        while self.outside and not self.turn.is_mine():
            with suppress(IndexError):
                self.outside.popleft()()

    def _record(self, event: str, spans: Sequence[ReadableSpan]) -> None:
        if event == "facts":
            wanted = [span for span in spans if self._is_wanted(span)]
            due = bool(wanted) and self.logs.extend(wanted)
        elif event == "end":
            span = spans[0]
            if self.foreign and span_key(span) in self.foreign:
                return
            due = (self.logs.own is not None or self._is_wanted(span)) and self.logs.append(span)
        else:
            if self._is_open(spans[0]) if event == "save" else self._is_wanted(spans[0]):
                self.logs.start(spans[0], event)
            return
        if due:
            for worker in self.workers:
                worker.wake()

    def _is_wanted(self, span: ReadableSpan) -> bool:
        for takes in self._takes:  # noqa: SIM110  # any() would cost each load a generator
            if takes(span):
                return True
        return False

    def _is_open(self, span: ReadableSpan) -> bool:
        own = self.logs.own
        return own is not None and span_key(span) in own.journal.open
