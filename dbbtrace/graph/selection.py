"""What of a dbt project is to be built. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dbbtrace.graph.tables import DbtSource
from dbbtrace.graph.walks import Graph

__all__ = ["Selection"]


@dataclass(frozen=True)
class Selection:
    """Nodes of a project that are to be built, and what they are made of."""

    nodes: tuple[str, ...]
    """unique_ids, in dbt's order."""
    graph: Graph
    sources: Mapping[str, DbtSource]
    """The tables that dbt reads, by unique_id."""

    def reads(self) -> list[DbtSource]:
        """The sources that the nodes are made of, however far above."""
        made_of = {*self.graph.above(self.nodes), *self.nodes}
        return [source for unique_id, source in self.sources.items() if unique_id in made_of]
