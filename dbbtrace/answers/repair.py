"""The least work that makes a run right: loads to repeat, nodes of dbt's to build, models to refresh. Runs nothing.

The run counts together with those that it repairs and that repair it: the last outcome of each table, node and model
decides. Below what is done again everything is done again, but for views, which show what is below them anyway.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone, tzinfo

from dbbtrace.answers.arrivals import Arrivals, TableState, arrivals
from dbbtrace.answers.earlier import local_zone
from dbbtrace.answers.graph import BUILT, CUT
from dbbtrace.answers.platform import active_models
from dbbtrace.answers.read import operations, parts, run_rows
from dbbtrace.answers.readable import one_line
from dbbtrace.answers.repairs import family
from dbbtrace.answers.rows import Operation
from dbbtrace.answers.terms import Terms
from dbbtrace.answers.usual import same_slot
from dbbtrace.graph import DbtSource, Made, Rules, Selection, Table, TableKey, Tables, is_test, to_do
from dbbtrace.warehouse import Warehouse, views

__all__ = ["Repair", "ToDo", "repair"]

_VIEWS = frozenset({"view", "ephemeral"})


@dataclass(frozen=True)
class ToDo:
    """One thing to do again."""

    kind: str
    """table_load, dbt_node or model_refresh."""
    name: str
    """Of the table, or for people."""
    id: str
    """unique_id of the node, id of the model; of a table its source, schema and name."""
    why: str
    """In a sentence."""
    run_id: str | None = None
    """The run in which its last outcome is; None: it has none."""
    failed: bool = False
    """Whether that was a failure, rather than old or absent."""
    learned: bool = False
    """Whether only earlier runs say that it was to be there."""


@dataclass(frozen=True)
class Repair:
    """What makes a run right."""

    arrivals: Arrivals
    runs: tuple[str, ...]
    """The runs that count together, the asked one first."""
    items: tuple[ToDo, ...]
    """What is to be done, each after all that it is made of."""
    select: str | None
    """Where dbt has not come to know its nodes: what it is to build, as a selection of dbt's; '' is everything."""
    notes: tuple[str, ...] = ()
    """What a person should know."""

    @property
    def run_id(self) -> str:
        """The run."""
        return self.arrivals.run_id

    def of(self, kind: str) -> list[ToDo]:
        """What is to be done of a kind."""
        return [item for item in self.items if item.kind == kind]

    @property
    def is_right(self) -> bool:
        """Whether nothing is to be done."""
        return self.arrivals.run is not None and not self.items and self.select is None

    def dbt_arguments(self) -> list[str]:
        """dbt's arguments that build what is to be built, without the command; none where nothing is."""
        if self.select is not None:
            return ["--select", *self.select.split()] if self.select else []
        names = [_selector(item.id) for item in self.of("dbt_node")]
        return ["--select", *names, "--indirect-selection", "empty"] if names else []


def _selector(node: str) -> str:
    """How dbt's command line names a node."""
    kind, _, rest = node.partition(".")
    name = rest.partition(".")[2]
    if not name:  # of a row that names no unique_id
        return node
    if kind == "test":
        return re.sub(r"\.[0-9a-f]{10}$", "", name)
    return f"{kind}:{name.rpartition('.')[2]}" if kind in ("unit_test", "saved_query") else name


def repair(
    warehouse: Warehouse,
    run_id: str,
    selection: Selection | None = None,
    *,
    rules: Rules | None = None,
    now: datetime | None = None,
    terms: Terms | None = None,
    runs: Sequence[str] | None = None,
) -> Repair:
    """What makes the run right.

    Args:
        selection: what the run is to build; None: the nodes of which it has rows.
        rules: which loaded table a source of dbt's reads.
        now, terms: see ``gate``.
        runs: the runs that count together; default: all that it repairs and that repair it.
    """
    now = now or datetime.now(timezone.utc)
    runs = list(runs or family(warehouse, run_id))
    terms = terms or Terms()
    here, zone = terms.here.get(run_id), local_zone(terms.zone)
    found = arrivals(warehouse, run_id, now=now, here=here, zone=zone, runs=runs)
    if found.run is None:
        return Repair(found, tuple(runs), (), None, ("nothing of this run is in the warehouse",))
    last = _last_outcomes(warehouse, runs)
    return _Plan(warehouse, found, runs, last, selection, rules, zone).repair()


def _last_outcomes(warehouse: Warehouse, runs: Sequence[str]) -> dict[str, Operation]:
    """The last outcome of each node and refresh, by its id."""
    where = "o.superseded = 0 AND o.kind IN ('dbt_node', 'model_refresh')"
    order = {run.run_id: place for place, run in enumerate(reversed(run_rows(warehouse, runs)))}
    found: dict[str, Operation] = {}
    for one in sorted(operations(warehouse, runs, where=where), key=lambda one: order.get(one.run_id, 0)):
        found[one.operation_id] = one
    return found


class _Plan:
    def __init__(
        self,
        warehouse: Warehouse,
        found: Arrivals,
        runs: Sequence[str],
        last: Mapping[str, Operation],
        selection: Selection | None,
        rules: Rules | None,
        zone: tzinfo,
    ) -> None:
        self._warehouse = warehouse
        self._zone = zone
        self._found = found
        self._runs = runs
        self._selection = selection
        self._nodes = {name: one for name, one in last.items() if one.kind == "dbt_node" and _is_node(name)}
        self._refreshes = {name: one for name, one in last.items() if one.kind == "model_refresh"}
        self._tables = found.by_key()
        self._by_source = Tables([(state.table, key) for key, state in self._tables.items()], rules)
        self._notes: list[str] = []

    def repair(self) -> Repair:
        select = None if self._selection is not None else self._whole_selection()
        made: dict[str, Made] = {_id(key): self._load(key, state) for key, state in self._tables.items()}
        made |= self._made_nodes()
        wanted = self._wanted_refreshes()
        anything = tuple(name for name in made if not is_test(name))
        by_name = {name.split(".", 2)[-1]: name for name in anything if not name.startswith("load ")}
        for model in {**self._refreshes, **wanted}:
            made[f"refresh {model}"] = self._refresh(model, anything, by_name)
        items = [self._item(name, made, wanted) for name in to_do(made)]
        if select is not None:
            items = [item for item in items if item.kind != "dbt_node"]
            items += [
                self._item(f"refresh {model}", made, wanted)
                for model in {**self._refreshes, **wanted}
                if not any(item.kind == "model_refresh" and item.id == model for item in items)
            ]
        return Repair(self._found, tuple(self._runs), tuple(items), select, tuple(self._notes))

    # -- what is known ------------------------------------------------------------------------------------------

    def _load(self, key: TableKey, state: TableState) -> Made:
        load = self._found.loads.get(key)
        if load is None:
            return Made(fine=not state.closed)
        return Made(not state.closed, began=load.started_at, ended=load.ended_at or load.started_at)

    def _made_nodes(self) -> dict[str, Made]:
        if self._selection is None:
            if any(CUT in one.depends_on for one in self._nodes.values()):
                self._notes.append("a row has no room for all that its node reads: pass --manifest to be sure")
            unknown = {
                parent
                for one in self._nodes.values()
                for parent in one.depends_on
                if parent not in self._nodes and not parent.startswith("source.") and parent != CUT
            }
            if unknown:
                names = ", ".join(sorted(unknown)[:3]) + (", ..." if len(unknown) > 3 else "")
                self._notes.append(
                    f"nothing is known of {names}, which nodes of the run read: pass --manifest to be sure"
                )
            return {name: self._node(one, one.depends_on) for name, one in self._nodes.items()}
        graph, wanted = self._selection.graph, set(self._selection.nodes)
        made: dict[str, Made] = {}
        for name in {*graph.above(wanted), *wanted}:
            if name.startswith("source."):
                continue
            above = graph.parents.get(name, ())
            if name in wanted:
                made[name] = self._node(self._nodes.get(name), above)
            else:  # not of the selection: it hands on what is below it
                made[name] = Made(True, self._parents(above), is_view=True)
        return made

    def _node(self, one: Operation | None, above: Iterable[str]) -> Made:
        parents = self._parents(above)
        if one is None:
            return Made(False, parents)
        return Made(one.status in BUILT, parents, one.materialized in _VIEWS, one.started_at, one.ended_at)

    def _parents(self, above: Iterable[str]) -> tuple[str, ...]:
        found: list[str] = []
        for name in above:
            if not name.startswith("source."):
                found.append(name)
                continue
            source = self._selection.sources.get(name) if self._selection is not None else None
            found += [_id(key) for key in self._by_source.of(source or DbtSource.of_id(name))]
        return tuple(found)

    def _refresh(self, model: str, anything: tuple[str, ...], by_name: Mapping[str, str]) -> Made:
        """What it reads, where its row says so; else anything.

        Args:
            anything: all that it may read.
            by_name: nodes by their names, without kind and project.
        """
        one = self._refreshes.get(model)
        if one is None:
            return Made(False, anything)
        reads = [by_name.get(name.split(".", 2)[-1]) for name in one.depends_on if name != CUT]
        known = [name for name in reads if name is not None]
        whole = bool(reads) and CUT not in one.depends_on and len(known) == len(reads)
        return Made(one.status in BUILT, tuple(known if whole else anything), began=one.started_at, ended=one.ended_at)

    # -- what was to be ------------------------------------------------------------------------------------------

    def _whole_selection(self) -> str | None:
        """What dbt was to build, where it never came to know its nodes, or did not come to the end of them."""
        where = "p.part = 'dbt_invocation' AND p.superseded = 0"
        invocations = parts(self._warehouse, self._runs, where=where)
        cut_off = [
            part
            for part in invocations
            if part.status in ("Interrupted", "Running")
            or (part.status == "Failed" and " nodes failed: " not in (part.error_message or ""))
        ]
        if self._nodes and not cut_off:
            return None
        said = self._said_selection()
        if said is None and not invocations and not self._nodes:
            return None  # nobody knows of a build in it
        return said or ""

    def _said_selection(self) -> str | None:
        rows = views.ask(self._warehouse, _SELECTED, runs=self._runs)
        found = [str(select) for (select,) in rows if select]
        run, earlier = self._found.run, self._found.earlier
        if not found and earlier is not None and run is not None:
            found = [select for select in [earlier.usual_select(run)] if select]
        return found[0] if found else None

    def _wanted_refreshes(self) -> dict[str, str]:
        """Id → name of the models that the product refreshes: as the platform says, else as it did the last time; at
        this time of day, if it has run at this time before. That of the first of the runs: a repair has no time."""
        run, earlier = self._found.run, self._found.earlier
        if run is None or run.data_product is None:
            return {}
        wanted = active_models(self._warehouse, run.data_product, run.environment)
        if wanted or earlier is None:
            return wanted
        known = [one for one in run_rows(self._warehouse, self._runs) if one.run_id in earlier.entries]
        first = min(known, key=lambda one: earlier.entries[one.run_id].at, default=run)
        past = earlier.before(first)
        at_its_time = [one for one in past if same_slot(one.at, earlier.entries[first.run_id].at, self._zone)]
        before = [one.run_id for one in at_its_time or past]
        done = operations(self._warehouse, before, where="o.kind = 'model_refresh'") if before else []
        by_run: dict[str, dict[str, str]] = {}
        for one in done:
            by_run.setdefault(one.run_id, {})[one.operation_id] = one.name
        return next((by_run[run_id] for run_id in before if run_id in by_run), {})

    # -- in words --------------------------------------------------------------------------------------------------

    def _item(self, name: str, made: Mapping[str, Made], wanted: Mapping[str, str]) -> ToDo:
        if name.startswith("load "):
            return self._load_to_do(next(key for key in self._tables if _id(key) == name))
        if name.startswith("refresh "):
            model = name.removeprefix("refresh ")
            one = self._refreshes.get(model)
            label = one.name if one is not None else wanted.get(model, model)
            return ToDo("model_refresh", label, model, _why(one, "it was not refreshed"), *_fate(one))
        one = self._nodes.get(name)
        label = one.label if one is not None else name.split(".", 2)[-1]
        return ToDo("dbt_node", label, name, _why(one, "it was not built"), *_fate(one))

    def _load_to_do(self, key: TableKey) -> ToDo:
        state, load = self._tables[key], self._found.loads.get(key)
        run_id = load.run_id if load is not None else None
        table: Table = state.table
        failed = state.state == "failed"
        return ToDo("table_load", state.name, ".".join(table), state.text, run_id, failed, state.learned)


def _is_node(name: str) -> bool:
    """Whether dbt can be told to build it: a hook can't."""
    return not name.startswith(("operation.", "hook.", "source.", "exposure."))


def _id(key: TableKey) -> str:
    return f"load {'.'.join(key)}"


def _why(one: Operation | None, absent: str) -> str:
    if one is None:
        return absent
    if one.status in BUILT:
        return "it was made of what is done again, or before it"
    why = f": {one_line(one.error_message)[:300]}" if one.error_message else ""
    return f"it ended as {one.word or one.status}{why}"


def _fate(one: Operation | None) -> tuple[str | None, bool]:
    return (None, False) if one is None else (one.run_id, one.status == "Failed")


_SELECTED = """\
SELECT MAX(d.build_models)
FROM meta.monitoring_transformation_dbt AS d
WHERE d.build_models <> ''
GROUP BY d.orchestration_run_id
"""
