"""Who waits for a destination: until all that had ended when they asked is settled, or can't be for now."""

from __future__ import annotations

from collections import deque

from dbbtrace.delivery.queue import Queue
from dbbtrace.journal.position import Position
from dbbtrace.tracing.threads import Answer

__all__ = ["Waiters"]


class Waiters:
    """Those of one destination. Any thread may ask; the destination's own answers."""

    def __init__(self) -> None:
        self._requests: deque[tuple[Queue, Position, Answer]] = deque()

    def __bool__(self) -> bool:
        """Whether somebody waits for an answer."""
        return any(not answer.abandoned for _, _, answer in list(self._requests))

    def ask(self, queue: Queue, position: Position) -> Answer:
        """Where the answer will be, once all up to the position is settled, or can't be."""
        answer = Answer()
        self._requests.append((queue, position, answer))
        return answer

    def answer(self, *, will_try: bool) -> None:
        """Answer everybody who waited for what is now settled; if nothing more is tried soon, the others too."""
        for request in list(self._requests):
            queue, position, answer = request
            is_settled = queue.position >= position
            if is_settled or queue.closed or answer.abandoned or not will_try:
                self._requests.remove(request)
                answer.give(is_settled)
