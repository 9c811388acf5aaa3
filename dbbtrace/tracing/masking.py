"""Spans that others made, with the secrets in their texts masked. Our own spans mask theirs where they are written."""

from __future__ import annotations

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Status

from dbbtrace.model.masking import masked_attributes, masked_input
from dbbtrace.model.spans import changed

__all__ = ["masked_span", "masked_status"]


def masked_span(span: ReadableSpan) -> ReadableSpan:
    """The span with its attributes, events and status masked; itself where there is nothing to mask."""
    attributes = span.attributes or {}
    texts, status = masked_attributes(attributes), masked_status(span.status)
    events = tuple(map(_masked_event, span.events))
    if texts is attributes and status is span.status and events == span.events:
        return span
    return changed(span, attributes=texts, events=events, status=status)


def masked_status(status: Status) -> Status:
    """The status with its description masked; itself where there is nothing to mask."""
    text = status.description
    masked = masked_input(text) if text else text
    return status if masked == text else Status(status.status_code, masked)


def _masked_event(event: Event) -> Event:
    attributes = event.attributes or {}
    texts = masked_attributes(attributes)
    return event if texts is attributes else Event(event.name, texts, event.timestamp)
