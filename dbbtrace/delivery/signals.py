"""One at a time, also against oneself.

A signal handler or a finaliser may end a span while its own thread is amid journalling another: a plain lock would
hang, a re-entrant one would let it into half-done books. And Ctrl-C may raise between any two instructions, so nothing
here relies on a flag that has to be put back: the lock is only ever held by a ``with``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Turn"]


class Turn:
    """Who may journal."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        """Taken by who has made sure that the turn is not its own thread's already: that is not to be taken twice."""
        self.is_mine: Callable[[], bool] = self.lock._is_owned  # type: ignore[attr-defined]  # as Condition asks it
        """Whether this thread is amid journalling: the caller is then a signal handler or a finaliser."""

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Have the turn. Not for spans, whose way is measured, nor for what a signal handler may call."""
        if self.is_mine():
            raise RuntimeError("this thread is amid journalling")
        with self.lock:
            yield
