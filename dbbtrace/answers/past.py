"""What is above a dbt node, and when all of it was loaded and built: rows and manifest together, as far back as needed.

Where a row and the manifest both say what a node reads, the row counts: it tells of what was built.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain, repeat

from dbbtrace.answers.ages import loaded_tables
from dbbtrace.answers.graph import CUT, NOT_STORED
from dbbtrace.answers.histories import WINDOWS, Histories, NodeRow
from dbbtrace.answers.inputs import Walk, Work
from dbbtrace.answers.rows import is_node_id
from dbbtrace.answers.things import table_id
from dbbtrace.graph import DbtSource, Rules, Table, TableKey, Tables, is_test
from dbbtrace.sources.dbt.manifest import ManifestNode, sources_of
from dbbtrace.warehouse import Warehouse

__all__ = ["Past"]


class Past:
    """The past of one environment, up to a point in time; see ``Histories``.

    Args:
        back: how far back refreshes and loads matter, as far as that is enough; None: all do.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        at: datetime,
        environment: str | None,
        manifest: Mapping[str, ManifestNode],
        rules: Rules,
        back: timedelta | None = None,
    ) -> None:
        self._histories = Histories(warehouse, at, environment)
        self._manifest = manifest
        self._sources = sources_of(manifest)
        self._warehouse = warehouse
        self._rules = rules
        self._back = back
        self._tables = [self._loaded(back)]
        self.tables: dict[str, Table] = {}
        """Id of a table that was met → the table."""
        self._looked_at: dict[str, timedelta | None] = {}
        """Table or node → how far back its rows were read; all nodes at least as far as the first window."""
        self.refreshes = self._histories.refreshes(self._since(back))
        """Of all semantic models, newest first."""

    @property
    def nodes(self) -> Mapping[str, NodeRow]:
        """dbt's nodes as their newest rows say."""
        return self._histories.nodes

    @property
    def works(self) -> Mapping[str, Sequence[Work]]:
        """Table or node → what succeeded, by end."""
        return self._histories.works

    def read_nodes(self, window: timedelta | None) -> None:
        """Read the rows of all nodes, so far back."""
        self._histories.read_nodes(self._since(window))

    def _since(self, window: timedelta | None) -> datetime | None:
        return self._histories.at - window if window is not None else None

    def _loaded(self, window: timedelta | None) -> Tables[Table]:
        loaded = loaded_tables(self._warehouse, self._since(window))
        return Tables(((table, table) for table in loaded), self._rules)

    def _tables_of(self, source: DbtSource) -> Sequence[Table]:
        """The loaded tables that a source may be: of those loaded lately, else of all that ever were."""
        found = self._tables[0].of(source)
        if found or self._back is None:
            return found
        if len(self._tables) == 1:
            self._tables.append(self._loaded(None))
        return self._tables[1].of(source)

    def walk(self, nodes: Sequence[str], at: datetime) -> Walk:
        """The walk, with as much of the past as it takes."""
        for window in chain(WINDOWS, repeat(None)):
            since = at - window if window is not None else None
            parents, loads = self._graph(nodes)
            new = {key: name for key, name in loads.items() if name not in self._looked_at}
            self._histories.read_loads(new, since)
            self._looked_at |= dict.fromkeys(new.values(), window)
            walk = Walk(
                parents,
                self._is_stored,
                self._histories.works,
                is_open=self._is_open,
                constants=lambda name: name.startswith("seed."),
            )
            for node in nodes:
                walk.inputs(node, at)
            missing = {name for name in walk.missing if self._may_be_older(name)}
            if not missing:
                break
            self._look_further(missing, loads, at)
        return walk

    def _may_be_older(self, name: str) -> bool:
        """Whether rows that were not looked at yet may know more of it; what nobody loads has none."""
        return not name.startswith("source.") and self._looked_at.get(name, WINDOWS[0]) is not None

    def _look_further(self, names: Collection[str], loads: Mapping[TableKey, str], at: datetime) -> None:
        """Read older rows of these tables and nodes."""
        by_window: dict[timedelta | None, list[str]] = {}
        for name in names:
            window = WINDOWS[WINDOWS.index(self._looked_at.get(name, WINDOWS[0])) + 1]
            by_window.setdefault(window, []).append(name)
        for window, chosen in by_window.items():
            since = at - window if window is not None else None
            tables = {key: name for key, name in loads.items() if name in chosen}
            self._histories.read_loads(tables, since)
            if nodes := set(chosen) - set(tables.values()):
                self._histories.read_nodes(since, nodes)
            self._looked_at |= dict.fromkeys(chosen, window)

    def _graph(self, nodes: Iterable[str]) -> tuple[dict[str, tuple[str, ...]], dict[TableKey, str]]:
        """What is above these nodes; and the tables there, with their names."""
        parents: dict[str, tuple[str, ...]] = {}
        loads: dict[TableKey, str] = {}
        waiting = list(nodes)
        while waiting:
            name = waiting.pop()
            if name in parents:
                continue
            if name.startswith("source."):
                tables = self._tables_of(self._sources.get(name) or DbtSource.of_id(name))
                if tables:
                    parents[name] = tuple(map(table_id, tables))
                for table in tables:
                    loads[table.key] = table_id(table)
                    self.tables[table_id(table)] = table
                continue
            reads = self._reads(name)
            if reads is not None:
                parents[name] = tuple(one for one in reads if one != CUT and not is_test(one))
                waiting += parents[name]
        return parents, loads

    def _reads(self, name: str) -> Sequence[str] | None:
        """What a node reads; None: nobody knows the node."""
        row, known = self._histories.nodes.get(name), self._manifest.get(name)
        if row is not None and row.depends_on and CUT not in row.depends_on:
            return row.depends_on
        if known is not None:
            return known.parents
        return row.depends_on if row is not None else None

    def _is_open(self, name: str) -> bool:
        """Whether a node reads more than is known."""
        row = self._histories.nodes.get(name)
        if name in self._manifest or row is None:
            return False
        return CUT in row.depends_on or (not row.depends_on and row.materialized is None)

    def _is_stored(self, name: str) -> bool:
        """Whether it holds data of its own; where nobody says it does, which never makes data look newer than it is."""
        if name.startswith("source.") or not is_node_id(name):
            return name in self._histories.nodes
        known = self._manifest.get(name)
        row = self._histories.nodes.get(name)
        said = (known.materialized if known else None) or (row.materialized if row else None)
        return said not in NOT_STORED
