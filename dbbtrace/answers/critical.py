"""The critical path of a run: the chain of operations that decided when it ended. Pure.

It is followed backwards from the operation that ended last. Each operation waited for one that it selects from, or for
the one that ended last before it began (a dbt thread, a parallel copy, the previous job). Between two operations there
may be a wait that belongs to no operation, such as a queue or the start of a job.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from dbbtrace.answers.graph import RunGraph
from dbbtrace.answers.rows import Operation
from dbbtrace.model.times import moved

__all__ = ["PathStep", "critical_path"]

_SLACK = timedelta(seconds=1)
"""Tolerance: other writers store whole seconds only, so a dependency may seem to end after the operation began."""
_AT_ONCE = timedelta(seconds=0.5)
"""If a dependency ended at most this long before any other operation, it counts as the one that was waited for."""


@dataclass(frozen=True)
class PathStep:
    """One operation of the path."""

    operation: Operation
    needed: bool
    """True if it selects from the previous step. False if it only began after that step had ended."""
    waited: float
    """Seconds from the end of the previous step, or from the start of the run, to its start."""
    seconds: float
    """Seconds from its start, or from the end of the previous step if that is later, to its end."""


def critical_path(operations: Iterable[Operation] | RunGraph) -> list[PathStep]:
    """The path, first step first. It is empty if no operation of the run has a start and an end."""
    graph = operations if isinstance(operations, RunGraph) else RunGraph(operations)
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
    def __init__(self, graph: RunGraph, timed: list[Operation]) -> None:
        self._graph = graph
        self.by_end = sorted(timed, key=_end)
        self._ends = [_end(operation) for operation in self.by_end]

    def before(self, operation: Operation) -> tuple[Operation, bool] | None:
        """The operation it waited for, and whether it selects from that; None if nothing had ended before it.

        Considers only operations that began before it, so the search always ends.
        """
        last = self._last_before(operation)
        upstream = [one for one in self._graph.upstream(operation) if _ended_before(one, operation)]
        needed = max(upstream, key=_end, default=None)
        if needed is not None and (last is None or _end(needed) >= moved(_end(last), -_AT_ONCE)):
            return needed, True
        return None if last is None else (last, False)

    def _last_before(self, operation: Operation) -> Operation | None:
        start = bisect_right(self._ends, moved(_start(operation), _SLACK)) - 1
        return next((self.by_end[p] for p in range(start, -1, -1) if _ended_before(self.by_end[p], operation)), None)


def _ended_before(one: Operation, other: Operation) -> bool:
    if one.started_at is None or one.ended_at is None or one.started_at >= _start(other):
        return False
    whole = one.ended_at.microsecond == 0 and _start(other).microsecond == 0
    return one.ended_at <= moved(_start(other), _SLACK if whole else timedelta())


def _start(operation: Operation) -> datetime:
    assert operation.started_at is not None
    return operation.started_at


def _end(operation: Operation) -> datetime:
    assert operation.ended_at is not None
    return operation.ended_at
