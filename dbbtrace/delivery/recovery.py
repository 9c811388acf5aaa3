"""Deliver by hand what other processes left: the functions behind ``dbbtrace recover``, ``flush`` and ``doctor``.

A running delivery does the same by itself, for its own destinations; this is for everything that waits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.delivery import adoption
from dbbtrace.delivery.dead_letter import DeadLetter, DeadLetters, claimed_letters
from dbbtrace.delivery.lane import Destination
from dbbtrace.delivery.source import FINISHED, Item, Source, acknowledged
from dbbtrace.delivery.worker import Worker
from dbbtrace.journal import reader
from dbbtrace.journal.writer import SILENT_AFTER

__all__ = ["Recovered", "Waiting", "recover", "resend_dead_letters", "waiting"]

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
    errors: dict[str, str] = field(default_factory=dict)
    """Destination → why something still waits for it."""
    unknown: set[str] = field(default_factory=set)
    """Destinations that journals name and nobody here knows."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing that was taken over still waits."""
        return not self.errors


@dataclass(frozen=True)
class Waiting:
    """What waits in one journal for one destination."""

    journal: str
    """Path of the directory."""
    destination: str
    rows: bool
    ended: int
    """Spans that ended and are not acknowledged. Those that the destination does not want are among them."""
    started: int
    """Spans that had only started."""
    last_sign: int
    """Last sign of life in the journal; nanoseconds since the Unix epoch, 0 when there is none."""
    is_live: bool
    """Its owner, or an adopter, delivers it."""
    problem: str = ""
    """Why it can't be read."""


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
    result = Recovered()
    known: dict[str, Destination | None] = {}

    def knows(name: str) -> bool:
        if name not in known:
            known[name] = destinations_for(name)
        if known[name] is None:
            result.unknown.add(name)
        return known[name] is not None

    crew = _Crew(journal_dir, progress)
    sources: list[adoption.AdoptedSource] = []
    for journal in adoption.adopt(journal_dir, knows, silent_after=silent_after):
        result.journals += 1
        for claim in journal.claims:
            destination = known[claim.name] if knows(claim.name) else None
            if destination is not None:
                source = journal.source_for(claim, destination.wants or _everything, resolve)
                sources.append(source)
                crew.add(destination, source)
    crew.run(timeout)
    crew.report(result)
    result.interrupted = sum(source.interrupted for source in sources if source.is_finished)
    for source in sources:
        if not source.is_finished and not source.given_up:
            source.forget()
    return result


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
        sources = {name: _Letters(theirs) for name, theirs in by_name.items()}
        for name, source in sources.items():
            destination = destinations_for(name)
            if destination is None:
                result.unknown.add(name)
            else:
                crew.add(destination, source)
        crew.run(timeout)
        crew.report(result)
        for name, source in sources.items():  # what could not be sent is kept as it was
            if rest := source.rest():
                DeadLetters(journal_dir).write(name, [(letter.span, letter.reason) for letter in rest])
    return result


def waiting(journal_dir: str | os.PathLike[str], *, silent_after: float = SILENT_AFTER) -> Iterator[Waiting]:
    """What waits under the journal directory, for each journal and destination. Reads everything; changes nothing."""
    for found in adoption.find(os.path.abspath(os.fspath(journal_dir))):
        live = not found.is_gone(silent_after)
        header = found.header
        if header is None or header.is_newer:
            problem = "its header can't be read" if header is None else "it was written by a newer dbbtrace; upgrade"
            yield Waiting(found.path, "", False, 0, 0, 0, live, problem)
            continue
        records = reader.Records(found.path)
        ended = [position for position, _ in records.ended()]
        for claim in found.open_claims():
            done = acknowledged(found.path, claim.key)
            count = sum(position > done for position in ended)
            yield Waiting(found.path, claim.name, claim.rows, count, len(records.open), records.last_sign, live)


class _Letters(Source):
    """Dead letters of one destination."""

    def __init__(self, letters: Sequence[DeadLetter]) -> None:
        super().__init__()
        self._next = list(letters)
        self._unsettled = {id(letter.span): letter for letter in letters}

    @property
    def waiting(self) -> int:
        return len(self._next) + len(self.left)

    def rest(self) -> list[DeadLetter]:
        """What was not settled; what is still in hand, of a backend that hangs, is not."""
        return list(self._unsettled.values())

    def take(self, most: int) -> list[Item]:
        taken, self._next = self._next[:most], self._next[most:]
        return [Item(None, letter.span) for letter in taken]

    def settle(self, left: list[Item]) -> None:
        self.left = left
        waiting = [*(item.span for item in left), *(letter.span for letter in self._next)]
        self._unsettled = {id(span): self._unsettled[id(span)] for span in waiting}


class _Crew:
    """The workers of a recovery, one a destination."""

    def __init__(self, journal_dir: str, progress: Progress | None) -> None:
        self._dead = DeadLetters(journal_dir)
        self._workers: dict[str, Worker] = {}
        self._sources: list[tuple[Worker, Source]] = []
        self._progress = progress
        self._reported: dict[str, int] = {}

    def add(self, destination: Destination, source: Source) -> None:
        name = destination.name
        worker = self._workers.get(name)
        if worker is None:
            worker = Worker(
                name,
                destination.make,
                lambda refused: self._dead.write(name, refused),
                lambda _: self._advance(name),
            )
            self._workers[name] = worker
        worker.adopted.append(source)
        self._sources.append((worker, source))

    def _advance(self, name: str) -> None:
        if self._progress is not None:
            worker = self._workers[name]
            done = worker.stored + worker.refused
            self._progress(done - self._reported.get(name, 0))
            self._reported[name] = done

    def run(self, timeout: float) -> None:
        """Until all is settled, or can't be, or the time is over."""
        deadline = time.monotonic() + timeout
        answers = [worker.ask(source, FINISHED) for worker, source in self._sources]
        for answer in answers:
            answer.get(None if timeout < 0 else deadline - time.monotonic())
        for worker in self._workers.values():
            worker.close(1.0 if all(source.is_idle for mine, source in self._sources if mine is worker) else 0)

    def report(self, result: Recovered) -> None:
        for name, worker in self._workers.items():
            result.delivered += worker.stored
            result.refused += worker.refused
            if any(source.given_up or not source.is_idle for mine, source in self._sources if mine is worker):
                result.errors[name] = worker.error or "it took longer than it was given"


def _everything(span: ReadableSpan) -> bool:
    return True
