"""What waits for one destination of this process: recent spans in memory, the others where they stand in the journal.

``put`` and ``catch_up`` are called inside the gate, the rest by the destination's own thread; deques keep the two
apart without a lock. Without a journal memory is all there is, and it is bounded: steps go first, then the oldest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace import attributes as key
from dbbtrace.delivery import reader, source
from dbbtrace.delivery.journal import Journal, Position
from dbbtrace.delivery.source import BATCH, Item, Source

__all__ = ["IN_MEMORY", "WITHOUT_JOURNAL", "Backlog", "Memory"]

IN_MEMORY = 2 * BATCH
"""Spans kept in memory although they stand in the journal: a batch that waits while another is made. Beyond that they
are read back."""
WITHOUT_JOURNAL = 100_000
"""Spans kept where no journal can be written; beyond that they are lost, and it is said."""


class Memory:
    """Spans that stand nowhere else, because no journal could be written."""

    def __init__(self) -> None:
        self._rows: deque[Item] = deque()
        self._others: deque[Item] = deque()
        self.dropped = 0
        """Spans lost because there was no room here either."""

    def __len__(self) -> int:
        return len(self._rows) + len(self._others)

    def put(self, span: ReadableSpan) -> None:
        """Keep the span; at the cost of another, where there is no room."""
        is_row = (span.attributes or {}).get(key.OPERATION) in key.ROW_OPERATIONS
        (self._rows if is_row else self._others).append(Item(None, span))
        if len(self) > WITHOUT_JOURNAL:
            with suppress(IndexError):  # taken meanwhile
                (self._others or self._rows).popleft()
                self.dropped += 1

    def take(self, most: int) -> list[Item]:
        """The next spans, rows first."""
        return _pop(self._rows, most) or _pop(self._others, most)


def _pop(waiting: deque[Item], most: int) -> list[Item]:
    items: list[Item] = []
    with suppress(IndexError):
        while len(items) < most:
            items.append(waiting.popleft())
    return items


class Backlog(Source):
    """What waits for one destination.

    Args:
        journal: where the spans stand; None where none could be opened.
        claim: the destination's key in the journal.
        wants: which spans are for this destination.
        memory: the destination's spans that stand in no journal.
        lost: called when the journal turns out to be somebody else's by now.
    """

    def __init__(
        self,
        journal: Journal | None,
        claim: str,
        wants: Callable[[ReadableSpan], bool],
        memory: Memory,
        lost: Callable[[Backlog], None],
    ) -> None:
        super().__init__()
        self.behind = False
        """There is more in the journal than in memory."""
        self.journal = journal
        self.memory = memory
        self._seen: Position = source.BEGINNING
        """What whoever has the journal now will find in it for certain."""
        self._claim = claim
        self._wants = wants
        self._lost = lost
        self._recent: deque[Item] = deque()
        self._reading: Iterator[reader.Record] | None = None
        self._reading_to: Position = source.BEGINNING

    # -- inside the gate ----------------------------------------------------------------------------------------

    def put(self, position: Position | None, span: ReadableSpan) -> bool:
        """A span has ended; it stands in the journal before the position, if any. Answers whether its thread should
        look: it is the first to wait, or another batch is full."""
        if position is None:
            self.memory.put(span)
            waiting = len(self.memory)
        elif self.behind:
            return False
        else:
            recent = self._recent
            waiting = len(recent) + 1
            if waiting > IN_MEMORY:
                self.behind = True
            else:
                recent.append(Item(position, span))
        return waiting == 1 or not waiting % BATCH

    @property
    def has_room(self) -> bool:
        """Whether another batch finds room in memory; otherwise it has to be read back from the journal."""
        return not self.behind and len(self._recent) <= IN_MEMORY - BATCH

    def catch_up(self) -> None:
        """If all that stands in the journal has been taken, spans come by memory again. Not while any is taken and
        not settled."""
        if self.journal is None or self._recent or self.in_hand or self.left:  # in this order: see is_idle
            return
        if not self.behind or self.taken >= self.journal.position:
            self.behind = False
            self._reading = None  # what comes by memory from now on is not to be read
            self.taken = self.settled = self.journal.position

    # -- the destination's own thread -----------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        return len(self.left) + len(self._recent) + len(self.memory) + (IN_MEMORY if self.behind else 0)

    @property
    def is_empty(self) -> bool:
        return not (self.behind or self._recent or self.memory or self.left)

    @property
    def is_idle(self) -> bool:
        # In the order in which a span passes through, or it might slip by: the queues, in hand, left over.
        return not (self.behind or self._recent or self.memory or self.in_hand or self.left)

    def give_up(self) -> None:
        """The journal is no longer ours. What it held is for whoever has it now, who may not have seen the last of it:
        that is delivered from memory; and so is all that is in memory, if the journal was deleted."""
        if self.journal is not None and not self.journal.is_deleted:
            self._seen = self.journal.verified
        self.given_up = True
        self.behind = False
        self._keep(_pop(self._recent, IN_MEMORY))
        if not self.in_hand:  # or else its thread does this, when it knows what is left
            self.settle(self.left)

    def _keep(self, items: list[Item]) -> None:
        for item in items:
            if item.position is None or item.position > self._seen:
                self.memory.put(item.span)

    def forget(self) -> None:
        self.behind = self.journal is not None
        self._recent.clear()
        self._reading = None
        self.taken = self.settled
        self.left = [item for item in self.left if item.position is None]

    def take(self, most: int) -> list[Item]:
        if self.journal is not None and not self.journal.is_ours():
            self._lost(self)
            return []
        behind = self.behind  # looked at first: once it is set, nothing is added to ``_recent``
        items = _pop(self._recent, most)
        if items:
            self.taken = items[-1].position or self.taken
        elif behind:
            items = list(self._read(most))
        return items + self.memory.take(most - len(items))

    def _read(self, most: int) -> Iterator[Item]:
        journal = self.journal
        if journal is None:
            return
        if self._reading is None:
            self._reading_to = journal.position
            self._reading = reader.read(journal.path, self.taken, ends_only=True)
        for record in self._reading:
            self.taken = record.position
            span = reader.decode(record, journal.definitions.by_number)
            if span is not None and self._wants(span):
                yield Item(record.position, span)
                most -= 1
                if not most:
                    return
        self._reading = None
        self.taken = max(self.taken, self._reading_to)

    def settle(self, left: list[Item]) -> None:
        if self.given_up:
            self.left = []
            self._keep(left)
        else:
            super().settle(left)

    def acknowledge(self) -> None:
        if self.journal is not None:
            with suppress(OSError):
                source.acknowledge(self.journal.path, self._claim, self.settled)
