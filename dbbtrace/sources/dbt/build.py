"""dbt's results → finished spans: one for the invocation, one a node, one a stage. Pure but for ``finished``.

Times are dbt's own. What never ran has none: its row shows empty times, its span is a point where dbt ended.
A build has thousands of nodes, so what they share is prepared once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext

from dbbtrace.job.finished import fact, finished
from dbbtrace.job.scope import Scope
from dbbtrace.model import attributes as key
from dbbtrace.model.identity import dbt_identity, span_ids
from dbbtrace.model.times import NANOS, iso_utc
from dbbtrace.sources.dbt.causes import FAILURES, skip_causes
from dbbtrace.sources.dbt.terms import (
    age_of,
    command_of,
    error_of,
    label_of,
    moment,
    relation_parts,
    rows_affected_of,
    selection_of,
    status_of,
    without_colours,
)

if TYPE_CHECKING:
    from dbbtrace.sources.dbt.artifacts import ManifestNode, NodeResult, Results

__all__ = ["build_spans"]

_BATCH = 250
"""Spans that are handed over together: the first are on their way before the last are made, and each is written while
the processor still has it at hand (30 → 27 µs a node)."""
_UPSTREAM = "Skipped due to upstream failure"
"""What Fusion says of every skipped node, and dbt-core leaves unsaid."""
_STAGE_KEYS = {
    "compile": (key.DBT_COMPILE_STARTED_AT, key.DBT_COMPILE_COMPLETED_AT),
    "execute": (key.DBT_EXECUTE_STARTED_AT, key.DBT_EXECUTE_COMPLETED_AT),
}

Stages = dict[str, tuple[int, int | None]]
"""Start and, if known, end of each stage that dbt timed."""
Period = tuple[int, int]
"""Start and end of a node's span."""


def build_spans(
    scope: Scope,
    results: Results,
    manifest: Mapping[str, ManifestNode],
    *,
    written_at: int,
    with_stages: bool = True,
) -> Iterator[list[ReadableSpan]]:
    """In batches: the invocation's span first, then each node's, followed by its stages'.

    Args:
        manifest: the run's nodes by unique_id; may be empty.
        written_at: when the artifact was written, for one that does not say.
        with_stages: stage spans are for the eye alone; rows come from the nodes' spans.
    """
    return _Build(scope, results, manifest, written_at).batches(with_stages)


class _Build:
    def __init__(self, scope: Scope, results: Results, manifest: Mapping[str, ManifestNode], written_at: int) -> None:
        self.scope = scope
        self.results = results
        self.manifest = manifest
        self.nodes = results.nodes
        self.words = [status_of(node) for node in self.nodes]
        self.statuses = {node.unique_id: word for node, word in zip(self.nodes, self.words, strict=True)}
        self.generated_at = moment(results.about.generated_at) or written_at
        self.fusion = (results.about.version or (1, 0)) >= (2, 0)
        self.freshness = results.freshness
        self.shared = {
            **scope.inherited(),
            key.OPERATION: key.OPERATION_DBT_NODE,
            key.WORKLOAD: "transformation",
            key.DBT_GENERATED_AT: self.generated_at,
            key.DBT_SELECT: scope.select or selection_of(results),
        }
        if results.about.invocation_id is not None:
            self.shared[key.DBT_INVOCATION_ID] = results.about.invocation_id

    def batches(self, with_stages: bool) -> Iterator[list[ReadableSpan]]:
        stages = list(map(self._stages, self.nodes, self.words))
        periods = list(map(self._period, self.nodes, self.words, stages))
        invocation = self._invocation(periods)
        assert invocation.context is not None
        found = [invocation]
        for node, word, timed, period, who in zip(
            self.nodes, self.words, stages, periods, self._identities(), strict=True
        ):
            span = self._node(node, word, timed, period, who, invocation.context)
            found.append(span)
            if with_stages:
                found += self._stage_spans(node, timed, period, who[0], span)
            if len(found) > _BATCH - 1 - len(_STAGE_KEYS):
                yield found
                found = []
        yield found

    # -- who is who -----------------------------------------------------------------------------------------

    @cached_property
    def distinction(self) -> str:
        """generated_at, where the invocation id tells nothing: Fusion, joined to our trace, has the trace's own id
        in each of its invocations."""
        invocation_id = self.results.about.invocation_id
        if invocation_id and invocation_id.replace("-", "").lower() != f"{self.scope.trace_id:032x}":
            return ""
        return iso_utc(self.generated_at)

    def _identity(self, unique_id: str) -> str:
        return dbt_identity(self.results.about.invocation_id or "", unique_id, self.distinction)

    def _identities(self) -> Iterator[tuple[str, int]]:
        """Identity and span id of each node, in the file's order. dbt writes no unique_id twice; if it does, both are
        kept."""
        end = f"\n{self.distinction}"
        beginning = self._identity("").removesuffix(end)
        span_id = span_ids(self.scope.trace_id, beginning)
        seen: dict[str, int] = {}
        for node in self.nodes:
            unique_id = node.unique_id
            seen[unique_id] = times = seen.get(unique_id, 0) + 1
            rest = f"{unique_id}{end}" if times == 1 else f"{unique_id}#{times}{end}"
            yield beginning + rest, span_id(rest)

    @cached_property
    def causes(self) -> dict[str, str]:
        return skip_causes(self.statuses, self.manifest)

    # -- times ----------------------------------------------------------------------------------------------

    def _stages(self, node: NodeResult, word: str) -> Stages:
        """The stages that dbt timed. A run-operation's only stage may be named after its macro: it is its execution."""
        if word == "skipped":
            return {}  # Fusion invents times for what never ran
        stages: Stages = {}
        for timing in node.timing or ():
            start = moment(timing.started_at)
            if start is not None:
                name = timing.name if timing.name in _STAGE_KEYS else "execute"
                stages.setdefault(name or "execute", (start, moment(timing.completed_at)))
        unmeasured = self.fusion and word == "error" and not node.execution_time
        if unmeasured and all(start == end for start, end in stages.values()):
            return {}  # Fusion gave up before any node ran, and stamped them all with one moment
        return stages

    def _period(self, node: NodeResult, word: str, stages: Stages) -> Period:
        """Start and end of the node's span. A node takes longer than its stages together."""
        took = int((node.execution_time or 0.0) * NANOS)
        if not stages:
            end = moment(node.snapshotted_at) or self.generated_at
            took = 1 if word == "skipped" else max(took, 1)  # no span is without duration, see fact()
            return max(end - took, 0), end
        first = min([start for start, _ in stages.values()])
        return first, max([first + took, *[max(end or 0, start + 1) for start, end in stages.values()]])

    # -- spans ----------------------------------------------------------------------------------------------

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
            operation=key.OPERATION_STEP,
            identity=self._identity(""),
            start=max(start if started is None else min(start, started), 0),
            end=end,
            attributes={
                **self.shared,
                key.OPERATION: key.OPERATION_STEP,
                key.DBT_VERSION: about.dbt_version,
                key.DBT_COMMAND: command or None,
                key.CICD_TASK_NAME: name,
                key.CICD_TASK_RUN_RESULT: "failure" if error else "success",
            },
            error=error,
        )

    def _invocation_error(self) -> tuple[str, str] | None:
        failed = [unique_id for unique_id, word in self.statuses.items() if word in FAILURES]
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
        unique_id, never_ran = node.unique_id, word == "skipped"
        name, message = label_of(unique_id), self._message(node, word)
        response, known, relation = node.adapter_response, self.manifest.get(unique_id), node.relation_name
        error = error_of(word, message)
        attributes: dict[str, Any] = {
            **self.shared,
            key.IDENTITY: who[0],
            key.CICD_TASK_NAME: name,
            key.CICD_TASK_RUN_RESULT: "skip" if never_ran else "failure" if word in FAILURES else "success",
            key.DBT_UNIQUE_ID: unique_id,
            key.DBT_RESOURCE_TYPE: (known and known.resource_type) or unique_id.split(".", 1)[0],
        }
        sometimes = (
            (key.STATUS, word or None),
            (key.DBT_THREAD_ID, node.thread_id),
            (key.DBT_EXECUTION_TIME, 0.0 if never_ran else node.execution_time),
            (key.DBT_FAILURES, node.failures),
            (key.DBT_COMPILED, node.compiled),
            (key.DBT_RELATION_NAME, relation),
            (key.DBT_ADAPTER_MESSAGE, response and response.message),
            (key.DBT_ROWS_AFFECTED, response and rows_affected_of(response)),
            (key.DBT_MESSAGE, message),
            (key.DBT_DEPENDS_ON, (known and known.parents) or None),
        )
        attributes.update([pair for pair in sometimes if pair[1] is not None])
        if relation:
            namespace, attributes[key.DB_COLLECTION_NAME] = relation_parts(relation)
            if namespace is not None:
                attributes[key.DB_NAMESPACE] = namespace
        for stage, (start, end) in stages.items():
            started_at, completed_at = _STAGE_KEYS[stage]
            attributes[started_at] = start
            if end is not None:
                attributes[completed_at] = end
        if error is not None:
            attributes[key.ERROR_TYPE], attributes[key.ERROR_MESSAGE] = error
        return finished(
            self.scope,
            name=name,
            span_id=who[1],
            start=period[0],
            end=period[1],
            attributes=attributes,
            parent=invocation,
            error=error,
        )

    def _stage_spans(
        self, node: NodeResult, stages: Stages, period: Period, identity: str, parent: ReadableSpan
    ) -> Iterable[ReadableSpan]:
        for stage, (start, end) in stages.items():
            yield fact(
                self.scope,
                name=stage,
                operation=key.OPERATION_DBT_STAGE,
                identity=f"{identity}\n{stage}",
                start=start,
                end=period[1] if end is None else end,
                attributes={
                    key.WORKLOAD: "transformation",
                    key.DBT_INVOCATION_ID: self.results.about.invocation_id,
                    key.DBT_UNIQUE_ID: node.unique_id,
                },
                parent=parent.context,
            )

    def _message(self, node: NodeResult, word: str) -> str | None:
        """dbt's message, or ours where it leaves unsaid why: the failure above a skipped node, the age of a source."""
        message = node.message if node.message is not None else node.error
        if message is None and self.freshness and word in ("warn", "error"):
            return age_of(node, word)
        if word == "skipped" and (message is None or message.startswith(_UPSTREAM)):
            cause = self.causes.get(node.unique_id)
            if cause is not None:
                return f"{_UPSTREAM}: {cause} ({self.statuses[cause]})"
        return without_colours(message) if message is not None else None
