"""Lineage of one run: from each table load through dbt's sources and models to exposures and semantic models.

It is made of what the run really did: the rows of its operations, and what they say that they read. A manifest adds
what rows don't know: models that this run did not build, exposures, all that a node reads where its row had no room.
Each fact is one sentence about what is not as it should be. No dbt is run and nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone, tzinfo

from dbbtrace.answers.ages import ages, loaded_tables
from dbbtrace.answers.consumers import BY_NAME, Names, Naming, SemanticModel, exposures_of, semantic_models
from dbbtrace.answers.facts import facts
from dbbtrace.answers.graph import CUT, NOT_STORED, RunGraph, table_of
from dbbtrace.answers.platform import model_titles
from dbbtrace.answers.read import operations, relations, run_keys, run_rows
from dbbtrace.answers.rows import Operation, Run, label_of
from dbbtrace.answers.things import Lineage, Thing, table_id
from dbbtrace.errors import UsageError
from dbbtrace.graph import DbtSource, Rules, Table, Tables, is_test
from dbbtrace.sources.dbt.manifest import ManifestNode, sources_of
from dbbtrace.warehouse import Warehouse

__all__ = ["LATELY", "before", "lineage", "things_of"]

LATELY = 5
"""How many of a product's newest runs tell what it usually builds and refreshes."""


def lineage(
    warehouse: Warehouse,
    run: str,
    *,
    manifest: Mapping[str, ManifestNode] | None = None,
    naming: Naming = BY_NAME,
    zone: tzinfo = timezone.utc,
) -> Lineage:
    """The lineage of a run.

    Args:
        warehouse: where its rows are.
        run: the run's id.
        manifest: dbt's, by unique_id; None: what rows say.
        naming: how names go together, where they don't tell by themselves.
        zone: in which tables have their usual times.

    Raises:
        UsageError: there is no such run.
    """
    found = run_rows(warehouse, [run])
    if not found:
        raise UsageError(f"no run {run!r} in {warehouse.name}; `dbbtrace runs` lists the runs")
    done = [one for one in operations(warehouse, [run]) if not one.superseded]
    made = _Making(done, (), manifest or {}, naming.rules, relations(warehouse, [run]))
    made.add_nodes()
    made.add_consumers(naming.semantic_models, model_titles(warehouse))
    made.add_sources(loaded_tables(warehouse))
    ended = max((one.ended_at or one.started_at for one in done if one.started_at), default=None)
    missing = [table for name, table in made.tables.items() if made.things[name].operation is None]
    known = ages(warehouse, missing, ended or datetime.now(timezone.utc), zone) if missing else {}
    for name, table in made.tables.items():
        if table.key in known and made.things[name].operation is None:
            made.things[name] = replace(made.things[name], age=known[table.key])
    things = {name: made.things[name] for name in _in_order(made.things)}
    return Lineage(found[0], things, tuple(facts(things, made.run)))


def before(warehouse: Warehouse, run: Run, done: Iterable[Operation]) -> list[Operation]:
    """The nodes and refreshes of the product's newest runs before this one, newest first.

    None where nothing of this run failed or was left out: then nobody asks what it did not come to.
    """
    if run.data_product is None or not any(one.status in ("Failed", "Skipped") for one in done):
        return []
    keys = run_keys(
        warehouse,
        data_product=run.data_product,
        environment=run.environment,
        until=run.started_at,
        limit=LATELY,
    )
    ids = [key.run_id for key in keys if key.run_id != run.run_id]
    found = (
        operations(warehouse, ids, where="o.superseded = 0 AND o.kind IN ('dbt_node', 'model_refresh')") if ids else []
    )
    return sorted(found, key=lambda one: ids.index(one.run_id))


def things_of(
    run: RunGraph,
    earlier: Sequence[Operation] = (),
    *,
    naming: Naming = BY_NAME,
    titles: Mapping[str, str] | None = None,
) -> dict[str, Thing]:
    """The things of a run's lineage, as its rows say. Pure.

    Args:
        run: its outcomes.
        earlier: outcomes of earlier runs, newest first. Semantic models that were refreshed there belong to the lineage
            although this run did not come to refresh them. So do dbt's nodes, where this run built none at all.
        naming: how names go together, where they don't tell by themselves.
        titles: id → name of semantic models, where rows of refreshes don't name them.
    """
    made = _Making(run.outcomes, earlier, {}, naming.rules, {}, run)
    made.add_nodes()
    made.add_consumers(naming.semantic_models, titles or {})
    made.add_sources(())
    return made.things


class _Making:
    """Collects the things of one run."""

    def __init__(
        self,
        done: Iterable[Operation],
        earlier: Sequence[Operation],
        manifest: Mapping[str, ManifestNode],
        rules: Rules,
        relations: Mapping[str, str],
        run: RunGraph | None = None,
    ) -> None:
        self.run = run or RunGraph(done, rules)
        self._before = {} if self.run.nodes else _newest(one for one in earlier if one.kind == "dbt_node")
        self._refreshed_before = [one for one in earlier if one.kind == "model_refresh"]
        self.things: dict[str, Thing] = {}
        self.tables: dict[str, Table] = {}
        self._manifest = manifest
        self._sources = sources_of(manifest)
        self._rules = rules
        self._relations = relations

    def add_nodes(self) -> None:
        """The run's nodes, and what is above them as far as it is known: up to what is stored and not of this run."""
        waiting = [
            name
            for nodes in (self.run.nodes, self._before)
            for name, node in nodes.items()
            if _is_of_lineage(name, node)
        ]
        while waiting:
            name = waiting.pop()
            if name in self.things or name.startswith("source."):
                continue
            thing = self._node(name)
            self.things[name] = thing
            waiting += thing.reads

    def _node(self, name: str) -> Thing:
        operation, known = self.run.nodes.get(name), self._manifest.get(name)
        before = self._before.get(name)
        reads, is_complete = self._reads(operation or before, known)
        if operation is None and before is None and not (known and known.materialized in NOT_STORED):
            reads, is_complete = (), known is not None  # what it holds came in another run
        kind = (known and known.resource_type) or None
        row = operation or before
        return Thing(
            name,
            "exposure" if name.startswith("exposure.") else "node",
            row.label if row else label_of("dbt_node", name, name, kind),
            tuple(parent for parent in dict.fromkeys(reads) if not is_test(parent)),
            is_complete,
            operation,
            self._relations.get(name) or (known.relation_name if known else None),
        )

    def _reads(self, operation: Operation | None, known: ManifestNode | None) -> tuple[tuple[str, ...], bool]:
        """What a node reads, and whether that is all. The row counts, which tells of this run; a cut one does not."""
        said = operation.depends_on if operation else ()
        if CUT in said or not said:
            if known is not None:
                return tuple(known.parents), True
            told = operation is not None and operation.materialized is not None and CUT not in said
            return tuple(parent for parent in said if parent != CUT), told
        return said, True

    def add_sources(self, others: Iterable[Table]) -> None:
        """The loads of the run, dbt's sources, and the tables that they read."""
        loads = [one for one in self.run.outcomes if one.kind == "table_load"]
        for load in loads:
            self._add_table(table_of(load), load)
        loaded = Tables(((table_of(load), table_of(load)) for load in loads), self._rules)
        elsewhere = Tables(((table, table) for table in others), self._rules)
        for name in sorted({parent for thing in self.things.values() for parent in thing.reads}):
            if not name.startswith("source."):
                continue
            source = self._sources.get(name) or DbtSource.of_id(name)
            tables = loaded.of(source) or elsewhere.of(source)
            for table in tables:
                self._add_table(table, None)
            known = self._manifest.get(name)
            reads = tuple(dict.fromkeys(map(table_id, tables)))
            relation = known.relation_name if known else None
            self.things[name] = Thing(name, "source", f"source {source.selector}", reads, bool(reads), None, relation)

    def _add_table(self, table: Table, load: Operation | None) -> None:
        name = table_id(table)
        if name not in self.things:
            self.tables[name] = table
            self.things[name] = Thing(name, "table", table.name, operation=load)

    def add_consumers(self, mapping: Mapping[str, Mapping[str, object]], titles: Mapping[str, str]) -> None:
        """The semantic models and exposures that read what the run touched, and the models that it refreshed."""
        nodes = {name for name, thing in self.things.items() if thing.kind == "node" and thing.operation}
        nodes |= self._before.keys()
        exposures = exposures_of(self._manifest, ((name, node.depends_on) for name, node in self.run.nodes.items()))
        refreshes = [one for one in reversed(self.run.outcomes) if one.kind == "model_refresh"]
        names = Names([*self.things, *self._manifest])
        models, left = semantic_models([*refreshes, *self._refreshed_before], exposures, mapping, titles, names)
        stands_for = {one.unique_id for one in exposures} - {one.unique_id for one in left}
        for name in stands_for:
            self.things.pop(name, None)
        for exposure in left:
            if nodes.intersection(exposure.reads):
                known = self.things.get(exposure.unique_id) or Thing(
                    exposure.unique_id, "exposure", f"exposure {exposure.names[-1]}"
                )
                self._add_reader(replace(known, reads=exposure.reads))
        newest = {one.operation_id.lower(): one for one in reversed(refreshes)}
        for model in models:
            if model.is_refreshed or nodes.intersection(model.reads):
                self._add_reader(_as_thing(model, newest.get(model.key)))

    def _add_reader(self, reader: Thing) -> None:
        reads = tuple(name for name in reader.reads if name != CUT)
        for name in reads:
            if name not in self.things and not name.startswith("source."):
                self.things[name] = replace(self._node(name), reads=())
        self.things[reader.id] = replace(reader, reads=reads)


def _as_thing(model: SemanticModel, refresh: Operation | None) -> Thing:
    name, label = f"semantic model {model.key}", f"semantic model {model.name}"
    return Thing(name, "semantic model", label, model.reads, model.is_complete, refresh)


def _newest(found: Iterable[Operation]) -> dict[str, Operation]:
    """By operation_id; the first of each."""
    newest: dict[str, Operation] = {}
    for one in found:
        newest.setdefault(one.operation_id, one)
    return newest


def _is_of_lineage(name: str, node: Operation) -> bool:
    """Tests read and give nothing on; hooks are no data; freshness is asked of a source, not made."""
    return not (is_test(name) or name.startswith(("operation.", "source.")) or node.resource_type in ("test", "hook"))


def _in_order(things: Mapping[str, Thing]) -> Iterator[str]:
    """What is read before what reads it; of equals by kind and name."""
    kinds = ("table", "source", "node", "exposure", "semantic model")
    ranked = sorted(things.values(), key=lambda thing: (kinds.index(thing.kind), thing.label.lower(), thing.id))
    seen: set[str] = set()
    for start in ranked:
        stack = [(start.id, iter(start.reads))] if start.id not in seen else []
        seen.add(start.id)
        while stack:
            name, above = stack[-1]
            following = next((one for one in above if one in things and one not in seen), None)
            if following is None:
                stack.pop()
                yield name
            else:
                seen.add(following)
                stack.append((following, iter(things[following].reads)))
