"""Spans to send, and an exporter to each receiver."""

from __future__ import annotations

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


@pytest.fixture(params=["http/protobuf", "grpc"])
def receiver(request: pytest.FixtureRequest) -> Receiver:
    """Each of the two receivers."""
    return request.getfixturevalue("otlp_http" if request.param == "http/protobuf" else "otlp_grpc")


@pytest.fixture
def exporter_to() -> Iterator[Callable[..., ForwardingSpanExporter]]:
    """Make an exporter to a receiver or URL, in the receiver's protocol; shut down with the test."""
    made: list[ForwardingSpanExporter] = []

    def make(to: Receiver | str, protocol: str | None = None, **options: Any) -> ForwardingSpanExporter:
        if isinstance(to, Receiver):
            protocol = protocol or ("grpc" if type(to).__name__ == "GrpcReceiver" else "http/protobuf")
            to = to.endpoint
        made.append(ForwardingSpanExporter(to, protocol=protocol, **options))
        return made[-1]

    yield make
    for exporter in made:
        exporter.shutdown()
