"""The span processor: records spans, has them delivered, and ends with its process.

Puts recorder, workers and heartbeat together; what each of them promises stands in its own module. Nothing is opened
and no thread started before the first span, unless ``open_ahead()`` is called. Never raises into the job, unless
strict.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from dbbtrace.delivery import lifecycle
from dbbtrace.delivery.heartbeat import HEARTBEAT, Housekeeping
from dbbtrace.delivery.logs import fault
from dbbtrace.delivery.options import Options
from dbbtrace.delivery.queue import BATCH
from dbbtrace.delivery.recorder import Recorder
from dbbtrace.delivery.sink import Destination
from dbbtrace.delivery.worker import Worker
from dbbtrace.diagnostics import guard
from dbbtrace.journal.claims import Markers
from dbbtrace.journal.writer import SEGMENT_BYTES, SILENT_AFTER, SpanKey
from dbbtrace.tracing.threads import OUR_THREADS

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from dbbtrace.delivery.adopted_log import Resolve

__all__ = ["Delivery"]

_GLANCE = 0.002
"""Seconds between two looks at whether there is room again."""


class Delivery(SpanProcessor):
    """Journals spans and delivers them to each destination on its own account.

    Args:
        destinations: where spans go; with none, nothing is written.
        journal_dir: directory of the journals, shared with other jobs; None: memory only.
        fsync: survive power loss too, at the price of a disk flush for every span.
        exit_timeout: seconds that the end of the process waits for delivery.
        heartbeat: seconds between two heartbeats.
        silent_after: seconds of silence after which an owner on another machine counts as gone.
        resolve: asks a service what became of the work that an interrupted span followed.
        mirror: directory to which the journal is copied, where its own doesn't outlive the machine.
    """

    def __init__(
        self,
        destinations: Sequence[Destination],
        *,
        journal_dir: str | os.PathLike[str] | None,
        fsync: bool = False,
        exit_timeout: float = 2.0,
        heartbeat: float = HEARTBEAT,
        silent_after: float = SILENT_AFTER,
        resolve: Resolve | None = None,
        mirror: str | os.PathLike[str] | None = None,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.exit_timeout = exit_timeout
        self._destinations = tuple(destinations)
        self._options = Options(journal_dir, mirror, fsync, heartbeat, silent_after, segment_bytes, resolve)
        self._markers = Markers(self._options.journal_dir)
        self._begin(frozenset())
        lifecycle.watch_sigterm()

    def _begin(self, foreign: frozenset[SpanKey]) -> None:
        """The state of a process that has done nothing yet."""
        self._recorder = Recorder(
            self._destinations, self._options, foreign, self._first, lambda count: self._housekeeping.progressed()
        )
        self._housekeeping = Housekeeping(self._recorder, self._options)
        self._told: dict[str, int] = {}
        """Destination → losses that a flush has told of, or that came before the outermost run."""

    def _first(self) -> None:
        with guard("begin its heartbeat"):  # where no thread can be had, spans are recorded all the same
            lifecycle.watch(self)
            self._housekeeping.begin()

    @property
    def _workers(self) -> list[Worker]:
        return self._recorder.workers

    def open_ahead(self) -> None:
        """Open in the background the destinations for which that takes long. Never waits."""
        for worker in self._workers:
            if worker.destination.ahead:
                lifecycle.watch(self)
                worker.open_ahead()

    # -- spans --------------------------------------------------------------------------------------------------

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        try:
            if self._destinations and threading.get_ident() not in OUR_THREADS:
                self._recorder.record("start", (span,))
        except Exception as error:
            fault("journal a started span", error)

    def on_end(self, span: ReadableSpan) -> None:
        try:
            if self._destinations and threading.get_ident() not in OUR_THREADS:
                self._recorder.record("end", (span,))
        except Exception as error:
            self._recorder.lose((span,))
            fault("journal an ended span", error)
        except BaseException:  # Ctrl-C, or a handler of the host's that raises: the span has ended all the same
            if self._destinations and threading.get_ident() not in OUR_THREADS:
                self._recorder.record("end", (span,))
            raise

    def save(self, span: ReadableSpan) -> None:
        """Journal the attributes that a running span has by now: what is left of it if the process dies."""
        try:
            self._recorder.record("save", (span,))
        except Exception as error:
            fault("save a span", error)

    def emit(self, spans: Sequence[ReadableSpan]) -> None:
        """Spans that arrive finished."""
        if not self._destinations or threading.get_ident() in OUR_THREADS:
            return
        try:
            for first in range(0, len(spans), BATCH):
                self._recorder.record("facts", spans[first : first + BATCH])
        except Exception as error:
            self._recorder.lose(spans)
            fault("journal finished spans", error)

    def start_part(self, span: ReadableSpan) -> None:
        """A part of the run that is no work of its own has started: see ``dbbtrace.job.parts``."""
        self.on_start(cast("Span", span))

    def end_part(self, span: ReadableSpan) -> None:
        """It has ended."""
        self.on_end(span)

    def emit_parts(self, spans: Sequence[ReadableSpan]) -> None:
        """Facts about the run itself."""
        self.emit(spans)

    def make_room(self, timeout: float) -> bool:
        """Wait until another batch finds room in memory: what does not, its destination has to read back. False once
        the time has passed, and at once where a destination does not keep up anyway."""
        deadline = time.monotonic() + timeout
        while (own := self._recorder.logs.own) is not None and not (has_room := own.has_room):
            keeps_up = has_room is not None and all(worker.error is None for worker in self._workers)
            if time.monotonic() > deadline or not keeps_up:
                return False
            time.sleep(_GLANCE)
        return True

    @property
    def takes_all(self) -> bool:
        """Whether some destination takes spans that give no row too."""
        return any(not each.rows for each in self._destinations)

    def claim(self, name: str) -> bool:
        """True for the first caller of this name among all processes that share the journal directory, for 7 days."""
        return self._markers.claim(name)

    # -- waiting ----------------------------------------------------------------------------------------------------

    def flush(self, timeout: float) -> bool:
        """Deliver now what waits for the warehouse, the rows of child processes that have ended included.

        Args:
            timeout: seconds. Negative waits for ever, 0 returns at once.

        Returns:
            True only if all rows ended so far are in the warehouse, and none was set aside or dropped since the
            outermost run began or a flush last told of it.
        """
        return self._flush([worker for worker in self._workers if worker.destination.rows], timeout, acting=True)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Deliver now what waits, to all destinations."""
        return self._flush(self._workers, timeout_millis / 1000, acting=timeout_millis > 0)

    def _flush(self, workers: Sequence[Worker], timeout: float, *, acting: bool) -> bool:
        """Whether all of it is acknowledged. Somebody who is ``acting`` may have mended what stopped a destination, and
        is told of losses."""
        recorder = self._recorder
        if recorder.turn.is_mine():  # a signal handler amid journalling would wait for itself
            return False
        deadline = time.monotonic() + timeout if timeout >= 0 else float("inf")
        recorder.catch_up()
        if acting:
            for worker in workers:
                worker.act()
        with recorder.turn.taken():
            recorder.logs.look()
            asked = [(worker, queue) for worker in workers for queue in worker.own if queue.waits]
        answers = [worker.ask(queue) for worker, queue in asked]  # first: the children's may take long
        trying = [worker for worker in workers if acting or not worker.stopped]
        stands = not workers or self._housekeeping.adopt_children(trying, deadline)
        answers += [
            worker.ask(queue)
            for worker, queue in self._housekeeping.children()
            if worker in workers and queue.position < queue.due
        ]
        for answer in answers:
            # Each is waited for, whatever the others say.
            stands &= answer.get(None if timeout < 0 else deadline - time.monotonic())
        for worker in workers:
            lost = worker.lost
            stands &= lost <= self._told.get(worker.name, 0)
            if acting:
                self._told[worker.name] = lost
        return stands

    def forget_losses(self) -> None:
        """A run begins that no other encloses: what was lost before is not held against it."""
        self._told = {worker.name: worker.lost for worker in self._workers}

    def try_again(self) -> None:
        """Somebody may have mended what is wrong: destinations that take no spans are tried once."""
        for worker in self._workers:
            worker.act()

    def left(self) -> dict[str, int]:
        """How many spans of this process are not settled, by destination; none for those with nothing left."""
        return self._recorder.logs.left()

    # -- the end ------------------------------------------------------------------------------------------------------

    def after(self, task: Callable[[], object]) -> bool:
        """If this thread is amid journalling, have the task run right after it; False if it isn't."""
        if not self._recorder.turn.is_mine():
            return False
        self._recorder.outside.append(task)
        return True

    def leave(self, timeout: float) -> None:
        """The process ends: deliver until the deadline, leave the rest in the journal, say so in one log line."""
        recorder = self._recorder
        deadline = time.monotonic() + timeout
        self._flush(self._workers, timeout, acting=False)
        if recorder.turn.is_mine():
            return
        with recorder.turn.taken():
            recorder.logs.close_if_done()
        for worker in self._workers:
            if worker.is_idle:
                worker.close(max(0.0, deadline - time.monotonic()))
        self._housekeeping.copy_away(deadline)
        if not recorder.logs.at_work:
            lifecycle.at_work.discard(self)
        recorder.logs.say_what_is_left()

    def shutdown(self, timeout: float = 2.0) -> None:
        """Like ``leave``, and let others deliver the rest at once. Spans that still run may end here all the same."""
        recorder = self._recorder
        self.leave(timeout)
        self._housekeeping.adopt_no_more(timeout)  # before: the heartbeat may be looking
        if recorder.turn.is_mine():
            return
        with recorder.turn.taken():
            recorder.logs.release()
        for worker in self._workers:
            worker.close(0)
        if recorder.logs.own is None:
            self._housekeeping.end()

    def after_fork(self) -> None:
        """In a forked child: begin anew, and leave the parent's spans, threads and connections to the parent."""
        recorder, own = self._recorder, self._recorder.logs.own
        _left_to_the_parent.append(recorder)
        lifecycle.at_work.discard(self)
        self._begin(recorder.foreign.union(own.journal.open if own is not None else ()))
        if own is not None:
            own.journal.close()


_left_to_the_parent: list[Recorder] = []
"""Kept so that no finaliser in a forked child closes a connection that the parent still uses."""
