"""The housekeeper of a delivery: shows that the owner lives, and looks for journals whose owner does not.

One thread, idle between heartbeats. Delivers nothing itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from dbbtrace.delivery.bell import Bell
from dbbtrace.delivery.worker import OUR_THREADS, quietly
from dbbtrace.diagnostics import guard

__all__ = ["HEARTBEAT", "Keeper"]

HEARTBEAT = 30.0
"""Seconds between two heartbeats."""
_SOON = 0.05
"""Seconds after which it begins: the job that has just begun comes first."""


class Keeper:
    """Runs ``chores`` soon and then at every heartbeat, until told to stop."""

    def __init__(self, chores: Callable[[], None], every: float) -> None:
        self._chores = chores
        self._every = every
        self._stop = Bell()
        self._thread = threading.Thread(target=self._run, name="dbbtrace keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the chore in hand."""
        self._stop.ring()

    def _run(self) -> None:
        quietly()
        try:
            every = _SOON
            while not self._stop.wait(every):
                with guard("keep its journal"):
                    self._chores()
                every = self._every
        finally:
            OUR_THREADS.discard(threading.get_ident())
