"""How long a destination that failed is left alone: longer each time, or as long as it said itself.

The clock is given; nothing sleeps here.
"""

from __future__ import annotations

import random
from time import monotonic

from dbbtrace.errors import TransientError

__all__ = ["Patience"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
_random = random.Random()  # of our own: a job that seeds the global one must get the numbers it expects


class Patience:
    """The pauses of one destination; seconds throughout."""

    def __init__(self) -> None:
        self._failures = 0
        self._until = 0.0
        self._is_theirs = False
        self._hurry = False

    def remaining(self) -> float:
        """How long the pause still lasts."""
        if self._hurry:
            self._hurry = False
            self._failures = 0
            if not self._is_theirs:
                self._until = 0.0
        return self._until - monotonic()

    def failed(self, error: TransientError) -> None:
        """Begin a pause. Not shorter than the backend asked for, and where a write may still be under way not cut
        short either."""
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._failures, 16))
        self._failures += 1
        pause = longest * _random.uniform(0.5, 1.0)  # many jobs must not come back in step
        self._is_theirs = error.retry_after is not None or error.ambiguous
        self._until = monotonic() + max(pause, error.retry_after or 0)

    def succeeded(self) -> None:
        """Forget past failures."""
        self._failures = 0

    def hurry(self) -> None:
        """Somebody has just begun to wait: try at once, unless the backend named a time; then with short pauses."""
        self._hurry = True
