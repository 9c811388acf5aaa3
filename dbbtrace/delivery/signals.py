"""One at a time, also against oneself.

A signal handler or a finaliser may end a span while its own thread is amid journalling another: a plain lock would
hang, a re-entrant one would let it into half-done books. And Ctrl-C may raise between any two instructions, so nothing
here relies on a flag that has to be put back: both locks are only ever held by a ``with``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Turn"]


class Turn:
    """Who may journal.

    ``lock`` keeps other threads out. In it, ``amid`` is held while the books are open: who has got the lock and finds
    ``amid`` held is the same thread, a signal handler or a finaliser that struck there.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.amid = threading.Lock()

    @property
    def is_mine(self) -> bool:
        """Whether this thread is amid journalling: the caller is then a signal handler or a finaliser."""
        with self.lock:
            return self.amid.locked()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Have the turn. Not for spans, whose way is measured, nor for what a signal handler may call."""
        with self.lock:
            if self.amid.locked():
                raise RuntimeError("this thread is amid journalling")
            with self.amid:
                yield
