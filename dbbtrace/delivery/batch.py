"""One batch and one exporter: what is stored, what is refused for good, and what is left for later.

Nothing is set aside for a fault of the backend. A refusal in so many words (``RefusedError``) is believed: the batch
is halved until the span that is meant stands alone. A bare failure, all that exporters of others can say, is
believed only of a span that keeps failing alone while others of its batch get through before, between and after.
No threads, no clock, no files.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from dbbtrace.delivery.backoff import UnexplainedError
from dbbtrace.errors import ConfigurationError, RefusedError, TransientError

__all__ = ["Outcome", "settle"]

T = TypeVar("T")

_random = random.Random()  # of our own: a job that seeds the global one must get the numbers it expects
_STRIKES = 2
"""How often a span must fail alone, each time with others getting through around it, to be held the culprit."""


@dataclass
class Outcome(Generic[T]):
    """What became of a batch."""

    stored: int = 0
    refused: list[tuple[T, str]] = field(default_factory=list)
    """What the backend will never take, with the reason."""
    left: list[T] = field(default_factory=list)
    """What is to be tried again, in its order."""
    error: ConfigurationError | TransientError | None = None
    """Why something is left."""


@dataclass
class _Part(Generic[T]):
    """Neighbours of a batch that are sent together."""

    at: int
    items: Sequence[T]
    strikes: int = 0


def settle(send: Callable[[Sequence[T]], None], batch: Sequence[T], *, suspect: bool = False) -> Outcome[T]:
    """Send the batch, in parts where it must be.

    Args:
        send: returns when all is stored, raises TransientError, ConfigurationError, RefusedError or UnexplainedError.
        suspect: look for the culprit of an unexplained failure; without it such a failure is like any other
            that passes.
    """
    return _Settling(send, suspect).run(batch)


class _Settling(Generic[T]):
    def __init__(self, send: Callable[[Sequence[T]], None], suspect: bool) -> None:
        self._send = send
        self._suspect = suspect
        self._parts: list[_Part[T]] = []
        """Still to be sent, next one last."""
        self._suspects: list[_Part[T]] = []
        """Single spans that failed after others had got through, and wait for another to get through."""
        self._failures = 0
        """UnexplainedError ones since the backend last took something."""
        self._outcome: Outcome[T] = Outcome()

    def run(self, batch: Sequence[T]) -> Outcome[T]:
        outcome = self._outcome
        self._parts.append(_Part(0, batch))
        patience = 2 * len(batch).bit_length() + 2
        while self._parts and self._failures <= patience:
            part = self._parts.pop()
            try:
                self._send(part.items)
            except RefusedError as error:
                self._failures = 0  # the backend answers
                if len(part.items) > 1:
                    self._halve(part)
                else:
                    outcome.refused.append((part.items[0], str(error)))
            except UnexplainedError as error:
                outcome.error = error
                self._failures += 1
                self._doubt(part)
                if not self._suspect:
                    break
            except (TransientError, ConfigurationError) as error:
                outcome.error = error
                self._parts.append(part)
                break
            else:
                outcome.stored += len(part.items)
                self._failures = 0
                self._confirm()
        for part in sorted([*self._parts, *self._suspects], key=lambda part: part.at):
            outcome.left += part.items
        if not outcome.left:
            outcome.error = None
        return outcome

    def _halve(self, part: _Part[T]) -> None:
        middle = len(part.items) // 2
        halves = [_Part(part.at, part.items[:middle]), _Part(part.at + middle, part.items[middle:])]
        # In random order, so that culprits in a row can't hide, pass after pass, those that would get through.
        _random.shuffle(halves)
        self._parts += halves

    def _doubt(self, part: _Part[T]) -> None:
        if not self._suspect:
            self._parts.append(part)
        elif len(part.items) > 1:
            self._halve(part)
        elif self._outcome.stored:
            self._suspects.append(part)
        else:
            self._parts.insert(0, part)  # once others have got through it will mean more

    def _confirm(self) -> None:
        """Something got through: that counts against every span that has just failed."""
        suspects, self._suspects = self._suspects, []
        for part in suspects:
            part.strikes += 1
            if part.strikes < _STRIKES:
                self._parts.append(part)
            else:
                reason = f"fails alone while others get through: {self._outcome.error}"
                self._outcome.refused.append((part.items[0], reason))
