"""What dbt says of a node → attributes, stages and links of its span. Pure.

The same for a node of an artifact and for one that has just ended: see ``build`` and ``live``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.trace import Link, SpanContext, TraceFlags

from dbbtrace.graph import DbtSource, Rules
from dbbtrace.job.lineage import lineage_of, link_to
from dbbtrace.job.scope import Scope
from dbbtrace.model import attributes as key
from dbbtrace.model.statuses import NODE_FAILURES
from dbbtrace.model.times import NANOS
from dbbtrace.sources.dbt.terms import (
    UPSTREAM,
    age_of,
    error_of,
    label_of,
    moment,
    relation_parts,
    rows_affected_of,
    without_colours,
)
from dbbtrace.tracing import runtime

if TYPE_CHECKING:
    from dbbtrace.sources.dbt.artifacts import NodeResult
    from dbbtrace.sources.dbt.identities import Identities
    from dbbtrace.sources.dbt.manifest import ManifestNode

__all__ = ["STAGES", "Nodes", "Period", "Stages", "Told", "stages_of"]

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
STAGES = {
    "compile": (key.DBT_COMPILE_STARTED_AT, key.DBT_COMPILE_COMPLETED_AT),
    "execute": (key.DBT_EXECUTE_STARTED_AT, key.DBT_EXECUTE_COMPLETED_AT),
}
"""The stages of a node, with the attributes of their start and end."""

Stages = dict[str, tuple[int, int | None]]
"""Start and, if known, end of each stage that dbt timed."""
Period = tuple[int, int]
"""Start and end of a node's span."""


class Told(NamedTuple):
    """What a node's span says."""

    name: str
    attributes: dict[str, Any]
    error: tuple[str, str] | None
    """error.type and message."""


def stages_of(node: NodeResult, word: str, *, fusion: bool) -> Stages:
    """The stages that dbt timed. A run-operation's only stage may be named after its macro: it is its execution."""
    if word == "skipped":
        return {}  # Fusion invents times for what never ran
    stages: Stages = {}
    for timing in node.timing or ():
        start = moment(timing.started_at)
        if start is not None:
            name = timing.name if timing.name in STAGES else "execute"
            stages.setdefault(name or "execute", (start, moment(timing.completed_at)))
    unmeasured = fusion and word == "error" and not node.execution_time
    if unmeasured and all(start == end for start, end in stages.values()):
        return {}  # Fusion gave up before any node ran, and stamped them all with one moment
    return stages


class Nodes:
    """What the nodes of one invocation share.

    Args:
        shared: attributes of each node's span.
        manifest: the graph by unique_id; may be empty.
        ran: the nodes of this invocation, which others may link to.
    """

    def __init__(
        self,
        scope: Scope,
        identities: Identities,
        shared: Mapping[str, Any],
        manifest: Mapping[str, ManifestNode],
        ran: Mapping[str, object],
        *,
        fusion: bool = False,
        freshness: bool = False,
    ) -> None:
        self.identities = identities
        self.fusion = fusion
        self.freshness = freshness
        self._scope = scope
        self._shared = dict(shared)
        self._manifest = manifest
        self._ran = ran

    def told(
        self,
        node: NodeResult,
        word: str,
        stages: Stages,
        identity: str,
        cause: tuple[str, str] | None = None,
    ) -> Told:
        """What the node's span says.

        Args:
            cause: unique_id and status of the failure because of which it was skipped.
        """
        unique_id, never_ran = node.unique_id, word == "skipped"
        name, message = label_of(unique_id), self._message(node, word, cause)
        response, known, relation = node.adapter_response, self._manifest.get(unique_id), node.relation_name
        error = error_of(word, message)
        attributes: dict[str, Any] = {
            **self._shared,
            key.IDENTITY: identity,
            key.CICD_TASK_NAME: name,
            key.CICD_TASK_RUN_RESULT: "skip" if never_ran else "failure" if word in NODE_FAILURES else "success",
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
            (key.DBT_MATERIALIZED, known and known.materialized),
        )
        attributes.update([pair for pair in sometimes if pair[1] is not None])
        if self.freshness:
            self._add_freshness(attributes, node)
        if relation:
            namespace, attributes[key.DB_COLLECTION_NAME] = relation_parts(relation)
            if namespace is not None:
                attributes[key.DB_NAMESPACE] = namespace
        for stage, (start, end) in stages.items():
            started_at, completed_at = STAGES[stage]
            attributes[started_at] = start
            if end is not None:
                attributes[completed_at] = end
        if error is not None:
            attributes[key.ERROR_TYPE], attributes[key.ERROR_MESSAGE] = error
        return Told(name, attributes, error)

    def _add_freshness(self, attributes: dict[str, Any], node: NodeResult) -> None:
        loaded_at = moment(node.max_loaded_at)
        if loaded_at is not None:
            attributes[key.DBT_MAX_LOADED_AT] = loaded_at
        if node.max_loaded_at_time_ago_in_s is not None:
            attributes[key.DBT_AGE] = node.max_loaded_at_time_ago_in_s

    def _message(self, node: NodeResult, word: str, cause: tuple[str, str] | None) -> str | None:
        """dbt's message, or ours where it leaves unsaid why: the failure above a skipped node, the age of a source."""
        message = node.message if node.message is not None else node.error
        if message is None and self.freshness and word in ("warn", "error"):
            return age_of(node, word)
        if cause is not None and word == "skipped" and (message is None or message.startswith(UPSTREAM)):
            return f"{UPSTREAM}: {cause[0]} ({cause[1]})"
        return without_colours(message) if message is not None else None

    def period_of(self, node: NodeResult, word: str, stages: Stages, generated_at: int) -> Period:
        """Start and end of the node's span. A node takes longer than its stages together."""
        took = int((node.execution_time or 0.0) * NANOS)
        if not stages:
            end = moment(node.snapshotted_at) or generated_at
            took = 1 if word == "skipped" else max(took, 1)  # no span is without duration, see fact()
            return max(end - took, 0), end
        first = min([start for start, _ in stages.values()])
        return first, max([first + took, *[max(end or 0, start + 1) for start, end in stages.values()]])

    # -- links ------------------------------------------------------------------------------------------------

    def links_of(self, unique_id: str) -> tuple[Link, ...]:
        """Links to the nodes and loads that the node selects from, as far as their spans are known."""
        if not self._parents(unique_id):
            return ()
        return tuple(link_to(parent, context) for parent, context in self._upstream(unique_id))

    def _upstream(self, unique_id: str) -> Iterator[tuple[str, SpanContext]]:
        waiting, seen = list(self._parents(unique_id)), {unique_id}
        while waiting:
            parent = waiting.pop(0)
            if parent in seen:
                continue
            seen.add(parent)
            context = self._context_of(parent)
            if context is not None:
                yield parent, context
            elif not parent.startswith("source."):
                waiting += self._parents(parent)  # an ephemeral model has no span: what it selects from has

    def _parents(self, unique_id: str) -> Sequence[str]:
        known = self._manifest.get(unique_id)
        return known.parents if known is not None else ()

    def _context_of(self, unique_id: str) -> SpanContext | None:
        if unique_id in self._ran:
            return SpanContext(self._scope.trace_id, self.identities.span_id_of(unique_id), False, _SAMPLED)
        seen = lineage_of(self._scope.trace_id)
        if not unique_id.startswith("source."):
            return seen.node(unique_id)
        known, settings = self._manifest.get(unique_id), runtime.current().settings
        source = known.as_source(unique_id) if known else DbtSource.of_id(unique_id)
        return seen.load_of(source, Rules(settings.table_pattern, settings.dbt_sources))
