"""The housekeeper of a delivery: shows that the owner lives, and looks for journals whose owner does not.

One thread, idle between heartbeats. Delivers nothing itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from dbbtrace.diagnostics import guard
from dbbtrace.tracing.threads import Bell, ours

__all__ = ["HEARTBEAT", "Heartbeat"]

HEARTBEAT = 30.0
"""Seconds between two heartbeats."""
_SOON = 0.05
"""Seconds after which it begins: the job that has just begun comes first."""


class Heartbeat:
    """Runs ``chores`` soon and then at every heartbeat, until told to stop."""

    def __init__(self, chores: Callable[[], None], every: float) -> None:
        self._chores = chores
        self._every = every
        self._bell = Bell()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="dbbtrace heartbeat", daemon=True)
        self._thread.start()

    def now(self) -> None:
        """Don't wait for the next heartbeat."""
        self._bell.ring()

    def stop(self) -> None:
        """End after the chore in hand."""
        self._stopped = True
        self._bell.ring()

    def _run(self) -> None:
        with ours():
            self._bell.wait(_SOON)
            while not self._stopped:
                with guard("keep its journal"):
                    self._chores()
                self._bell.wait(self._every)
