"""The things of a run's lineage: what each is, what it reads, and what the run did with it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dbbtrace.answers.ages import Age
from dbbtrace.answers.rows import Operation, Run
from dbbtrace.graph import Graph, Table

__all__ = ["Fact", "Lineage", "Thing", "table_id"]


def table_id(table: Table) -> str:
    """The id of a table in a lineage."""
    return "table " + "/".join(table.key)


@dataclass(frozen=True)
class Thing:
    """One thing of the lineage."""

    id: str
    """Of dbt's things the unique_id."""
    kind: str
    """table, source, node, exposure or semantic model."""
    label: str
    reads: tuple[str, ...] = ()
    """ids of the things that it reads."""
    is_complete: bool = True
    """Whether all that it reads is known."""
    operation: Operation | None = None
    """What this run did with it; None: nothing."""
    relation: str | None = None
    """What it is called in the database."""
    age: Age | None = None
    """Of a table that this run did not load."""

    @property
    def status(self) -> str | None:
        """How this run's work on it ended; None: there was none."""
        return self.operation.status if self.operation else None


@dataclass(frozen=True)
class Fact:
    """One thing that is not as it should be, or that nobody knows."""

    kind: str
    """failed parent, not loaded, not monitored, not built, unused or unknown."""
    text: str
    ids: tuple[str, ...]
    """The things that it is about."""


@dataclass(frozen=True)
class Lineage:
    """What one run touched, from tables to semantic models."""

    run: Run
    things: Mapping[str, Thing]
    """By id; what is read stands before what reads it."""
    facts: tuple[Fact, ...] = ()

    @property
    def graph(self) -> Graph:
        """What each thing reads."""
        return Graph({thing.id: thing.reads for thing in self.things.values()})
