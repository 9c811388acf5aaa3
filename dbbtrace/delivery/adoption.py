"""Journals whose owner is gone, taken over: whose they may be, and what is still to be delivered from them.

Adoption is a rename of the directory, ``<owner>@<adopter>``: of two adopters one succeeds, and an owner that was only
silent finds out. When every destination has acknowledged, the journal is deleted; until then it can be adopted again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.delivery import source
from dbbtrace.delivery.interrupted import interrupted
from dbbtrace.delivery.source import FINISHED, Item, Source
from dbbtrace.diagnostics import log
from dbbtrace.journal import reader
from dbbtrace.journal.owner import Owner, this_process
from dbbtrace.journal.reader import Claim, Header
from dbbtrace.journal.writer import NOBODY, SILENT_AFTER, Position, remove
from dbbtrace.model.times import to_unix_nanos

__all__ = ["CLAIM_DAYS", "SILENT_AFTER", "AdoptedJournal", "AdoptedSource", "Found", "Resolve", "adopt", "find"]

CLAIM_DAYS = 7
"""Days that a journal waits for an OTLP backend. For the warehouse it waits for ever."""

_INTERRUPTED: Position = (FINISHED[0] - 1, 0)
"""Where interrupted spans stand: behind everything that ended."""

Resolve = Callable[[ReadableSpan], "ReadableSpan | None"]
"""Asks the service whose work a started span followed; the finished span, or None where nobody can be asked."""


class Found(NamedTuple):
    """A journal in a journal directory."""

    path: str
    owner: Owner
    holder: Owner | None
    """Who delivers it: its owner, or its adopter; None when nobody does."""
    header: Header | None
    """None while none could be read."""

    def open_claims(self) -> list[Claim]:
        """The destinations that have not acknowledged everything, and whose claim has not expired."""
        if self.header is None:
            return []
        return [
            claim
            for claim in self.header.claims
            if (claim.rows or not self._expired()) and source.acknowledged(self.path, claim.key) < FINISHED
        ]

    def _expired(self) -> bool:
        with suppress(ValueError):
            began = to_unix_nanos(self.header.at if self.header else "")
            # By its last write too: a process may run for longer than a claim lasts.
            newest = max(began / 1e9, reader.last_write(self.path, segments_only=True))
            return time.time() - newest > CLAIM_DAYS * 86400
        return False

    def is_gone(self, silent_after: float = SILENT_AFTER) -> bool:
        """Whether nobody delivers this journal any more."""
        if self.holder is None:
            return True
        alive = self.holder.is_alive()
        return not alive if alive is not None else _silence(self.path) > silent_after


def _silence(path: str) -> float:
    """Seconds since the journal was last written, by the clock of its file system: that of the writer is no guide."""
    probe = f"{path}.{this_process().random}.probe"
    try:
        with open(probe, "wb"):
            pass
        now = os.stat(probe).st_mtime
    except OSError:
        return 0.0
    finally:
        with suppress(OSError):
            os.unlink(probe)
    return now - reader.last_write(path)


def find(journal_dir: str) -> Iterator[Found]:
    """Every journal in the directory."""
    with suppress(OSError):
        for name in sorted(os.listdir(journal_dir)):
            owner_id, at, holder_id = name.partition("@")
            owner = Owner.parse(owner_id)
            path = os.path.join(journal_dir, name)
            if owner is None or not os.path.isdir(path):
                continue
            holder = Owner.parse(holder_id) if at else owner
            yield Found(path, owner, holder, reader.header_of(path))


@dataclass
class AdoptedJournal:
    """A journal that this process took over."""

    path: str
    owner: str
    parent: int
    """Process that started the owner."""
    claims: tuple[Claim, ...]
    sources: list[AdoptedSource] = field(default_factory=list)

    def source_for(self, claim: Claim, wants: Callable[[ReadableSpan], bool], resolve: Resolve | None) -> AdoptedSource:
        """What the journal holds for one destination."""
        made = AdoptedSource(self, claim, wants, resolve)
        self.sources.append(made)
        return made

    def done_with(self) -> None:
        """One source is finished or given up: delete the journal if nothing is left in it, or else let it go once
        nobody here delivers from it."""
        if not all(each.is_finished or each.given_up for each in self.sources):
            return
        owner = Owner.parse(self.owner)
        found = Found(self.path, owner or this_process(), None, reader.header_of(self.path))
        if found.header is None or not found.open_claims():
            remove(self.path)
        else:
            self.release()

    def release(self) -> None:
        """Leave the journal to the next who wants it."""
        with suppress(OSError):
            base = os.path.join(os.path.dirname(self.path), self.owner)
            os.rename(self.path, f"{base}@{NOBODY}")


class AdoptedSource(Source):
    """One destination's part of an adopted journal: what had ended, then what was interrupted."""

    def __init__(
        self,
        journal: AdoptedJournal,
        claim: Claim,
        wants: Callable[[ReadableSpan], bool],
        resolve: Resolve | None,
    ) -> None:
        super().__init__()
        self.is_finished = False
        self.interrupted = 0
        self.journal = journal
        self.claim = claim
        self.settled = source.acknowledged(journal.path, claim.key)
        self._wants = wants
        self._resolve = resolve
        self._items = self._read()

    @property
    def waiting(self) -> int:
        return 0 if self.is_finished or self.given_up else 1

    def take(self, most: int) -> list[Item]:
        items = list(islice(self._items, most))
        if items:
            self.taken = items[-1].position or self.taken
        elif most > 0:
            self.taken = FINISHED
        return items

    def _read(self) -> Iterator[Item]:
        done = self.settled
        records = reader.Records(self.journal.path)
        for position, span in records.ended():
            if position > done and self._wants(span):
                yield Item(position, span)
        for span in records.started():
            closed = self._close(span, records.last_sign)
            if self._wants(closed):
                self.interrupted += 1
                yield Item(_INTERRUPTED, closed)

    def _close(self, span: ReadableSpan, last_sign: int) -> ReadableSpan:
        if self._resolve is not None:
            try:
                answer = self._resolve(span)
                if answer is not None:
                    return answer
            except Exception as error:
                log.warning("what became of %s could not be asked: %s: %s", span.name, type(error).__name__, error)
        return interrupted(span, self.journal.owner, last_sign)

    def acknowledge(self) -> None:
        if FINISHED > self.taken >= _INTERRUPTED:
            return  # acknowledged as a whole only
        try:
            source.acknowledge(self.journal.path, self.claim.key, self.taken)
        except FileNotFoundError:  # taken over by yet another, who took this process for dead
            self.given_up = True
        except OSError as error:
            log.debug("%s can't be acknowledged: %s", self.journal.path, error)
        if self.taken >= FINISHED and not self.given_up:
            self.is_finished = True
            self.journal.done_with()

    def forget(self) -> None:
        self.given_up = True
        self.left = []
        self.journal.done_with()


def adopt(
    journal_dir: str, names: Callable[[str], bool], *, silent_after: float = SILENT_AFTER
) -> Iterator[AdoptedJournal]:
    """Take over every journal that nobody delivers and that has something for a destination ``names`` knows.

    A journal in which nothing is left for anybody is deleted in passing. One of a newer format is left alone.
    """
    me = this_process().id
    for found in find(journal_dir):
        if not found.is_gone(silent_after):
            continue
        header = found.header
        if header is None:
            if not _holds_anything(found.path):  # died before its first line
                remove(found.path)
            continue
        if header.is_newer:
            continue
        claims = found.open_claims()
        if claims and not any(names(claim.name) for claim in claims):
            continue
        path = os.path.join(journal_dir, f"{found.owner.id}@{me}")
        try:
            os.rename(found.path, path)
        except OSError:  # somebody else was faster, or it isn't ours to move
            continue
        if not claims:
            remove(path)
            continue
        yield AdoptedJournal(path, found.owner.id, header.parent, tuple(claims))


def _holds_anything(path: str) -> bool:
    """Whether a journal without a readable header has any whole line all the same."""
    try:
        return any(b"\n" in line for _, line in _raw(path))
    except OSError:
        return True


def _raw(path: str) -> Iterator[tuple[str, bytes]]:
    for _, segment in reader.segments(path):
        with open(segment, "rb") as file:
            yield segment, file.read(64 * 1024)
