"""Spans to send, and an exporter to each receiver."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dbbtrace_exporters.otlp.exporter import ForwardingSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags

from tests.support.otlp import Receiver

RESOURCE = Resource({"service.name": "test"})


def make_span(name: str = "span", number: int = 1, **parts: Any) -> ReadableSpan:
    """A finished span; ``number`` is its span id."""
    parts = {"start_time": 10**18, "end_time": 10**18 + 5, "resource": RESOURCE, "attributes": {"a": 1}} | parts
    return ReadableSpan(name, context=SpanContext(7, number, False, TraceFlags(1)), **parts)


def make_spans(count: int, **parts: Any) -> list[ReadableSpan]:
    """So many spans, named by their number."""
    return [make_span(f"span {number}", number, **parts) for number in range(1, count + 1)]


PROTOCOLS = ["http/protobuf", "http/json", "grpc"]


@pytest.fixture(params=PROTOCOLS)
def receiver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Receiver:
    """A receiver for each protocol; JSON is encoded by our own encoder."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.json.common.trace_encoder", None)
    receiver: Receiver = request.getfixturevalue("otlp_grpc" if request.param == "grpc" else "otlp_http")
    receiver.protocol = request.param
    return receiver


@pytest.fixture
def exporter_to() -> Iterator[Callable[..., ForwardingSpanExporter]]:
    """Make an exporter to a receiver or URL, in the receiver's protocol; shut down with the test."""
    made: list[ForwardingSpanExporter] = []

    def make(to: Receiver | str, protocol: str | None = None, **options: Any) -> ForwardingSpanExporter:
        if isinstance(to, Receiver):
            protocol = protocol or to.protocol
            to = to.endpoint
        made.append(ForwardingSpanExporter(to, protocol=protocol, **options))
        return made[-1]

    yield make
    for exporter in made:
        exporter.shutdown()
