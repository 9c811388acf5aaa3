"""Journals whose owner is gone, taken over: whose they may be, and what is still to be delivered from them.

Adoption is a rename of the directory, ``<owner>@<adopter>``: of two adopters one succeeds, and an owner that was only
silent finds out. When every destination has acknowledged, the journal is deleted; until then it can be adopted again.
What can't be looked at is left alone, and is somebody's to look at later.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.delivery.file_log import FileLog, SetAsideLine
from dbbtrace.delivery.interrupted import interrupted
from dbbtrace.delivery.queue import Entry, GoneError, NotYetError, Part, Queue
from dbbtrace.diagnostics import log
from dbbtrace.journal import files, reader
from dbbtrace.journal.checkpoint import acknowledge, acknowledged
from dbbtrace.journal.owner import Owner, this_process
from dbbtrace.journal.position import FINISHED, Position
from dbbtrace.journal.reader import Claim, Header
from dbbtrace.journal.writer import NOBODY, SILENT_AFTER, remove
from dbbtrace.model import attributes
from dbbtrace.model.times import to_unix_nanos

__all__ = ["CLAIM_DAYS", "SILENT_AFTER", "AdoptedLog", "Found", "Resolve", "Silence", "adopt", "find", "odd_entries"]

CLAIM_DAYS = 7
"""Days that a journal waits for an OTLP backend. For the warehouse it waits for ever."""

_INTERRUPTED: Position = (FINISHED[0] - 1, 0)
"""Where interrupted spans stand: behind everything that ended."""

Resolve = Callable[[ReadableSpan], "ReadableSpan | None"]
"""Asks the service whose work a started span followed; the finished span, or None where nobody can be asked. Raises
NotYetError where the work goes on, or the service can be asked later: then the span waits in the journal."""


class Silence:
    """How long a journal was silent, by the clock of its file system: that of the writer is no guide.

    Args:
        longest: seconds of silence after which an owner that can't be asked for counts as gone.
    """

    def __init__(self, journal_dir: str, longest: float) -> None:
        self._journal_dir = journal_dir
        self._longest = longest
        self._now: float | None = None

    @property
    def is_local(self) -> bool:
        """Whether the journals are on a disk that no other machine can have."""
        return files.is_local(self._journal_dir)

    def is_too_long(self, path: str) -> bool:
        """Whether the journal was silent too long."""
        if self._now is None:
            probe = os.path.join(self._journal_dir, f"{this_process().random}.probe")
            try:
                os.close(files.open_to_append(probe, new=True))
                self._now = os.stat(probe).st_mtime
            finally:
                with suppress(OSError):
                    os.unlink(probe)
        return self._now - reader.last_write(path) > self._longest


@dataclass
class Found:
    """A journal in a journal directory. Everything that looks into it may raise OSError."""

    path: str
    owner: Owner
    holder: Owner | None
    """Who delivers it: its owner, or its adopter; None when nobody does."""
    _header: Header | None = field(default=None, repr=False)

    def header(self) -> Header | None:
        """None where there is none that makes sense."""
        self._header = self._header or reader.header_of(self.path)
        return self._header

    def open_claims(self) -> list[Claim]:
        """The destinations that have not acknowledged everything, and whose claim has not expired."""
        header = self.header()
        if header is None:
            return []
        return [
            claim
            for claim in header.claims
            if (claim.rows or not self._expired(header)) and acknowledged(self.path, claim.key) < FINISHED
        ]

    def _expired(self, header: Header) -> bool:
        with suppress(ValueError):
            began = to_unix_nanos(header.at)
            # By its last write too: a process may run for longer than a claim lasts.
            newest = max(began / 1e9, reader.last_write(self.path, segments_only=True))
            return time.time() - newest > CLAIM_DAYS * 86400
        return False

    def is_gone(self, silence: Silence) -> bool:
        """Whether nobody delivers this journal any more."""
        if self.holder is None:
            return True
        alive = self.holder.is_alive()
        if alive is not None:
            return not alive
        return (self.holder.is_of_earlier_boot and silence.is_local) or silence.is_too_long(self.path)

    @property
    def holds_anything(self) -> bool:
        """Whether it has any whole line."""
        return any(text.endswith(b"\n") for _, text in reader.lines(self.path))

    def problem(self) -> str:
        """Why nobody can deliver it; empty where that is not so."""
        header = self.header()
        if header is None:
            return "its header makes no sense" if self.holds_anything else ""
        return "it was written by a newer dbbtrace; upgrade" if header.is_newer else ""


def find(journal_dir: str) -> Iterator[Found]:
    """Every journal in the directory.

    Raises:
        OSError: the directory can't be listed; where it is not there, nothing is in it.
    """
    try:
        names, _ = files.directories(journal_dir)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        owner_id, at, holder_id = name.partition("@")
        owner = Owner.parse(owner_id)
        if owner is not None:
            yield Found(os.path.join(journal_dir, name), owner, Owner.parse(holder_id) if at else owner)


def odd_entries(journal_dir: str) -> list[str]:
    """Names in the directory, and in its journals, that are those of a journal's files, and aren't such files.

    Raises:
        OSError: see ``find``.
    """
    try:
        _, others = files.directories(journal_dir)
    except (FileNotFoundError, NotADirectoryError):
        return []
    odd = [name for name in others if Owner.parse(name.partition("@")[0]) is not None]
    for found in find(journal_dir):
        with suppress(OSError):
            name = os.path.basename(found.path)
            odd += [f"{name}{os.sep}{each}" for each in files.regular_files(found.path)[1]]
    return odd


class AdoptedLog(FileLog):
    """A journal that this process took over: what had ended, and behind it what was interrupted."""

    def __init__(
        self, path: str, owner: str, parent: int, claims: list[Claim], keep: SetAsideLine, resolve: Resolve | None
    ) -> None:
        super().__init__(path, keep)
        self.owner = owner
        self.parent = parent
        """Process that started the owner."""
        self.claims = claims
        self._resolve = resolve
        self._interrupted: list[ReadableSpan] | None = None
        self._not_yet = ""
        """Why some can't be closed yet."""
        self._closing = threading.Lock()
        """Several destinations may read at once, and each service is asked once."""
        self._leaving = threading.Lock()
        """Taken for good by the destination that settles last: it deletes the journal, or lets it go."""

    def queue_for(self, claim: Claim, wants: Callable[[ReadableSpan], bool]) -> Queue:
        """What the journal holds for one destination.

        Raises:
            OSError: how far it has acknowledged can't be read.
        """
        queue = Queue(self, claim.key, wants, acknowledged(self.path, claim.key), FINISHED)
        self.queues.append(queue)
        return queue

    @property
    def end(self) -> Position:
        return FINISHED

    def read(self, position: Position, most: int) -> Part:
        if position < _INTERRUPTED:
            try:
                part = self.read_lines(position, most, None)
            except FileNotFoundError as error:  # taken over by yet another, who took this process for dead
                raise GoneError(self.path) from error
            return part._replace(behind=_INTERRUPTED, is_all=False) if part.is_all else part
        spans = self._closed()[position[1] :][:most]
        entries = [Entry((position[0], position[1] + number), span) for number, span in enumerate(spans, 1)]
        if len(entries) == most:
            return Part(entries, [], entries[-1].position, False)
        if self._not_yet:
            if not entries:
                raise NotYetError(self._not_yet)
            return Part(entries, [], entries[-1].position, False)
        return Part(entries, [], FINISHED, True)

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

    def interrupted_for(self, queue: Queue) -> int:
        """How many interrupted spans the queue has delivered."""
        if queue.position < FINISHED:
            return 0
        return sum(queue.wants(span) for span in self._interrupted or () if _is_interrupted(span))

    def acknowledge(self, key: str, position: Position) -> None:
        if FINISHED > position >= _INTERRUPTED:
            return  # acknowledged as a whole only
        try:
            acknowledge(self.path, key, position)
        except FileNotFoundError as error:
            raise GoneError(self.path) from error
        except OSError as error:
            log.debug("%s can't be acknowledged: %s", self.path, error)

    def settled(self) -> None:
        """Delete the journal if nothing is left in it for anybody, or let it go once nobody here delivers from it."""
        if any(queue.waits for queue in self.queues) or not self._leaving.acquire(blocking=False):
            return
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

    def release(self) -> None:
        """Leave the journal to the next who wants it."""
        with suppress(OSError):
            os.rename(self.path, os.path.join(os.path.dirname(self.path), f"{self.owner}@{NOBODY}"))


def _is_interrupted(span: ReadableSpan) -> bool:
    """Whether it is closed as such: what a service has said of it is its end."""
    return (span.attributes or {}).get(attributes.ERROR_TYPE) == attributes.INTERRUPTED


def adopt(
    found: Found, names: Callable[[str], bool], keep: SetAsideLine, resolve: Resolve | None = None
) -> AdoptedLog | None:
    """Take over a journal whose owner is gone, if it has something for a destination that ``names`` knows.

    One in which nothing is left for anybody is deleted in passing. One of a newer format is left alone.

    Raises:
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
    try:
        os.rename(found.path, path)
    except FileNotFoundError:  # somebody else was faster
        return None
    if not claims:
        remove(path)
        return None
    return AdoptedLog(path, found.owner.id, header.parent, claims, keep, resolve)
