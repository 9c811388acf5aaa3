"""dbt's results → finished spans: one for the invocation, one a node, one a stage. Pure but for ``finished``.

Times are dbt's own. What never ran has none: its row shows empty times, its span is a point where dbt ended.
A build has thousands of nodes, so what they share is prepared once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext

from dbbtrace.job.finished import fact, finished
from dbbtrace.job.lineage import lineage_of
from dbbtrace.job.scope import Scope
from dbbtrace.model import attributes as key
from dbbtrace.model.identity import sha256
from dbbtrace.model.statuses import NODE_FAILURES
from dbbtrace.model.times import NANOS
from dbbtrace.sources.dbt.causes import skip_causes
from dbbtrace.sources.dbt.identities import Identities
from dbbtrace.sources.dbt.nodes import Nodes, Period, Stages, stages_of
from dbbtrace.sources.dbt.terms import command_of, moment, selection_of, status_of

if TYPE_CHECKING:
    from dbbtrace.sources.dbt.artifacts import NodeResult, Results
    from dbbtrace.sources.dbt.manifest import ManifestNode

__all__ = ["build_spans", "purpose_of_target", "shared_attributes", "stage_spans"]

_BATCH = 250
"""Spans that are handed over together: the first are on their way before the last are made, and each is written while
the processor still has it at hand (30 → 27 µs a node)."""


def build_spans(
    scope: Scope,
    results: Results,
    manifest: Mapping[str, ManifestNode],
    *,
    written_at: int,
    with_stages: bool = True,
    target: str = "",
) -> Iterator[list[ReadableSpan]]:
    """In batches: the invocation's span first, then each node's, followed by its stages'.

    Args:
        manifest: the run's nodes by unique_id; may be empty.
        written_at: when the artifact was written, for one that does not say.
        with_stages: stage spans are for the eye alone; rows come from the nodes' spans.
        target: what the invocation says of where its artifact was; see ``purpose_of_target``.
    """
    return _Build(scope, results, manifest, written_at, target).batches(with_stages)


def purpose_of_target(folder: Path, select: str | None, exclude: str = "") -> str:
    """What tells an invocation from others of which only artifacts are known: a mark of the folder, which may not be
    the same in the next run, what was to be built, and a mark of what was left out."""
    said = {"target": _mark(str(folder.absolute())), "select": select, "exclude": exclude and _mark(exclude)}
    return json.dumps({name: value for name, value in said.items() if value}, ensure_ascii=False)


def _mark(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]


def shared_attributes(
    scope: Scope, *, invocation_id: str | None, generated_at: int | None, select: str
) -> dict[str, Any]:
    """What the invocation and all its nodes say alike."""
    shared = {
        **scope.inherited(),
        key.OPERATION: key.OPERATION_DBT_NODE,
        key.WORKLOAD: "transformation",
        key.DBT_GENERATED_AT: generated_at,
        key.DBT_SELECT: scope.select or select,
        key.DBT_INVOCATION_ID: invocation_id,
    }
    return {attribute: value for attribute, value in shared.items() if value is not None}


def stage_spans(
    scope: Scope, told: Mapping[str, Any], stages: Stages, period: Period, parent: SpanContext | None
) -> Iterable[ReadableSpan]:
    """The stages of a node, whose span says what is told."""
    for stage, (start, end) in stages.items():
        yield fact(
            scope,
            name=stage,
            operation=key.OPERATION_DBT_STAGE,
            identity=f"{told[key.IDENTITY]}\n{stage}",
            start=start,
            end=period[1] if end is None else end,
            attributes={
                key.WORKLOAD: "transformation",
                key.DBT_INVOCATION_ID: told.get(key.DBT_INVOCATION_ID),
                key.DBT_UNIQUE_ID: told[key.DBT_UNIQUE_ID],
            },
            parent=parent,
        )


class _Build:
    def __init__(
        self,
        scope: Scope,
        results: Results,
        manifest: Mapping[str, ManifestNode],
        written_at: int,
        target: str,
    ) -> None:
        about = results.about
        self.target = target
        self.scope = scope
        self.results = results
        self.manifest = manifest
        self.nodes = results.nodes
        self.words = [status_of(node) for node in self.nodes]
        self.statuses = {node.unique_id: word for node, word in zip(self.nodes, self.words, strict=True)}
        self.generated_at = moment(about.generated_at) or written_at
        self.identities = Identities(
            scope.trace_id,
            about.invocation_id,
            self.generated_at,
            span=about.env.span if about.env else None,
            joined_to=about.joined_to,
        )
        self.shared = shared_attributes(
            scope,
            invocation_id=about.invocation_id,
            generated_at=self.generated_at,
            select=selection_of(results),
        )
        self.made = Nodes(
            scope,
            self.identities,
            self.shared,
            manifest,
            self.statuses,
            fusion=(about.version or (1, 0)) >= (2, 0),
            freshness=results.freshness,
        )

    def _remember_exposures(self) -> None:
        """For the refreshes of the models that they stand for."""
        exposures = lineage_of(self.scope.trace_id).exposures
        for unique_id, known in self.manifest.items():
            if unique_id.startswith("exposure."):
                exposures.update({name.lower(): known.parents for name in (known.name, known.label) if name})

    def batches(self, with_stages: bool) -> Iterator[list[ReadableSpan]]:
        stages = [
            stages_of(node, word, fusion=self.made.fusion) for node, word in zip(self.nodes, self.words, strict=True)
        ]
        periods = [
            self.made.period_of(node, word, timed, self.generated_at)
            for node, word, timed in zip(self.nodes, self.words, stages, strict=True)
        ]
        self._remember_exposures()
        invocation = self._invocation(periods)
        assert invocation.context is not None
        found = [invocation]
        for node, word, timed, period, who in zip(
            self.nodes, self.words, stages, periods, self._identities(), strict=True
        ):
            span = self._node(node, word, timed, period, who, invocation.context)
            found.append(span)
            if with_stages:
                found += stage_spans(self.scope, span.attributes or {}, timed, period, span.context)
            if len(found) > _BATCH - 3:  # room for one more node and its two stages
                yield found
                found = []
        yield found

    def _identities(self) -> Iterator[tuple[str, int]]:
        """Identity and span id of each node, in the file's order. dbt writes no unique_id twice; if it does, both are
        kept."""
        seen: dict[str, int] = {}
        for node in self.nodes:
            seen[node.unique_id] = times = seen.get(node.unique_id, 0) + 1
            unique_id = node.unique_id if times == 1 else f"{node.unique_id}#{times}"
            yield self.identities.identity_of(unique_id), self.identities.span_id_of(unique_id)

    @cached_property
    def causes(self) -> dict[str, str]:
        return skip_causes(self.statuses, self.manifest)

    def _cause_of(self, node: NodeResult, word: str) -> tuple[str, str] | None:
        cause = self.causes.get(node.unique_id) if word == "skipped" else None
        return (cause, self.statuses[cause]) if cause is not None else None

    def _invocation(self, periods: list[Period]) -> ReadableSpan:
        about, command = self.results.about, command_of(self.results)
        end = max([self.generated_at, *(end for _, end in periods)])
        start = min([self.generated_at - int((self.results.elapsed_time or 0.0) * NANOS), *(s for s, _ in periods)])
        started = moment(about.invocation_started_at)
        name = f"dbt {command}" if command else "dbt"
        error = self._invocation_error()
        return fact(
            self.scope,
            name=name,
            operation=key.OPERATION_DBT_INVOCATION,
            identity=self.identities.identity_of(""),
            span_id=self.identities.invocation_span_id,
            start=max(start if started is None else min(start, started), 0),
            end=end,
            attributes={
                **self.shared,
                key.OPERATION: key.OPERATION_DBT_INVOCATION,
                key.DBT_NODES: len(self.nodes),
                key.DBT_VERSION: about.dbt_version,
                key.DBT_COMMAND: command or None,
                key.CICD_TASK_NAME: name,
                key.CICD_TASK_RUN_RESULT: "failure" if error else "success",
                key.PART_DETAIL: self.target or None,
            },
            error=error,
        )

    def _invocation_error(self) -> tuple[str, str] | None:
        failed = [unique_id for unique_id, word in self.statuses.items() if word in NODE_FAILURES]
        if not failed:
            return None
        kind = "dbt.fail" if all(self.statuses[unique_id] == "fail" for unique_id in failed) else "dbt.error"
        more = ", ..." if len(failed) > 3 else ""
        return kind, f"{len(failed)} of {len(self.statuses)} nodes failed: {', '.join(failed[:3])}{more}"

    def _node(
        self,
        node: NodeResult,
        word: str,
        stages: Stages,
        period: Period,
        who: tuple[str, int],
        invocation: SpanContext,
    ) -> ReadableSpan:
        told = self.made.told(node, word, stages, who[0], self._cause_of(node, word))
        lineage_of(self.scope.trace_id).nodes[node.unique_id] = who[1]
        return finished(
            self.scope,
            name=told.name,
            span_id=who[1],
            start=period[0],
            end=period[1],
            attributes=told.attributes,
            parent=invocation,
            error=told.error,
            links=self.made.links_of(node.unique_id),
        )
