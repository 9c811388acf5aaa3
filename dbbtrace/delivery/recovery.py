"""Deliver by hand what other processes left: the functions behind ``dbbtrace recover`` and ``flush``.

A running delivery does the same by itself, for its own destinations; this is for everything that waits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from dbbtrace.delivery.adopted_log import AdoptedLog, Resolve
from dbbtrace.delivery.adoption import Adopter
from dbbtrace.delivery.dead_letter import DeadLetter, DeadLetters, claimed_letters
from dbbtrace.delivery.memory_log import MemoryLog
from dbbtrace.delivery.queue import NotYetError, Queue
from dbbtrace.delivery.signals import Turn
from dbbtrace.delivery.sink import Destination
from dbbtrace.delivery.worker import Worker
from dbbtrace.journal import directory
from dbbtrace.journal.inventory import ODD
from dbbtrace.journal.writer import SILENT_AFTER

__all__ = ["Recovered", "recover", "resend_dead_letters"]

_LOOKS, _MOMENT = 3, 0.3
"""How often, and after how many seconds, what can't be read is tried again."""

Progress = Callable[[int], object]
"""Called with how many spans have just been settled."""


def _unseen(count: int) -> None:
    pass


@dataclass
class Recovered:
    """What a recovery did."""

    journals: int = 0
    """Journals that were taken over."""
    delivered: int = 0
    """Spans that were stored, counted for each destination."""
    interrupted: int = 0
    """Of them, spans that were closed as Interrupted."""
    refused: int = 0
    """Spans that went to the dead-letter file."""
    damaged: int = 0
    """Lines that made no sense, and were copied to the dead letters."""
    errors: dict[str, str] = field(default_factory=dict)
    """Destination → why something still waits for it."""
    unknown: set[str] = field(default_factory=set)
    """Destinations that journals name and nobody here knows."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Path of a journal, or of what looks like one → why it can't be read; it is kept as it was."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing that was taken over still waits, and everything could be read."""
        return not self.errors and not self.unreadable


def recover(
    journal_dir: str | os.PathLike[str],
    destinations_for: Callable[[str], Destination | None],
    *,
    timeout: float = 60.0,
    silent_after: float = SILENT_AFTER,
    resolve: Resolve | None = None,
    progress: Progress | None = None,
) -> Recovered:
    """Adopt the journals whose owner is gone, deliver what had ended, close what had only started as Interrupted.

    Args:
        destinations_for: the destination of a name; None for one that can't be reached from here.
        timeout: seconds to go on trying; negative: for ever. What then still waits stays in the journal.
        silent_after: seconds of silence after which an owner on another machine counts as gone.
        resolve: asks a service what became of the work that an interrupted span followed.
    """
    journal_dir = os.path.abspath(os.fspath(journal_dir))
    deadline = time.monotonic() + timeout if timeout >= 0 else float("inf")
    crew = _Crew(journal_dir, destinations_for, progress)
    result, journals = Recovered(), list[AdoptedLog]()
    for attempt in range(_LOOKS):  # what can't be read at first may be in a moment
        if attempt:
            time.sleep(min(_MOMENT, max(0.0, deadline - time.monotonic())))
        adopter = Adopter(journal_dir, silent_after, crew.dead.write_damaged, resolve)
        result.unreadable = {**_odd(journal_dir), **adopter.adopt_some(crew.worker_of, deadline=deadline)}
        crew.deliver([each for journal in adopter.journals for each in journal.handed], deadline)
        for journal in adopter.journals:
            journal.let_go()
            if journal.problem:
                result.unreadable[journal.released] = journal.problem
        journals += adopter.journals
        if not result.unreadable or time.monotonic() > deadline:
            break
    crew.close(result, deadline)
    result.journals = len(journals)
    result.damaged = sum(len(journal.kept) for journal in journals)
    result.interrupted = sum(journal.interrupted for journal in journals)
    return result


def _odd(journal_dir: str) -> dict[str, str]:
    """What looks like a journal, or one of its files, and is none."""
    try:
        return {os.path.join(journal_dir, name): ODD for name in directory.odd_entries(journal_dir)}
    except OSError as error:
        return {journal_dir: str(error)}


def resend_dead_letters(
    journal_dir: str | os.PathLike[str],
    destinations_for: Callable[[str], Destination | None],
    *,
    timeout: float = 60.0,
    progress: Progress | None = None,
) -> Recovered:
    """Send again what was set aside; what is refused again is set aside again."""
    journal_dir = os.path.abspath(os.fspath(journal_dir))
    deadline = time.monotonic() + timeout if timeout >= 0 else float("inf")
    result = Recovered()
    crew = _Crew(journal_dir, destinations_for, progress)
    with claimed_letters(journal_dir) as letters:
        by_name: dict[str, list[DeadLetter]] = {}
        for letter in letters:
            by_name.setdefault(letter.destination, []).append(letter)
        queues = {
            name: _handed(theirs, worker)
            for name, theirs in by_name.items()
            if (worker := crew.worker_of(name)) is not None
        }
        crew.deliver(list(queues.values()), deadline)
        crew.close(result, deadline)
        for name, theirs in by_name.items():  # what could not be sent is kept as it was
            queue = queues[name][1] if name in queues else None
            rest = [
                letter for number, letter in enumerate(theirs, 1) if queue is None or not queue.is_settled((0, number))
            ]
            if rest:
                crew.dead.write(name, [(letter.span, letter.reason) for letter in rest])
    return result


def _handed(letters: Sequence[DeadLetter], worker: Worker) -> tuple[Worker, Queue]:
    """Have the worker deliver the letters."""
    log = MemoryLog(Turn(), len(letters))
    queue = worker.queue(log, "")
    log.queues = [queue]
    for letter in letters:
        log.append(letter.span)
    worker.adopt(queue)
    return worker, queue


class _Crew:
    """The workers of a recovery, one a destination."""

    def __init__(
        self, journal_dir: str, destinations_for: Callable[[str], Destination | None], progress: Progress | None
    ) -> None:
        self.dead = DeadLetters(journal_dir)
        self._destinations_for = destinations_for
        self._progress = progress or _unseen
        self._workers: dict[str, Worker | None] = {}
        self._handed: list[tuple[Worker, Queue]] = []

    def worker_of(self, name: str) -> Worker | None:
        """The worker of the destination of that name; None where nobody here knows it."""
        if name not in self._workers:
            found = self._destinations_for(name)
            worker = Worker(found, partial(self.dead.write, found.name), self._progress) if found is not None else None
            self._workers[name] = worker
        return self._workers[name]

    def deliver(self, handed: Sequence[tuple[Worker, Queue]], deadline: float) -> None:
        """Wait until all that the workers were handed is settled, or can't be, or the time is over."""
        self._handed += handed
        last = dict(handed)
        for worker, queue in handed:
            # Most are delivered with the first; the answer for the last comes when all are done with.
            if (queue.waits or queue is last[worker]) and (left := deadline - time.monotonic()) > 0:
                worker.ask(queue).get(None if deadline == float("inf") else left)

    def close(self, result: Recovered, deadline: float) -> None:
        """Begin nothing more, and tell what was done and what was not; what is under way ends by itself."""
        for _, queue in self._handed:
            if queue.waits:
                queue.close()
        for name, worker in self._workers.items():
            if worker is None:
                result.unknown.add(name)
                continue
            worker.close(1.0 if time.monotonic() < deadline else 0)
            result.delivered += worker.stored
            result.refused += worker.refused
        for worker, queue in self._handed:
            if queue.position < queue.due and (queue.error is None or isinstance(queue.error, NotYetError)):
                why = str(queue.error or "") or worker.error
                result.errors[worker.name] = why or "it took longer than it was given"
