"""What is not as it should be in the lineage of a run, or what nobody knows: one sentence for each. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from dbbtrace.answers.graph import BUILT, RunGraph, table_of
from dbbtrace.answers.readable import counted
from dbbtrace.answers.rows import is_node_id
from dbbtrace.answers.things import Fact, Thing, table_id

__all__ = ["facts"]

_NAMED = 5
"""Names that a fact writes out; the others are counted."""


def facts(things: Mapping[str, Thing], run: RunGraph) -> Iterator[Fact]:
    """The facts about these things, what failed first."""
    readers: dict[str, list[Thing]] = defaultdict(list)
    for thing in things.values():
        for name in thing.reads:
            readers[name].append(thing)
    yield from _after_a_failure(run)
    yield from _not_loaded(things, readers)
    yield from _not_built(things, readers)
    yield from _unused(things, readers)
    yield from _unknown(things)


def _after_a_failure(run: RunGraph) -> Iterator[Fact]:
    for node, cause in run.stale():
        verb = "failed" if cause.status == "Failed" else "was skipped"
        above = table_id(table_of(cause)) if cause.kind == "table_load" else cause.operation_id
        text = f"{node.label} was built although {cause.label}, above it, {verb}"
        yield Fact("failed parent", text, (node.operation_id, above))


def _not_loaded(things: Mapping[str, Thing], readers: Mapping[str, list[Thing]]) -> Iterator[Fact]:
    for source in things.values():
        if source.kind != "source":
            continue
        built = [one for one in readers[source.id] if one.status in BUILT]
        if not built:
            continue
        who = f"{_names(built)} {'was' if len(built) == 1 else 'were'} built from"
        ids = (source.id, *(one.id for one in built))
        if not source.reads:
            yield Fact("not monitored", f"{who} {source.label}, of which no load is known", ids)
        for name in source.reads:
            table = things[name]
            if table.operation is None:
                text = f"{who} {table.label}, which this run did not load: {table.age or 'never loaded'}"
                yield Fact("not loaded", text, (table.id, *ids))


def _not_built(things: Mapping[str, Thing], readers: Mapping[str, list[Thing]]) -> Iterator[Fact]:
    for node in things.values():
        built = [one for one in readers[node.id] if one.status in BUILT and one.kind == "node"]
        if node.kind == "node" and node.operation is None and built and not node.reads:
            text = (
                f"{_names(built)} {'reads' if len(built) == 1 else 'read'} {node.label}, of which this run has no row"
            )
            yield Fact("not built", text, (node.id, *(one.id for one in built)))


def _unused(things: Mapping[str, Thing], readers: Mapping[str, list[Thing]]) -> Iterator[Fact]:
    loads = [one for one in things.values() if one.kind == "table" and one.status == "Succeeded"]
    built = [one for one in things.values() if one.kind == "node" and one.operation]
    left = [one for one in loads if not readers[one.id]]
    if not built:
        if left:
            yield Fact("unused", f"no dbt node ran, so nothing used {_names(left)}", tuple(one.id for one in left))
        return
    sure = all(one.is_complete and all(things[name].is_complete for name in one.reads) for one in built)
    for table in left:
        text = f"nothing in this run used {table.label}" if sure else f"nothing is known to have used {table.label}"
        yield Fact("unused", text, (table.id,))


def _unknown(things: Mapping[str, Thing]) -> Iterator[Fact]:
    nodes = [one for one in things.values() if one.kind == "node" and one.operation and not one.is_complete]
    if nodes:
        text = f"nobody knows all that {_names(nodes)} {'reads' if len(nodes) == 1 else 'read'}"
        yield Fact("unknown", f"{text}; --manifest target/manifest.json tells", tuple(one.id for one in nodes))
    for model in things.values():
        if model.kind == "semantic model":
            yield from _unknown_of(model, things)


def _unknown_of(model: Thing, things: Mapping[str, Thing]) -> Iterator[Fact]:
    if not model.reads:
        text = f"nobody says which dbt models {model.label} reads: see semantic_models in docs/lineage.md"
        yield Fact("unknown", text, (model.id,))
    for name in model.reads:
        if things[name].kind == "node" and not is_node_id(name):
            text = f"{model.label} is said to read {name}, and no dbt node is called that"
            yield Fact("unknown", text, (model.id, name))


def _names(things: list[Thing]) -> str:
    """``model a``; ``model a, model b and 3 others``."""
    shown = ", ".join(one.label for one in things[:_NAMED])
    more = len(things) - _NAMED
    return f"{shown} and {counted(more, 'other')}" if more > 0 else shown
