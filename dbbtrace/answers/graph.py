"""The graph of one run, from its rows: what each dbt node selects from, and which nodes a failure held up. Pure.

A dbt source is matched with the table load that fits its name: see ``dbbtrace.graph.tables``. A failed test holds up
the nodes that select from the tested node, because ``dbt build`` waits for tests. Apart from table loads, operations
that succeeded may be left out of the graph, because they neither hold anything up nor are held up.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property

from dbbtrace.answers.rows import Operation
from dbbtrace.graph import DbtSource, Graph, Rules, Table, Tables, is_test

__all__ = ["BUILT", "CUT", "NOT_BUILT", "NOT_STORED", "RunGraph", "table_of"]

BUILT = frozenset({"Succeeded", "Warned"})
NOT_BUILT = "o.superseded = 0 AND (o.kind = 'table_load' OR o.status NOT IN ('Succeeded', 'Warned'))"
"""SQL condition for the operations that ``held_up`` needs."""
_CAUSE = re.compile(r"Skipped due to upstream failure: (.+) \([^()]*\)\s*")
"""The message that ``record_dbt`` gives a skipped node if dbt does not say why it was skipped."""


NOT_STORED = frozenset({"view", "ephemeral"})
"""Materializations of what holds no data: it shows what it reads as it is."""
CUT = "…"
"""Stands at the end of a list that found no room in its column."""


def table_of(load: Operation) -> Table:
    """The table that an operation loaded."""
    schema, _, table = load.name.rpartition(".")
    return Table(load.source_name or "", schema, table)


def _is_stored(operation: Operation) -> bool:
    """Whether it certainly holds data of its own: as dbt says, or a load, or what says how many rows it wrote."""
    if operation.materialized is not None:
        return operation.materialized not in NOT_STORED
    return (
        operation.kind == "table_load"
        or operation.resource_type in ("seed", "snapshot")
        or operation.rows_written is not None
    )


class RunGraph:
    """Outcomes of one run and the edges between them."""

    def __init__(self, operations: Iterable[Operation], rules: Rules | None = None) -> None:
        self.outcomes = [operation for operation in operations if not operation.superseded]
        self._rules = rules

    @cached_property
    def nodes(self) -> dict[str, Operation]:
        """dbt's nodes by unique_id."""
        return {operation.operation_id: operation for operation in self.outcomes if operation.kind == "dbt_node"}

    @cached_property
    def _loads(self) -> Tables[Operation]:
        loads = sorted(
            (operation for operation in self.outcomes if operation.kind == "table_load"),
            key=lambda load: (load.name, load.source_name or ""),
        )
        return Tables(((table_of(load), load) for load in loads), self._rules)

    def load_of(self, source: str) -> Operation | None:
        """The load of the table that a dbt source names; if there are several, the one of its system or schema."""
        return next(iter(self._loads.of(DbtSource.of_id(source))), None)

    def upstream(self, operation: Operation) -> list[Operation]:
        """What a node selects from directly, if it is among the operations."""
        found = [self._operation(parent) for parent in operation.depends_on]
        return [parent for parent in found if parent is not None]

    @cached_property
    def _known(self) -> dict[str, Operation | None]:
        """Nodes, and what was asked of dbt's sources before."""
        return {**self.nodes}

    def _operation(self, parent: str) -> Operation | None:
        known = self._known
        if parent not in known:
            known[parent] = self.load_of(parent) if parent.startswith("source.") else None
        return known[parent]

    @cached_property
    def graph(self) -> Graph:
        """operation_id → what it selects from: operation_ids of loads and nodes, or names that are not in the run."""
        return Graph({node.operation_id: self._parents(node) for node in self.nodes.values()})

    def _parents(self, node: Operation) -> list[str]:
        known = [(parent, self._operation(parent)) for parent in node.depends_on]
        return [operation.operation_id if operation else parent for parent, operation in known]

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
            if node.status in BUILT and not is_test(node.operation_id):
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
            parents = [parent for parent in self.upstream(here) if not is_test(parent.operation_id)]
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
        first = self.graph.held_back_by(failed.operation_id)
        if is_test(failed.operation_id):
            first = [name for name in first if name in self.nodes and self.nodes[name].status == "Skipped"]
        first += [node.operation_id for node in self._blamed.get(failed.operation_id, ())]
        found = self.graph.spread(((failed, name) for name in first), lambda name: self._is_held_up(name, failed))
        return [self.nodes[name] for name in found]

    def _is_held_up(self, name: str, failed: Operation) -> bool:
        node = self.nodes.get(name)
        return node is not None and node is not failed and node.status not in BUILT
