"""The critical path of a run: the chain of operations that decided when it ended. Pure.

Walked backwards from what ended last: each operation waited for one that it selects from, or for whatever ended last
before it began (a thread of dbt's, a lane of copies, the job before). Between two of them may lie a wait that no
operation accounts for: a queue, a job that starts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from dbbtrace.answers.graph import Graph
from dbbtrace.answers.rows import Operation

__all__ = ["PathStep", "critical_path"]

_SLACK = timedelta(seconds=1)
"""Hand-made rows know whole seconds only, so that what was waited for may seem to end after the wait."""
_AT_ONCE = timedelta(seconds=0.5)
"""A dependency that ended so shortly before anything else did is what was waited for."""


@dataclass(frozen=True)
class PathStep:
    """One operation of the path."""

    operation: Operation
    needed: bool
    """It selects from the step before; False: it began when that one had ended."""
    waited: float
    """Seconds between the end of the step before, or the start of the run, and its start."""
    seconds: float
    """From its start, or the end of the step before where that is later, to its end."""


def critical_path(operations: Iterable[Operation]) -> list[PathStep]:
    """The path, first step first; empty for a run of which no operation has a start and an end."""
    graph = Graph(operations)
    timed = [operation for operation in graph.outcomes if operation.started_at and operation.ended_at]
    if not timed:
        return []
    walk = _Walk(graph, timed)
    path = [(walk.by_end[-1], False)]
    while (found := walk.before(path[-1][0])) is not None:
        before, needed = found
        path[-1] = (path[-1][0], needed)
        path.append((before, False))
    steps, at = [], min(_start(operation) for operation in timed)
    for operation, needed in reversed(path):
        start, end = _start(operation), _end(operation)
        waited, took = (start - at).total_seconds(), (end - max(start, at)).total_seconds()
        steps.append(PathStep(operation, needed, max(waited, 0.0), max(took, 0.0)))
        at = max(at, end)
    return steps


class _Walk:
    def __init__(self, graph: Graph, timed: list[Operation]) -> None:
        self._graph = graph
        self.by_end = sorted(timed, key=_end)
        self._ends = [_end(operation) for operation in self.by_end]

    def before(self, operation: Operation) -> tuple[Operation, bool] | None:
        """What it waited for, and whether it selects from that; None where nothing had ended before it.

        Only what began before it comes into question: so every walk ends.
        """
        last = self._last_before(operation)
        upstream = [one for one in self._graph.upstream(operation) if _ended_before(one, operation)]
        needed = max(upstream, key=_end, default=None)
        if needed is not None and (last is None or _end(needed) >= _end(last) - _AT_ONCE):
            return needed, True
        return None if last is None else (last, False)

    def _last_before(self, operation: Operation) -> Operation | None:
        start = bisect_right(self._ends, _start(operation) + _SLACK) - 1
        return next((self.by_end[p] for p in range(start, -1, -1) if _ended_before(self.by_end[p], operation)), None)


def _ended_before(one: Operation, other: Operation) -> bool:
    if one.started_at is None or one.ended_at is None or one.started_at >= _start(other):
        return False
    whole = one.ended_at.microsecond == 0 and _start(other).microsecond == 0
    return one.ended_at <= _start(other) + (_SLACK if whole else timedelta())


def _start(operation: Operation) -> datetime:
    assert operation.started_at is not None
    return operation.started_at


def _end(operation: Operation) -> datetime:
    assert operation.ended_at is not None
    return operation.ended_at
