"""What one job has recorded of a run so far: the rows that it promises, and marks of what they are of.

Safe from several threads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from threading import Lock
from typing import Any

from dbbtrace.model import attributes as key
from dbbtrace.model.parts import MOST_STEPS, mark_of

__all__ = ["Tally"]

_MOST_MARKS = 500
"""Of each kind; a job with more tells how many alone: its row has room for 8,000 letters."""
_NAMES = {
    key.OPERATION_LOAD: (key.SOURCE_NAME, key.SCHEMA_NAME, key.TABLE_NAME),
    key.OPERATION_REFRESH: (key.MODEL_ID,),
}
"""What tells the rows of a kind apart, whoever wrote them."""


class Tally:
    """Counts of a job. A forked child's work is not its parent's: there nothing is counted."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._lock = Lock()
        self._counts = {key.OPERATION_LOAD: 0, key.OPERATION_DBT_NODE: 0, key.OPERATION_REFRESH: 0}
        self._names: dict[str, set[tuple[object, ...]]] = {operation: set() for operation in _NAMES}
        self._steps = 0
        self.steps_done = False
        """Whether a step has ended well, with a row or without."""

    def add(self, operation: str, attributes: Mapping[str, Any]) -> None:
        """An operation that has no identity but its span gives a row of this job's alone."""
        if os.getpid() == self._pid:
            with self._lock:
                self._counts[operation] += 1
                names = self._names.get(operation)
                if names is not None and len(names) <= _MOST_MARKS:
                    names.add(tuple(map(attributes.get, _NAMES[operation])))

    def step_fits(self) -> bool:
        """Whether a step or an attempt may still give a row; counts it."""
        if os.getpid() != self._pid:
            return True
        with self._lock:
            self._steps += 1
            return self._steps <= MOST_STEPS

    def marks(self) -> dict[str, str]:
        """Marks of all that has a row, as the job says them: ``{"table_load": "0a1b2c..."}``."""
        return {
            kind: "".join(sorted({mark_of(*one) for one in list(names)}))
            for kind, names in self._names.items()
            if 0 < len(names) <= _MOST_MARKS
        }

    def attributes(self) -> dict[str, int]:
        """The counts, as the job's own span carries them."""
        return {
            key.PART_LOADS: self._counts[key.OPERATION_LOAD],
            key.PART_NODES: self._counts[key.OPERATION_DBT_NODE],
            key.PART_REFRESHES: self._counts[key.OPERATION_REFRESH],
            key.PART_DROPPED: max(0, self._steps - MOST_STEPS),
        }
