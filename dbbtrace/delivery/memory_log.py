"""The log of a job that has no journal, or whose journal can't be written: spans in memory, in their order.

It is bounded: steps are dropped first, then the oldest. Whoever appends, reads or forgets has the turn.
"""

from __future__ import annotations

from collections import deque

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.delivery.queue import Entry, Part, Queue
from dbbtrace.delivery.signals import Turn
from dbbtrace.journal.position import Position
from dbbtrace.model import attributes as key

__all__ = ["CAPACITY", "MemoryLog"]

CAPACITY = 100_000
"""Spans kept; beyond that some are dropped, and it is said."""


class MemoryLog:
    """Spans that stand nowhere else. Their positions are numbers, from 1 on."""

    def __init__(self, turn: Turn, capacity: int | None = None) -> None:
        self.queues: list[Queue] = []
        """Those of all destinations."""
        self.dropped = 0
        """Spans lost for want of room."""
        self._turn = turn
        self._capacity = capacity
        self._spans: dict[int, ReadableSpan] = {}
        self._steps: deque[int] = deque()
        """Numbers of those that give no row; some may be gone."""
        self._last = 0

    def __len__(self) -> int:
        return len(self._spans)

    @property
    def end(self) -> Position:
        return (0, self._last)

    def append(self, span: ReadableSpan) -> bool:
        """Keep the span, at the cost of another where there is no room; whether some destination should look."""
        self._last += 1
        self._spans[self._last] = span
        if (span.attributes or {}).get(key.OPERATION) not in key.ROW_OPERATIONS:
            self._steps.append(self._last)
        due = False
        for queue in self.queues:
            if queue.wants(span):
                due |= queue.put(self.end)
        if len(self._spans) > (self._capacity or CAPACITY):
            self._drop()
        return due

    def _drop(self) -> None:
        number = next(iter(self._spans))
        while self._steps:
            step = self._steps.popleft()
            if step in self._spans:
                number = step
                break
        span = self._spans.pop(number)
        self.dropped += 1
        for queue in self.queues:
            if (0, number) > queue.position and queue.wants(span):
                queue.lose(1)
                queue.waiting = max(0, queue.waiting - 1)

    def read(self, position: Position, most: int) -> Part:
        with self._turn.taken():
            entries: list[Entry] = []
            for number in range(position[1] + 1, self._last + 1):
                span = self._spans.get(number)
                if span is not None:
                    entries.append(Entry((0, number), span))
                    if len(entries) == most:
                        return entries, (0, number)
            return entries, self.end

    def acknowledge(self, key: str, position: Position) -> None:
        """Nothing outlives the process."""

    def behind(self, position: Position) -> list[ReadableSpan]:
        """What stands behind the position."""
        return [span for number, span in self._spans.items() if number > position[1]]

    def settled(self) -> None:
        with self._turn.taken():
            self.trim()

    def trim(self) -> None:
        """Let go of what all destinations have acknowledged."""
        for queue in self.queues:
            queue.skip(self.end)
        _, settled = min((queue.position for queue in self.queues), default=self.end)
        while self._spans and (number := next(iter(self._spans))) <= settled:
            del self._spans[number]
        if not self._spans:
            self._steps.clear()
