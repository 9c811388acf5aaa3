"""The results of an invocation: dbt's artifact, completed by what was seen live. Pure, but for the clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from dbbtrace.model.statuses import NODE_FAILURES
from dbbtrace.model.times import iso_utc
from dbbtrace.sources.dbt.artifacts import Arguments, Environment, Metadata, NodeResult, Results
from dbbtrace.sources.dbt.terms import status_of
from dbbtrace.tracing.provider import now

if TYPE_CHECKING:
    from dbbtrace.sources.dbt.manifest import ManifestNode

__all__ = ["completed", "skipped", "without_artifact", "without_inlined"]


def completed(found: Results, live: Mapping[str, NodeResult]) -> Results:
    """The results, and what ended that they do not name.

    Args:
        live: what ended, by unique_id.
    """
    named = {node.unique_id for node in found.nodes}
    missing = [result for unique_id, result in live.items() if unique_id not in named]
    return replace(found, results=[*found.nodes, *missing])


def without_inlined(found: Results, manifest: Mapping[str, ManifestNode]) -> Results:
    """The results without ephemeral models that did not fail: nothing is built of them, their SQL goes into others.

    dbt-core's artifacts don't name them. Fusion's call every one of them skipped.
    """

    def inlined(node: NodeResult) -> bool:
        known = manifest.get(node.unique_id)
        return known is not None and known.materialized == "ephemeral" and status_of(node) not in NODE_FAILURES

    kept = [node for node in found.nodes if not inlined(node)]
    return found if len(kept) == len(found.nodes) else replace(found, results=kept)


def skipped(unique_id: str, why: str) -> NodeResult:
    """The result of a node that dbt was not given to build."""
    return NodeResult(unique_id, status="skipped", timing=[], message=why)


def without_artifact(
    *, invocation_id: str | None, version: str | None, command: str, select: str, span: str | None, freshness: bool
) -> Results:
    """The results of an invocation that wrote none.

    Args:
        span: see ``Identities``.
    """
    about = Metadata(
        dbt_schema_version=f"/dbt/{'sources' if freshness else 'run-results'}/v0.json",
        dbt_version=version,
        generated_at=iso_utc(now()),
        invocation_id=invocation_id,
        env=Environment(span),
    )
    return Results(about, Arguments(which=command, select=select), results=[])
