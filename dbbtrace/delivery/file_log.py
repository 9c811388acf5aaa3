"""A journal as a log: lines of files, of which a destination gets the spans that ended.

``FileLog`` reads what stands on disk. ``OwnLog`` is the one that this process writes itself: of its newest spans it has
a cache, so that a destination that keeps up reads no file. The cache may be dropped at any instant.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.delivery.queue import BATCH, Damaged, Entry, GoneError, Part, Queue
from dbbtrace.delivery.signals import Turn
from dbbtrace.diagnostics import log
from dbbtrace.journal.position import BEGINNING, Position
from dbbtrace.journal.writer import Journal

__all__ = ["CACHED", "FileLog", "OwnLog", "SetAsideLine"]

CACHED = 2 * BATCH
"""Newest spans of a journal that are kept in memory: a batch that waits while another is made, beside one in hand."""

SetAsideLine = Callable[[str, Position, bytes], None]
"""Copies a line that makes no sense to the dead letters: journal, position behind it, text."""


class FileLog:
    """A journal on disk.

    Args:
        path: the journal's directory.
        keep: what copies lines that make no sense to the dead letters.
    """

    def __init__(self, path: str, keep: SetAsideLine) -> None:
        self.path = path
        self.queues: list[Queue] = []
        """Those of all destinations."""
        self._keep = keep
        self._kept: set[Position] = set()
        self._definitions: dict[int, Any] = {}
        self._defined: set[int] = set()
        """Segments of which the definitions are known."""

    def read_lines(self, position: Position, most: int, end: Position | None) -> Part:
        """The next spans on disk that ended behind the position, at most so many; before the end, if one is given.

        Raises:
            OSError: the very next line can't be read; what can be read before such a place is given first.
        """
        from dbbtrace.journal import reader  # a job whose destinations keep up never needs it

        self._define(position)
        entries: list[Entry] = []
        damaged: list[Damaged] = []
        senseless: Damaged | None = None
        behind = position
        try:
            for behind, text in reader.lines(self.path, position, end):
                if text == b"\n":  # the line before was torn, and its writer knows
                    senseless = None
                    continue
                if senseless is not None:
                    damaged.append(senseless)
                    senseless = None
                fields = reader.parse(text) or {}
                span = self._read(fields)
                if span is not None:
                    entries.append(Entry(behind, span))
                    if len(entries) == most:
                        return Part(entries, damaged, behind, False)
                elif not reader.makes_sense(fields) and text.endswith(b"\n"):  # a last line may be torn
                    senseless = Damaged(behind, text)
        except OSError:
            if behind == position or senseless is not None:
                raise
            return Part(entries, damaged, behind, False)
        if senseless is not None:
            damaged.append(senseless)
        return Part(entries, damaged, behind if end is None else max(behind, end), True)

    def _read(self, fields: Mapping[str, Any]) -> ReadableSpan | None:
        """The span of a line, if it ended one; remembers what a line defines."""
        from dbbtrace.journal import reader

        kind = next(iter(fields), "")
        if kind == "define":
            self._learn(fields)
        return reader.decode(kind, fields, self._definitions) if kind == "end" else None

    def _define(self, position: Position) -> None:
        """Know what has been defined before the position: each segment repeats all definitions."""
        from dbbtrace.journal import reader

        if position[0] not in self._defined:
            for _, text in reader.lines(self.path, (position[0], 0), position):
                if text.startswith(b'{"define"'):
                    self._learn(reader.parse(text) or {})
            self._defined.add(position[0])

    def _learn(self, fields: Mapping[str, Any]) -> None:
        from dbbtrace.journal import reader

        reader.define(fields, self._definitions)

    def set_aside(self, line: Damaged) -> bool:
        if line.position in self._kept:
            return False
        self._keep(self.path, line.position, line.text)
        self._kept.add(line.position)
        return True


class OwnLog(FileLog):
    """The journal of this process. Who writes has the turn; who reads takes it."""

    def __init__(self, journal: Journal, keep: SetAsideLine, turn: Turn) -> None:
        super().__init__(journal.path, keep)
        self.journal = journal
        self._turn = turn
        self._definitions = journal.definitions.by_number
        self._cache: deque[Entry] = deque()
        self._cached_from = journal.position
        """Every span that ended behind this is in the cache."""
        self._sure = True
        """False while books are written, and after that was cut short."""

    # -- writing ----------------------------------------------------------------------------------------------------

    def start(self, span: ReadableSpan, kind: str) -> None:
        """A span started, or is saved; see ``Journal``."""
        if not self._sure:
            self._make_sure()
        self._sure = False
        try:
            self.journal.start(span, kind)
        except Exception:
            self._sure = True
            raise
        self._sure = True

    def append(self, span: ReadableSpan, queues: Sequence[Queue]) -> bool:
        """A span ended that is for these; whether one of them should look.

        Raises:
            OSError: see ``Journal``; it does not stand in the log.
        """
        if not self._sure:
            self._make_sure()
        self._sure = False
        try:
            position = self.journal.end(span)
        except Exception:
            self._sure = True
            raise
        self._cache.append(Entry(position, span))
        if len(self._cache) > CACHED:
            self._cached_from = self._cache.popleft().position
        due = False
        for queue in queues:
            due |= queue.put(position)
        self._sure = True
        return due

    def extend(self, spans: Sequence[tuple[ReadableSpan, Sequence[Queue]]]) -> bool:
        """Spans that arrive finished, each with those that it is for; whether one of them should look."""
        if not self._sure:
            self._make_sure()
        self._sure = False
        try:
            positions = self.journal.emit([span for span, _ in spans])
        except Exception:
            self._sure = True
            raise
        due = False
        for position, (span, queues) in zip(positions, spans, strict=True):
            self._cache.append(Entry(position, span))
            for queue in queues:
                due |= queue.put(position)
        while len(self._cache) > CACHED:
            self._cached_from = self._cache.popleft().position
        self._sure = True
        return due

    def _make_sure(self) -> None:
        """Writing was cut short: what the file holds counts, the cache may lack it."""
        self.journal.resynchronise()
        self._cache.clear()
        self._cached_from = self.journal.position
        for queue in self.queues:
            queue.due = self.journal.position
        self._sure = True

    def trim(self) -> None:
        """Let go of what all destinations have acknowledged."""
        if not self._sure:
            self._make_sure()
        for queue in self.queues:
            queue.skip(self.journal.position)
        settled = min((queue.position for queue in self.queues), default=BEGINNING)
        while self._cache and self._cache[0].position <= settled:
            self._cached_from = self._cache.popleft().position
        self.journal.trim(settled)

    @property
    def has_room(self) -> bool:
        """Whether the cache can take another batch at the cost of no span that a destination has not taken yet."""
        if len(self._cache) <= CACHED - BATCH:
            return True
        taken = min((queue.reached for queue in self.queues if queue.waits), default=self.end)
        return sum(entry.position > taken for entry in list(self._cache)) <= CACHED - BATCH

    @property
    def is_read_back(self) -> bool:
        """Whether a destination has to read from disk what the cache had no room for."""
        return any(queue.waits and queue.reached < self._cached_from for queue in self.queues)

    def unseen(self) -> list[Entry]:
        """What may not be found by whoever has the journal now."""
        seen = BEGINNING if self.journal.is_deleted else self.journal.verified
        return [entry for entry in self._cache if entry.position > seen]

    # -- reading ----------------------------------------------------------------------------------------------------

    @property
    def end(self) -> Position:
        return self.journal.position

    def read(self, position: Position, most: int) -> Part:
        if not self.journal.is_ours():
            raise GoneError(self.path)
        with self._turn.taken():
            if not self._sure:
                self._make_sure()
            end = self.journal.position
            if position >= self._cached_from:
                entries = [entry for entry in self._cache if entry.position > position][:most]
                if len(entries) == most:
                    return Part(entries, [], entries[-1].position, False)
                return Part(entries, [], end, True)
        return self.read_lines(position, most, end)

    def settled(self) -> None:
        with self._turn.taken():
            self.trim()

    def _define(self, position: Position) -> None:
        """The writer knows."""

    def _learn(self, fields: Mapping[str, Any]) -> None:
        """Likewise."""

    def acknowledge(self, key: str, position: Position) -> None:
        from dbbtrace.journal.checkpoint import acknowledge

        try:
            acknowledge(self.journal.path, key, position)
        except OSError as error:  # what was delivered may be delivered again by whoever finds this journal
            log.debug("%s can't be acknowledged: %s", self.path, error)
