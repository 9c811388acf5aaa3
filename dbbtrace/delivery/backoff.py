"""How a destination that fails is treated: how long it is left alone, what is said of it, when a span is suspected.

Longer each time, or as long as it said itself. What a person has to mend is tried again seldom, and a wrong login only
when somebody has acted: many retries lock an account. The clock is given; nothing sleeps here.
"""

from __future__ import annotations

import random
from math import inf
from time import monotonic

from dbbtrace.diagnostics import log
from dbbtrace.errors import ConfigurationError, LoginError, TransientError

__all__ = ["Backoff", "UnexplainedError"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
_FIRST_STOP, _LONGEST_STOP = 300.0, 3600.0
_SUSPICIOUS = 3
"""Unexplained failures in a row before a span is suspected."""
_random = random.Random()  # of our own: a job that seeds the global one must get the numbers it expects


class UnexplainedError(TransientError):
    """An exporter failed and did not say why: the backend's fault until shown to be a span's."""


class Backoff:
    """The pauses of one destination; seconds throughout."""

    def __init__(self, name: str) -> None:
        self.stopped = False
        """What is wrong has to be mended by a person."""
        self.error: str | None = None
        """Why delivery waits."""
        self._name = name
        self._unexplained = 0
        self._failures = 0
        self._until = 0.0
        self._is_theirs = False
        self._hurry = self._acted = False

    @property
    def is_suspicious(self) -> bool:
        """Whether a span may be to blame: the backend has failed so often without a word why."""
        return self._unexplained >= _SUSPICIOUS

    @property
    def will_try(self) -> bool:
        """Whether another attempt comes soon."""
        return not self.stopped or self._acted

    def remaining(self) -> float:
        """How long the pause still lasts."""
        if self._acted:
            self._acted = False
            if self.stopped:
                self._until = 0.0
        if self._hurry:
            self._hurry = False
            if not self.stopped:
                self._failures = 0
                if not self._is_theirs:
                    self._until = 0.0
        return self._until - monotonic()

    def failed(self, error: TransientError | ConfigurationError) -> None:
        """Begin a pause. Not shorter than the backend asked for, and where a write may still be under way not cut
        short either."""
        self._say(error)
        self.error = str(error)
        self._unexplained = self._unexplained + 1 if isinstance(error, UnexplainedError) else 0
        if isinstance(error, ConfigurationError) != self.stopped:
            self._failures = 0
        self.stopped = isinstance(error, ConfigurationError)
        first, longest = (_FIRST_STOP, _LONGEST_STOP) if self.stopped else (_FIRST_PAUSE, _LONGEST_PAUSE)
        pause = min(longest, first * 2.0 ** min(self._failures, 16))
        self._failures += 1
        if isinstance(error, LoginError):
            self._until = inf
        elif isinstance(error, ConfigurationError):
            self._until = monotonic() + pause
        else:
            self._is_theirs = error.retry_after is not None or error.ambiguous
            pause *= _random.uniform(0.5, 1.0)  # many jobs must not come back in step
            self._until = monotonic() + max(pause, error.retry_after or 0)

    def _say(self, error: TransientError | ConfigurationError) -> None:
        """One line, and not the same again."""
        if isinstance(error, ConfigurationError):
            again = "when somebody has mended that: dbbtrace.flush() or configure() tries again"
            later = "after 5 minutes, then ever more seldom, or at once by dbbtrace.flush()"
            if self.error != str(error):
                log.error(
                    "%s takes no spans: %s; they stay in the journal and are delivered %s",
                    self._name,
                    error,
                    again if isinstance(error, LoginError) else later,
                )
        elif self.error is None:
            log.warning("%s does not take spans now (%s); they wait", self._name, error)

    def succeeded(self) -> None:
        """Forget past failures."""
        if self.error is not None:
            log.info("%s takes spans again", self._name)
        self.error = None
        self._failures = self._unexplained = 0
        self.stopped = False

    def hurry(self) -> None:
        """Somebody has just begun to wait: try at once, unless the backend named a time; then with short pauses."""
        self._hurry = True

    def act(self) -> None:
        """Somebody may have mended what is wrong: try once, at once."""
        self._acted = True
