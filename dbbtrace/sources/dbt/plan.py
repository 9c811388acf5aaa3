"""A command of dbt's that is to build something: what it selects, and how it is put once some of it is left out."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from dbbtrace.errors import UsageError
from dbbtrace.graph import DbtSource, Selection
from dbbtrace.sources.dbt.arguments import Arguments
from dbbtrace.sources.dbt.manifest import Manifest, ManifestNode, graph_of, load_manifest, sources_of
from dbbtrace.sources.dbt.selection import KINDS, listed, selects, without

__all__ = ["Plan", "plan_of"]


@dataclass(frozen=True)
class Plan:
    """A command of dbt's, and what it builds."""

    args: tuple[str, ...]
    """dbt's, without the program."""
    selection: Selection
    manifest: Manifest

    def without(self, closed: Collection[DbtSource], unaffected: Sequence[str]) -> list[str]:
        """The arguments that build exactly what is unaffected by these sources."""
        by_default = self.manifest.has_default_selector
        return without(self.args, closed, unaffected, self.manifest.by_id(), default_selector=by_default)


def plan_of(
    args: Sequence[str],
    manifest_file: str | os.PathLike[str] | None = None,
    executable: str | os.PathLike[str] | None = None,
) -> Plan:
    """What the command would build.

    Args:
        args: dbt's, without the program: ``["build", "--select", "+tag:Finance"]``.
        manifest_file: the project's manifest; default: the one that dbt writes for these arguments.
        executable: the ``dbt`` of another environment.

    Raises:
        UsageError: the manifest can't be read, there is no dbt, or nothing can be left out of the command.
        DbtError: dbt could not say what is selected.
    """
    if manifest_file is None:
        nodes = listed(args, executable=executable)
        manifest = load_manifest(Arguments(args).target / "manifest.json")
    else:
        manifest = load_manifest(Path(manifest_file))
        if selects(args) or manifest.has_default_selector:
            nodes = listed(args, executable=executable, write=False)
            if not nodes:  # a typo would be an open gate
                raise UsageError("dbt's selection selects nothing: is it spelled as the project has it?")
        else:  # everything: no need to ask dbt
            kinds = KINDS[Arguments(args).command]
            nodes = [unique_id for unique_id in manifest.by_id() if unique_id.split(".", 1)[0] in kinds]
    by_id = manifest.by_id()
    nodes = [node for node in nodes if not _is_ephemeral(by_id.get(node))]
    return Plan(tuple(args), Selection(tuple(nodes), graph_of(by_id), sources_of(by_id)), manifest)


def _is_ephemeral(node: ManifestNode | None) -> bool:
    """Whether dbt never builds it: it is a part of what reads it."""
    return node is not None and node.materialized == "ephemeral"
