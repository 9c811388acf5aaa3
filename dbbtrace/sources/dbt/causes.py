"""Why a node was skipped: dbt-core says nothing, so the manifest's graph is asked which failure is above it.

An approximation of dbt's scheduling that names one failure a node; pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from dbbtrace.model.statuses import NODE_FAILURES
from dbbtrace.sources.dbt.manifest import ManifestNode, graph_of

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
    graph = graph_of(manifest)
    tests = [node for node in failed if node.startswith("test.")]
    others = [node for node in failed if not node.startswith("test.")]

    def spread(causes: list[str]) -> dict[str, str]:
        """Through nodes that were skipped or have no result (ephemeral ones)."""
        seeds = ((cause, child) for cause in causes for child in graph.held_back_by(cause))
        return graph.spread(seeds, lambda node: statuses.get(node, "skipped") == "skipped")

    causes = {**spread(tests), **spread(others)}
    causes = {node: cause for node, cause in causes.items() if statuses.get(node) == "skipped"}
    if hook := next((node for node in failed if node.startswith("operation.") and "on-run-start" in node), None):
        causes.update((node, hook) for node, word in statuses.items() if word == "skipped" and node not in causes)
    return causes
