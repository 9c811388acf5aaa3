"""Waiting that a signal handler can't turn into a deadlock, and that ends when its time is over.

``threading.Event`` holds a lock while it is set, which hangs when a handler sets it too. ``queue.SimpleQueue`` doesn't,
but its ``get(timeout)`` can wait for ever when the time is over before it has begun to wait (seen on CPython 3.10).
"""

from __future__ import annotations

import threading
from contextlib import suppress

__all__ = ["Answer", "Bell"]


class Bell:
    """Wakes one sleeper. Rung several times before somebody waits, it wakes once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        """Wake whoever waits, or the next who does."""
        with suppress(RuntimeError):  # rung already
            self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Until it rings; False if it doesn't in so many seconds. None waits for ever."""
        return self._lock.acquire(timeout=-1 if timeout is None else min(max(0.0, timeout), threading.TIMEOUT_MAX))


class Answer:
    """Yes or no, once, from one thread to another."""

    def __init__(self) -> None:
        self._bell = Bell()
        self._yes = False

    def give(self, yes: bool) -> None:
        """Answer."""
        self._yes = yes
        self._bell.ring()

    def get(self, timeout: float | None) -> bool:
        """The answer; no, if there is none in so many seconds."""
        return self._bell.wait(timeout) and self._yes
