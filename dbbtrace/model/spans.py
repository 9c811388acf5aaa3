"""Spans that have ended can't be changed: a copy that differs in what is named. Pure."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["changed"]


def changed(span: ReadableSpan, **changes: Any) -> ReadableSpan:
    """A copy of the span in which these of its fields are others: ``attributes``, ``events``, ``status``, ``end_time``,
    ..., named as ``ReadableSpan`` names them."""
    kept = {
        "name": span.name,
        "context": span.context,
        "parent": span.parent,
        "resource": span.resource,
        "attributes": span.attributes,
        "events": span.events,
        "links": span.links,
        "kind": span.kind,
        "status": span.status,
        "start_time": span.start_time,
        "end_time": span.end_time,
        "instrumentation_scope": span.instrumentation_scope,
    }
    return ReadableSpan(**{**kept, **changes})
