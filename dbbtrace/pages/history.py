"""What the operations of one product in one environment did, run after run, for the pages of a site. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from dbbtrace.answers.graph import BUILT, RunGraph
from dbbtrace.answers.lineage import LATELY
from dbbtrace.answers.rows import Operation, Run
from dbbtrace.answers.slowest import HISTORY, Timing, timing_of
from dbbtrace.pages.operation import Past

__all__ = ["Neighbours", "earlier_of", "histories", "pasts"]


def pasts(
    group: Sequence[Run], by_run: Mapping[str, Sequence[Operation]], named: Callable[[Operation], str]
) -> list[Past]:
    """What each operation did, newest first.

    Args:
        group: the runs, newest first.
        by_run: run id → its operations.
        named: path of the page of an operation.
    """
    found: dict[tuple[str, str], list[Operation]] = defaultdict(list)
    starts = {run.run_id: run.started_at for run in group}
    for run in group:
        for one in by_run[run.run_id]:
            if not one.superseded:
                found[one.kind, one.operation_id].append(one)
    return [Past(named(occurrences[0]), occurrences, starts) for occurrences in found.values()]


def earlier_of(group: Sequence[Run], by_run: Mapping[str, Sequence[Operation]], number: int) -> list[Operation]:
    """As ``answers.lineage.before``, of what is known already."""
    run = group[number]
    if run.data_product is None or not (run.failed or run.skipped):
        return []
    return [
        one
        for each in group[number + 1 : number + 1 + LATELY]
        for one in by_run[each.run_id]
        if not one.superseded and one.kind in ("dbt_node", "model_refresh")
    ]


def histories(
    group: Sequence[Run], by_run: Mapping[str, Sequence[Operation]]
) -> Callable[[int], dict[tuple[str, str], Timing]]:
    """For the number of a run: its operations compared with their successes in the runs before it."""
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    took: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(len(group) - 1, -1, -1):  # oldest first
        for one in by_run[group[number].run_id]:
            if not one.superseded and one.seconds is not None and one.status in BUILT:
                places[one.kind, one.operation_id].append(-number)
                took[one.kind, one.operation_id].append(one.seconds)

    def of(number: int) -> dict[tuple[str, str], Timing]:
        found = {}
        for one in by_run[group[number].run_id]:
            if one.superseded or one.seconds is None or one.status == "Skipped":
                continue
            what = (one.kind, one.operation_id)
            first, last = (bisect_left(places[what], -place) for place in (number + HISTORY, number))
            earlier = tuple(took[what][first:last])
            found[what] = timing_of(group[number], *what, one.label, one.seconds, earlier)
        return found

    return of


class Neighbours:
    """What stands directly above and below each operation of a run."""

    def __init__(self, found: Iterable[Operation]) -> None:
        graph = RunGraph(found)
        self.above: dict[str, list[Operation]] = defaultdict(list)
        self.below: dict[str, list[Operation]] = defaultdict(list)
        for node in graph.outcomes:
            for parent in graph.upstream(node):
                self.above[node.operation_id].append(parent)
                self.below[parent.operation_id].append(node)
