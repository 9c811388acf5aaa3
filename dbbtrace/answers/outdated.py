"""What of a lineage still shows older data, and because of which failure. Pure.

Whatever is made of something that failed or was left out shows what that held before, however far below it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dbbtrace.answers.graph import RunGraph, table_of
from dbbtrace.answers.rows import Operation
from dbbtrace.answers.things import Thing, table_id
from dbbtrace.graph import Graph, is_test

__all__ = ["outdated"]


def outdated(things: Mapping[str, Thing], run: RunGraph) -> dict[str, Operation]:
    """id of a thing → the nearest operation above it that failed; where none did, that was skipped.

    Args:
        things: of the run's lineage.
        run: its operations; a failed test is the cause of what was left out because of it.
    """
    broken = [one for one in run.outcomes if one.status in ("Failed", "Skipped")]
    if not broken:
        return {}
    graph = Graph({thing.id: thing.reads for thing in things.values()})

    def seeds(status: str) -> list[tuple[Operation, str]]:
        return [(one, name) for one in broken if one.status == status for name in _next_to(one, graph, run)]

    below_failed = graph.spread(seeds("Failed"), lambda name: name in things and things[name].status != "Failed")
    return below_failed | graph.spread(seeds("Skipped"), lambda name: name in things and name not in below_failed)


def _next_to(cause: Operation, graph: Graph, run: RunGraph) -> Iterator[str]:
    if is_test(cause.operation_id):
        yield from (node.operation_id for node in run.held_up(cause) if cause.status == "Failed")
        return
    own = table_id(table_of(cause)) if cause.kind == "table_load" else cause.operation_id
    yield from graph.children.get(own, ())
