"""Where a destination's spans come from, and how far they have been delivered.

Acknowledgements are lines too, in a file of their own for each destination beside the segments, appended by whoever
delivers: ``{"acked":[3,120045]}``, everything before that offset of that segment is settled, or
``{"finished":true}``, nothing more will come.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import NamedTuple

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.journal.json_lines import dumps
from dbbtrace.journal.writer import Position, now_text

__all__ = ["BATCH", "BEGINNING", "FINISHED", "Item", "Source", "acknowledge", "acknowledged"]

BEGINNING: Position = (0, 0)
BATCH = 1_000
"""Most spans that are delivered together."""
FINISHED: Position = (1 << 62, 0)
"""Behind everything: what ended, and what was interrupted."""

_COMPACT_AT = 64 * 1024


class Item(NamedTuple):
    """A span that waits."""

    position: Position | None
    """Behind its line in the journal; None where it is in memory only."""
    span: ReadableSpan


class Source:
    """Spans for one destination. Of the destination's own thread, but where an heir says otherwise."""

    def __init__(self) -> None:
        self.left: list[Item] = []
        """Taken, tried, and to be tried again."""
        self.taken: Position = BEGINNING
        """What stands before this in the journal has been taken."""
        self.settled: Position = BEGINNING
        """What stands before this is stored, or set aside."""

        self.in_hand = False
        """Spans have been taken and are not settled yet."""
        self.given_up = False
        """What waits here is no longer ours to deliver."""

    @property
    def waiting(self) -> int:
        """How many spans are known to wait, those in hand apart."""
        return len(self.left)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known to wait."""
        return not self.waiting

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is in hand; for other threads to ask."""
        return self.is_empty and not self.in_hand

    def forget(self) -> None:
        """Nothing will be delivered from here in this process: free what stands in a journal too."""

    def take(self, most: int) -> list[Item]:
        """The next spans, oldest first."""
        raise NotImplementedError

    def settle(self, left: list[Item]) -> None:
        """Of all that was taken, only this has to be tried again."""
        self.left = left
        if not left and self.settled < self.taken:
            self.settled = self.taken
            self.acknowledge()

    def acknowledge(self) -> None:
        """Write down how far this is settled; failing that, what was delivered may be delivered again."""


def acknowledged(journal: str, key: str) -> Position:
    """How far the destination has acknowledged the journal in that directory."""
    from dbbtrace.journal.reader import lines, parse

    position = BEGINNING
    with suppress(OSError):
        for _, line in lines(_file(journal, key)):
            fields = parse(line) or {}
            if fields.get("finished") is True:
                return FINISHED
            with suppress(TypeError, ValueError):
                segment, offset = fields.get("acked", BEGINNING)
                position = max(position, (int(segment), int(offset)))
    return position


def acknowledge(journal: str, key: str, position: Position) -> None:
    """Append an acknowledgement.

    Raises:
        OSError: it could not be written.
    """
    fields: dict[str, object] = {"finished": True} if position >= FINISHED else {"acked": position}
    line = dumps({**fields, "at": now_text()})
    path = _file(journal, key)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    try:
        # A torn last line must not swallow this one: an empty line does no harm.
        os.write(fd, b"\n" + line)
        size = os.fstat(fd).st_size
    finally:
        os.close(fd)
    if size > _COMPACT_AT:
        with open(path + ".new", "wb") as file:
            file.write(line)
        os.replace(path + ".new", path)


def _file(journal: str, key: str) -> str:
    return os.path.join(journal, f"{key}.ack")
