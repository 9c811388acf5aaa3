"""Reads dbt's manifest: only what is needed of it, as ``artifacts`` reads results. 52 MB take 0.1 s."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from dbbtrace.diagnostics import log
from dbbtrace.errors import UsageError
from dbbtrace.graph import DbtSource, Graph
from dbbtrace.sources.dbt.artifacts import Metadata, parse

__all__ = ["ManifestNode", "graph_of", "load_manifest", "read_manifest", "sources_of"]


class DependsOn(Struct, gc=False):
    """What a node selects from."""

    nodes: list[str] | None = None


class NodeConfig(Struct, gc=False):
    """How dbt is to build a node."""

    materialized: str | None = None


class ManifestNode(Struct, gc=False):
    """One node of manifest.json."""

    resource_type: str | None = None
    name: str | None = None
    label: str | None = None
    """Of an exposure: what people call it."""
    source_name: str | None = None
    """Of a source: what its ``name`` belongs to."""
    in_schema: str | None = field(default=None, name="schema")
    """Where the table is in the database."""
    identifier: str | None = None
    """Of a source: what its table is called, where the name is not."""
    fqn: list[str] | None = None
    """The way to the node, from its package to its name."""
    relation_name: str | None = None
    """What the table or view is called in the database, quoted as dbt quotes it."""
    tags: list[str] | None = None
    depends_on: DependsOn | None = None
    config: NodeConfig | None = None

    @property
    def materialized(self) -> str | None:
        """view, table, incremental, seed, snapshot, test, ..., where dbt says it."""
        return self.config.materialized if self.config else None

    @property
    def parents(self) -> list[str]:
        """unique_ids that the node selects from."""
        return (self.depends_on and self.depends_on.nodes) or []

    def as_source(self, unique_id: str) -> DbtSource:
        """The table that dbt reads, of a node that is a source."""
        said = DbtSource.of_id(unique_id)
        return said._replace(
            source_name=self.source_name or said.source_name,
            name=self.name or said.name,
            schema=self.in_schema,
            identifier=self.identifier,
        )


class Selector(Struct, gc=False):
    """One selector of the project's selectors.yml."""

    default: Any = None
    """True where dbt takes it if nothing is selected."""


class Manifest(Struct, gc=False):
    """manifest.json."""

    metadata: Metadata | None = None
    nodes: dict[str, ManifestNode] | None = None
    sources: dict[str, ManifestNode] | None = None
    unit_tests: dict[str, ManifestNode] | None = None
    exposures: dict[str, ManifestNode] | None = None
    saved_queries: dict[str, ManifestNode] | None = None
    functions: dict[str, ManifestNode] | None = None
    selectors: dict[str, Selector] | None = None

    @property
    def has_default_selector(self) -> bool:
        """Whether dbt takes a selector of the project's where nothing is selected."""
        return any(selector.default is True for selector in (self.selectors or {}).values())

    def by_id(self) -> dict[str, ManifestNode]:
        """All of them by unique_id."""
        sections = (
            self.nodes,
            self.sources,
            self.unit_tests,
            self.exposures,
            self.saved_queries,
            self.functions,
        )
        return {unique_id: node for section in sections if section for unique_id, node in section.items()}


def load_manifest(file: Path, advice: str = "name dbt's manifest.json") -> Manifest:
    """The manifest in the file.

    Args:
        advice: what to do if it is none.

    Raises:
        UsageError: there is none; the message names the file.
    """
    try:
        data = file.read_bytes()
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} can't be read: {getattr(error, 'strerror', None) or error}; {advice}") from None
    manifest = parse(Manifest, data, file, advice)
    if ((manifest.metadata or Metadata()).artifact or ("",))[0] != "manifest":
        raise UsageError(f"{file} is not a manifest of dbt; {advice}")
    return manifest


def read_manifest(file: Path, invocation_id: str | None) -> dict[str, ManifestNode]:
    """The nodes of the manifest by unique_id; none, with a log line, where it is of no use to results.

    Args:
        invocation_id: of the results; a manifest that another invocation wrote is ignored. None: take any.
    """
    try:
        manifest = load_manifest(file, "the results are recorded without it")
        about = manifest.metadata or Metadata()
        if invocation_id is not None and about.invocation_id != invocation_id:
            raise UsageError(
                f"{file} is of another dbt invocation ({about.invocation_id}) than the results ({invocation_id}): "
                "they are recorded without it"
            )
    except UsageError as error:
        log.warning("%s", error)
        return {}
    return manifest.by_id()


def graph_of(manifest: Mapping[str, ManifestNode]) -> Graph:
    """What each node selects from, by unique_id."""
    return Graph({unique_id: node.parents for unique_id, node in manifest.items()})


def sources_of(manifest: Mapping[str, ManifestNode]) -> dict[str, DbtSource]:
    """The tables that dbt reads, by unique_id."""
    return {
        unique_id: node.as_source(unique_id) for unique_id, node in manifest.items() if unique_id.startswith("source.")
    }
