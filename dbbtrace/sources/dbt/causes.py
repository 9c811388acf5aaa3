"""Why a node was skipped: dbt-core says nothing, so the manifest's graph is asked which failure is above it.

An approximation of dbt's scheduling that names one failure a node; pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from dbbtrace.model.statuses import NODE_FAILURES

if TYPE_CHECKING:
    from dbbtrace.sources.dbt.artifacts import ManifestNode

__all__ = ["skip_causes"]


def skip_causes(statuses: Mapping[str, str], manifest: Mapping[str, ManifestNode]) -> dict[str, str]:
    """For each skipped node that has one: the unique_id of a failure because of which it was skipped.

    The nearest failed node above it; failing that a test, since ``dbt build`` holds back what selects from a node
    until its tests have passed; failing that an on-run-start hook.

    Args:
        statuses: dbt's word for each node, by unique_id.
        manifest: the graph; may be empty.
    """
    failed = [unique_id for unique_id, word in statuses.items() if word in NODE_FAILURES]
    if not failed or "skipped" not in statuses.values():
        return {}
    graph = _Graph(statuses, manifest)
    tests = [unique_id for unique_id in failed if unique_id.startswith("test.")]
    graph.spread((node, child) for node in failed for child in graph.held_back_by(node))
    graph.spread((test, child) for test in tests for tested in graph.parents(test) for child in graph.children[tested])
    causes = {node: cause for node, cause in graph.causes.items() if statuses.get(node) == "skipped"}
    if hook := next((node for node in failed if node.startswith("operation.") and "on-run-start" in node), None):
        causes.update((node, hook) for node, word in statuses.items() if word == "skipped" and node not in causes)
    return causes


class _Graph:
    def __init__(self, statuses: Mapping[str, str], manifest: Mapping[str, ManifestNode]) -> None:
        self._statuses = statuses
        self._manifest = manifest
        self.causes: dict[str, str] = {}
        self.children: dict[str, list[str]] = defaultdict(list)
        for unique_id, node in manifest.items():
            for parent in node.parents:
                self.children[parent].append(unique_id)

    def parents(self, unique_id: str) -> list[str]:
        node = self._manifest.get(unique_id)
        return node.parents if node is not None else []

    def held_back_by(self, failed: str) -> list[str]:
        """What does not start once this node failed. A unit test runs before the model it tests."""
        return [*self.children[failed], *(self.parents(failed) if failed.startswith("unit_test.") else ())]

    def spread(self, seeds: Iterable[tuple[str, str]]) -> None:
        """Hand each cause down, breadth first, through nodes that were skipped or have no result (ephemeral ones)."""
        level = list(seeds)
        while level:
            following = []
            for cause, node in level:
                if node not in self.causes and self._statuses.get(node, "skipped") == "skipped":
                    self.causes[node] = cause
                    following += [(cause, child) for child in self.children[node]]
            level = following
