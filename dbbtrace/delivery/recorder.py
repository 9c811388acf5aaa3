"""What happens inside the gate: a span's way into the journal and to its destinations, and which journal that is.

Made anew in a forked child. Nothing is opened and no thread started before there is a span. Every method that is not
said to enter the gate is called inside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.delivery.backlog import Backlog
from dbbtrace.delivery.gate import Gate
from dbbtrace.delivery.lane import Destination, Lane
from dbbtrace.delivery.source import Source
from dbbtrace.delivery.worker import Worker
from dbbtrace.diagnostics import is_strict, log, warn_once
from dbbtrace.journal.writer import SEGMENT_BYTES, Journal, Position, SpanKey, TakenError, claim_key, span_key

__all__ = ["Options", "Recorder", "fault"]

_TRY_JOURNAL_AGAIN = 30.0
"""Seconds after which a journal that could not be opened is tried again."""


class Options(NamedTuple):
    """How a journal is kept; see ``Delivery``."""

    journal_dir: str | None
    fsync: bool
    silent_after: float
    segment_bytes: int = SEGMENT_BYTES


class Recorder:
    """Records the spans of one process.

    Args:
        foreign: spans that a parent process started: they are the parent's to end.
        first: called when there is something to record for the first time, and again after all was settled.
    """

    def __init__(
        self,
        destinations: Sequence[Destination],
        options: Options,
        foreign: frozenset[SpanKey],
        first: Callable[[], None],
    ) -> None:
        self.gate = Gate(self._check_books)
        self.lanes = [Lane(each, self._worker(each)) for each in destinations]
        self.journal: Journal | None = None
        self.foreign = foreign
        self.at_work = False
        """There may be something to lose."""
        self._options = options
        self._first = first
        self._try_journal_at = 0.0
        self._all_want_all = all(each.wants is None for each in destinations)

    def _worker(self, destination: Destination) -> Worker:
        def set_aside(refused: Sequence[tuple[ReadableSpan, str]]) -> None:
            if self._options.journal_dir is None:
                raise OSError("there is no journal directory")
            from dbbtrace.delivery.dead_letter import DeadLetters

            DeadLetters(self._options.journal_dir).write(destination.name, refused)

        return Worker(destination.name, destination.make, set_aside, self.settled)

    # -- spans ----------------------------------------------------------------------------------------------------

    def start(self, span: ReadableSpan, kind: str = "start") -> None:
        """A span started."""
        if not self._all_want_all and not self._wanting(span):
            return
        journal = self.journal or self._open()
        if journal is not None:
            try:
                journal.start(span, kind)
            except TakenError:
                self._replace(journal)  # the new one begins with the spans that run, this one among them
            except OSError as error:
                self._cannot_write(error)

    def save(self, span: ReadableSpan) -> None:
        """A span that runs has other attributes by now."""
        if self.journal is not None and span_key(span) in self.journal.open:
            self.start(span, "save")

    def end(self, span: ReadableSpan) -> None:
        """A span ended."""
        if self.foreign and span_key(span) in self.foreign:
            return
        lanes = self.lanes if self._all_want_all else self._wanting(span)
        if lanes or (self.journal is not None and span_key(span) in self.journal.open):
            position = self._journalled(span)
            for lane in lanes:
                self._put(lane, position, span)

    def emit(self, spans: Sequence[ReadableSpan]) -> None:
        """Spans arrive finished."""
        wanted = [(span, lanes) for span in spans if (lanes := self._wanting(span))]
        if not wanted:
            return
        journal = self.journal or self._open()
        positions: Sequence[Position | None] = [None] * len(wanted)
        try:
            if journal is not None:
                positions = journal.emit([span for span, _ in wanted])
        except Exception:  # whichever it was, each is looked at alone
            positions = [self._journalled(span) for span, _ in wanted]
        for position, (span, lanes) in zip(positions, wanted, strict=True):
            for lane in lanes:
                self._put(lane, position, span)

    def _journalled(self, span: ReadableSpan) -> Position | None:
        """The position behind the span's line; None where it stands in memory only."""
        journal = self.journal or self._open()
        if journal is not None:
            try:
                return journal.end(span)
            except TakenError:
                self._replace(journal)
                return self._journalled(span)
            except OSError as error:
                self._cannot_write(error)
            except Exception as error:  # a span like no other: it may be delivered all the same
                fault("journal an ended span", error)
        return None

    def _wanting(self, span: ReadableSpan) -> Sequence[Lane]:
        """The lanes that the span is for."""
        return self.lanes if self._all_want_all else [lane for lane in self.lanes if lane.wants(span)]

    def _put(self, lane: Lane, position: Position | None, span: ReadableSpan) -> None:
        backlog, worker = lane.backlog or self._new_backlog(lane), lane.worker
        lane.put += 1
        due = backlog.put(position, span)
        if not worker.running:
            worker.start()
        if due:
            worker.wake()

    # -- journals ---------------------------------------------------------------------------------------------------

    def _open(self) -> Journal | None:
        """Open a journal, if there is to be one and it can be written."""
        if not self.at_work:
            self.at_work = True
            self._first()
        if self._options.journal_dir is None or time.monotonic() < self._try_journal_at:
            return None
        try:
            self._use(self._new_journal())
        except OSError as error:
            self._try_journal_at = time.monotonic() + _TRY_JOURNAL_AGAIN
            self._cannot_write(error)
        return self.journal

    def _new_journal(self, continues: Journal | None = None) -> Journal:
        options = self._options
        return Journal(
            str(options.journal_dir),
            [(lane.destination.name, lane.destination.rows) for lane in self.lanes],
            fsync=options.fsync,
            segment_bytes=options.segment_bytes,
            look_after=options.silent_after / 2,
            continues=continues,
        )

    def _use(self, journal: Journal | None) -> None:
        """From now on this is the journal."""
        self.journal = journal
        for lane in self.lanes:
            self._new_backlog(lane)

    def _new_backlog(self, lane: Lane) -> Backlog:
        if lane.backlog is not None and lane.backlog.journal is None:
            lane.backlog.give_up()
        key = claim_key(lane.destination.name)
        lane.backlog = Backlog(self.journal, key, lane.wants, lane.memory, self.lost)
        lane.worker.source = lane.backlog
        return lane.backlog

    def _replace(self, journal: Journal | None) -> None:
        """The journal stands elsewhere by now: whoever adopted it delivers what it held; go on in a new one."""
        if journal is None or journal is not self.journal:
            return
        log.warning("the journal %s was taken over or removed; this process goes on in another", journal.path)
        for lane in self.lanes:
            lane.give_up()
        journal.close()
        try:
            self._use(self._new_journal(continues=journal))
        except OSError as error:
            self._use(None)
            self._cannot_write(error)

    def beat(self) -> None:
        """Show that the owner lives; make sure that the journal is still its own."""
        journal = self.journal
        if journal is None:
            return
        try:
            if journal.is_ours():
                journal.beat()
            else:
                self._replace(journal)
        except OSError as error:
            self._cannot_write(error)

    def close_if_done(self) -> None:
        """Delete the journal if all of it is settled and nothing runs."""
        self._trim()
        journal = self.journal
        if journal is not None and not journal.open and all(lane.is_idle for lane in self.lanes):
            journal.delete()
            self._use(None)
        self.at_work = self.journal is not None or any(len(lane.memory) for lane in self.lanes)

    def release(self) -> None:
        """Let others deliver what is left; spans that run go on in a journal of their own."""
        journal = self.journal
        if journal is None or all(lane.is_idle for lane in self.lanes):
            return
        try:
            successor = self._new_journal(continues=journal) if journal.open else None
            journal.is_ours()  # whoever takes it finds all that has been written: nothing has to be kept in memory
            for lane in self.lanes:
                lane.give_up()
            journal.release()
        except OSError as error:
            log.debug("could not let go of %s: %s", journal.path, error)
            return
        self._use(successor)

    def _trim(self) -> None:
        """Forget what every destination has settled."""
        for lane in self.lanes:
            if lane.backlog is not None and not lane.worker.stopped:
                lane.backlog.catch_up()
        settled = [lane.backlog.settled for lane in self.lanes if lane.backlog is not None]
        if self.journal is not None and settled:
            self.journal.trim(min(settled))

    def _check_books(self) -> None:
        """A task was cut short: what the journal holds counts, memory may lack it."""
        if self.journal is not None:
            self.journal.resynchronise()
            for lane in self.lanes:
                if lane.backlog is not None:
                    lane.backlog.missed(self.journal.position)
                    lane.worker.wake()

    def _cannot_write(self, error: OSError) -> None:
        warn_once(
            f"journal:{self._options.journal_dir}",
            "the journal in %s can't be written (%s): spans are delivered from memory and lost if the process dies; "
            "free the disk, or set DBBTRACE_JOURNAL_DIR to a directory that can be written",
            self._options.journal_dir,
            error,
        )

    # -- called by workers: these enter the gate ----------------------------------------------------------------------

    def settled(self, source: Source) -> None:
        """A worker has settled more."""
        if isinstance(source, Backlog) and not source.given_up:
            self.gate(self._trim)

    def lost(self, backlog: Backlog) -> None:
        """A worker found that the journal stands elsewhere."""
        self.gate(self._replace, backlog.journal)


def fault(doing: str, error: Exception) -> None:
    """A fault of ours: one log line a kind; raised when strict."""
    if is_strict():
        raise error
    warn_once(f"delivery:{doing}:{type(error).__name__}", "dbbtrace could not %s: %r", doing, error)
