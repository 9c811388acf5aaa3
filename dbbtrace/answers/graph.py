"""The graph of one run: what each dbt node selects from, and which nodes a failure held up. Pure.

A dbt source is matched with the table load of the same name, as in ``monitoring_lineage``. A failed test holds up the
nodes that select from the tested node, because ``dbt build`` waits for tests. Apart from table loads, operations that
succeeded may be left out of the graph, because they neither hold anything up nor are held up.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property

from dbbtrace.answers.rows import Operation

__all__ = ["BUILT", "NOT_BUILT", "Graph"]

BUILT = frozenset({"Succeeded", "Warned"})
NOT_BUILT = "o.superseded = 0 AND (o.kind = 'table_load' OR o.status NOT IN ('Succeeded', 'Warned'))"
"""SQL condition for the operations that ``held_up`` needs."""
_CAUSE = re.compile(r"Skipped due to upstream failure: (.+) \([^()]*\)\s*")
"""The message that ``record_dbt`` gives a skipped node if dbt does not say why it was skipped."""


CUT = "…"
"""Stands at the end of a list that found no room in its column."""


def _is_test(operation_id: str) -> bool:
    return operation_id.startswith(("test.", "unit_test."))


def _is_stored(operation: Operation) -> bool:
    """Whether it certainly holds data of its own: a load, a seed, a snapshot, or what says how many rows it wrote."""
    return (
        operation.kind == "table_load"
        or operation.resource_type in ("seed", "snapshot")
        or operation.rows_written is not None
    )


class Graph:
    """Outcomes of one run and the edges between them."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.outcomes = [operation for operation in operations if not operation.superseded]

    @cached_property
    def nodes(self) -> dict[str, Operation]:
        """dbt's nodes by unique_id."""
        return {operation.operation_id: operation for operation in self.outcomes if operation.kind == "dbt_node"}

    @cached_property
    def _loads(self) -> dict[str, list[Operation]]:
        """Table loads by the table's name without schema, in lower case."""
        found: dict[str, list[Operation]] = defaultdict(list)
        for operation in self.outcomes:
            if operation.kind == "table_load":
                found[operation.name.rpartition(".")[2].lower()].append(operation)
        return found

    def load_of(self, source: str) -> Operation | None:
        """The load of the table that a dbt source names; if there are several, the one of its system or schema."""
        said = source.lower()
        fitting = self._loads.get(said.rpartition(".")[2], [])

        def rank(load: Operation) -> tuple[int, str, str]:
            named = f".{(load.source_name or '?').lower()}." in said.partition(".")[2]
            place = 0 if named else 1 if said.endswith(f".{load.name.lower()}") else 2
            return place, load.name, load.source_name or ""

        return min(fitting, key=rank, default=None)

    def upstream(self, operation: Operation) -> list[Operation]:
        """What a node selects from directly, if it is among the operations."""
        found = [self._operation(parent) for parent in operation.depends_on]
        return [parent for parent in found if parent is not None]

    def _operation(self, parent: str) -> Operation | None:
        return self.load_of(parent) if parent.startswith("source.") else self.nodes.get(parent)

    @cached_property
    def _downstream(self) -> dict[str, list[Operation]]:
        """operation_id → the nodes that select from it."""
        children: dict[str, list[Operation]] = defaultdict(list)
        for node in self.nodes.values():
            for parent in node.depends_on:
                known = self._operation(parent)
                children[known.operation_id if known else parent].append(node)
        return children

    @cached_property
    def _blamed(self) -> dict[str, list[Operation]]:
        """Failed node → the nodes whose message says that they were skipped because of it."""
        found: dict[str, list[Operation]] = defaultdict(list)
        for node in self.nodes.values():
            if node.status == "Skipped" and (said := _CAUSE.fullmatch(node.error_message or "")):
                found[said[1]].append(node)
        return found

    def stale(self) -> list[tuple[Operation, Operation]]:
        """Nodes that were built on old data, each with the load or node because of which: the nearest table, load or
        seed above it, through views and what can't be told from one, failed in this run or was skipped."""
        causes: dict[str, Operation | None] = {}
        found = []
        for node in self.nodes.values():
            if node.status in BUILT and not _is_test(node.operation_id):
                cause = self._old_above(node, causes)
                if cause is not None:
                    found.append((node, cause))
        return found

    def _old_above(self, node: Operation, causes: dict[str, Operation | None]) -> Operation | None:
        """What above the node failed or was skipped; ``causes`` remembers it, node by node."""
        waiting = [node]
        while waiting:
            here = waiting[-1]
            if here.operation_id in causes:
                waiting.pop()
                continue
            parents = [parent for parent in self.upstream(here) if not _is_test(parent.operation_id)]
            views = [parent for parent in parents if parent.status in BUILT and not _is_stored(parent)]
            unknown = [view for view in views if view.operation_id not in causes and view not in waiting]
            if unknown:
                waiting += unknown
                continue
            broken = [parent for parent in parents if parent.status in ("Failed", "Skipped")]
            old = [cause for view in views if (cause := causes.get(view.operation_id)) is not None]
            causes[here.operation_id] = next(iter([*broken, *old]), None)
        return causes[node.operation_id]

    def unknown_parents(self) -> list[Operation]:
        """Nodes that were built of which the row names not all that they select from."""
        return [node for node in self.nodes.values() if node.status in BUILT and CUT in node.depends_on]

    def held_up(self, failed: Operation) -> list[Operation]:
        """All downstream nodes that were not built, each once, nearest first."""
        first = [*self._downstream.get(failed.operation_id, ()), *self._blamed.get(failed.operation_id, ())]
        if failed.operation_id.startswith(("test.", "unit_test.")):
            waited = [child for tested in failed.depends_on for child in self._downstream.get(tested, ())]
            if failed.operation_id.startswith("unit_test."):  # it runs before the model that it tests
                waited += self.upstream(failed)
            first += [node for node in waited if node.status == "Skipped"]
        return self._all_the_way_down(failed, first)

    def _all_the_way_down(self, failed: Operation, level: list[Operation]) -> list[Operation]:
        found: dict[str, Operation] = {}
        while level:
            following: list[Operation] = []
            for node in level:
                if node.operation_id not in found and node is not failed and node.status not in BUILT:
                    found[node.operation_id] = node
                    following += self._downstream.get(node.operation_id, ())
            level = following
        return list(found.values())
