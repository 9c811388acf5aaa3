"""One destination: a thread that takes what waits and delivers it, in batches, as long as it takes.

Destinations know nothing of each other: a dead one delays nobody. Work of the exporter is kept from other
instrumentation, so that delivering spans makes no spans. Never raises, never reads settings.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from dbbtrace.delivery.backoff import Backoff
from dbbtrace.delivery.queue import BATCH, Entry, Log, Queue
from dbbtrace.delivery.sink import Destination, SetAside, Sink
from dbbtrace.diagnostics import log
from dbbtrace.errors import TransientError
from dbbtrace.journal.position import BEGINNING, Position
from dbbtrace.tracing.threads import IMPORTS, Answer, Bell, ours

__all__ = ["LINGER", "Worker"]

LINGER = 5.0
"""Seconds that spans wait for company; a flush ends the wait at once."""
_GATHERING = 0.2
"""Seconds spent on filling a batch from the journals of others, of which most hold few spans."""


class Worker:
    """Delivers to one destination.

    Args:
        set_aside: keeps what the destination refuses.
        progressed: called in the destination's thread when more is settled, with how many spans.
    """

    def __init__(
        self,
        destination: Destination,
        set_aside: SetAside,
        progressed: Callable[[int], object] = lambda count: None,
    ) -> None:
        self.destination = destination
        self.name = destination.name
        self.own: list[Queue] = []
        """What this process records itself: always first."""
        self.adopted: deque[Queue] = deque()
        """What others left, one after the other."""
        self.stored = self.refused = 0
        self.lost = 0
        """Spans of this process and its children that were refused, dropped for want of room, or left to another."""
        self.running = False
        self._sink = Sink(destination, set_aside)
        self._backoff = Backoff(self.name)
        self._progressed = progressed
        self._bell = Bell()
        self._asked: deque[tuple[Queue, Position, Answer]] = deque()
        """Who waits until all up to a position is settled."""
        self._thread: threading.Thread | None = None
        self._turn = threading.Lock()
        """Held by the one thread that delivers."""
        self._closing = False
        self._waiting_since: float | None = None
        self._urgent = False
        """What waits is to be delivered without delay: somebody has asked."""
        self._ahead = False
        """The destination is to be opened before there is anything to deliver."""

    # -- any thread ---------------------------------------------------------------------------------------------

    @property
    def stopped(self) -> bool:
        """Whether a person has to mend something."""
        return self._backoff.stopped

    @property
    def error(self) -> str | None:
        """Why delivery waits."""
        return self._backoff.error

    @property
    def is_asked(self) -> bool:
        """Whether somebody waits."""
        return any(not answer.abandoned for _, _, answer in list(self._asked))

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is in hand."""
        return not any(queue.waits for queue in [*self.own, *self.adopted])

    def lose(self, count: int) -> None:
        """So many spans are no longer this process's to deliver."""
        self.lost += count

    def queue(
        self, log: Log, key: str, position: Position = BEGINNING, due: Position = BEGINNING, *, answers: bool = True
    ) -> Queue:
        """The destination's place in a log; whether this process answers for the spans in it."""
        return Queue(log, key, self.destination.takes, position, due, self.lose if answers else lambda count: None)

    def start(self) -> None:
        """Have a thread. Late in the interpreter's exit there can be none: then spans stay in the journal."""
        if self.running:
            return
        self._closing = False
        self._thread = thread = threading.Thread(target=self._run, name=f"dbbtrace {self.name}", daemon=True)
        try:
            self.running = True
            thread.start()
        except BaseException as error:
            self.running = False  # a thread that started all the same, before Ctrl-C struck, corrects this
            if not isinstance(error, RuntimeError):
                raise
            self._backoff.error = str(error)

    def open_ahead(self) -> None:
        """Open the destination now, in its thread: an exporter with ``connect()`` is asked to connect."""
        self._ahead = True
        self.start()

    def wake(self) -> None:
        """There is something to do."""
        if not self.running:
            self.start()
        self._bell.ring()

    def act(self) -> None:
        """Somebody may have mended what is wrong: try once."""
        self._backoff.act()
        self._bell.ring()

    def adopt(self, queue: Queue, *, first: bool = False) -> None:
        """Deliver what another process left; before what others have left, if it is that of a child."""
        if first:
            self.adopted.appendleft(queue)
        else:
            self.adopted.append(queue)
        self.wake()

    def ask(self, queue: Queue) -> Answer:
        """Deliver without delay; where the answer will be, once all that waits there now is settled, or can't be."""
        answer = Answer()
        self._asked.append((queue, queue.due, answer))
        self._urgent = True
        self._backoff.hurry()
        self.wake()
        if not self.running:
            answer.give(False)
        return answer

    def close(self, timeout: float) -> None:
        """Shut the exporter down once nothing waits; wait for it at most so long."""
        self._closing = True
        self._bell.ring()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread() and timeout > 0:
            thread.join(timeout)

    # -- the destination's thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        if not self._turn.acquire(blocking=False):
            return
        try:
            with ours():
                self.running = True
                if self._ahead:
                    self._ahead = False
                    self._sink.open_ahead()
                while not (self._closing and self.is_idle):
                    self._wait()
                    with IMPORTS:  # what the first span does not wait for
                        import dbbtrace.delivery.batch
                        import dbbtrace.delivery.dead_letter
                        import dbbtrace.journal.checkpoint  # noqa: F401
                    try:
                        self._round()
                    except BaseException as error:  # whatever it is, nothing that waits has moved
                        log.exception("dbbtrace stumbled while delivering to %s", self.name)
                        self._backoff.failed(TransientError(repr(error)))
                self._sink.shut_down()
        finally:
            self._turn.release()
            self.running = False
            self._answer()
            if not self.is_idle:  # put in at the last moment
                self.start()

    def _wait(self) -> None:
        """Until there is enough to deliver, or somebody asks, or it has waited long enough."""
        while True:
            if not self._backoff.will_try:
                self._hand_back()
            timeout = self._timeout()
            if timeout is not None and timeout <= 0:
                return
            self._answer()
            if not self._bell.wait(timeout):
                return
            if self._closing and self.is_idle:
                return

    def _timeout(self) -> float | None:
        """Seconds until there is something to do; None: until it rings."""
        pause = self._backoff.remaining()
        if pause > 0:
            return pause
        if self._urgent or self.adopted:
            return 0
        waiting = [queue for queue in self.own if queue.waits]
        if not waiting:
            self._waiting_since = None
            return None
        if self._closing or self.error is not None or sum(queue.waiting for queue in waiting) >= BATCH:
            return 0
        now = time.monotonic()
        self._waiting_since = self._waiting_since or now
        return self._waiting_since + LINGER - now

    def _round(self) -> None:
        """One batch, own spans first."""
        self._waiting_since = None
        if not any(queue.waits and self._deliver([queue]) for queue in self.own):
            self._deliver([queue for queue in list(self.adopted) if queue.waits])
        for queue in list(self.adopted):
            if not queue.waits:
                self.adopted.remove(queue)
        if self.is_idle:
            self._urgent = False
        self._answer()

    def _deliver(self, queues: Sequence[Queue]) -> bool:
        """One batch of what waits in the queues, in their order; False where none can be read now."""
        in_hand: list[tuple[Queue, list[Entry]]] = []
        room, until = BATCH, time.monotonic() + _GATHERING
        for queue in queues:
            taken = self._take(queue, room)
            if taken is not None:
                in_hand.append((queue, taken))
                room -= len(taken)
            if room <= 0 or time.monotonic() > until:
                break
        settled = 0
        if entries := [entry for _, taken in in_hand for entry in taken]:
            settled = self._send(entries, in_hand)
        for queue, _ in in_hand:
            queue.log.settled()
        self._progressed(settled)
        return bool(in_hand)

    def _take(self, queue: Queue, most: int) -> list[Entry] | None:
        """The next spans of the queue; None where it can't be read now.

        Then it is kept and tried later: ours by this thread, what others left by whoever looks next, so that it does
        not hold up its neighbours.
        """
        try:
            return queue.take(most)
        except Exception as error:
            if queue in self.adopted:
                self._let_go(queue, error)
            elif isinstance(error, OSError):
                self._backoff.failed(TransientError(f"the journal can't be read: {error}"))
            else:
                raise
            return None

    def _send(self, entries: list[Entry], in_hand: Sequence[tuple[Queue, list[Entry]]]) -> int:
        """How many are settled by now."""
        outcome = self._sink.deliver(entries, suspect=self._backoff.is_suspicious)
        self.stored += outcome.stored
        self.refused += len(outcome.refused)
        left, refused = set(map(id, outcome.left)), {id(entry) for entry, _ in outcome.refused}
        for queue, taken in in_hand:
            if count := sum(id(entry) in refused for entry in taken):
                queue.lose(count)
            queue.settle(taken, [entry for entry in taken if id(entry) in left])
        if outcome.error is not None:
            self._backoff.failed(outcome.error)
        else:
            self._backoff.succeeded()
        return len(entries) - len(outcome.left)

    def _hand_back(self) -> None:
        """What others left is anybody's again: another process may be luckier."""
        while self.adopted:
            self._let_go(self.adopted.popleft())

    def _let_go(self, queue: Queue, error: Exception | None = None) -> None:
        queue.close(error)
        queue.log.settled()

    def _answer(self) -> None:
        """Answer everybody who waited for what is now settled; if nothing more is tried soon, the others too."""
        will_try = self.running and self._backoff.will_try
        for request in list(self._asked):
            queue, position, answer = request
            is_settled = queue.position >= position
            if is_settled or queue.closed or answer.abandoned or not will_try:
                self._asked.remove(request)
                answer.give(is_settled)
