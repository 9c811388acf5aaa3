"""One destination's place in one log: what stands before it is acknowledged, what stands behind it waits.

The log is the queue. Delivering is: read from the position, hand over, acknowledge, in that order. Whatever is raised
between reading and acknowledging leaves the position where it was, so what was taken and not settled is taken again.
Of the destination's own thread, but where a method says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.journal.position import BEGINNING, Position

__all__ = ["BATCH", "Entry", "Log", "NotYetError", "Part", "Queue"]

BATCH = 1_000
"""Most spans that are delivered together."""
_AHEAD = 10
"""Batches that are let past spans that can be neither delivered nor set aside; then those hold up the rest."""


class NotYetError(OSError):
    """What stands next can't be told yet, and nothing is wrong with the log: a service still works on it."""


class Entry:
    """An ended span of a log; the position is behind it."""

    __slots__ = ("position", "span")

    def __init__(self, position: Position, span: ReadableSpan) -> None:
        self.position = position
        self.span = span


Part = tuple[list[Entry], Position]
"""Entries that were read, and the position before which everything has been read."""


class Log(Protocol):
    """Where spans stand, in their order. Appending to it gives a position; see ``FileLog`` and ``MemoryLog``.

    One that turns out to be somebody else's closes its queues.
    """

    def read(self, position: Position, most: int) -> Part:
        """The next entries behind the position, at most so many.

        Raises:
            OSError: they can't be read now; NotYetError: nor can they be told yet.
        """

    def acknowledge(self, key: str, position: Position) -> None:
        """The destination of that key wants nothing that stands before the position any more."""

    def settled(self) -> None:
        """A destination has settled more, or will settle nothing more."""


class Queue:
    """One destination's place in one log.

    Args:
        log: where the spans stand.
        key: the destination's key in the log.
        wants: which spans are for this destination; the others are taken for settled.
        position: how far it has acknowledged.
        due: behind the last span that it may want; what follows is known not to be for it.
        lose: told how many spans of the log are no longer to be delivered: refused, dropped, or lines without sense.
    """

    def __init__(
        self,
        log: Log,
        key: str,
        wants: Callable[[ReadableSpan], bool],
        position: Position = BEGINNING,
        due: Position = BEGINNING,
        lose: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.log = log
        self.position = position
        self.due = due
        self.waiting = 0
        """How many spans are known to wait; of a log of ours only."""
        self.in_hand = False
        """Spans have been taken and are not settled yet."""
        self.error: Exception | None = None
        """Why it was closed, if it can't be read."""
        self.closed = False
        """What waits here is no longer ours to deliver."""
        self.wants = wants
        self.lose = lose
        self._key = key
        self._behind = position
        self._settled: set[Position] = set()
        """Behind the position: settled already, because not all of a batch was."""

    # -- where the log is appended to -----------------------------------------------------------------------------

    def put(self, position: Position) -> bool:
        """A span for this destination stands before the position. Whether its thread should look: it is the first to
        wait, or another batch is full."""
        self.due = position
        self.waiting += 1
        return self.waiting == 1 or not self.waiting % BATCH

    def skip(self, end: Position) -> None:
        """Where nothing up to the end is for this destination, it has acknowledged that much."""
        if self.due <= self.position < end and not self.closed:
            self.position = end
            self.waiting = 0

    # -- any thread -------------------------------------------------------------------------------------------------

    @property
    def waits(self) -> bool:
        """Whether anything waits."""
        return self.position < self.due and not self.closed

    @property
    def reached(self) -> Position:
        """Before this everything is settled or in hand."""
        return max(self.position, self._behind)

    def close(self, error: Exception | None = None) -> None:
        """What waits here is no longer ours to deliver; the error that keeps it from being read, if one does."""
        self.error = error
        self.closed = True

    # -- the destination's thread -----------------------------------------------------------------------------------

    def take(self, most: int = BATCH) -> list[Entry]:
        """The next spans that are not settled, oldest first.

        Raises:
            OSError: see ``Log.read``.
        """
        found: list[Entry] = []
        self._behind = self.position
        last = max(self._settled) if len(self._settled) >= _AHEAD * BATCH else self.due
        while len(found) < most and self._behind < last:
            try:
                entries, behind = self.log.read(self._behind, most - len(found))
            except Exception:
                if not found:
                    raise
                break  # what was read before it can be delivered
            if self.closed:
                return []
            found += [
                each
                for each in entries
                if each.position <= last and each.position not in self._settled and self.wants(each.span)
            ]
            if behind <= self._behind:
                break
            self._behind = behind if last == self.due else min(behind, last)
        self.in_hand = bool(found)
        if not found:
            self._advance(self._behind)
        return found

    def settle(self, taken: Sequence[Entry], left: Sequence[Entry]) -> None:
        """Of all that was taken, only what is left has to be tried again."""
        self.in_hand = False
        self.waiting = max(0, self.waiting - len(taken) + len(left))
        still = {entry.position for entry in left}
        self._settled.update(entry.position for entry in taken if entry.position not in still)
        if still:
            first = min(still)
            self._advance(max((each for each in self._settled if each < first), default=self.position))
        else:
            self._advance(self._behind)

    def is_settled(self, position: Position) -> bool:
        """Whether the span before that position is settled."""
        return position <= self.position or position in self._settled

    def _advance(self, position: Position) -> None:
        if position <= self.position or self.closed:
            return
        self.log.acknowledge(self._key, position)  # first: nobody counts on what is not said yet
        if not self.closed:
            self.position = position
            self._settled = {each for each in self._settled if each > position}
