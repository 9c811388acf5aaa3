"""One at a time, also against oneself.

A signal handler or a finaliser may end a span while its own thread is amid journalling another: a plain lock would
hang, a re-entrant one would let it into half-done books. Here it has to wait until the one outside has finished.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

__all__ = ["Gate"]


class Gate:
    """Runs tasks one after the other, whatever the thread.

    Args:
        interrupted: called, inside, after a task that an exception cut short (Ctrl-C may strike between any two
            instructions): the books need checking.
    """

    def __init__(self, interrupted: Callable[[], None]) -> None:
        self._lock = threading.RLock()
        self._busy = False
        self._later: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._outside: deque[Callable[[], object]] = deque()
        self._interrupted = interrupted

    def __call__(self, task: Callable[..., object], *arguments: Any) -> None:
        """Run the task now, or as soon as the one that this thread is amid has finished."""
        try:
            with self._lock:
                if self._busy:
                    self._later.append((task, arguments))
                    return
                done = False
                self._busy = True
                try:
                    task(*arguments)
                    done = True
                finally:
                    if not done:
                        with suppress(Exception):
                            self._interrupted()
                    self._busy = False
        finally:
            if (self._later or self._outside) and not self._busy:
                self._drain()

    def after(self, task: Callable[[], object]) -> bool:
        """If this thread is amid a task, run another right after it, outside; False if it isn't."""
        if not self.is_mine:
            return False
        self._outside.append(task)
        return True

    @property
    def is_mine(self) -> bool:
        """Whether this thread is amid a task: the caller is then a signal handler or a finaliser."""
        return self._busy and self._lock._is_owned()  # type: ignore[attr-defined]

    def _drain(self) -> None:
        with suppress(IndexError):
            while self._later:
                task, arguments = self._later.popleft()
                self(task, *arguments)
            while self._outside:
                self._outside.popleft()()
