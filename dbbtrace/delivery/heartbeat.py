"""The housekeeping of a delivery: shows that the owner lives, adopts the journals of others, copies its own away.

Delivers nothing itself. Threads are started with the first span, and what is slow to import when somebody needs it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from dbbtrace.delivery.options import Options
from dbbtrace.delivery.recorder import Recorder
from dbbtrace.delivery.worker import Worker
from dbbtrace.diagnostics import guard
from dbbtrace.tracing.threads import IMPORTS, Bell, ours

if TYPE_CHECKING:
    from dbbtrace.delivery.adoption import Adopter, WorkerOf
    from dbbtrace.delivery.queue import Queue
    from dbbtrace.journal.mirror import Mirror

__all__ = ["HEARTBEAT", "Housekeeping"]

HEARTBEAT = 30.0
"""Seconds between two heartbeats."""
_AT_ONCE = 100
"""Journals of others that wait here for a destination at a time."""
_SOON = 0.05
"""Seconds after which it begins: the job that has just begun comes first."""


class Housekeeping:
    """What a delivery does beside delivering. Made anew in a forked child."""

    def __init__(self, recorder: Recorder, options: Options) -> None:
        self._recorder = recorder
        self._options = options
        self._bell: Bell | None = None
        """Of the thread that does the chores; none without one."""
        self._mirror: Mirror | None = None
        self._adopter: Adopter | None = None

    def begin(self) -> None:
        """There is something to lose from now on."""
        if self._bell is None and self._options.journal_dir is not None:
            self._bell = bell = Bell()
            try:
                threading.Thread(target=self._run, args=(bell,), name="dbbtrace heartbeat", daemon=True).start()
            except RuntimeError:
                self._bell = None
                raise
        if self._mirror is None and self._options.mirror_dir is not None:
            from dbbtrace.journal.mirror import Mirror

            self._mirror = Mirror(self._journal_path, self._options.mirror_dir)

    def adopt_children(self, workers: Sequence[Worker], deadline: float) -> bool:
        """Take over the journals of children that are gone; False where that can't be done, or not in time."""
        adopter = self._looking()
        return adopter is None or adopter.adopt_children(_among(workers), deadline)

    def children(self) -> list[tuple[Worker, Queue]]:
        """What is delivered here of what children left, and deliveries of this process that were shut down."""
        journals = list(self._adopter.journals) if self._adopter is not None else []
        return [each for journal in journals if journal.is_child for each in journal.handed]

    def progressed(self) -> None:
        """A destination has settled something: there may be room for more journals of others."""
        adopter, bell = self._adopter, self._bell
        if adopter is None or bell is None or not adopter.there_are_more:
            return
        if not any(queue.waits for worker in self._recorder.workers for queue in list(worker.adopted)):
            bell.ring()

    def copy_away(self, deadline: float) -> None:
        """Have the journal's copy up to date."""
        if self._mirror is not None:
            self._mirror.copy_now(max(0.0, deadline - time.monotonic()))

    def adopt_no_more(self, timeout: float) -> None:
        """What is let go from now on is for others."""
        if (adopter := self._looking()) is not None:
            adopter.stop(timeout)

    def end(self) -> None:
        """There is no journal any more."""
        bell, self._bell = self._bell, None
        if bell is not None:
            bell.ring()
            self._recorder.logs.at_work = False
        if self._mirror is not None:
            self._mirror.close()
            self._mirror = None

    def _run(self, bell: Bell) -> None:
        """Do the chores soon, and then at every heartbeat."""
        with ours():
            bell.wait(_SOON)
            while self._bell is bell:
                with guard("keep its journal"):
                    self._chores()
                bell.wait(self._options.heartbeat)

    def _chores(self) -> None:
        """A sign of life, and whatever journals nobody delivers any more."""
        with self._recorder.turn.taken():
            self._recorder.logs.beat()
        self._recorder.catch_up()
        workers = [worker for worker in self._recorder.workers if not worker.stopped]
        if workers and (adopter := self._looking()) is not None:
            room = _AT_ONCE - max(len(worker.adopted) for worker in workers)
            adopter.say(adopter.adopt_some(_among(workers), room))

    def _looking(self) -> Adopter | None:
        """Who adopts the journals of others; made when somebody looks, which no first span waits for."""
        options = self._options
        if self._adopter is None and options.journal_dir is not None:
            # In a signal handler, amid this very import: the one it interrupted does it.
            with IMPORTS, suppress(ImportError):
                from dbbtrace.delivery.adoption import Adopter

                self._adopter = self._adopter or Adopter(
                    options.journal_dir, options.silent_after, options.keep_damaged, options.resolve
                )
        return self._adopter

    def _journal_path(self) -> str | None:
        own = self._recorder.logs.own
        return own.path if own is not None else None


def _among(workers: Sequence[Worker]) -> WorkerOf:
    return {name: worker for worker in workers for name in worker.destination.names}.get
