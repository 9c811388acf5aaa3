"""dbt-core's own spans (scope ``dbt.runner``, since 1.12.1, if switched on) → spans of nodes that give rows.

They carry dbt's status, but no invocation id, no stages and no message: what an artifact tells of the same node is
more, and is the same fact where both are known in one process. Where dbbtrace watches the invocation itself they stay
as they are: the node has its span.

A batch of a microbatch model has a span like the model's own. In the process where dbt works the span above tells it;
of spans that arrive from elsewhere ``batches.py`` tells them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, Span

from dbbtrace.job.scope import current_scope
from dbbtrace.model import attributes as key
from dbbtrace.model.identity import dbt_identity
from dbbtrace.model.spans import changed
from dbbtrace.model.statuses import NODE_FAILURES
from dbbtrace.model.times import iso_utc
from dbbtrace.sources.dbt.terms import label_of

__all__ = ["SCOPE", "DbtSpans", "arrived", "is_dbts", "watched"]

SCOPE = "dbt.runner"
"""Instrumentation scope of dbt's spans."""
watched: set[str] = set()
"""Invocations that dbbtrace watches itself."""


def is_dbts(span: ReadableSpan) -> bool:
    """Whether the span is one of dbt's own."""
    scope = span.instrumentation_scope
    return scope is not None and scope.name == SCOPE


def _node_attributes(
    attributes: Mapping[str, Any],
    *,
    trace_id: int,
    parent_id: int,
    start: int,
    invocation_id: str | None = None,
    inherited: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The attributes of a span of dbt's, with ours if it is a node's.

    Args:
        start: nanoseconds since the Unix epoch.
        invocation_id: dbt's, where it is known; otherwise the span above the node tells invocations apart.
        inherited: what the run gives its spans; default the run whose id the trace id is.
    """
    found = dict(attributes)
    unique_id = found.get("unique_id")
    word = found.get("node_outcome") or found.get("hook_outcome")
    ephemeral = found.get("materialization") == "ephemeral" and word not in NODE_FAILURES
    if not isinstance(unique_id, str) or not isinstance(word, str) or ephemeral or key.OPERATION in found:
        return found
    distinction = "" if invocation_id else f"{parent_id:016x}"
    ours = {
        **(inherited or {key.RUN_ID: _guid(trace_id)}),
        key.OPERATION: key.OPERATION_DBT_NODE,
        key.WORKLOAD: "transformation",
        key.IDENTITY: dbt_identity(invocation_id or "", unique_id, distinction),
        key.CICD_TASK_NAME: label_of(unique_id),
        key.DBT_UNIQUE_ID: unique_id,
        key.DBT_RESOURCE_TYPE: found.get("node_type") or unique_id.split(".", 1)[0],
        key.DBT_MATERIALIZED: found.get("materialization"),
        key.DBT_INVOCATION_ID: invocation_id,
        key.STATUS: word.lower(),
        key.DBT_ROWS_AFFECTED: found.get("rows_affected"),
        key.STARTED_AT: iso_utc(start) if word != "skipped" else None,  # dbt times no stages here
        key.ERROR_TYPE: f"dbt.{word.replace(' ', '_')}" if word in NODE_FAILURES else None,
        key.ERROR_MESSAGE: word if word in NODE_FAILURES else None,
    }
    return {**found, **{name: value for name, value in ours.items() if value is not None}}


def _guid(trace_id: int) -> str:
    digits = f"{trace_id:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


class DbtSpans:
    """Those of the dbt that works in this process."""

    def __init__(self) -> None:
        self._open: dict[int, str] = {}
        """Names of the spans that run, which are unique_ids of nodes, by span id."""

    def started(self, span: Span) -> None:
        """A span of somebody else's started."""
        if is_dbts(span):
            self._open[span.context.span_id] = span.name

    def ended(self, span: ReadableSpan) -> ReadableSpan:
        """The span as it is recorded."""
        if not is_dbts(span) or span.context is None:
            return span
        self._open.pop(span.context.span_id, None)
        parent_id = span.parent.span_id if span.parent is not None else 0
        invocation_id = _invocation_id()
        if invocation_id in watched or self._open.get(parent_id) == span.name:
            return span
        scope = current_scope("transformation")
        of_run = scope is not None and scope.trace_id == span.context.trace_id
        made = _node_attributes(
            span.attributes or {},
            trace_id=span.context.trace_id,
            parent_id=parent_id,
            start=span.start_time or 0,
            invocation_id=invocation_id,
            inherited=scope.inherited() if of_run and scope is not None else None,
        )
        if scope is not None and of_run and scope.select is not None:
            made.setdefault(key.DBT_SELECT, scope.select)
        return changed(span, attributes=made)


def arrived(span: ReadableSpan) -> ReadableSpan:
    """A span that came from elsewhere: a node's of dbt's own with our attributes, and one that was meant for certain
    destinations of its job for all of ours. A job that has no warehouse sends live nodes in no other way."""
    attributes = span.attributes or {}
    if key.AUDIENCE in attributes:
        return changed(span, attributes={name: value for name, value in attributes.items() if name != key.AUDIENCE})
    if not is_dbts(span) or span.context is None:
        return span
    parent_id, start = span.parent.span_id if span.parent is not None else 0, span.start_time or 0
    trace_id = span.context.trace_id
    return changed(span, attributes=_node_attributes(attributes, trace_id=trace_id, parent_id=parent_id, start=start))


def _invocation_id() -> str | None:
    """That of the dbt in this process."""
    module = sys.modules.get("dbt_common.invocation")
    try:
        found = module.get_invocation_id() if module is not None else None
    except Exception:  # another version of dbt's
        return None
    return found if isinstance(found, str) and found else None
