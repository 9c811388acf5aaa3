"""Threads of our own: what marks them, and how they are woken.

A signal handler can't turn this waiting into a deadlock, and it ends when its time is over. ``threading.Event`` holds a
lock while it is set, which hangs when a handler sets it too. ``queue.SimpleQueue`` doesn't, but its ``get(timeout)``
can wait for ever when the time is over before it has begun to wait (seen on CPython 3.10).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from opentelemetry import context as otel_context

__all__ = ["IMPORTS", "OUR_THREADS", "Answer", "Bell", "ours", "unobserved"]

OUR_THREADS: set[int] = set()
"""Threads whose own spans are never journalled."""

IMPORTS = threading.RLock()
"""Held by a thread of ours that imports: where the process forks amid that, the child has half a module for ever."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=IMPORTS.acquire, after_in_parent=IMPORTS.release, after_in_child=IMPORTS.release)


@contextmanager
def ours() -> Iterator[None]:
    """Mark this thread as ours: other instrumentation leaves it alone, and its spans are not journalled."""
    me = threading.get_ident()
    OUR_THREADS.add(me)
    try:
        with unobserved():
            yield
    finally:
        OUR_THREADS.discard(me)


@contextmanager
def unobserved() -> Iterator[None]:
    """Where drivers and clients are instrumented, their spans about our sending must not become more sending."""
    # Private, and another one in each process: the instrumentation packages ask for this very key, older ones by name.
    key = getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")
    context = otel_context.set_value("suppress_instrumentation", True, otel_context.set_value(key, True))
    token = otel_context.attach(context)
    try:
        yield
    finally:
        otel_context.detach(token)


class Bell:
    """Wakes one sleeper. Rung several times before somebody waits, it wakes once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        """Wake the one who waits, or the next who does."""
        with suppress(RuntimeError):  # rung already
            self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Until it rings; False if it doesn't in so many seconds. None waits for ever."""
        return self._lock.acquire(timeout=-1 if timeout is None else min(max(0.0, timeout), threading.TIMEOUT_MAX))


class Answer:
    """Yes or no, once, from one thread to another."""

    def __init__(self) -> None:
        self.abandoned = False
        """Nobody waits for it any more."""
        self._bell = Bell()
        self._yes = False

    def give(self, yes: bool) -> None:
        """Answer."""
        self._yes = yes
        self._bell.ring()

    def get(self, timeout: float | None) -> bool:
        """The answer; no, if there is none in so many seconds."""
        self.abandoned = not self._bell.wait(timeout)
        return not self.abandoned and self._yes
