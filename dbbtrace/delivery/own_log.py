"""The journal that this process writes itself, as a log.

Of its newest spans it has a cache, so that a destination that keeps up reads no file. It is filled from when one reads,
and dropped when none has taken from it for long. That may happen at any instant, and changes nothing of what is
delivered. Who writes has the turn; who reads takes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.delivery.file_log import FileLog, SetAsideLine
from dbbtrace.delivery.queue import BATCH, Entry, Part
from dbbtrace.delivery.signals import Turn
from dbbtrace.diagnostics import log
from dbbtrace.journal.position import BEGINNING, Position
from dbbtrace.journal.writer import Journal, span_key

__all__ = ["CACHED", "OwnLog"]

CACHED = 2 * BATCH
"""Most spans in the cache: a batch that waits while another is made, beside one in hand."""


class OwnLog(FileLog):
    """The journal of this process.

    Args:
        gone: called with the turn, once the journal turns out to be somebody else's; closes the queues.
    """

    def __init__(self, journal: Journal, keep: SetAsideLine, turn: Turn, gone: Callable[[OwnLog], None]) -> None:
        super().__init__(journal.path, keep, journal.definitions.by_number)
        self.journal = journal
        self._turn = turn
        self._gone = gone
        self._cache: deque[Entry] | None = deque()
        """None: nothing is cached."""
        self._cached_from = journal.position
        """Every span that ended behind this is in the cache."""
        self._sure = True
        """False while books are written, and after that was cut short."""

    # -- writing ----------------------------------------------------------------------------------------------------

    def append(self, span: ReadableSpan) -> bool:
        """A span ended; whether some destination should look.

        Raises:
            OSError: see ``Journal``; it does not stand in the log.
        """
        wanting = [queue for queue in self.queues if queue.wants(span)]
        journal = self.journal
        if not wanting and span_key(span) not in journal.open:
            return False
        if not self._sure:
            self._make_sure()
        self._sure = False
        position = journal.end(span)
        cache = self._cache
        if cache is not None:
            cache.append(Entry(position, span))
            if len(cache) > CACHED:
                self._make_room(cache)
        due = False
        for queue in wanting:
            due |= queue.put(position)
        self._sure = True
        return due

    def extend(self, spans: Sequence[ReadableSpan]) -> bool:
        """Spans that arrive finished; whether some destination should look."""
        if not self._sure:
            self._make_sure()
        self._sure = False
        due = False
        for position, span in zip(self.journal.emit(spans), spans, strict=True):
            if self._cache is not None:
                self._cache.append(Entry(position, span))
            for queue in self.queues:
                if queue.wants(span):
                    due |= queue.put(position)
        if self._cache is not None and len(self._cache) > CACHED:
            self._make_room(self._cache)
        self._sure = True
        return due

    def _make_sure(self) -> None:
        """Writing was cut short: what the file holds counts, the cache may lack it."""
        self.journal.resynchronise()
        self._cache = None
        for queue in self.queues:
            queue.due = self.journal.position
        self._sure = True

    # -- the cache --------------------------------------------------------------------------------------------------

    def _make_room(self, cache: deque[Entry]) -> None:
        """Keep what those have not taken yet who have taken something since the last time; the others are too slow."""
        taken = [queue.reached for queue in self.queues if queue.reached > self._cached_from and not queue.closed]
        if taken:
            self._forget(cache, min(taken))
        if not taken or len(cache) > CACHED:
            self._cache = None

    def _forget(self, cache: deque[Entry], position: Position) -> None:
        while cache and cache[0].position <= position:
            self._cached_from = cache.popleft().position

    @property
    def has_room(self) -> bool | None:
        """Whether another batch finds room in the cache; None where a destination has to read from disk anyway."""
        waiting = [queue.reached for queue in self.queues if queue.waits]
        if not waiting:
            return True
        taken, cache = min(waiting), self._cache
        if cache is None or taken < self._cached_from:
            return None
        return sum(entry.position > taken for entry in list(cache)) <= CACHED - BATCH

    def unseen(self) -> list[Entry]:
        """What may not be found by whoever has the journal now."""
        seen = BEGINNING if self.journal.is_deleted else self.journal.verified
        return [entry for entry in self._cache or () if entry.position > seen]

    # -- reading ----------------------------------------------------------------------------------------------------

    @property
    def end(self) -> Position:
        return self.journal.position

    def read(self, position: Position, most: int) -> Part:
        is_ours = self.journal.is_ours()
        with self._turn.taken():
            if not is_ours:
                self._gone(self)
                return [], position
            if not self._sure:
                self._make_sure()
            end = self.journal.position
            if self._cache is None:
                self._cache, self._cached_from = deque(), end
            if position >= self._cached_from:
                entries = [entry for entry in self._cache if entry.position > position][:most]
                return entries, entries[-1].position if len(entries) == most else end
        return self.read_lines(position, most, end)

    def settled(self) -> None:
        with self._turn.taken():
            self.trim()

    def trim(self) -> None:
        """Let go of what all destinations have acknowledged."""
        if not self._sure:
            self._make_sure()
        for queue in self.queues:
            queue.skip(self.journal.position)
        settled = min((queue.position for queue in self.queues), default=BEGINNING)
        if self._cache is not None:
            self._forget(self._cache, settled)
        self.journal.trim(settled)

    def acknowledge(self, key: str, position: Position) -> None:
        from dbbtrace.journal.checkpoint import acknowledge

        try:
            acknowledge(self.journal.path, key, position)
        except OSError as error:  # what was delivered may be delivered again by whoever finds this journal
            log.debug("%s can't be acknowledged: %s", self.path, error)
