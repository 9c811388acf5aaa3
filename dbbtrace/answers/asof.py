"""As of: what a semantic model, a dbt model or a data product shows is as old as which load.

Through the loads, builds and refreshes of all runs. An input is overdue by its own usual interval, so that a table
which comes once a year does not hide one that should have come this morning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone, tzinfo

from dbbtrace.answers.ages import Age, ages
from dbbtrace.answers.consumers import BY_NAME, Exposure, Names, Naming, SemanticModel, exposures_of, semantic_models
from dbbtrace.answers.graph import CUT
from dbbtrace.answers.histories import WINDOWS
from dbbtrace.answers.inputs import Input, Step, Walk, is_behind
from dbbtrace.answers.past import Past
from dbbtrace.answers.platform import model_titles
from dbbtrace.answers.rows import Run, is_node_id, label_of
from dbbtrace.answers.shown import AsOf, ShownTable, is_older, usual_start
from dbbtrace.answers.suggest import suggestion
from dbbtrace.answers.things import table_id
from dbbtrace.errors import UsageError
from dbbtrace.graph import DbtSource, Table, TableKey
from dbbtrace.model.times import moved
from dbbtrace.sources.dbt.manifest import ManifestNode
from dbbtrace.warehouse import Warehouse

__all__ = ["asof", "asof_refreshed"]


def asof(
    warehouse: Warehouse,
    name: str | None = None,
    *,
    data_product: str | None = None,
    environment: str | None = None,
    manifest: Mapping[str, ManifestNode] | None = None,
    naming: Naming = BY_NAME,
    at: datetime | None = None,
    zone: tzinfo = timezone.utc,
) -> AsOf:
    """What a semantic model, an exposure or a dbt model shows is as old as which load; or a whole data product.

    Args:
        warehouse: where to look.
        name: name or id of a semantic model, name of an exposure or of a dbt node; None: ``data_product``.
        data_product: its semantic models; where it has none, its models that no other reads.
        environment: only rows of this one; must be said where the rows are of several.
        manifest: dbt's, which knows more than rows.
        naming: how names go together, where they don't tell by themselves.
        at: as of when; default now.
        zone: in which tables have their usual times.

    Raises:
        UsageError: there is no such thing, or it is in several environments.
    """
    if (name is None) == (data_product is None):
        raise UsageError("name what to look at: a semantic model or a dbt model, or --data-product P")
    world = _World(warehouse, environment, manifest, naming, at, zone)
    return world.named(name) if name is not None else world.product(data_product or "")


def asof_refreshed(
    warehouse: Warehouse,
    run: Run | None,
    *,
    naming: Naming = BY_NAME,
    at: datetime | None = None,
    zone: tzinfo = timezone.utc,
) -> tuple[AsOf, ...]:
    """What the semantic models show that a run refreshed, or tried to; arguments as of ``asof``.

    Args:
        at: as of when; default when the run ended, as far as is known.
    """
    if run is None or not run.refreshes:
        return ()
    world = _World(warehouse, run.environment, naming=naming, at=at or run.ended_at, zone=zone, back=_LATELY)
    keys = {refresh.operation_id for refresh in world.refreshes if refresh.work.run_id == run.run_id}
    return tuple(world.shown(model) for model in world.models if model.key in keys)


_LATELY = timedelta(days=20)
"""What a run shows is told by rows of these days, where they are enough."""


class _World:
    """What is known of everything, read once.

    Args:
        back: how far back refreshes and loads matter, as far as that is enough; None: all do.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        environment: str | None = None,
        manifest: Mapping[str, ManifestNode] | None = None,
        naming: Naming = BY_NAME,
        at: datetime | None = None,
        zone: tzinfo = timezone.utc,
        back: timedelta | None = None,
    ) -> None:
        self.at = at or datetime.now(timezone.utc)
        self._warehouse = warehouse
        self._zone = zone
        self._manifest = manifest or {}
        self._naming = naming
        self._environment = environment
        self._past = Past(warehouse, self.at, environment, self._manifest, naming.rules, back)
        self._past.read_nodes(WINDOWS[0])
        self.refreshes = self._past.refreshes
        self._ages: dict[TableKey, Age] = {}
        self._look_at_readers()

    def _look_at_readers(self) -> None:
        self._names = Names([*self._past.nodes, *self._manifest])
        self.exposures = exposures_of(self._manifest, ((row.name, row.depends_on) for row in self._past.nodes.values()))
        titles = model_titles(self._warehouse)
        self.models, self.others = semantic_models(
            self.refreshes, self.exposures, self._naming.semantic_models, titles, self._names
        )

    # -- what is meant -----------------------------------------------------------------------------------------

    def named(self, name: str) -> AsOf:
        """What the thing of that name shows."""
        for window in WINDOWS:
            if window is not WINDOWS[0]:  # it may not have been built for long
                self._past.read_nodes(window)
                self._look_at_readers()
            wanted = name.strip().lower()
            model = next((one for one in self.models if wanted in (one.key.lower(), one.name.lower())), None)
            if model is not None:
                return self.semantic_model(model)
            exposure = next((one for one in self.others if wanted in map(str.lower, (one.unique_id, *one.names))), None)
            if exposure is not None:
                return self._of_exposure(exposure)
            node = self._names.of(name)
            if node in self._past.nodes or node in self._manifest:
                row = self._past.nodes.get(node)
                self._check_environment(name, row.environments if row else ())
                return self._of_nodes(label_of("dbt_node", node, node), "model", [node])
        raise UsageError(f"no semantic model, exposure or dbt model {name!r}{suggestion(name, self._known_names())}")

    def _known_names(self) -> Iterable[str]:
        yield from (model.name for model in self.models)
        yield from (exposure.names[-1] for exposure in self.others)
        yield from (name.split(".", 2)[-1] for name in self._past.nodes if name.startswith(("model.", "snapshot.")))

    def product(self, data_product: str) -> AsOf:
        """What the product's semantic models show; where it has none, its models that no other reads."""
        keys = {refresh.operation_id for refresh in self.refreshes if refresh.data_product == data_product}
        own = {name for name, row in self._past.nodes.items() if row.data_product == data_product}
        models = [model for model in self.models if model.key in keys or own.intersection(model.reads)]
        parts = [self.semantic_model(model) for model in models]
        if not parts:
            last = self._last(data_product)
            self._check_environment(
                data_product, [place for node in last for place in self._past.nodes[node].environments]
            )
            return self._of_nodes(data_product, "data product", last)
        shown: dict[str, ShownTable] = {}
        for table in (table for part in parts for table in part.tables):
            if table.name not in shown or is_older(table, shown[table.name]):
                shown[table.name] = table
        unknown = dict.fromkeys(name for part in parts for name in part.unknown)
        made = self._made(data_product, "data product", list(shown.values()), tuple(unknown))
        return replace(
            made,
            as_of=min((part.as_of for part in parts if part.as_of), default=None),
            parts=tuple(parts),
            failing_since=min((part.failing_since for part in parts if part.failing_since), default=None),
        )

    def _last(self, data_product: str) -> list[str]:
        """The product's models that no other reads."""
        for window in WINDOWS:
            if window is not WINDOWS[0]:
                self._past.read_nodes(window)
            nodes = self._past.nodes
            own = [name for name, row in nodes.items() if row.data_product == data_product and _is_data(name)]
            read = {parent for row in nodes.values() if _is_data(row.name) for parent in row.depends_on}
            if own:
                return sorted(name for name in own if name not in read)
        products = {row.data_product for row in self._past.nodes.values()}
        products |= {refresh.data_product for refresh in self.refreshes}
        known = [product for product in products if product]
        raise UsageError(
            f"no semantic or dbt model of the data product {data_product!r}{suggestion(data_product, known)}"
        )

    # -- what it shows -----------------------------------------------------------------------------------------

    def semantic_model(self, model: SemanticModel) -> AsOf:
        """What a semantic model shows.

        Raises:
            UsageError: it is in several environments.
        """
        own = [one for one in self.refreshes if one.operation_id == model.key.lower()]
        self._check_environment(model.name, [one.environment for one in own])
        return self.shown(model)

    def shown(self, model: SemanticModel) -> AsOf:
        """What it shows: an import model as of its last refresh that succeeded, others as of now."""
        own = [one for one in self.refreshes if one.operation_id == model.key.lower()]
        done = next((one.work for one in own if one.succeeded and one.work.ended_at <= self.at), None)
        failed = [one.work.started_at for one in own if not one.succeeded and (done is None or one.work > done)]
        failing = min(failed, default=None)
        mode = model.mode or ("direct lake" if model.is_direct else "import")
        if mode == "import" and done is None:
            return AsOf(model.name, "semantic model", self.at, None, (), mode=mode, failing_since=failing)
        step = Step(model.name, done) if mode == "import" else None
        shown = self._of_nodes(model.name, "semantic model", model.reads, step, told=model.is_complete)
        refreshed = done.started_at if done and step else None
        return replace(shown, mode=mode, refreshed_at=refreshed, failing_since=failing)

    def _of_exposure(self, exposure: Exposure) -> AsOf:
        return self._of_nodes(f"exposure {exposure.names[-1]}", "exposure", exposure.reads)

    def _of_nodes(
        self, name: str, kind: str, nodes: Sequence[str], step: Step | None = None, *, told: bool = True
    ) -> AsOf:
        at = step.work.started_at if step and step.work else self.at
        walk = self._past.walk([node for node in nodes if node != CUT], at)
        found: dict[str, Input] = {}
        for node in nodes:
            for table, one in walk.inputs(node, at).items() if node != CUT else ():
                one = one._replace(way=(step, *one.way)) if step else one
                if table not in found or is_behind(one, found[table]):
                    found[table] = one
        known = {table: one for table, one in found.items() if table in self._past.tables}
        self._look_at_ages(known)
        tables = [self._shown(self._past.tables[table], one, walk) for table, one in known.items()]
        unknown = [self._label(table) for table in found if table not in known]
        unknown += [table.name for table in tables if table.loaded_at is None]
        if not told:
            unknown.append(f"all that {name} reads" if nodes else f"what {name} reads")
        return self._made(name, kind, tables, tuple(sorted(unknown)))

    def _look_at_ages(self, names: Iterable[str]) -> None:
        new = [table for name in names if (table := self._past.tables[name]).key not in self._ages]
        if new:
            self._ages |= ages(self._warehouse, new, self.at, self._zone, self._environment)

    def _shown(self, table: Table, one: Input, walk: Walk) -> ShownTable:
        age = self._ages.get(table.key)
        if one.work is None or age is None:
            return ShownTable(table.name, None, None, age, False, one.way)
        at = one.work.started_at
        is_overdue = age.failing_since is not None or replace(age, last_success=at).overdue
        stuck = None
        if age.last_success is not None and age.last_success > moved(at, timedelta(seconds=1)):
            stuck = self._stuck(one, table, walk)
        return ShownTable(table.name, at, one.work.run_id, age, is_overdue, one.way, stuck)

    def _stuck(self, one: Input, table: Table, walk: Walk) -> str | None:
        """What newer data of the table did not get past: the first thing above it that did not take it over."""
        newest = walk.last(table_id(table), self.at)
        for step in reversed(one.way):
            if step.work is None or newest is None:
                continue
            last = walk.last(step.name, self.at) if step.name in self._past.works else step.work
            if last is None or last.started_at < newest.ended_at:
                return self._label(step.name)
            newest = last
        return None

    def _label(self, name: str) -> str:
        if name.startswith("source."):
            return f"source {DbtSource.of_id(name).selector}"
        return label_of("dbt_node", name, name)

    def _made(self, name: str, kind: str, tables: list[ShownTable], unknown: tuple[str, ...]) -> AsOf:
        oldest = datetime.min.replace(tzinfo=timezone.utc)
        tables = sorted(tables, key=lambda table: (table.loaded_at or oldest, table.name))
        return AsOf(name, kind, self.at, usual_start(tables), tuple(tables), unknown=unknown)

    def _check_environment(self, name: str, found: Iterable[str | None]) -> None:
        """One environment's data at a time.

        Raises:
            UsageError: it is in several.
        """
        places = sorted({place.upper() for place in found if place})
        if self._environment is None and len(places) > 1:
            raise UsageError(f"{name} is in {' and '.join(places)}: add --environment {places[0]}")


def _is_data(name: str) -> bool:
    return name.startswith(("model.", "snapshot.")) or not is_node_id(name)
