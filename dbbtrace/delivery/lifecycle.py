"""The ends of a process, and its copies: exit, SIGTERM, fork, multiprocessing's own way out.

Each delivery that has something to lose is known here. The host's own handlers are never replaced: SIGTERM is
only handled where nobody handles it.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from dbbtrace.diagnostics import guard
from dbbtrace.tracing.threads import OUR_THREADS

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["Leaving", "at_work", "watch", "watch_sigterm"]


class Leaving(Protocol):
    """What ends with the process."""

    exit_timeout: float
    """Seconds that the end of the process waits for it."""

    def leave(self, timeout: float) -> None:
        """The process ends: be done within so many seconds."""

    def after_fork(self) -> None:
        """This is a forked child."""

    def after(self, task: Callable[[], object]) -> bool:
        """If this thread is amid journalling, have the task run right after it; False if it isn't."""


at_work: set[Leaving] = set()
"""Deliveries of this process that may hold something."""

_watching = False
_finalizer_pid = 0
_forked = False


def watch(delivery: Leaving) -> None:
    """From now on this delivery has something to lose."""
    at_work.add(delivery)
    _watch_process()
    _watch_multiprocessing()
    watch_sigterm()


def _watch_process() -> None:
    global _watching
    if not _watching:
        _watching = True
        atexit.register(_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_after_fork)


def watch_sigterm() -> None:
    """Deliver before SIGTERM ends the process, if nobody else has plans for it; main thread only.

    Not in children: whoever ends a pool expects its workers to die at once, also amid a call into C, before which
    Python may have looked for signals for the last time. Their journal is their parent's to adopt.
    """
    if _is_child() or threading.current_thread() is not threading.main_thread():
        return
    with suppress(ValueError, OSError):  # a subinterpreter, a host that forbids it
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _on_sigterm)
            _watch_process()


def _is_child() -> bool:
    """Whether this process was forked from one that delivers, or made by multiprocessing."""
    process = sys.modules.get("multiprocessing.process")
    return _forked or (process is not None and process.parent_process() is not None)


def _watch_multiprocessing() -> None:
    """A child of multiprocessing leaves by ``os._exit``, past atexit, but runs finalizers of its own."""
    global _finalizer_pid
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None or _finalizer_pid == os.getpid():
        return
    from multiprocessing.util import Finalize

    _finalizer_pid = os.getpid()
    Finalize(None, _exit, exitpriority=100)


def _exit() -> None:
    """Deliver what waits until the deadline; what is left stays in the journal."""
    deliveries = list(at_work)
    deadline = time.monotonic() + max((delivery.exit_timeout for delivery in deliveries), default=0.0)
    for delivery in deliveries:
        with guard("finish delivering"):
            delivery.leave(max(0.0, deadline - time.monotonic()))


def _on_sigterm(signum: int, frame: FrameType | None) -> None:
    # Amid journalling (this is the very thread) first finish that: the line, then the exit.
    if not any(delivery.after(_terminate) for delivery in list(at_work)):
        _terminate()


def _terminate() -> None:
    _exit()
    if signal.getsignal(signal.SIGTERM) is _on_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)


def _after_fork() -> None:
    global _forked
    _forked = True
    with suppress(ValueError, OSError):
        if signal.getsignal(signal.SIGTERM) is _on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
    OUR_THREADS.clear()  # none of them lives here, and a thread of the child may get the number of one
    for delivery in list(at_work):
        delivery.after_fork()
