"""The receivers that the other tests rely on, against the stock exporters."""

from __future__ import annotations

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import StatusCode, set_span_in_context

from tests.support.otlp import GrpcReceiver, HttpReceiver


def _send(exporter) -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    outer = tracer.start_span("outer", attributes={"n": 1, "list": ["a", "b"]})
    tracer.start_span("inner", context=set_span_in_context(outer)).end()
    outer.record_exception(ValueError("no"))
    outer.set_status(StatusCode.ERROR, "ValueError: no")
    outer.end()
    provider.shutdown()


def _looks_right(receiver: HttpReceiver | GrpcReceiver) -> None:
    inner, outer = receiver.wait_for(2)
    assert (inner.name, outer.name) == ("inner", "outer")
    assert inner.trace_id == outer.trace_id
    assert inner.parent_span_id == outer.span_id
    assert outer.parent_span_id == ""
    assert outer.attributes == {"n": 1, "list": ["a", "b"]}
    assert (outer.status, outer.message) == ("ERROR", "ValueError: no")
    assert [name for name, _ in outer.events] == ["exception"]
    assert inner.scope == "test"


def test_http(otlp_http: HttpReceiver) -> None:
    """What the stock HTTP exporter sends arrives whole."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    _send(OTLPSpanExporter(endpoint=f"{otlp_http.endpoint}/v1/traces"))
    _looks_right(otlp_http)


def test_grpc(otlp_grpc: GrpcReceiver) -> None:
    """What the stock gRPC exporter sends arrives whole."""
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    _send(OTLPSpanExporter(endpoint=otlp_grpc.endpoint))
    _looks_right(otlp_grpc)
