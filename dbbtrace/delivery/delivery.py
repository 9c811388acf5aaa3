"""The span processor: journal first, then hand each span to the destinations that want it.

Puts journal, backlogs, workers and keeper together; what each of them promises stands in its own module. Nothing is
opened and no thread started before the first span, unless ``open_ahead()`` is called. Never raises into the job,
unless strict.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from dbbtrace.delivery import adoption, lifecycle
from dbbtrace.delivery.backlog import Backlog
from dbbtrace.delivery.bell import Answer
from dbbtrace.delivery.deadletter import DeadLetters
from dbbtrace.delivery.gate import Gate
from dbbtrace.delivery.journal import SEGMENT_BYTES, Journal, Position, TakenError, claim_key, span_key
from dbbtrace.delivery.journal import Span as SpanKey
from dbbtrace.delivery.keeper import HEARTBEAT, Keeper
from dbbtrace.delivery.lane import Destination, Lane
from dbbtrace.delivery.markers import Markers
from dbbtrace.delivery.source import BATCH, FINISHED, Source
from dbbtrace.delivery.worker import OUR_THREADS, Worker
from dbbtrace.diagnostics import is_strict, log, warn_once

__all__ = ["Delivery"]

_TRY_JOURNAL_AGAIN = 30.0
"""Seconds after which a journal that could not be opened is tried again."""


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
        silent_after: float = adoption.SILENT_AFTER,
        resolve: adoption.Resolve | None = None,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.exit_timeout = exit_timeout
        self.gate = Gate(self._check_books)
        self._destinations = tuple(destinations)
        self._journal_dir = os.path.abspath(os.fspath(journal_dir)) if journal_dir is not None else None
        self._fsync = fsync
        self._segment_bytes = segment_bytes
        self._resource = resource
        self._heartbeat = heartbeat
        self._silent_after = silent_after
        self._resolve = resolve
        self._adopting = threading.RLock()  # re-entrant: a signal handler may flush
        self._markers = Markers(self._journal_dir)
        self._foreign: set[SpanKey] = set()
        """Spans that a parent process started: they are the parent's to end."""
        self._all_want_all = all(each.wants is None for each in destinations)
        self._begin()
        lifecycle.watch_sigterm()

    def _begin(self) -> None:
        """The state of a process that has done nothing yet."""
        self._journal: Journal | None = None
        self._try_journal_at = 0.0
        self._keeper: Keeper | None = None
        self._at_work = False
        self._lanes = [Lane(each, self._worker(each)) for each in self._destinations]

    def _worker(self, destination: Destination) -> Worker:
        def set_aside(refused: Sequence[tuple[ReadableSpan, str]]) -> None:
            if self._journal_dir is None:
                raise OSError("there is no journal directory")
            DeadLetters(self._journal_dir).write(destination.name, refused)

        return Worker(destination.name, destination.make, set_aside, self._settled)

    def open_ahead(self) -> None:
        """Open in the background the destinations for which that takes long. Never waits."""
        for lane in self._lanes:
            if lane.destination.ahead:
                lane.worker.open_ahead()

    # -- spans --------------------------------------------------------------------------------------------------

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if not self._lanes or threading.get_ident() in OUR_THREADS:
            return
        try:
            self.gate(self._start, span, "start")
        except Exception as error:
            self._fault("journal a started span", error)

    def on_end(self, span: ReadableSpan) -> None:
        try:
            if self._lanes and threading.get_ident() not in OUR_THREADS:
                self.gate(self._end, span)
        except Exception as error:
            self._fault("journal an ended span", error)
        except BaseException:  # Ctrl-C, or a handler of the host's that raises: the span has ended all the same
            if self._lanes and threading.get_ident() not in OUR_THREADS:
                self.gate(self._end, span)
            raise

    def save(self, span: ReadableSpan) -> None:
        """Journal the attributes that a running span has by now: what is left of it if the process dies."""
        try:
            self.gate(self._start, span, "save")
        except Exception as error:
            self._fault("save a span", error)

    def emit(self, spans: Sequence[ReadableSpan]) -> None:
        """Spans that arrive finished."""
        if not self._lanes or threading.get_ident() in OUR_THREADS:
            return
        try:
            for first in range(0, len(spans), BATCH):
                self.gate(self._emit, spans[first : first + BATCH])
        except Exception as error:
            self._fault("journal finished spans", error)

    # -- inside the gate ------------------------------------------------------------------------------------------

    def _start(self, span: ReadableSpan, kind: str) -> None:
        if kind == "save" and (self._journal is None or span_key(span) not in self._journal.open):
            return
        if not self._wanting(span):
            return
        journal = self._journal or self._open()
        if journal is not None:
            try:
                journal.start(span, kind)
            except TakenError:
                self._replace(journal)  # the new one begins with the spans that run, this one among them
            except OSError as error:
                self._cannot_write(error)

    def _end(self, span: ReadableSpan) -> None:
        if self._foreign and span_key(span) in self._foreign:
            return
        lanes = self._wanting(span)
        journal = self._journal
        if lanes or (journal is not None and span_key(span) in journal.open):
            position = self._journalled(span)
            for lane in lanes:
                self._put(lane, position, span)

    def _journalled(self, span: ReadableSpan) -> Position | None:
        """The position behind the span's line; None where it stands in memory only."""
        journal = self._journal or self._open()
        if journal is not None:
            try:
                return journal.end(span)
            except TakenError:
                self._replace(journal)
                return self._journalled(span)
            except OSError as error:
                self._cannot_write(error)
            except Exception as error:  # a span like no other: it may be delivered all the same
                self._fault("journal an ended span", error)
        return None

    def _emit(self, spans: Sequence[ReadableSpan]) -> None:
        wanted = [(span, lanes) for span in spans if (lanes := self._wanting(span))]
        if not wanted:
            return
        journal = self._journal or self._open()
        positions: Sequence[Position | None] = [None] * len(wanted)
        try:
            if journal is not None:
                positions = journal.emit([span for span, _ in wanted])
        except Exception:  # whichever it was, each is looked at alone
            positions = [self._journalled(span) for span, _ in wanted]
        for position, (span, lanes) in zip(positions, wanted, strict=True):
            for lane in lanes:
                self._put(lane, position, span)

    def _wanting(self, span: ReadableSpan) -> Sequence[Lane]:
        """The lanes that the span is for."""
        return self._lanes if self._all_want_all else [lane for lane in self._lanes if lane.wants(span)]

    def _put(self, lane: Lane, position: Position | None, span: ReadableSpan) -> None:
        backlog, worker = lane.backlog or self._new_backlog(lane), lane.worker
        lane.put += 1
        due = backlog.put(position, span)
        if not worker.running:
            worker.start()
        if due:
            worker.wake()

    def _open(self) -> Journal | None:
        """Open a journal, if there is to be one and it can be written."""
        if not self._at_work:
            self._at_work = True
            lifecycle.watch(self)
        if self._journal_dir is None or time.monotonic() < self._try_journal_at:
            return None
        try:
            self._use(self._new_journal())
        except OSError as error:
            self._try_journal_at = time.monotonic() + _TRY_JOURNAL_AGAIN
            self._cannot_write(error)
            return None
        if self._keeper is None:
            self._keeper = Keeper(self._chores, self._heartbeat)
        return self._journal

    def _new_journal(self, continues: Journal | None = None) -> Journal:
        assert self._journal_dir is not None
        claims = [(each.name, each.rows) for each in self._destinations]
        return Journal(
            self._journal_dir,
            claims,
            fsync=self._fsync,
            segment_bytes=self._segment_bytes,
            look_after=self._silent_after / 2,
            continues=continues,
        )

    def _use(self, journal: Journal | None) -> None:
        """From now on this is the journal."""
        self._journal = journal
        for lane in self._lanes:
            self._new_backlog(lane)

    def _new_backlog(self, lane: Lane) -> Backlog:
        key = claim_key(lane.destination.name)
        if lane.backlog is not None and lane.backlog.journal is None:
            lane.backlog.give_up()
        lane.backlog = Backlog(self._journal, key, lane.wants, lane.memory, self._lost)
        lane.worker.source = lane.backlog
        return lane.backlog

    def _cannot_write(self, error: OSError) -> None:
        warn_once(
            f"journal:{self._journal_dir}",
            "the journal in %s can't be written (%s): spans are delivered from memory and lost if the process dies; "
            "free the disk, or set DBBTRACE_JOURNAL_DIR to a directory that can be written",
            self._journal_dir,
            error,
        )

    def _check_books(self) -> None:
        """A task was cut short: what the journal holds counts, memory may lack it."""
        if self._journal is not None:
            self._journal.resynchronise()
            for lane in self._lanes:
                if lane.backlog is not None:
                    lane.backlog.behind = True
                    lane.worker.wake()

    def _trim(self) -> None:
        journal = self._journal
        if journal is None:
            return
        backlogs = [lane.backlog for lane in self._lanes if lane.backlog is not None]
        for lane in self._lanes:
            if lane.backlog is not None and not lane.worker.stopped:
                lane.backlog.catch_up()
        if backlogs:
            journal.trim(min(backlog.settled for backlog in backlogs))

    # -- other threads ----------------------------------------------------------------------------------------------

    def _settled(self, source: Source) -> None:
        """A worker has settled more."""
        if isinstance(source, Backlog) and not source.given_up:
            self.gate(self._trim)

    def _lost(self, backlog: Backlog) -> None:
        """The journal stands elsewhere now: whoever adopted it delivers what it held; go on in a new one."""
        self.gate(self._replace, backlog.journal)

    def _replace(self, journal: Journal | None) -> None:
        if journal is None or journal is not self._journal:
            return
        log.warning("the journal %s was taken over or removed; this process goes on in another", journal.path)
        for lane in self._lanes:
            lane.give_up()
        journal.close()
        try:
            self._use(self._new_journal(continues=journal))
        except OSError as error:
            self._use(None)
            self._cannot_write(error)

    def _chores(self) -> None:
        """The keeper's: a sign of life, and whatever journals nobody delivers any more."""
        self.gate(self._beat)
        self._adopt()

    def _beat(self) -> None:
        journal = self._journal
        if journal is None:
            return
        if not journal.is_ours():
            self._replace(journal)
            return
        try:
            journal.beat()
        except OSError as error:
            self._cannot_write(error)

    def _adopt(self, timeout: float = -1) -> None:
        """Take over journals whose owner is gone."""
        if self._journal_dir is None or not self._adopting.acquire(timeout=timeout):
            return
        try:
            lanes = {lane.destination.name: lane for lane in self._lanes if not lane.worker.stopped}
            for journal in adoption.adopt(self._journal_dir, lanes.__contains__, silent_after=self._silent_after):
                for claim in journal.claims:
                    lane = lanes.get(claim.name)
                    if lane is not None:
                        lane.adopt(journal.source_for(claim, lane.wants, self._resolve))
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

    @property
    def takes_all(self) -> bool:
        """Whether some destination takes every span, those that give no row too."""
        return any(each.wants is None for each in self._destinations)

    def claim(self, name: str) -> bool:
        """True for the first caller of this name among all processes that share the journal directory, for 7 days."""
        return self._markers.claim(name)

    # -- the end ------------------------------------------------------------------------------------------------------

    def leave(self, timeout: float) -> None:
        """The process ends: deliver until the deadline, leave the rest in the journal, say so in one log line."""
        deadline = time.monotonic() + timeout
        self._flush(self._lanes, timeout)
        self.gate(self._close_if_done)
        for lane in self._lanes:
            if lane.is_idle:
                lane.worker.close(max(0.0, deadline - time.monotonic()))
        self._say_what_is_left()

    def shutdown(self, timeout: float = 2.0) -> None:
        """Like ``leave``, and let others deliver the rest at once. Spans that still run may end here all the same."""
        self.leave(timeout)
        self.gate(self._release)
        for lane in self._lanes:
            lane.worker.close(0)
        if self._journal is None and self._keeper is not None:
            self._keeper.stop()
            self._keeper = None

    def _close_if_done(self) -> None:
        """Delete the journal if all of it is settled and nothing runs."""
        self._trim()
        journal = self._journal
        if journal is not None and not journal.open and all(lane.is_idle for lane in self._lanes):
            journal.delete()
            self._use(None)
        if self._journal is None and not any(len(lane.memory) for lane in self._lanes):
            self._at_work = False
            lifecycle.at_work.discard(self)

    def _release(self) -> None:
        journal = self._journal
        if journal is None or all(lane.is_idle for lane in self._lanes):
            return
        try:
            successor = self._new_journal(continues=journal) if journal.open else None
            for lane in self._lanes:
                lane.give_up()
            journal.release()
        except OSError as error:
            log.debug("could not let go of %s: %s", journal.path, error)
            return
        self._use(successor)

    def _say_what_is_left(self) -> None:
        left = ", ".join(f"{count} spans still wait for {name}" for name, count in self.left().items())
        if left and self._journal is not None:
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
        self.gate = Gate(self._check_books)
        self._adopting = threading.RLock()
        journal = self._journal
        if journal is not None:
            self._foreign |= set(journal.open)
            journal.close()
        _left_to_the_parent.append(self._lanes)
        lifecycle.at_work.discard(self)
        self._begin()

    def _fault(self, doing: str, error: Exception) -> None:
        if is_strict():
            raise error
        warn_once(f"delivery:{doing}:{type(error).__name__}", "dbbtrace could not %s: %r", doing, error)


_left_to_the_parent: list[object] = []
"""Kept so that no finaliser in a forked child closes a connection that the parent still uses."""
