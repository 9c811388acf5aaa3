"""Facts: spans that arrive finished, because another tool did the work and told us afterwards.

They take the same road as live spans, but no SDK span is started for them: one journal line each.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from dbbtrace.diagnostics import guard
from dbbtrace.job.scope import Scope, current_scope, parent_of
from dbbtrace.model import attributes as key
from dbbtrace.model.identity import new_span_id, span_id_of
from dbbtrace.model.masking import masked_attributes, masked_input
from dbbtrace.tracing import runtime
from dbbtrace.version import __version__

__all__ = ["emit", "emit_all", "fact", "finished", "record_refused"]

_PATIENCE = 0.5
"""Seconds that a job waits, in all, so that thousands of facts need not be read back from its journal."""
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope("dbbtrace", __version__)
_UNSET = Status(StatusCode.UNSET)


def fact(
    scope: Scope,
    *,
    name: str,
    operation: str,
    identity: str | None,
    start: int,
    end: int,
    attributes: Mapping[str, Any],
    parent: SpanContext | None = None,
    is_root: bool = False,
    error: tuple[str, str] | None = None,
    span_id: int | None = None,
) -> ReadableSpan:
    """A finished span in the scope.

    Args:
        identity: identity of the fact in its run, which decides its span id and its row; None: it has none.
        start, end: nanoseconds since the Unix epoch. The end is at least a nanosecond after the start: Jaeger marks
            a span without duration as faulty.
        attributes: laid over what the scope gives; None values are dropped, there and here.
        parent: context of the parent span; default see ``scope.parent_of``.
        is_root: it has no parent.
        error: (error.type, message) of a fact that failed.
        span_id: instead of the one that identity gives.
    """
    merged = scope.inherited()
    merged[key.OPERATION] = operation
    if identity is not None:
        merged[key.IDENTITY] = identity
    if error is not None:
        merged[key.ERROR_TYPE], merged[key.ERROR_MESSAGE] = error
    merged.update(attributes)
    if span_id is None:
        span_id = span_id_of(scope.trace_id, identity) if identity is not None else new_span_id()
    return finished(
        scope,
        name=name,
        span_id=span_id,
        start=start,
        end=end,
        attributes={attribute: value for attribute, value in merged.items() if value is not None},
        parent=None if is_root else parent or parent_of(scope),
        error=error,
    )


def finished(
    scope: Scope,
    *,
    name: str,
    span_id: int,
    start: int,
    end: int,
    attributes: dict[str, Any],
    parent: SpanContext | None,
    error: tuple[str, str] | None,
    links: tuple[Link, ...] = (),
) -> ReadableSpan:
    """A finished span that carries these attributes, without None, and no others; the rest is as in ``fact``."""
    return ReadableSpan(
        name=name,
        context=SpanContext(scope.trace_id, span_id, False, _SAMPLED),
        parent=parent,
        resource=runtime.current().provider.resource,
        attributes=masked_attributes(attributes),
        links=(*scope.links, *links) if links else scope.links,
        kind=SpanKind.INTERNAL,
        status=Status(StatusCode.ERROR, masked_input(error[1])) if error is not None else _UNSET,
        start_time=start,
        end_time=max(start + 1, end),
        instrumentation_scope=_SCOPE,
    )


def emit_all(batches: Iterable[Sequence[ReadableSpan]]) -> None:
    """``emit``, batch by batch, at the pace of the destinations where they keep up."""
    patience = _PATIENCE
    for spans in batches:
        emit(spans)
        if patience > 0:
            began = time.monotonic()
            kept_up = runtime.current().delivery.make_room(patience)
            patience = patience - (time.monotonic() - began) if kept_up else 0


def emit(spans: Sequence[ReadableSpan]) -> None:
    """Hand finished spans to the delivery. Never raises into the job."""
    if spans:
        with guard("record facts"):
            runtime.current().emit(spans)


def record_refused(name: str, workload: str, reason: str) -> None:
    """In a run: what was to be recorded can't be. Nobody knows what the work came to: a failed step, of which the
    verdict warns."""
    scope = current_scope(workload)
    if scope is None:
        return
    at = time.time_ns()
    attributes = {key.CICD_TASK_NAME: name, key.CICD_TASK_RUN_RESULT: "failure", key.WORKLOAD: workload}
    emit(
        [
            fact(
                scope,
                name=name,
                operation=key.OPERATION_STEP,
                identity=None,
                start=at,
                end=at,
                attributes=attributes,
                error=("dbbtrace.refused", reason),
            )
        ]
    )
