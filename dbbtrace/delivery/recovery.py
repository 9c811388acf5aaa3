"""Deliver by hand what other processes left: the functions behind ``dbbtrace recover`` and ``flush``.

A running delivery does the same by itself, for its own destinations; this is for everything that waits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from dbbtrace.delivery import adoption
from dbbtrace.delivery.adoption import AdoptedLog, Found, Silence
from dbbtrace.delivery.dead_letter import DeadLetter, DeadLetters, claimed_letters
from dbbtrace.delivery.inventory import ODD
from dbbtrace.delivery.memory_log import MemoryLog
from dbbtrace.delivery.queue import Queue
from dbbtrace.delivery.signals import Turn
from dbbtrace.delivery.sink import Destination
from dbbtrace.delivery.worker import Worker
from dbbtrace.journal.reader import Claim
from dbbtrace.journal.writer import SILENT_AFTER

__all__ = ["Recovered", "recover", "resend_dead_letters"]

_LOOKS, _MOMENT = 3, 0.3
"""How often, and after how many seconds, what can't be read is tried again."""

Progress = Callable[[int], None]
"""Called with how many spans have just been settled."""


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
    resolve: adoption.Resolve | None = None,
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
    known: dict[str, Destination | None] = {}

    def knows(name: str) -> bool:
        if name not in known:
            known[name] = destinations_for(name)
        if known[name] is None:
            result.unknown.add(name)
        return known[name] is not None

    for attempt in range(_LOOKS):  # what can't be read at first may be in a moment
        if attempt:
            time.sleep(min(_MOMENT, max(0.0, deadline - time.monotonic())))
        result.unreadable, crew = {}, _Crew(journal_dir, progress)
        journals = _adopt_all(journal_dir, knows, Silence(journal_dir, silent_after), crew, resolve, result, deadline)
        for journal in journals:
            ours = [(known[claim.name], claim) for claim in journal.claims if knows(claim.name)]
            result.unreadable.update(_handed_over(journal, ours, crew))
        crew.run(deadline)
        crew.report(result)
        for journal in journals:
            result.interrupted += sum(map(journal.interrupted_for, journal.queues))
            result.unreadable.update({_original(journal): queue.problem for queue in journal.queues if queue.problem})
            if any(queue.waits for queue in journal.queues):
                for queue in journal.queues:
                    queue.close()
                journal.settled()
        if not result.unreadable or time.monotonic() > deadline:
            break
    return result


def _adopt_all(
    journal_dir: str,
    knows: Callable[[str], bool],
    silence: Silence,
    crew: _Crew,
    resolve: adoption.Resolve | None,
    result: Recovered,
    deadline: float,
) -> list[AdoptedLog]:
    journals: list[AdoptedLog] = []
    try:
        for name in adoption.odd_entries(journal_dir):
            result.unreadable[os.path.join(journal_dir, name)] = ODD
        for found in adoption.find(journal_dir):
            journal = _adopted(found, knows, silence, crew, resolve, result)
            if journal is not None:
                journals.append(journal)
            if time.monotonic() > deadline:
                break
    except OSError as error:
        result.unreadable[journal_dir] = str(error)
    result.journals += len(journals)
    return journals


def _adopted(
    found: Found,
    knows: Callable[[str], bool],
    silence: Silence,
    crew: _Crew,
    resolve: adoption.Resolve | None,
    result: Recovered,
) -> AdoptedLog | None:
    try:
        if not found.is_gone(silence):
            return None
        journal = adoption.adopt(found, knows, crew.dead.write_damaged, resolve)
        problem = found.problem() if journal is None else ""
    except FileNotFoundError:  # somebody else was faster
        return None
    except OSError as error:
        journal, problem = None, str(error)
    if problem:
        result.unreadable[found.path] = problem
    return journal


def _handed_over(journal: AdoptedLog, ours: Sequence[tuple[Destination | None, Claim]], crew: _Crew) -> dict[str, str]:
    """Give the journal's destinations what it holds for them; what could not be read."""
    try:
        # All before any is handed over: a journal is let go once nothing in it waits here.
        queues = [(each, journal.queue_for(claim, each.takes)) for each, claim in ours if each is not None]
    except OSError as error:
        journal.release()
        return {_original(journal): str(error)}
    for destination, queue in queues:
        crew.add(destination, queue)
    return {}


def _original(journal: AdoptedLog) -> str:
    """Where the journal is when nobody has it."""
    return os.path.join(os.path.dirname(journal.path), f"{journal.owner}@nobody")


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
    crew = _Crew(journal_dir, progress)
    with claimed_letters(journal_dir) as letters:
        by_name: dict[str, list[DeadLetter]] = {}
        for letter in letters:
            by_name.setdefault(letter.destination, []).append(letter)
        queues = {}
        for name, theirs in by_name.items():
            destination = destinations_for(name)
            if destination is None:
                result.unknown.add(name)
            else:
                queues[name] = _queue_of(theirs)
                crew.add(destination, queues[name])
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


class _Crew:
    """The workers of a recovery, one a destination."""

    def __init__(self, journal_dir: str, progress: Progress | None) -> None:
        self.dead = DeadLetters(journal_dir)
        self._workers: dict[str, Worker] = {}
        self._queues: list[tuple[Worker, Queue]] = []
        self._progress = progress
        self._reported: dict[str, int] = {}

    def add(self, destination: Destination, queue: Queue) -> None:
        name = destination.name
        worker = self._workers.get(name)
        if worker is None:
            worker = Worker(destination, partial(self.dead.write, name), progressed=lambda _: self._advance(name))
            self._workers[name] = worker
        worker.adopted.append(queue)
        self._queues.append((worker, queue))

    def _advance(self, name: str) -> None:
        if self._progress is not None:
            worker = self._workers[name]
            done = worker.stored + worker.refused
            self._progress(done - self._reported.get(name, 0))
            self._reported[name] = done

    def run(self, deadline: float) -> None:
        """Until all is settled, or can't be, or the time is over; what is under way then ends by itself."""
        answers = [worker.ask(queue, queue.due) for worker, queue in self._queues]
        for answer in answers:
            answer.get(None if deadline == float("inf") else deadline - time.monotonic())
        for worker in self._workers.values():
            if worker.is_idle:
                worker.close(1.0)
            else:
                worker.give_up()

    def report(self, result: Recovered) -> None:
        for worker, queue in self._queues:
            if queue.position < queue.due and not queue.problem:
                result.errors[worker.name] = queue.later or worker.error or "it took longer than it was given"
        for worker in self._workers.values():
            result.delivered += worker.stored
            result.refused += worker.refused
            result.damaged += worker.damaged
