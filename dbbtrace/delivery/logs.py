"""Which log a process appends to: its journal, or memory while that can't be written; how one follows the other.

Nothing is opened before there is something to append. Whoever calls has the turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.delivery.memory_log import MemoryLog
from dbbtrace.delivery.options import Options
from dbbtrace.delivery.own_log import OwnLog
from dbbtrace.delivery.queue import Entry
from dbbtrace.delivery.signals import Turn
from dbbtrace.delivery.worker import Worker
from dbbtrace.diagnostics import is_strict, log, warn_once
from dbbtrace.journal.writer import Journal, TakenError, claim_key

__all__ = ["Logs", "fault"]

_TRY_JOURNAL_AGAIN = 30.0
"""Seconds after which a journal that could not be opened is tried again."""


class Logs:
    """The logs of one process.

    Args:
        first: called when there is something to record for the first time, and again after all was settled.
    """

    def __init__(self, options: Options, workers: Sequence[Worker], turn: Turn, first: Callable[[], None]) -> None:
        self._options = options
        self._workers = workers
        self._turn = turn
        self._first = first
        self._try_journal_at = 0.0
        self.memory = MemoryLog(turn)
        self.memory.queues = [worker.queue(self.memory, "") for worker in workers]
        self.own: OwnLog | None = None
        """The journal, if there is one."""
        self.at_work = False
        """There may be something to lose."""
        self._use(None)

    # -- spans ------------------------------------------------------------------------------------------------------

    def open(self, continues: Journal | None = None) -> OwnLog | None:
        """The journal, opened if there is to be one and it can be written. One that continues another begins with the
        spans that run in that."""
        if not self.at_work:
            self.at_work = True
            self._first()
        if self.own is None and self._options.journal_dir is not None and time.monotonic() >= self._try_journal_at:
            try:
                self._use(self._new_journal(continues))
            except OSError as error:
                self._try_journal_at = time.monotonic() + _TRY_JOURNAL_AGAIN
                self._cannot_write(error)
        return self.own

    def start(self, span: ReadableSpan, kind: str) -> None:
        """A span started, or is saved; see ``Journal``."""
        own = self.own or self.open()
        if own is not None:
            try:
                own.journal.start(span, kind)
            except TakenError:
                self.replace(own)  # the new one begins with the spans that run, this one among them
            except OSError as error:
                self._cannot_write(error)

    def append(self, span: ReadableSpan) -> bool:
        """A span ended; whether some destination should look."""
        own = self.own or self.open()
        if own is None:
            return self.memory.append(span)
        try:
            return own.append(span)
        except TakenError:
            self.replace(own)
            return self.append(span)
        except OSError as error:
            self._cannot_write(error)
        except Exception as error:  # a span like no other: it may be delivered all the same
            fault("journal an ended span", error)
        return self.memory.append(span)

    def extend(self, spans: Sequence[ReadableSpan]) -> bool:
        """Spans that arrive finished; whether some destination should look."""
        own = self.own or self.open()
        if own is not None:
            try:
                return own.extend(spans)
            except Exception as error:  # whichever it was, each is looked at alone
                log.debug("%d spans are journalled one by one: %s", len(spans), error)
        return max(list(map(self.append, spans)))

    # -- one follows the other --------------------------------------------------------------------------------------

    def _new_journal(self, continues: Journal | None = None) -> Journal:
        options = self._options
        return Journal(
            str(options.journal_dir),
            [(worker.name, worker.destination.rows) for worker in self._workers],
            fsync=options.fsync,
            segment_bytes=options.segment_bytes,
            look_after=options.silent_after / 2,
            continues=continues,
        )

    def _use(self, journal: Journal | None) -> None:
        """From now on this is the journal."""
        for queue in self.own.queues if self.own is not None else ():
            queue.close()
        self.own = own = None
        if journal is not None:
            self.own = own = OwnLog(journal, self._options.keep_damaged, self._turn, self.replace)
        for worker, in_memory in zip(self._workers, self.memory.queues, strict=True):
            if own is None:
                worker.own = [in_memory]
            else:
                own.queues.append(worker.queue(own, claim_key(worker.name), own.end, own.end))
                worker.own = [own.queues[-1], in_memory]

    def replace(self, own: OwnLog) -> None:
        """The journal is somebody else's by now, who delivers what is in it; go on in a new one."""
        if own is not self.own:
            return
        log.warning("the journal %s was taken over or removed; this process goes on in another", own.path)
        unseen = own.unseen()
        self._leave_behind(own, unseen)
        settled = min(queue.position for queue in own.queues)
        own.journal.close()
        self._use(None)
        self._try_journal_at = 0.0
        self.open(continues=own.journal)
        for entry in unseen:
            if entry.position > settled:
                self.append(entry.span)
        self._wake()

    def _leave_behind(self, own: OwnLog, kept: Sequence[Entry]) -> None:
        """What waits in a journal that is gone, but for what is kept, is no longer ours to answer for: say so."""
        most = 0
        for worker, queue in zip(self._workers, own.queues, strict=True):
            if queue.position < queue.due:
                behind = max(0, queue.waiting - sum(entry.position > queue.position for entry in kept))
                worker.lose(behind)
                most = max(most, behind)
        if most:
            log.error(
                "%s in the journal %s; they are delivered by the process that took it over, or lost if it was deleted",
                "1 span waited" if most == 1 else f"{most:,} spans waited",
                own.path,
            )

    def _wake(self) -> None:
        for worker in self._workers:
            worker.wake()

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
        own = self.own
        if own is None:
            return
        try:
            if own.journal.is_ours():
                own.journal.beat()
            else:
                self.replace(own)
        except OSError as error:
            self._cannot_write(error)

    def look(self) -> None:
        """Let go of what all destinations have settled, and move on over what is for none of them."""
        self._journal_memory()
        if self.own is not None:
            self.own.trim()
        self.memory.trim()

    def _journal_memory(self) -> None:
        """What could be kept in memory only goes into the journal, once that can be written."""
        queues = self.memory.queues
        own = self.open() if len(self.memory) else None
        if own is None or any(queue.in_hand for queue in queues) or any(worker.is_asked for worker in self._workers):
            return
        spans = self.memory.behind(min(queue.position for queue in queues))
        try:
            own.extend(spans)
        except Exception as error:
            log.debug("%d spans stay in memory: %s", len(spans), error)
            return
        for queue in queues:
            queue.due = queue.position
            queue.waiting = 0
        self.memory.trim()
        self._wake()

    def close_if_done(self) -> None:
        """Delete the journal if all of it is settled and nothing runs."""
        self.look()
        own = self.own
        if own is not None and not own.journal.open and not any(queue.waits for queue in own.queues):
            own.journal.delete()
            self._use(None)
        self.at_work = self.own is not None or len(self.memory) > 0

    def left(self) -> dict[str, int]:
        """How many spans are not settled, by destination; none for those with nothing left."""
        left = {
            worker.name: sum(max(1, queue.waiting) for queue in worker.own if queue.waits) for worker in self._workers
        }
        return {name: count for name, count in left.items() if count}

    def say_what_is_left(self) -> None:
        """One log line, where the process ends."""
        left = ", ".join(
            f"{'1 span still waits' if count == 1 else f'{count} spans still wait'} for {name}"
            for name, count in self.left().items()
        )
        if left and self.own is not None:
            log.warning(
                "%s; they stay in the journal %s and are delivered by the next job that uses it or by `dbbtrace flush`",
                left,
                self._options.journal_dir,
            )
        elif left:
            log.error("%s, and are lost: no journal could be written", left)
        dropped = self.memory.dropped
        if dropped:
            lost = "1 span was" if dropped == 1 else f"{dropped} spans were"
            log.error("%s lost: neither the journal nor memory had room", lost)

    def release(self) -> None:
        """Let others deliver what is left; spans that run go on in a journal of their own."""
        own = self.own
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
