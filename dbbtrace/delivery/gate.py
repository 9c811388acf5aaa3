"""One at a time, also against oneself.

A signal handler or a finaliser may end a span while its own thread is amid journalling another: a plain lock would
hang, a re-entrant one would let it into half-done books. Here it has to wait until the one outside has finished. And
Ctrl-C may raise between any two instructions, so nothing here relies on a flag that has to be put back.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from dbbtrace.diagnostics import warn_once

__all__ = ["Gate"]


class Gate:
    """Runs tasks one after the other, whatever the thread.

    Args:
        interrupted: called, inside, after a task that an exception cut short: the books need checking.
    """

    def __init__(self, interrupted: Callable[[], None]) -> None:
        self._lock = threading.RLock()
        self._later: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._outside: deque[Callable[[], object]] = deque()
        self._interrupted = interrupted

    def __call__(self, task: Callable[..., object], *arguments: Any) -> None:
        """Run the task now, or as soon as the one that this thread is amid has finished."""
        lock = self._lock
        if lock._is_owned():  # type: ignore[attr-defined]
            self._later.append((task, arguments))
            return
        try:
            with lock:
                try:
                    task(*arguments)
                except BaseException:
                    self._check()
                    raise
        finally:
            if self._later or self._outside:
                self.catch_up()

    def after(self, task: Callable[[], object]) -> bool:
        """If this thread is amid a task, run another right after it, outside; False if it isn't."""
        if not self.is_mine:
            return False
        self._outside.append(task)
        return True

    @property
    def is_mine(self) -> bool:
        """Whether this thread is amid a task: the caller is then a signal handler or a finaliser."""
        return self._lock._is_owned()  # type: ignore[attr-defined, no-any-return]

    def catch_up(self) -> None:
        """Run what had to wait."""
        if self.is_mine:
            return
        while self._later:
            with self._lock, suppress(IndexError):
                task, arguments = self._later[0]
                try:
                    task(*arguments)
                except Exception as error:
                    self._check()
                    warn_once(f"gate:{type(error).__name__}", "dbbtrace could not journal: %r", error)
                except BaseException:
                    self._check()
                    raise
                self._later.popleft()  # not before: cut short, it is run again
        while self._outside:
            with suppress(IndexError):
                self._outside.popleft()()

    def _check(self) -> None:
        with suppress(Exception):
            self._interrupted()
