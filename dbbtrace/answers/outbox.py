"""Queue of alerts for the webhook. Each alert is posted, with exponential backoff, until the webhook accepts it.

If no answer came, the alert may have been posted. It is then posted once more and dropped: twice is better than never,
but nobody wants the same alert three times. The queue is in memory only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from dbbtrace.answers.watch import Alert
from dbbtrace.errors import DbbtraceError, TransientError

__all__ = ["Outbox"]

FIRST, MOST = 60.0, 3600.0
"""Seconds before an alert is posted again. They double each time, up to an hour."""


@dataclass
class _Waiting:
    alert: Alert
    due: float
    tries: int = 0
    unsure: bool = False
    """It may have been posted."""


class Outbox:
    """Holds alerts until the webhook accepts them.

    Args:
        post: sends one alert; raises a ``DbbtraceError`` if it can't.
        clock: returns seconds, for tests.
    """

    def __init__(self, post: Callable[[Alert], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._post = post
        self._clock = clock
        self._waiting: list[_Waiting] = []

    def put(self, alert: Alert) -> None:
        """Add an alert to the queue."""
        self._waiting.append(_Waiting(alert, self._clock()))

    @property
    def waiting(self) -> list[Alert]:
        """The alerts that are still to be posted."""
        return [one.alert for one in self._waiting]

    def send(self) -> list[str]:
        """Post the alerts that are due, oldest first. Returns the errors, each once."""
        faults: list[str] = []
        for one in [one for one in self._waiting if one.due <= self._clock()]:
            error = self._tried(one)
            if error is not None and str(error) not in faults:
                faults.append(str(error))
            if isinstance(error, TransientError) and not error.ambiguous:  # the others would fail too
                for other in self._waiting:
                    other.due = max(other.due, one.due)
                break
        return faults

    def _tried(self, one: _Waiting) -> DbbtraceError | None:
        try:
            self._post(one.alert)
        except DbbtraceError as error:
            unsure, asked = (error.ambiguous, error.retry_after) if isinstance(error, TransientError) else (False, None)
            if unsure and one.unsure:
                self._waiting.remove(one)
            one.unsure = one.unsure or unsure
            one.due = self._clock() + max(min(FIRST * 2 ** min(one.tries, 10), MOST), asked or 0.0)
            one.tries += 1
            return error
        self._waiting.remove(one)
        return None
