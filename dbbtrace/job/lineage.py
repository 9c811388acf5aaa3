"""What this process has seen of a run: the spans of its table loads and dbt nodes, for links from what reads them.

A link is made only where the span is known: it ran here, or it was recorded here. Nobody is asked. Knows the newest
runs and tables only, so that a process that lives for months does not grow, nor one that loads a million tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Link, SpanContext, TraceFlags

if TYPE_CHECKING:
    from dbbtrace.graph import DbtSource, Rules, Tables

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
        self._tables: Tables[tuple[Any, Any, Any]] | None = None
        self._sorted: tuple[int, Any, Any] = (0, None, None)
        """How many loads ``_tables`` knows, the newest of them, and by which rules they are found."""
        self.nodes: dict[str, int] = {}
        """Span ids of dbt's nodes by unique_id; of several invocations the latest counts."""
        self.exposures: dict[str, Sequence[str]] = {}
        """What dbt's exposures select from, by their names and labels in lower case."""

    def load_of(self, source: DbtSource, rules: Rules) -> SpanContext | None:
        """The load of the table that a source of dbt's reads, as ``dbbtrace.graph`` tells; the same that it tells to
        answers and pages."""
        from dbbtrace.graph import Table, Tables

        state = len(self.loads), next(reversed(self.loads), None), rules
        if self._tables is None or self._sorted != state:  # sorted when somebody asks: no load waits for it
            named = [(Table(*(str(names[place] or "") for place in (2, 1, 0))), names) for names in list(self.loads)]
            self._tables = Tables(sorted(named, key=lambda pair: (pair[0].name, pair[0].source)), rules)
            self._sorted = state
        found = (self.loads.get(names) for names in self._tables.of(source))
        return next((self._context(span_id) for span_id in found if span_id is not None), None)

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
