"""What one job has recorded of a run so far: the number of rows that it promises. Safe from several threads."""

from __future__ import annotations

import os
from threading import Lock

from dbbtrace.model import attributes as key
from dbbtrace.model.parts import MOST_STEPS

__all__ = ["Tally"]


class Tally:
    """Counts of a job. A forked child's work is not its parent's: there nothing is counted."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._lock = Lock()
        self._counts = {key.OPERATION_LOAD: 0, key.OPERATION_DBT_NODE: 0, key.OPERATION_REFRESH: 0}
        self._steps = 0
        self.steps_done = False
        """Whether a step has ended well, with a row or without."""

    def add(self, operation: str) -> None:
        """An operation that has no identity but its span gives a row of this job's alone."""
        if os.getpid() == self._pid:
            with self._lock:
                self._counts[operation] += 1

    def step_fits(self) -> bool:
        """Whether a step or an attempt may still give a row; counts it."""
        if os.getpid() != self._pid:
            return True
        with self._lock:
            self._steps += 1
            return self._steps <= MOST_STEPS

    def attributes(self) -> dict[str, int]:
        """The counts, as the job's own span carries them."""
        return {
            key.PART_LOADS: self._counts[key.OPERATION_LOAD],
            key.PART_NODES: self._counts[key.OPERATION_DBT_NODE],
            key.PART_REFRESHES: self._counts[key.OPERATION_REFRESH],
            key.PART_DROPPED: max(0, self._steps - MOST_STEPS),
        }
