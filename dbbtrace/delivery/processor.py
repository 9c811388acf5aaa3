"""The span processor: records spans, has them delivered, and ends with its process.

Puts recorder, workers and keeper together; what each of them promises stands in its own module. Nothing is opened and
no thread started before the first span, unless ``open_ahead()`` is called. Never raises into the job, unless strict.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from dbbtrace.delivery import lifecycle
from dbbtrace.delivery.bell import Answer
from dbbtrace.delivery.gate import Gate
from dbbtrace.delivery.heartbeat import HEARTBEAT, Keeper
from dbbtrace.delivery.lane import Destination, Lane
from dbbtrace.delivery.recorder import Options, Recorder, fault
from dbbtrace.delivery.source import BATCH, FINISHED
from dbbtrace.delivery.worker import OUR_THREADS
from dbbtrace.diagnostics import log
from dbbtrace.journal.claims import Markers
from dbbtrace.journal.writer import SEGMENT_BYTES, SILENT_AFTER, SpanKey

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import Resource

    from dbbtrace.delivery.adoption import Resolve
    from dbbtrace.journal.mirror import Mirror

__all__ = ["Delivery"]

_GLANCE = 0.002
"""Seconds between two looks at whether there is room again."""


class Delivery(SpanProcessor):
    """Journals spans and delivers them to each destination on its own account.

    Args:
        destinations: where spans go; with none, nothing is written.
        journal_dir: directory of the journals, shared with other jobs; None: memory only.
        fsync: survive power loss too, at the price of a disk flush for every span.
        resource: of spans that carry none.
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
        resource: Resource | None = None,
        exit_timeout: float = 2.0,
        heartbeat: float = HEARTBEAT,
        silent_after: float = SILENT_AFTER,
        resolve: Resolve | None = None,
        mirror: str | os.PathLike[str] | None = None,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.exit_timeout = exit_timeout
        self._destinations = tuple(destinations)
        self._journal_dir = os.path.abspath(os.fspath(journal_dir)) if journal_dir is not None else None
        self._options = Options(self._journal_dir, fsync, silent_after, segment_bytes)
        self._resource = resource
        self._heartbeat = heartbeat
        self._resolve = resolve
        self._mirror_dir = os.path.abspath(os.fspath(mirror)) if mirror is not None else None
        self._markers = Markers(self._journal_dir)
        self._begin(frozenset())
        lifecycle.watch_sigterm()

    def _begin(self, foreign: frozenset[SpanKey]) -> None:
        """The state of a process that has done nothing yet."""
        self._recorder = Recorder(self._destinations, self._options, foreign, self._first)
        self._keeper: Keeper | None = None
        self._mirror: Mirror | None = None
        self._adopting = threading.RLock()  # re-entrant: a signal handler may flush
        self._adopts = True
        """False after ``shutdown()``: what was let go is for others, not for this delivery's own next look."""

    def _first(self) -> None:
        """There is something to lose from now on."""
        lifecycle.watch(self)
        if self._keeper is None and self._journal_dir is not None:
            self._keeper = Keeper(self._chores, self._heartbeat)
        if self._mirror is None and self._mirror_dir is not None:
            from dbbtrace.journal.mirror import Mirror

            self._mirror = Mirror(self._journal_path, self._mirror_dir)

    def _journal_path(self) -> str | None:
        journal = self._recorder.journal
        return journal.path if journal is not None else None

    @property
    def gate(self) -> Gate:
        """What lets one at a time journal."""
        return self._recorder.gate

    @property
    def _lanes(self) -> list[Lane]:
        return self._recorder.lanes

    def open_ahead(self) -> None:
        """Open in the background the destinations for which that takes long. Never waits."""
        for lane in self._lanes:
            if lane.destination.ahead:
                lifecycle.watch(self)
                lane.worker.open_ahead()

    # -- spans --------------------------------------------------------------------------------------------------

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        try:
            if self._destinations and threading.get_ident() not in OUR_THREADS:
                recorder = self._recorder
                recorder.gate(recorder.start, span)
        except Exception as error:
            fault("journal a started span", error)

    def on_end(self, span: ReadableSpan) -> None:
        try:
            if self._destinations and threading.get_ident() not in OUR_THREADS:
                recorder = self._recorder
                recorder.gate(recorder.end, span)
        except Exception as error:
            fault("journal an ended span", error)
        except BaseException:  # Ctrl-C, or a handler of the host's that raises: the span has ended all the same
            if self._destinations and threading.get_ident() not in OUR_THREADS:
                self.gate(self._recorder.end, span)
            raise

    def save(self, span: ReadableSpan) -> None:
        """Journal the attributes that a running span has by now: what is left of it if the process dies."""
        try:
            self.gate(self._recorder.save, span)
        except Exception as error:
            fault("save a span", error)

    def emit(self, spans: Sequence[ReadableSpan]) -> None:
        """Spans that arrive finished."""
        if not self._destinations or threading.get_ident() in OUR_THREADS:
            return
        try:
            for first in range(0, len(spans), BATCH):
                self.gate(self._recorder.emit, spans[first : first + BATCH])
        except Exception as error:
            fault("journal finished spans", error)

    def make_room(self, timeout: float) -> bool:
        """Wait until another batch finds room in memory: what does not, its destination has to read back. False once
        the time has passed, and at once where a destination does not keep up anyway."""
        deadline = time.monotonic() + timeout
        while not all(lane.has_room for lane in self._lanes):
            if time.monotonic() > deadline or not all(lane.keeps_up for lane in self._lanes):
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

    # -- the keeper's -----------------------------------------------------------------------------------------------

    def _chores(self) -> None:
        """A sign of life, and whatever journals nobody delivers any more."""
        self.gate(self._recorder.beat)
        self._adopt()

    def _adopt(self, timeout: float = -1) -> None:
        """Take over journals whose owner is gone."""
        if self._journal_dir is None or not self._adopting.acquire(timeout=timeout):
            return
        try:
            # Slow to import, and nothing that the first span should wait for.
            from dbbtrace.delivery.adoption import adopt
        except ImportError:  # in a signal handler, amid this very import: whom it interrupted does it
            self._adopting.release()
            return
        try:
            open_ones = [lane for lane in self._lanes if not lane.worker.stopped]
            lanes = {name: lane for lane in open_ones for name in lane.destination.names}
            silent_after = self._options.silent_after

            def wanted(name: str) -> bool:
                return self._adopts and name in lanes

            for journal in adopt(self._journal_dir, wanted, silent_after=silent_after):
                mine = [(lane, claim) for claim in journal.claims if (lane := lanes.get(claim.name)) is not None]
                # All before any is handed over: a journal is let go once all its sources are finished.
                sources = [journal.source_for(claim, lane.wants, self._resolve) for lane, claim in mine]
                for (lane, _), source in zip(mine, sources, strict=True):
                    lane.adopt(source)
        finally:
            self._adopting.release()

    # -- waiting ----------------------------------------------------------------------------------------------------

    def flush(self, timeout: float) -> bool:
        """Deliver now what waits for the warehouse, the rows of child processes that have ended included.

        Args:
            timeout: seconds. Negative waits for ever, 0 returns at once.

        Returns:
            True only if all rows ended so far stand.
        """
        return self._flush([lane for lane in self._lanes if lane.destination.rows], timeout)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Deliver now what waits, to all destinations."""
        return self._flush(self._lanes, timeout_millis / 1000)

    def _flush(self, lanes: Sequence[Lane], timeout: float) -> bool:
        if self.gate.is_mine:  # a signal handler amid journalling would wait for itself
            return False
        deadline = time.monotonic() + timeout
        self.gate.catch_up()
        self._adopt(timeout)
        asked: list[Answer] = []
        for lane in lanes:
            backlog = lane.backlog
            lane.children = [source for source in lane.children if not source.is_idle]
            asked += [lane.worker.ask(source, FINISHED) for source in lane.children]
            if backlog is not None and not backlog.is_idle:
                position = backlog.journal.position if backlog.journal is not None else FINISHED
                asked.append(lane.worker.ask(backlog, position))
        stands = True
        for each in asked:
            # Each is waited for, whatever the others say.
            stands &= each.get(None if timeout < 0 else deadline - time.monotonic())
        return stands and not any(lane.lost for lane in lanes)

    def left(self) -> dict[str, int]:
        """How many spans of this process are not settled, by destination; none for those with nothing left."""
        return {lane.destination.name: lane.left for lane in self._lanes if lane.left > 0}

    # -- the end ------------------------------------------------------------------------------------------------------

    def leave(self, timeout: float) -> None:
        """The process ends: deliver until the deadline, leave the rest in the journal, say so in one log line."""
        deadline = time.monotonic() + timeout
        self._flush(self._lanes, timeout)
        self.gate(self._recorder.close_if_done)
        for lane in self._lanes:
            if lane.is_idle:
                lane.worker.close(max(0.0, deadline - time.monotonic()))
        if self._mirror is not None:
            self._mirror.copy_now(max(0.0, deadline - time.monotonic()))
        if not self._recorder.at_work:
            lifecycle.at_work.discard(self)
        self._say_what_is_left()

    def shutdown(self, timeout: float = 2.0) -> None:
        """Like ``leave``, and let others deliver the rest at once. Spans that still run may end here all the same."""
        self.leave(timeout)
        self._adopts = False  # before: the keeper may be looking
        self.gate(self._recorder.release)
        for lane in self._lanes:
            lane.worker.close(0)
        if self._recorder.journal is None and self._keeper is not None:
            self._keeper.stop()
            self._keeper = None
            self._recorder.at_work = False
        if self._recorder.journal is None and self._mirror is not None:
            self._mirror.close()
            self._mirror = None

    def _say_what_is_left(self) -> None:
        left = ", ".join(f"{count} spans still wait for {name}" for name, count in self.left().items())
        if left and self._recorder.journal is not None:
            log.warning(
                "%s; they stay in the journal %s and are delivered by the next job that uses it or by `dbbtrace flush`",
                left,
                self._journal_dir,
            )
        elif left:
            log.error("%s, and are lost: no journal could be written", left)
        dropped = sum(lane.memory.dropped for lane in self._lanes)
        if dropped:
            log.error("%d spans were lost: neither the journal nor memory had room for them", dropped)

    def after_fork(self) -> None:
        """In a forked child: begin anew, and leave the parent's spans, threads and connections to the parent."""
        recorder, journal = self._recorder, self._recorder.journal
        _left_to_the_parent.append(recorder)
        lifecycle.at_work.discard(self)
        self._begin(recorder.foreign.union(journal.open if journal is not None else ()))
        if journal is not None:
            journal.close()


_left_to_the_parent: list[Recorder] = []
"""Kept so that no finaliser in a forked child closes a connection that the parent still uses."""
