"""Journals whose owner is gone, taken over: what is still to be delivered from them, and by which destinations.

Adoption is a rename of the directory, ``<owner>@<adopter>``: of two adopters one succeeds, and an owner that was only
silent finds out. When every destination has acknowledged, the journal is deleted; until then it can be adopted again.
What can't be looked at is left alone, and is somebody's to look at later.
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
from dbbtrace.journal.directory import Found, Silence
from dbbtrace.journal.owner import Owner, this_process
from dbbtrace.journal.position import FINISHED, Position
from dbbtrace.journal.reader import Claim
from dbbtrace.journal.writer import NOBODY, remove
from dbbtrace.model import attributes

__all__ = ["AdoptedLog", "Adopter", "Resolve", "is_child"]

_INTERRUPTED: Position = (FINISHED[0] - 1, 0)
"""Where interrupted spans stand: behind everything that ended."""

Resolve = Callable[[ReadableSpan], "ReadableSpan | None"]
"""Asks the service whose work a started span followed; the finished span, or None where nobody can be asked. Raises
NotYetError where the work goes on, or the service can be asked later: then the span waits in the journal."""


class AdoptedLog(FileLog):
    """A journal that this process took over: what had ended, and behind it what was interrupted."""

    def __init__(
        self, path: str, owner: Owner, parent: int, claims: list[Claim], keep: SetAsideLine, resolve: Resolve | None
    ) -> None:
        super().__init__(path, keep)
        self.owner = owner.id
        self.is_child = is_child(owner, parent)
        self.claims = claims
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

    def queue_for(self, claim: Claim, worker: Worker) -> Queue:
        """What the journal holds for one destination.

        Raises:
            OSError: how far it has acknowledged can't be read.
        """
        position = acknowledged(self.path, claim.key)
        if self.is_child:
            queue = worker.queue(self, claim.key, position, FINISHED)
        else:
            queue = Queue(self, claim.key, worker.destination.takes, position, FINISHED)
        self.queues.append(queue)
        return queue

    @property
    def end(self) -> Position:
        return FINISHED

    def read(self, position: Position, most: int) -> Part:
        if position < _INTERRUPTED:
            try:
                entries, behind = self.read_lines(position, most)
            except FileNotFoundError:  # taken over by yet another, who took this process for dead
                self._gone()
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

    def _gone(self) -> None:
        for queue in self.queues:
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

    def _closed_for(self, queue: Queue) -> list[ReadableSpan]:
        """What of it the queue has delivered."""
        return [span for span in self._interrupted or () if queue.wants(span)]

    def acknowledge(self, key: str, position: Position) -> None:
        if FINISHED > position >= _INTERRUPTED:
            position = self._ended  # what was interrupted is acknowledged as a whole only
        try:
            acknowledge(self.path, key, position)
        except FileNotFoundError:
            self._gone()
        except OSError as error:
            log.debug("%s can't be acknowledged: %s", self.path, error)

    def settled(self) -> None:
        """Delete the journal if nothing is left in it for anybody, or let it go once nobody here delivers from it."""
        if any(queue.waits for queue in self.queues) or not self._leaving.acquire(blocking=False):
            return
        finished = [queue for queue in self.queues if queue.position >= FINISHED]
        self.interrupted = sum(_is_interrupted(span) for queue in finished for span in self._closed_for(queue))
        self._interrupted = None  # there may be thousands of journals
        try:
            done = not Found(self.path, this_process(), None).open_claims() and not self.has_problem
        except OSError:
            done = False
        if done:
            remove(self.path)
        self.release()  # or what is odd in it

    @property
    def has_problem(self) -> bool:
        """Whether some of it could not be read."""
        return any(queue.problem for queue in self.queues)

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


def is_child(owner: Owner, parent: int) -> bool:
    """Whether the owner, started by that parent, is a child of this process, or an earlier delivery of it."""
    return parent == os.getpid() or owner.process == this_process().process


class Adopter:
    """Takes journals over whose owner is gone, and has them delivered.

    Args:
        silent_after: seconds of silence after which an owner that can't be asked for counts as gone.
    """

    def __init__(
        self, journal_dir: str, silent_after: float, keep: SetAsideLine, resolve: Resolve | None = None
    ) -> None:
        self.problems: dict[str, str] = {}
        """Path of a journal → why it can't be delivered now."""
        self._silence = Silence(journal_dir, silent_after)
        self._keep = keep
        self._resolve = resolve

    def is_gone(self, found: Found) -> bool:
        """Whether nobody delivers the journal; no, where that can't be told."""
        try:
            return found.is_gone(self._silence)
        except FileNotFoundError:  # somebody else was faster
            return False
        except OSError as error:
            self.problems[found.path] = str(error)
            return False

    def adopt(self, found: Found, worker_of: Callable[[str], Worker | None]) -> AdoptedLog | None:
        """Take the journal over and hand each worker that the destinations of its claims have what it holds for it.
        None where it holds nothing for any, or can't be read."""
        try:
            journal = _adopt(found, lambda name: worker_of(name) is not None, self._keep, self._resolve)
            if journal is None:
                problem = found.problem()
            else:
                problem = _hand_over(journal, worker_of)
                found.path = journal.released if problem else journal.path
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever it is, it costs this journal alone
            journal, problem = None, str(error) or repr(error)
        if problem:
            self.problems[found.path] = problem
            return None
        return journal


def _hand_over(journal: AdoptedLog, worker_of: Callable[[str], Worker | None]) -> str:
    """Give each worker what the journal holds for it; why that can't be, then it is released."""
    try:
        # All before any is handed over: a journal is let go once nothing in it waits here.
        queues = [
            (worker, journal.queue_for(claim, worker))
            for claim in journal.claims
            if (worker := worker_of(claim.name)) is not None
        ]
    except Exception as error:
        journal.release()
        return str(error) or repr(error)
    for worker, queue in queues:
        worker.adopt(queue, is_child=journal.is_child)
    return ""


def _adopt(
    found: Found, names: Callable[[str], bool], keep: SetAsideLine, resolve: Resolve | None
) -> AdoptedLog | None:
    """Take over a journal whose owner is gone, if it has something for a destination that ``names`` knows.

    One in which nothing is left for anybody is deleted in passing. One of a newer format is left alone.

    Raises:
        FileNotFoundError: somebody else was faster.
        OSError: what is in it can't be told now.
    """
    header = found.header()
    if header is None:
        if not found.holds_anything:  # died before its first line
            remove(found.path)
        return None
    if header.is_newer:
        return None
    claims = found.open_claims()
    if claims and not any(names(claim.name) for claim in claims):
        return None
    path = os.path.join(os.path.dirname(found.path), f"{found.owner.id}@{this_process().id}")
    os.rename(found.path, path)
    if not claims:
        remove(path)
        return None
    return AdoptedLog(path, found.owner, header.parent, claims, keep, resolve)
