"""A journal whose owner is gone, as a log: what had ended, and behind it what was interrupted.

Reading it asks no owner and changes nothing in it. When every destination has acknowledged, the journal is deleted;
until then it can be adopted again. How it is taken over stands in ``adoption``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.delivery.file_log import FileLog, SetAsideLine
from dbbtrace.delivery.interrupted import interrupted
from dbbtrace.delivery.queue import Entry, NotYetError, Part, Queue
from dbbtrace.delivery.worker import Worker
from dbbtrace.diagnostics import log
from dbbtrace.journal import reader
from dbbtrace.journal.checkpoint import acknowledge, acknowledged
from dbbtrace.journal.directory import Found
from dbbtrace.journal.owner import Owner, this_process
from dbbtrace.journal.position import FINISHED, Position
from dbbtrace.journal.reader import Claim
from dbbtrace.journal.writer import NOBODY, remove
from dbbtrace.model import attributes

__all__ = ["AdoptedLog", "Resolve"]

_INTERRUPTED: Position = (FINISHED[0] - 1, 0)
"""Where interrupted spans stand: behind everything that ended."""

Resolve = Callable[[ReadableSpan], "ReadableSpan | None"]
"""Asks the service whose work a started span followed; the finished span, or None where nobody can be asked. Raises
NotYetError where the work goes on, or the service can be asked later: then the span waits in the journal."""


class AdoptedLog(FileLog):
    """A journal that this process took over.

    Args:
        owner: who wrote it.
        is_child: this process answers for what it holds.
        resolve: asks a service what became of the work that an interrupted span followed.
    """

    def __init__(self, path: str, owner: Owner, is_child: bool, keep: SetAsideLine, resolve: Resolve | None) -> None:
        super().__init__(path, keep)
        self.owner = owner.id
        self.is_child = is_child
        self.handed: list[tuple[Worker, Queue]] = []
        """Who delivers what of it."""
        self._resolve = resolve
        self.interrupted = 0
        """How many interrupted spans were delivered, counted for each destination, once nothing waits here any more."""
        self._interrupted: list[ReadableSpan] | None = None
        self._ended: Position = FINISHED
        """Behind everything that ended, once that has been read."""
        self._not_yet = ""
        """Why some can't be closed yet."""
        self._closing = threading.Lock()
        """Several destinations may read at once, and each service is asked once."""
        self._leaving = threading.Lock()
        """Taken for good by the destination that settles last: it deletes the journal, or lets it go."""

    def hand_over(self, to: list[tuple[Claim, Worker]]) -> None:
        """Have the workers deliver what the journal holds for each, a child's first.

        Raises:
            OSError: how far one has acknowledged can't be read; then none has anything.
        """
        handed = []
        for claim, worker in to:
            position = acknowledged(self.path, claim.key)
            handed.append((worker, worker.queue(self, claim.key, position, FINISHED, answers=self.is_child)))
        self.queues, self.handed = [queue for _, queue in handed], handed  # all: it is let go once nothing waits
        for worker, queue in handed:
            worker.adopt(queue, first=self.is_child)

    def read(self, position: Position, most: int) -> Part:
        if position < _INTERRUPTED:
            try:
                entries, behind = self.read_lines(position, most)
            except FileNotFoundError:  # taken over by yet another, who took this process for dead
                self._close_all()
                return [], position
            if behind > position:
                return entries, behind
            self._ended, position = position, _INTERRUPTED
        spans = self._closed()[position[1] :][:most]
        entries = [Entry((position[0], position[1] + number), span) for number, span in enumerate(spans, 1)]
        if len(entries) == most or (entries and self._not_yet):
            return entries, entries[-1].position
        if self._not_yet:
            raise NotYetError(self._not_yet)
        return entries, FINISHED

    def _close_all(self) -> None:
        for queue in self.queues:
            if queue.waits:
                queue.close()

    def _closed(self) -> list[ReadableSpan]:
        """What had only started, closed at the owner's last sign of life; without what can't be closed yet."""
        with self._closing:
            if self._interrupted is None:
                survey, closed = reader.Survey(self.path), list[ReadableSpan]()
                for _ in survey.ended():
                    pass
                for span in survey.started():
                    try:
                        closed.append(self._close(span, survey.last_sign))
                    except NotYetError as reason:  # noqa: PERF203
                        self._not_yet = str(reason)
                for line in survey.senseless:
                    self.set_aside(*line)
                self._interrupted = closed
            return self._interrupted

    def _close(self, span: ReadableSpan, last_sign: int) -> ReadableSpan:
        if self._resolve is not None:
            try:
                answer = self._resolve(span)
                if answer is not None:
                    return answer
            except NotYetError:
                raise
            except Exception as error:
                log.warning("what became of %s could not be asked: %s: %s", span.name, type(error).__name__, error)
        return interrupted(span, self.owner, last_sign)

    def acknowledge(self, key: str, position: Position) -> None:
        if FINISHED > position >= _INTERRUPTED:
            position = self._ended  # what was interrupted is acknowledged as a whole only
        try:
            acknowledge(self.path, key, position)
        except FileNotFoundError:
            self._close_all()
        except OSError as error:
            log.debug("%s can't be acknowledged: %s", self.path, error)

    def settled(self) -> None:
        """Delete the journal if nothing is left in it for anybody, or let it go once nobody here delivers from it."""
        if self.waits or not self._leaving.acquire(blocking=False):
            return
        finished = [queue for queue in self.queues if queue.position >= FINISHED]
        interrupted = filter(_is_interrupted, self._interrupted or ())
        self.interrupted = sum(queue.wants(span) for span in interrupted for queue in finished)
        self._interrupted = None  # there may be thousands of journals
        try:
            done = not Found(self.path, this_process(), None).open_claims() and not self.problem
        except OSError:
            done = False
        if done:
            remove(self.path)
        self.release()  # or what is odd in it

    def let_go(self) -> None:
        """Deliver nothing more of it."""
        self._close_all()
        self.settled()

    @property
    def waits(self) -> bool:
        """Whether anything in it waits here."""
        return any(queue.waits for queue in self.queues)

    @property
    def problem(self) -> str:
        """Why some of it could not be read; that a service still works on it is none."""
        errors = (queue.error for queue in self.queues if not isinstance(queue.error, NotYetError | None))
        return next((str(error) if isinstance(error, OSError) else repr(error) for error in errors), "")

    @property
    def released(self) -> str:
        """Where the journal is when nobody has it."""
        return os.path.join(os.path.dirname(self.path), f"{self.owner}@{NOBODY}")

    def release(self) -> None:
        """Leave the journal to the next who wants it."""
        with suppress(OSError):
            os.rename(self.path, self.released)


def _is_interrupted(span: ReadableSpan) -> bool:
    """Whether it is closed as such: what a service has said of it is its end."""
    return (span.attributes or {}).get(attributes.ERROR_TYPE) == attributes.INTERRUPTED
