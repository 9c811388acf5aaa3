"""May it be built? Judges the tables that dbt reads, and says which of its nodes are not affected.

Without a selection, every table of the run counts. With one, only what the selected nodes are made of: a table that is
expected in the run is judged in it, one that others load by its age, and one that nobody monitors is unknown. Reads;
asks no dbt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

from dbbtrace.answers.ages import Age, ages, loaded_tables
from dbbtrace.answers.arrivals import NOTHING_LOADED, Arrivals, TableState, arrivals
from dbbtrace.answers.earlier import local_zone
from dbbtrace.answers.terms import Terms
from dbbtrace.graph import DbtSource, Rules, Selection, Table, Tables
from dbbtrace.warehouse import Warehouse

__all__ = ["Gate", "SourceState", "gate"]


@dataclass(frozen=True)
class SourceState:
    """A table that the selection reads."""

    source: DbtSource
    state: TableState

    @property
    def closed(self) -> bool:
        """Whether nothing may be built from it."""
        return self.state.closed


@dataclass(frozen=True)
class Gate:
    """What may be built."""

    arrivals: Arrivals
    problems: tuple[str, ...]
    """What closes the gate as a whole, beside single tables."""
    sources: tuple[SourceState, ...] = ()
    """What the selection reads; those that are closed first. Empty without a selection."""
    unaffected: tuple[str, ...] = ()
    """Selected nodes that may be built."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Selected node → the source of dbt's because of which it is left out."""
    has_selection: bool = False

    @property
    def run_id(self) -> str:
        """The run."""
        return self.arrivals.run_id

    @property
    def closed(self) -> tuple[TableState, ...]:
        """The tables from which nothing may be built."""
        states = [one.state for one in self.sources] if self.has_selection else self.arrivals.tables
        return tuple(dict.fromkeys(state for state in states if state.closed))

    @property
    def closed_sources(self) -> tuple[DbtSource, ...]:
        """The sources of dbt's from which nothing may be built."""
        return tuple(one.source for one in self.sources if one.closed)

    @property
    def exit_code(self) -> int:
        """0: open. 1: closed, at least for a part. 2: nobody knows the run. 3: more may still come."""
        if self.arrivals.waiting:
            return 3
        if self.arrivals.run is None:
            return 2
        return 1 if self.closed or self.problems else 0

    @property
    def word(self) -> str:
        """In a word: open, closed, waiting or unknown."""
        return {0: "open", 1: "closed", 2: "unknown", 3: "waiting"}[self.exit_code]

    def reasons(self) -> list[str]:
        """Why it is not open, each a sentence."""
        if self.arrivals.waiting:
            return list(self.arrivals.waiting)
        if self.arrivals.run is None:
            return ["nothing of this run is in the warehouse"]
        return [*self.problems, *(f"{state.name}: {state.text}" for state in self.closed)]

    def why(self, node: str) -> str:
        """Why a node is left out, in a sentence."""
        source = self.left_out[node]
        state = next(one.state for one in self.sources if one.source.unique_id == source)
        return f"left out by the gate: {state.name}: {state.text} ({source})"


def gate(
    warehouse: Warehouse,
    run_id: str,
    selection: Selection | None = None,
    *,
    strict: bool = False,
    rules: Rules | None = None,
    now: datetime | None = None,
    terms: Terms | None = None,
) -> Gate:
    """What may be built in the run.

    Args:
        selection: what is to be built; None: everything that reads any table of the run.
        strict: a table that nobody monitors closes the gate, too.
        rules: which loaded table a source of dbt's reads.
        now: the present, for tests.
        terms: see ``verdict_of``.
    """
    now = now or datetime.now(timezone.utc)
    terms = terms or Terms()
    zone = terms.zone
    found = arrivals(warehouse, run_id, now=now, here=terms.here.get(run_id), zone=local_zone(zone))
    if selection is None or found.run is None:
        return Gate(found, found.problems, has_selection=selection is not None)
    wanted = selection.reads()
    states = _states(warehouse, wanted, found, now, zone, strict=strict, rules=rules)
    sources = [SourceState(source, states[source.unique_id]) for source in wanted]
    sources.sort(key=lambda one: (not one.closed, one.state.state, one.source.unique_id))
    seeds = [(one.source.unique_id, one.source.unique_id) for one in sources if one.closed]
    affected = selection.graph.spread(seeds, lambda name: True)
    left_out = {node: affected[node] for node in selection.nodes if node in affected}
    unaffected = tuple(node for node in selection.nodes if node not in left_out)
    problems = (NOTHING_LOADED,) if NOTHING_LOADED in found.problems else ()  # else its sources decide
    return Gate(found, problems, tuple(sources), unaffected, left_out, has_selection=True)


def _states(
    warehouse: Warehouse,
    sources: Iterable[DbtSource],
    found: Arrivals,
    now: datetime,
    zone: str,
    *,
    strict: bool,
    rules: Rules | None,
) -> dict[str, TableState]:
    """unique_id of a source → the state of the table that it reads; of several that fit the worst counts."""
    here = found.by_key()
    known = {table.key: table for table in loaded_tables(warehouse)} | {key: one.table for key, one in here.items()}
    tables = Tables([(table, table) for table in known.values()], rules)
    fitting = {source.unique_id: tables.of(source) for source in sources}
    others = {table for group in fitting.values() for table in group if table.key not in here}
    old = ages(warehouse, others, now, local_zone(zone)) if others else {}

    def state_of(unique_id: str) -> TableState:
        states = [here.get(table.key) or _of_others(old[table.key]) for table in fitting[unique_id]]
        if not states:
            name = Table("", "", unique_id.removeprefix("source."))
            return TableState(name, "unknown", "no load of it is recorded anywhere", strict=strict)
        return min(states, key=lambda state: not state.closed)

    return {unique_id: state_of(unique_id) for unique_id in fitting}


def _of_others(age: Age) -> TableState:
    if age.last_success is None:
        why = "no load of it succeeded" if age.failing_since is not None else "its last load is more than a year old"
        return TableState(age.table, "overdue", f"it was not loaded in this run, and {why}")
    if age.overdue:
        return TableState(age.table, "overdue", f"it is overdue: {age}", age.last_success)
    return TableState(age.table, "fresh", f"others load it: {age}", age.last_success)
