"""What waits for one destination of this process: spans in memory, and the others where they stand in the journal.

They queue in their order; where the queue was full, a gap in it says up to where the journal is to be read instead.
``put``, ``missed`` and ``catch_up`` are called inside the gate, the rest by the destination's own thread; deques keep
the two apart without a lock. Without a journal memory is all there is, and it is bounded: steps go first, then the
oldest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.delivery import source
from dbbtrace.delivery.source import BATCH, Item, Source
from dbbtrace.journal.writer import Journal, Position
from dbbtrace.model import attributes as key

if TYPE_CHECKING:
    from dbbtrace.journal.reader import Record

__all__ = ["IN_MEMORY", "WITHOUT_JOURNAL", "Backlog", "Memory"]

IN_MEMORY = 2 * BATCH
"""Spans kept in memory although they stand in the journal: a batch that waits while another is made. Beyond that they
are read back."""
WITHOUT_JOURNAL = 100_000
"""Spans kept where no journal can be written; beyond that they are lost, and it is said."""


T = TypeVar("T")


class _Gap(NamedTuple):
    """Spans that are not in the queue."""

    position: Position
    """They stand in the journal before this."""


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


def _pop(waiting: deque[T], most: int) -> list[T]:
    items: list[T] = []
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
        self.journal = journal
        self.memory = memory
        self._seen: Position = source.BEGINNING
        """What whoever has the journal now will find in it for certain."""
        self._claim = claim
        self._wants = wants
        self._lost = lost
        self._recent: deque[Item | _Gap] = deque()
        self._missed: Position = source.BEGINNING
        """Behind the last span that stands in the journal only."""
        self._gap_is_open = False
        """It is the last that was put in: the next one in the queue comes after a gap."""
        self._forgotten = False
        self._reading: Iterator[Record] | None = None
        self._read_to: Position = source.BEGINNING
        """Up to there the journal is to be read before the queue goes on."""

    # -- inside the gate ----------------------------------------------------------------------------------------

    def put(self, position: Position | None, span: ReadableSpan) -> bool:
        """A span has ended; it stands in the journal before the position, if any. Answers whether its thread should
        look: it is the first to wait, or another batch is full."""
        after_gap = False
        if position is None:
            self.memory.put(span)
            waiting = len(self.memory)
        elif self._forgotten:
            return False
        elif len(self._recent) >= IN_MEMORY:
            self.missed(position)
            return False
        else:
            if after_gap := self._gap_is_open:
                self._recent.append(_Gap(self._missed))
                self._gap_is_open = False
            self._recent.append(Item(position, span))
            waiting = len(self._recent)
        return waiting == 1 or not waiting % BATCH or after_gap

    def missed(self, position: Position) -> None:
        """What ended before the position may stand in the journal only."""
        self._missed = position
        self._gap_is_open = True

    @property
    def has_room(self) -> bool:
        """Whether another batch finds room in memory; otherwise it has to be read back from the journal."""
        return not self.behind and len(self._recent) <= IN_MEMORY - BATCH

    def catch_up(self) -> None:
        """If all that was put in has been taken and settled, so is all that stands in the journal."""
        if self.journal is None or self._recent or self.behind or self.in_hand or self.left:  # as in is_idle
            return
        self.taken = self.settled = self.journal.position

    # -- the destination's own thread -----------------------------------------------------------------------------

    @property
    def behind(self) -> bool:
        """Whether something waits in the journal that is not in memory."""
        return self._forgotten or self._missed > self.taken

    @property
    def waiting(self) -> int:
        return len(self.left) + len(self._recent) + len(self.memory) + (IN_MEMORY if self.behind else 0)

    @property
    def is_empty(self) -> bool:
        return not (self.behind or self._recent or self.memory or self.left)

    @property
    def is_idle(self) -> bool:
        # In the order in which a span passes through, or it might slip by: the queues, in hand, left over.
        return not (self._recent or self.behind or self.memory or self.in_hand or self.left)

    def give_up(self) -> None:
        """The journal is no longer ours. What it held is for whoever has it now, who may not have seen the last of it:
        that is delivered from memory; and so is all that is in memory, if the journal was deleted."""
        if self.journal is not None and not self.journal.is_deleted:
            self._seen = self.journal.verified
        self.given_up = True
        self._missed = source.BEGINNING
        self._keep([each for each in _pop(self._recent, len(self._recent)) if isinstance(each, Item)])
        if not self.in_hand:  # or else its thread does this, when it knows what is left
            self.settle(self.left)

    def _keep(self, items: list[Item]) -> None:
        for item in items:
            if item.position is None or item.position > self._seen:
                self.memory.put(item.span)

    def forget(self) -> None:
        self._forgotten = self.journal is not None
        self._recent.clear()
        self._reading = None
        self.taken = self.settled
        self.left = [item for item in self.left if item.position is None]

    def take(self, most: int) -> list[Item]:
        if self.journal is not None and not self.journal.is_ours():
            self._lost(self)
            return []
        if most <= 0:
            return []
        missed = self._missed  # looked at before the queue: what is put in meanwhile comes after it
        items = self._next(most) if self._read_to <= self.taken else []
        if not items:
            if self._read_to <= self.taken:  # the queue is empty
                self._read_to = missed
            items = self._read(most)
        return items + self.memory.take(most - len(items))

    def _next(self, most: int) -> list[Item]:
        """The next in the queue, up to a gap."""
        items: list[Item] = []
        with suppress(IndexError):
            while len(items) < most:
                each = self._recent.popleft()
                if isinstance(each, Item):
                    items.append(each)
                elif each.position > self._behind(items):
                    self._read_to = each.position
                    break
        self.taken = self._behind(items)
        return items

    def _behind(self, items: list[Item]) -> Position:
        """The position behind the last of the items that are being taken."""
        return (items[-1].position if items else None) or self.taken

    def _read(self, most: int) -> list[Item]:
        """The next in the journal, up to the end of the gap."""
        from dbbtrace.journal import reader  # few jobs ever need it

        items: list[Item] = []
        journal, end = self.journal, self._read_to
        if journal is None or end <= self.taken:
            return items
        if self._reading is None:
            self._reading = reader.read(journal.path, self.taken, ends_only=True)
        for record in self._reading:
            if record.position > end:
                break
            self.taken = record.position
            span = reader.decode(record, journal.definitions.by_number)
            if span is not None and self._wants(span):
                items.append(Item(record.position, span))
            if len(items) == most and record.position < end:
                return items
            if record.position == end:
                break
        self._reading = None
        self.taken = end
        return items

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
