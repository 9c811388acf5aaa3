"""The results of an invocation: dbt's artifact, completed by what was seen live. Pure, but for the clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from dbbtrace.model.times import iso_utc
from dbbtrace.sources.dbt.artifacts import Arguments, Environment, Metadata, NodeResult, Results
from dbbtrace.sources.dbt.terms import NO_OP, UPSTREAM, status_of
from dbbtrace.tracing.provider import now

if TYPE_CHECKING:
    from dbbtrace.sources.dbt.manifest import ManifestNode

__all__ = ["completed", "skipped", "with_no_ops", "without_artifact"]


def completed(found: Results, live: Mapping[str, NodeResult]) -> Results:
    """The results, and what ended that they do not name.

    Args:
        live: what ended, by unique_id.
    """
    named = {node.unique_id for node in found.nodes}
    missing = [result for unique_id, result in live.items() if unique_id not in named]
    return replace(found, results=[*found.nodes, *missing])


def with_no_ops(found: Results, manifest: Mapping[str, ManifestNode]) -> Results:
    """The results, in which an ephemeral model that nothing held up is a no-op: nothing is built of it.

    dbt-core's artifacts don't name it. Fusion's call it skipped, though its summary calls it a no-op; what reads it is
    not stale for that.
    """

    ephemeral = {unique_id for unique_id, known in manifest.items() if known.materialized == "ephemeral"}
    if not any(node.unique_id in ephemeral for node in found.nodes):
        return found

    def told(node: NodeResult) -> NodeResult:
        held_up = status_of(node) != "skipped" or (node.message or "").startswith(UPSTREAM)
        return node if held_up or node.unique_id not in ephemeral else replace(node, status=NO_OP, timing=[])

    return replace(found, results=[told(node) for node in found.nodes])


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
