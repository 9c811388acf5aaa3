"""What the receiver takes, and the memory that all its requests share. No HTTP here.

A body of 20 kB can unpack to 20 MB of gzip and decode to gigabytes of objects. So what a body becomes is weighed
while it becomes it, and the weight of all requests together has a limit.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from dbbtrace.errors import TransientError

__all__ = ["ELEMENT_BYTES", "BusyError", "Limits", "Memory", "Share", "TooLargeError"]

ELEMENT_BYTES = 150
"""Bytes that one decoded element (a span, an attribute, a value in a list) takes, roughly."""


class TooLargeError(ValueError):
    """The body, or what it becomes, is beyond the limit."""


class BusyError(TransientError):
    """Too much is held here: the sender should slow down, the warehouse is well."""


@dataclass(frozen=True)
class Limits:
    """What a receiver takes."""

    max_bytes: int = 20 << 20
    """Bytes of one body, and of what it unpacks to; the Collector's own default."""
    max_elements: int = 1_000_000
    """Spans, attributes, values, events and links of one body."""
    max_memory: int = 512 << 20
    """Bytes of all bodies that are held at once, and of what they were decoded to."""
    body_seconds: float = 15.0
    """Seconds in which a body must have come."""
    commit_seconds: float = 25.0
    """Seconds that a sender waits for its commit; the Collector's own patience is 30."""
    max_connections: int = 1000
    """Connections that are open at once; fewer where the process may open fewer files."""
    head_seconds: float = 10.0
    """Seconds in which the head of a request must have come."""
    keep_alive_seconds: int = 75
    """Seconds that a connection is kept open between two requests."""


class Memory:
    """The memory that requests share. A request may hold as much as is still free, so large ones leave room for small
    ones: one alone gets half, two get a third each."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._held = 0
        self._lock = threading.Lock()

    def share(self) -> Share:
        """What one request holds; nothing yet."""
        return Share(self)

    def change(self, size: int, own: int) -> bool:
        """Hold so many bytes more (negative: fewer), ``own`` of them in all by this request; False: too many."""
        with self._lock:
            self._held += size
            return own <= self._max - self._held


class Share:
    """The bytes that one request holds."""

    def __init__(self, memory: Memory) -> None:
        self._memory, self._size = memory, 0

    def add(self, size: int) -> None:
        """Hold so many bytes more.

        Raises:
            BusyError: too much is held already.
        """
        self._size += size
        if not self._memory.change(size, self._size):
            raise BusyError("too many requests at once", retry_after=1)

    def release(self) -> None:
        """The request is over."""
        self._memory.change(-self._size, 0)
        self._size = 0
