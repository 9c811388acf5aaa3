"""What this process has seen of a run: the spans of its table loads and dbt nodes, for links from what reads them.

A link is made only where the span is known: it ran here, or it was recorded here. Nobody is asked. Knows the newest
runs and tables only, so that a process that lives for months does not grow, nor one that loads a million tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.trace import Link, SpanContext, TraceFlags

__all__ = ["Lineage", "lineage_of"]

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_RUNS = 8
"""Runs that are remembered."""
_TABLES = 2_000
"""Tables of a run that are remembered."""


class Lineage:
    """What was seen of one run."""

    def __init__(self, trace_id: int) -> None:
        self._trace_id = trace_id
        self.loads: dict[tuple[Any, Any, Any], int] = {}
        """Span ids by table, schema and source system, as they were said; of several loads of one the latest."""
        self._by_table: dict[str, list[tuple[Any, Any, Any]]] = {}
        self._sorted: tuple[int, Any] = (0, None)
        """How many loads ``_by_table`` knows, and the newest of them."""
        self.nodes: dict[str, int] = {}
        """Span ids of dbt's nodes by unique_id; of several invocations the latest counts."""
        self.exposures: dict[str, Sequence[str]] = {}
        """What dbt's exposures select from, by their names and labels in lower case."""

    def load_of(self, unique_id: str, table: str) -> SpanContext | None:
        """The load of the table that a source of dbt's names; of several the one whose system or schema the id has."""
        said = unique_id.lower()

        def rank(names: tuple[Any, Any, Any]) -> int:
            _, schema, source = (str(name or "").lower() for name in names)
            return 2 * (f".{source}." in said) + (f".{schema}." in said)

        fitting = self._loads_of(table.lower())
        return self._context(self.loads[max(reversed(fitting), key=rank)]) if fitting else None

    def _loads_of(self, table: str) -> list[tuple[Any, Any, Any]]:
        state = len(self.loads), next(reversed(self.loads), None)
        if self._sorted != state:  # sorted when somebody asks: a load that ends is not to wait for it
            self._by_table = {}
            for names in list(self.loads):
                self._by_table.setdefault(str(names[0]).lower(), []).append(names)
            self._sorted = state
        return [names for names in self._by_table.get(table, ()) if names in self.loads]

    def node(self, unique_id: str) -> SpanContext | None:
        """The span of a node of dbt's."""
        span_id = self.nodes.get(unique_id)
        return self._context(span_id) if span_id is not None else None

    def _context(self, span_id: int) -> SpanContext:
        return SpanContext(self._trace_id, span_id, False, _SAMPLED)

    def read_by(self, semantic_model: object, said: Sequence[str]) -> tuple[str, ...]:
        """The dbt models that a semantic model reads, by unique_id where it is known, else as they were said.

        Args:
            semantic_model: its name.
            said: names or unique_ids; empty: what a dbt exposure of the model's name depends on.
        """
        names = said or self.exposures.get(str(semantic_model or "").lower(), ())
        by_name = {unique_id.split(".", 2)[-1]: unique_id for unique_id in self.nodes if unique_id.count(".") > 1}
        return tuple(by_name.get(name, name) for name in names)

    def links_to(self, unique_ids: Sequence[str]) -> tuple[Link, ...]:
        """Links to the spans of these nodes, as far as they are known."""
        found = {unique_id: self.node(unique_id) for unique_id in unique_ids}
        return tuple(link_to(name, context) for name, context in found.items() if context is not None)


def link_to(name: str, context: SpanContext) -> Link:
    """A link that says what it leads to."""
    return Link(context, {"upstream.name": name})


_seen: dict[int, Lineage] = {}


def loaded(context: SpanContext, table: Any, schema: Any, source: Any) -> None:
    """A table load has ended, or was recorded."""
    trace_id, span_id = context[:2]
    loads = (_seen.get(trace_id) or lineage_of(trace_id)).loads
    loads[table, schema, source] = span_id
    if len(loads) > _TABLES:
        loads.pop(next(iter(loads)), None)


def lineage_of(trace_id: int) -> Lineage:
    """What was seen of the run."""
    found = _seen.get(trace_id)
    if found is None:
        while len(_seen) >= _RUNS:
            _seen.pop(next(iter(_seen)), None)
        found = _seen.setdefault(trace_id, Lineage(trace_id))
    return found
