"""Deliver by hand what other processes left: the functions behind ``dbbtrace recover`` and ``flush``.

A running delivery does the same by itself, for its own destinations; this is for everything that waits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from dbbtrace.delivery.adoption import AdoptedLog, Adopter, Resolve
from dbbtrace.delivery.dead_letter import DeadLetter, DeadLetters, claimed_letters
from dbbtrace.delivery.memory_log import MemoryLog
from dbbtrace.delivery.queue import Queue
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
    result = Recovered()
    for attempt in range(_LOOKS):  # what can't be read at first may be in a moment
        if attempt:
            time.sleep(min(_MOMENT, max(0.0, deadline - time.monotonic())))
        crew = _Crew(journal_dir, destinations_for, progress or _unseen)
        adopter = Adopter(journal_dir, silent_after, crew.dead.write_damaged, resolve)
        journals = _adopted(journal_dir, adopter, crew, deadline)
        crew.run(deadline)
        crew.report(result)
        result.journals += len(journals)
        result.unreadable = {
            **adopter.problems,
            **{each.released: queue.problem for each in journals for queue in each.queues if queue.problem},
        }
        for journal in journals:
            result.damaged += len(journal.kept)
            if any(queue.waits for queue in journal.queues):
                for queue in journal.queues:
                    queue.close()
                journal.settled()
        result.interrupted += sum(journal.interrupted for journal in journals)
        if not result.unreadable or time.monotonic() > deadline:
            break
    return result


def _adopted(journal_dir: str, adopter: Adopter, crew: _Crew, deadline: float) -> list[AdoptedLog]:
    """The journals that were taken over and handed to the crew."""
    journals: list[AdoptedLog] = []
    try:
        for name in directory.odd_entries(journal_dir):
            adopter.problems[os.path.join(journal_dir, name)] = ODD
        for found in directory.find(journal_dir):
            journal = adopter.adopt(found, crew.worker_of) if adopter.is_gone(found) else None
            if journal is not None:
                journals.append(journal)
            if time.monotonic() > deadline:
                break
    except OSError as error:
        adopter.problems[journal_dir] = str(error)
    return journals


def resend_dead_letters(
    journal_dir: str | os.PathLike[str],
    destinations_for: Callable[[str], Destination | None],
    *,
    timeout: float = 60.0,
    progress: Progress | None = None,
) -> Recovered:
    """Send again what was set aside; what is refused again is set aside again."""
    journal_dir = os.path.abspath(os.fspath(journal_dir))
    result = Recovered()
    crew = _Crew(journal_dir, destinations_for, progress or _unseen)
    with claimed_letters(journal_dir) as letters:
        by_name: dict[str, list[DeadLetter]] = {}
        for letter in letters:
            by_name.setdefault(letter.destination, []).append(letter)
        queues = {}
        for name, theirs in by_name.items():
            if (worker := crew.worker_of(name)) is not None:
                queues[name] = _queue_of(theirs)
                worker.adopt(queues[name], is_child=False)
        crew.run(time.monotonic() + timeout if timeout >= 0 else float("inf"))
        crew.report(result)
        for name, theirs in by_name.items():  # what could not be sent is kept as it was
            queue = queues.get(name)
            rest = [
                letter for number, letter in enumerate(theirs, 1) if queue is None or not queue.is_settled((0, number))
            ]
            if rest:
                crew.dead.write(name, [(letter.span, letter.reason) for letter in rest])
    return result


def _queue_of(letters: Sequence[DeadLetter]) -> Queue:
    log = MemoryLog(Turn())
    queue = Queue(log, "", lambda span: True)
    log.queues = [queue]
    for letter in letters:
        log.append(letter.span)
    return queue


class _Hand(Worker):
    """A worker that knows what it was given."""

    def __init__(self, destination: Destination, dead: DeadLetters, progress: Progress) -> None:
        super().__init__(destination, partial(dead.write, destination.name), progress)
        self.given: list[Queue] = []

    def adopt(self, queue: Queue, *, is_child: bool = False) -> None:
        self.given.append(queue)
        super().adopt(queue, is_child=False)


class _Crew:
    """The workers of a recovery, one a destination."""

    def __init__(
        self, journal_dir: str, destinations_for: Callable[[str], Destination | None], progress: Progress
    ) -> None:
        self.dead = DeadLetters(journal_dir)
        self._destinations_for = destinations_for
        self._progress = progress
        self._hands: dict[str, _Hand | None] = {}

    def worker_of(self, name: str) -> Worker | None:
        """The worker of the destination of that name; None where nobody here knows it."""
        if name not in self._hands:
            destination = self._destinations_for(name)
            self._hands[name] = _Hand(destination, self.dead, self._progress) if destination is not None else None
        return self._hands[name]

    def run(self, deadline: float) -> None:
        """Until all is settled, or can't be, or the time is over; what is under way then ends by itself."""
        hands = [hand for hand in self._hands.values() if hand is not None]
        for hand in hands:
            for queue in hand.given:
                # Most are delivered with the first; the answer for the last comes when all are done with.
                if (queue.waits or queue is hand.given[-1]) and (left := deadline - time.monotonic()) > 0:
                    hand.ask(queue, queue.due).get(None if deadline == float("inf") else left)
        for hand in hands:
            if hand.is_idle:
                hand.close(1.0)
            else:
                hand.give_up()

    def report(self, result: Recovered) -> None:
        for name, hand in self._hands.items():
            if hand is None:
                result.unknown.add(name)
                continue
            result.delivered += hand.stored
            result.refused += hand.refused
            for queue in hand.given:
                if queue.position < queue.due and not queue.problem:
                    result.errors[hand.name] = queue.later or hand.error or "it took longer than it was given"
