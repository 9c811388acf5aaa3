"""What depends on what in a run, for the script that draws it: nodes and edges, and what shows older data. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dbbtrace.answers.graph import RunGraph
from dbbtrace.answers.rows import Operation
from dbbtrace.answers.things import Thing
from dbbtrace.graph import is_test
from dbbtrace.pages.templates import shown

__all__ = ["graph_data", "parents"]


def graph_data(
    things: Mapping[str, Thing], causes: Mapping[str, Operation], run: RunGraph, place: Mapping[int, int]
) -> dict[str, Any]:
    """The picture of a run. What has a row is only named by its number among the operations.

    Args:
        things: of the run's lineage.
        causes: see ``answers.outdated``.
        run: its outcomes.
        place: id() of an operation that the page lists → its number.
    """
    tests = [
        one
        for one in run.nodes.values()
        if is_test(one.operation_id) and one.status not in ("Succeeded", "Skipped") and id(one) in place
    ]
    listed = [one for one in things.values() if one.operation is None or id(one.operation) in place]
    number = {one.id: count for count, one in enumerate(listed)}
    number |= {one.operation_id: len(listed) + count for count, one in enumerate(tests)}
    return {
        "nodes": [
            *(
                place[id(one.operation)] if one.operation else _unlisted(one, things, causes.get(one.id))
                for one in listed
            ),
            *(place[id(one)] for one in tests),
        ],
        "edges": [
            number[end]
            for edge in dict.fromkeys((*_reading(listed), *_tested(tests, things, run)))
            if edge[0] in number and edge[1] in number
            for end in edge
        ],
        "because": {number[name]: shown(cause.label) for name, cause in causes.items() if name in number},
    }


def _unlisted(thing: Thing, things: Mapping[str, Thing], cause: Operation | None) -> dict[str, str]:
    """A thing of which the run has no row: what it is, and why it has none."""
    schema = thing.label.split(" ", 1)[-1].rpartition(".")[0] if thing.kind == "source" else ""
    status, said = _standing(thing, things, cause)
    kind = thing.label.partition(" ")[0] if thing.kind == "node" else thing.kind
    return {"name": shown(thing.label), "kind": kind, "schema": shown(schema), "status": status, "said": said}


def _standing(thing: Thing, things: Mapping[str, Thing], cause: Operation | None) -> tuple[str, str]:
    """Its status in the picture, and what is said of it."""
    if thing.kind == "source":
        loads = [things[name].status or "Unknown" for name in thing.reads]
        return (loads[0], "") if loads else ("Unknown", "not loaded in this run")
    if thing.kind == "exposure":
        return "Unknown", "reads what dbt made"
    if thing.kind == "semantic model":
        return "Skipped", "not refreshed" if thing.reads else "not refreshed; nobody says what it reads"
    return ("Skipped" if cause else "Unknown"), "not built in this run"


def _reading(things: list[Thing]) -> Iterator[tuple[str, str]]:
    for one in things:
        for name in one.reads:
            yield name, one.id


def _tested(tests: list[Operation], things: Mapping[str, Thing], run: RunGraph) -> Iterator[tuple[str, str]]:
    """From what a test looks at to the test, and on to what it held up. A unit test comes before its model."""
    for test in tests:
        before = test.operation_id.startswith("unit_test.")
        for name in test.depends_on:
            if name in things:
                yield (test.operation_id, name) if before else (name, test.operation_id)
        if test.status == "Failed":
            held = {node.operation_id for node in run.held_up(test)}
            for name in run.graph.held_back_by(test.operation_id):
                if name in held and name in things:
                    yield test.operation_id, name


def parents(things: Mapping[str, Thing], run: RunGraph) -> Callable[[Operation], list[Operation]]:
    """For an operation: those that made what it reads. A refresh may name dbt's nodes as people do."""
    refreshes = {id(one.operation): one for one in things.values() if one.kind == "semantic model"}

    def of(operation: Operation) -> list[Operation]:
        thing = refreshes.get(id(operation))
        if thing is None:
            return run.upstream(operation)
        above = (things[name].operation for name in thing.reads if name in things)
        return [one for one in above if one is not None]

    return of
