"""A span's way into the log and to its destinations, and which log that is: the journal, or memory.

Made anew in a forked child. Nothing is opened and no thread started before there is a span. Methods that are not said
to take the turn are called by one who has it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.delivery.file_log import OwnLog
from dbbtrace.delivery.memory_log import MemoryLog
from dbbtrace.delivery.queue import Queue
from dbbtrace.delivery.signals import Turn
from dbbtrace.delivery.sink import Destination
from dbbtrace.delivery.worker import Worker
from dbbtrace.diagnostics import is_strict, log, warn_once
from dbbtrace.journal.position import Position
from dbbtrace.journal.writer import SEGMENT_BYTES, Journal, SpanKey, TakenError, claim_key, span_key

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
        progressed: called in a destination's thread when it has settled more.
    """

    def __init__(
        self,
        destinations: Sequence[Destination],
        options: Options,
        foreign: frozenset[SpanKey],
        first: Callable[[], None],
        progressed: Callable[[Queue], None],
    ) -> None:
        self._options = options
        self._first = first
        self.turn = Turn()
        self.outside: deque[Callable[[], object]] = deque()
        """What a signal handler that struck amid journalling does right after it."""
        self.workers = [Worker(each, self._dead_letters_of(each.name), self._gone, progressed) for each in destinations]
        self.memory = MemoryLog(self.turn)
        self.log: OwnLog | None = None
        self.foreign = foreign
        self.at_work = False
        """There may be something to lose."""
        self._later: deque[tuple[str, Sequence[ReadableSpan]]] = deque()
        self._try_journal_at = 0.0
        self._all_want_all = all(each.wants is None for each in destinations)
        self._in_memory = {worker.name: Queue(self.memory, "", worker.destination.takes) for worker in self.workers}
        self.memory.queues = list(self._in_memory.values())
        self._queues: dict[str, Queue] = {}
        """Each destination's place in the journal, by its name."""
        self._use(None)

    def _dead_letters_of(self, name: str) -> Callable[[Sequence[tuple[ReadableSpan, str]]], None] | None:
        journal_dir = self._options.journal_dir
        if journal_dir is None:
            return None

        def set_aside(refused: Sequence[tuple[ReadableSpan, str]]) -> None:
            from dbbtrace.delivery.dead_letter import DeadLetters

            DeadLetters(journal_dir).write(name, refused)

        return set_aside

    def keep_damaged(self, journal: str, position: Position, text: bytes) -> None:
        """Copy a line of a journal that makes no sense to the dead letters."""
        from dbbtrace.delivery.dead_letter import DeadLetters

        DeadLetters(str(self._options.journal_dir)).write_damaged(journal, position, text)
        warn_once(
            f"damaged:{journal}",
            "the journal %s has lines that make no sense; they are kept in %s/dead-letters, the rest is delivered",
            journal,
            self._options.journal_dir,
        )

    # -- spans ----------------------------------------------------------------------------------------------------

    def record(self, event: str, spans: Sequence[ReadableSpan]) -> None:
        """Take the turn and record spans that ``start``, ``save`` their attributes, ``end``, or arrive as ``facts``.

        The one place where work is put off: a signal handler or a finaliser that strikes while its own thread is
        amid this leaves its spans to it.
        """
        with self.turn.lock:
            if self.turn.amid.locked():
                self._later.append((event, spans))
                return
            with self.turn.amid:
                if event == "end":  # the most frequent
                    self._end(spans[0])
                else:
                    self._record(event, spans)
        if self._later or self.outside:
            self.catch_up()

    def catch_up(self) -> None:
        """Take the turn and do what was put off."""
        while self._later:
            with self.turn.lock:
                if self.turn.amid.locked():
                    return
                with self.turn.amid, suppress(IndexError):
                    event, spans = self._later[0]
                    try:
                        self._record(event, spans)
                    except Exception as error:
                        fault("journal a span", error)
                    self._later.popleft()  # not before: cut short, it is recorded again
        while self.outside and not self.turn.is_mine:
            with suppress(IndexError):
                self.outside.popleft()()

    def _record(self, event: str, spans: Sequence[ReadableSpan]) -> None:
        if event == "end":
            self._end(spans[0])
        elif event == "facts":
            self._emit(spans)
        else:
            self._start(spans[0], event)

    def _start(self, span: ReadableSpan, event: str) -> None:
        if event == "save":
            if self.log is None or span_key(span) not in self.log.journal.open:
                return
        elif not self._all_want_all and not self._wanting(span):
            return
        own = self.log or self._open()
        if own is not None:
            try:
                own.start(span, event)
            except TakenError:
                self._replace(own)  # the new one begins with the spans that run, this one among them
            except OSError as error:
                self._cannot_write(error)

    def _end(self, span: ReadableSpan) -> None:
        if self.foreign and span_key(span) in self.foreign:
            return
        wanting = self.workers if self._all_want_all else self._wanting(span)
        if not wanting and (self.log is None or span_key(span) not in self.log.journal.open):
            return
        own = self.log or self._open()
        if own is None:
            self._remember(span, wanting)
            return
        try:
            due = own.append(
                span, own.queues if self._all_want_all else [self._queues[worker.name] for worker in wanting]
            )
        except TakenError:
            self._replace(own)
            self._end(span)
            return
        except OSError as error:
            self._cannot_write(error)
            self._remember(span, wanting)
            return
        except Exception as error:  # a span like no other: it may be delivered all the same
            self._remember(span, wanting)
            fault("journal an ended span", error)
            return
        self._wake(wanting, due)

    def _emit(self, spans: Sequence[ReadableSpan]) -> None:
        wanted = [(span, wanting) for span in spans if (wanting := self._wanting(span))]
        if not wanted:
            return
        own = self.log or self._open()
        try:
            if own is None:
                raise OSError("there is no journal")
            due = own.extend([(span, [self._queues[worker.name] for worker in wanting]) for span, wanting in wanted])
        except Exception:  # whichever it was, each is looked at alone
            for span, _ in wanted:
                self._end(span)
        else:
            self._wake([worker for worker in self.workers if self._queues[worker.name].waits], due)

    def _remember(self, span: ReadableSpan, wanting: Sequence[Worker]) -> None:
        """Keep the span in memory; at the cost of another, where there is no room."""
        entry = self.memory.append(span)
        due = False
        for worker in wanting:
            due |= self._in_memory[worker.name].put(entry.position)
        dropped = self.memory.drop()
        if dropped is not None:
            for worker in self.workers:
                queue = self._in_memory[worker.name]
                if dropped.position > queue.position and queue.wants(dropped.span):
                    worker.lost += 1
                    queue.waiting = max(0, queue.waiting - 1)
        self._wake(wanting, due)

    def _wanting(self, span: ReadableSpan) -> Sequence[Worker]:
        """The destinations that the span is for."""
        if self._all_want_all:
            return self.workers
        return [worker for worker in self.workers if worker.destination.takes(span)]

    def _wake(self, workers: Sequence[Worker], due: bool) -> None:
        for worker in workers:
            if due or not worker.running:
                worker.wake()

    # -- which log it is --------------------------------------------------------------------------------------------

    def _open(self) -> OwnLog | None:
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
        return self.log

    def _new_journal(self, continues: Journal | None = None) -> Journal:
        options = self._options
        return Journal(
            str(options.journal_dir),
            [(worker.name, worker.destination.rows) for worker in self.workers],
            fsync=options.fsync,
            segment_bytes=options.segment_bytes,
            look_after=options.silent_after / 2,
            continues=continues,
        )

    def _use(self, journal: Journal | None) -> None:
        """From now on this is the journal."""
        for queue in self._queues.values():
            queue.close()
        self._queues = {}
        self.log = OwnLog(journal, self.keep_damaged, self.turn) if journal is not None else None
        for worker in self.workers:
            own = [self._in_memory[worker.name]]
            if journal is not None and self.log is not None:
                begin = journal.position
                queue = Queue(self.log, claim_key(worker.name), worker.destination.takes, begin, begin)
                self._queues[worker.name] = queue
                own.insert(0, queue)
            worker.own = own
        if self.log is not None:
            self.log.queues = list(self._queues.values())

    def _gone(self, queue: Queue) -> None:
        """A destination found that the journal is somebody else's by now. Takes the turn."""
        with self.turn.taken():
            if isinstance(queue.log, OwnLog):
                self._replace(queue.log)

    def _replace(self, own: OwnLog) -> None:
        """The journal is somebody else's by now, who delivers what is in it; go on in a new one."""
        if own is not self.log:
            return
        log.warning("the journal %s was taken over or removed; this process goes on in another", own.path)
        unseen = own.unseen()
        places = [(worker, self._queues[worker.name].position) for worker in self.workers]
        self._leave_behind(own, [entry.position for entry in unseen])
        own.journal.close()
        try:
            self._use(self._new_journal(continues=own.journal))
        except OSError as error:
            self._use(None)
            self._cannot_write(error)
        for entry in unseen:
            wanting = [worker for worker, place in places if entry.position > place]
            if wanting:
                self._emit([entry.span])

    def _leave_behind(self, own: OwnLog, kept: Sequence[Position]) -> None:
        """What waits in a journal that is gone, but for what is kept, is no longer ours to answer for: say so."""
        most = 0
        for worker in self.workers:
            queue = self._queues[worker.name]
            if queue.position < queue.due:
                behind = max(0, queue.waiting - sum(position > queue.position for position in kept))
                worker.lost += behind
                most = max(most, behind)
        if most:
            log.error(
                "%s in the journal %s; they are delivered by the process that took it over, or lost if it was deleted",
                "1 span waited" if most == 1 else f"{most:,} spans waited",
                own.path,
            )

    def _cannot_write(self, error: OSError) -> None:
        warn_once(
            f"journal:{self._options.journal_dir}",
            "the journal in %s can't be written (%s): spans are delivered from memory and lost if the process dies; "
            "free the disk, or set DBBTRACE_JOURNAL_DIR to a directory that can be written",
            self._options.journal_dir,
            error,
        )

    # -- at times ---------------------------------------------------------------------------------------------------

    def beat(self) -> None:
        """Show that the owner lives; make sure that the journal is still its own."""
        self._journal_memory()
        own = self.log
        if own is None:
            return
        try:
            if own.journal.is_ours():
                own.journal.beat()
            else:
                self._replace(own)
        except OSError as error:
            self._cannot_write(error)

    def look(self) -> None:
        """Let go of what all destinations have settled, and move on over what is for none of them."""
        self._journal_memory()
        if self.log is not None:
            self.log.trim()
        self.memory.trim()

    def _journal_memory(self) -> None:
        """What could be kept in memory only goes into the journal, once that can be written."""
        queues = list(self._in_memory.values())
        own = (self.log or self._open()) if len(self.memory) else None
        if own is None or any(queue.in_hand for queue in queues) or any(worker.is_asked for worker in self.workers):
            return
        spans = self.memory.behind(min(queue.position for queue in queues))
        wanted = [(span, [self._queues[worker.name] for worker in self._wanting(span)]) for span in spans]
        try:
            own.extend(wanted)
        except Exception as error:
            log.debug("%d spans stay in memory: %s", len(spans), error)
            return
        for queue in queues:
            queue.due = queue.position
            queue.waiting = 0
        self.memory.trim()
        self._wake(self.workers, True)

    def close_if_done(self) -> None:
        """Delete the journal if all of it is settled and nothing runs."""
        self.look()
        own = self.log
        if own is not None and not own.journal.open and not any(queue.waits for queue in own.queues):
            own.journal.delete()
            self._use(None)
        self.at_work = self.log is not None or len(self.memory) > 0

    def release(self) -> None:
        """Let others deliver what is left; spans that run go on in a journal of their own."""
        own = self.log
        if own is None or not any(queue.waits for queue in own.queues):
            return
        try:
            successor = self._new_journal(continues=own.journal) if own.journal.open else None
            own.journal.release()
        except OSError as error:
            log.debug("could not let go of %s: %s", own.path, error)
            return
        self._use(successor)


def fault(doing: str, error: Exception) -> None:
    """A fault of ours: one log line a kind; raised when strict."""
    if is_strict():
        raise error
    warn_once(f"delivery:{doing}:{type(error).__name__}", "dbbtrace could not %s: %r", doing, error)
