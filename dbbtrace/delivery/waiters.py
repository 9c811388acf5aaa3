"""Who waits for a destination: until all that had ended when they asked is settled, or can't be for now."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from dbbtrace.delivery.queue import Queue
from dbbtrace.journal.position import Position
from dbbtrace.tracing.threads import Answer

__all__ = ["Waiters"]


class _Request(NamedTuple):
    queue: Queue
    position: Position
    answer: Answer


class Waiters:
    """Those of one destination. Any thread may ask; the destination's own answers."""

    def __init__(self) -> None:
        self._requests: deque[_Request] = deque()

    def __bool__(self) -> bool:
        """Whether somebody waits for an answer."""
        return any(not request.answer.abandoned for request in list(self._requests))

    def ask(self, queue: Queue, position: Position) -> Answer:
        """Where the answer will be, once all up to the position is settled, or can't be."""
        request = _Request(queue, position, Answer())
        self._requests.append(request)
        return request.answer

    def answer(self, *, will_try: bool) -> None:
        """Answer everybody who waited for what is now settled; if nothing more is tried soon, the others too."""
        for request in list(self._requests):
            is_settled = request.queue.position >= request.position
            if is_settled or request.queue.closed or request.answer.abandoned or not will_try:
                self._requests.remove(request)
                request.answer.give(is_settled)
