"""The spans of an invocation that runs: what they say at their start, when a node has ended, and at their end.

``live`` decides when. Nothing here keeps a state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Status, StatusCode

from dbbtrace.job.finished import emit, finished
from dbbtrace.job.scope import Place, Scope
from dbbtrace.model import attributes as key
from dbbtrace.sources.dbt.build import stage_spans
from dbbtrace.sources.dbt.nodes import Nodes, stages_of
from dbbtrace.sources.dbt.terms import label_of, status_of, without_colours
from dbbtrace.tracing import runtime
from dbbtrace.tracing.provider import LiveSpan

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from dbbtrace.sources.dbt.artifacts import NodeResult

__all__ = [
    "Ended",
    "NodeKey",
    "Running",
    "at_start",
    "end_span",
    "error_in",
    "of_invocation",
    "result_word",
    "tell",
    "unexplained",
]

NodeKey = tuple[str, str]
"""unique_id and dbt's start of it: the batches of a microbatch model have its unique_id too."""


@dataclass(eq=False)
class Running:
    """A node, or a batch of one, that has started."""

    span: LiveSpan
    place: Place | None
    is_batch: bool


@dataclass(eq=False)
class Ended:
    """A node that has ended, and whose rows wait for the end of dbt."""

    span: LiveSpan
    result: NodeResult
    at: int


def of_invocation(
    shared: Mapping[str, Any], identity: str | None, version: str | None, command: str, name: str
) -> dict[str, Any]:
    """Attributes of an invocation's span at its start."""
    attributes = {
        **shared,
        key.OPERATION: key.OPERATION_DBT_INVOCATION,
        key.IDENTITY: identity,
        key.DBT_VERSION: version,
        key.DBT_COMMAND: command or None,
        key.CICD_TASK_NAME: name,
    }
    return {attribute: value for attribute, value in attributes.items() if value is not None}


def at_start(shared: Mapping[str, Any], unique_id: str, identity: str | None) -> dict[str, Any]:
    """Attributes of a node's span at its start; without identity it is a batch's."""
    if identity is None:
        return {**shared, key.OPERATION: key.OPERATION_DBT_STAGE, key.DBT_UNIQUE_ID: unique_id}
    return {
        **shared,
        key.IDENTITY: identity,
        key.CICD_TASK_NAME: label_of(unique_id),
        key.DBT_UNIQUE_ID: unique_id,
        key.DBT_RESOURCE_TYPE: unique_id.split(".", 1)[0],
    }


def tell(
    scope: Scope, span: LiveSpan, result: NodeResult, at: int, nodes: Nodes, identity: str, *, seen_at_once: bool
) -> None:
    """The node's span as it ended: now to all but the warehouse, and into the journal for when dbt has ended.

    Args:
        at: when it ended; nanoseconds since the Unix epoch.
        seen_at_once: whether other destinations than the warehouse have it now.
    """
    word = status_of(result)
    stages = stages_of(result, word, fusion=nodes.fusion)
    told = nodes.told(result, word, stages, identity)
    told.attributes[key.DBT_GENERATED_AT] = at
    start = span.start_time or at

    def seen_by(audience: str, **more: Any) -> ReadableSpan:
        return finished(
            scope,
            name=told.name,
            span_id=span.context.span_id,
            start=start,
            end=at,
            attributes={**told.attributes, key.AUDIENCE: audience, **more},
            parent=span.parent,
            error=told.error,
            links=nodes.links_of(result.unique_id) if audience == key.FOR_SPANS else (),
        )

    if runtime.current().takes_all and seen_at_once:
        seen = seen_by(key.FOR_SPANS)
        emit([seen, *stage_spans(scope, told.attributes, stages, (start, at), seen.context)])
    runtime.current().save(seen_by(key.FOR_ROWS, **{key.ENDED_AT: at}))


def error_in(span: ReadableSpan) -> tuple[str, str] | None:
    """error.type and message of a finished span."""
    attributes = span.attributes or {}
    if key.ERROR_TYPE not in attributes:
        return None
    return str(attributes[key.ERROR_TYPE]), str(attributes.get(key.ERROR_MESSAGE, ""))


def unexplained(message: str | None, exit_code: int) -> tuple[str, str] | None:
    """Why dbt failed, where neither an exception nor a node says so.

    Args:
        message: what dbt said of its failure.
    """
    said = without_colours(message or "").strip()
    return ("dbt.error", said or f"dbt ended with exit code {exit_code}") if exit_code != 0 else None


def result_word(error: tuple[str, str] | None) -> str:
    """How an invocation ended, in OpenTelemetry's word."""
    return "success" if error is None else "cancellation" if error[0] == "KeyboardInterrupt" else "failure"


def end_span(span: LiveSpan, values: Mapping[str, Any], error: tuple[str, str] | None, at: int) -> None:
    """End a live span with what is known by now."""
    if error is not None:
        values = {**values, key.ERROR_TYPE: error[0], key.ERROR_MESSAGE: error[1]}
        span.set_status(Status(StatusCode.ERROR, error[1]))
    span.put(values)
    span.end(max(at, span.start_time or 0))
