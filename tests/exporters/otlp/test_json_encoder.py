"""OTLP as JSON says the same as OTLP as protobuf."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
from dbbtrace_exporters.otlp import json_encoder
from dbbtrace_exporters.otlp.clean import clean
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from tests.exporters.otlp.conftest import make_span
from tests.exporters.otlp.test_clean import texts
from tests.support.otlp import HttpReceiver, request_of_json

floats = st.floats(allow_nan=False) | st.just(math.nan)  # one of its many forms: JSON has a word for it, not its bits
values = st.recursive(
    st.none() | st.booleans() | st.integers() | floats | texts | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)
attributes = st.dictionaries(texts, values, max_size=4)
times = st.integers(0, 2**64 - 1)
contexts = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.sampled_from([TraceFlags(0), TraceFlags(1)]),
    st.sampled_from([None, TraceState([("a", "1"), ("b", "2")])]),
)
resources = [Resource({"service.name": "one", "number": 1}), Resource({"service.name": "two"}, "https://schema")]
scopes = [None, InstrumentationScope("scope", "1.0"), InstrumentationScope("other", None, "https://schema")]
spans = st.builds(
    ReadableSpan,
    name=texts,
    context=contexts,
    parent=st.none() | contexts,
    resource=st.sampled_from(resources),
    attributes=attributes,
    events=st.lists(st.builds(Event, texts, attributes, times), max_size=2),
    links=st.lists(st.builds(Link, contexts, attributes), max_size=2),
    kind=st.sampled_from(list(SpanKind)),
    status=st.builds(Status, st.just(StatusCode.ERROR), texts) | st.just(Status()) | st.just(Status(StatusCode.OK)),
    start_time=times,
    end_time=times,
    instrumentation_scope=st.sampled_from(scopes),
)


def without_scope_schemas(request: Any) -> bytes:
    """The bytes, which compare where NaN does not; OpenTelemetry 1.27 sends no schema URL of a scope."""
    for of_resource in request.resource_spans:
        for of_scope in of_resource.scope_spans:
            of_scope.ClearField("schema_url")
    return request.SerializeToString(deterministic=True)


@given(st.lists(spans, max_size=4))
def test_the_same_as_protobuf(made: list[ReadableSpan]) -> None:
    """Whatever spans hold: read back, it is the request that protobuf's encoder makes."""
    cleaned = [clean(span) for span in made]
    ours, stock = request_of_json(json_encoder.encode(cleaned)), encode_spans(cleaned)
    assert without_scope_schemas(ours) == without_scope_schemas(stock)


def test_schema_urls() -> None:
    """Those of resource and scope are sent."""
    request = request_of_json(json_encoder.encode([make_span(resource=resources[1], instrumentation_scope=scopes[2])]))
    (of_resource,) = request.resource_spans
    assert (of_resource.schema_url, of_resource.scope_spans[0].schema_url) == ("https://schema", "https://schema")


def test_what_was_dropped_is_counted() -> None:
    """The counts of what limits dropped go along."""
    bounded = BoundedAttributes(attributes={"a": 1})
    bounded.dropped = 3
    request = request_of_json(json_encoder.encode([make_span(attributes=bounded, links=(), events=())]))
    assert request == encode_spans([make_span(attributes=bounded, links=(), events=())])
    assert request.resource_spans[0].scope_spans[0].spans[0].dropped_attributes_count == 3


def test_the_stock_encoder_is_taken_where_it_is_installed(otlp_http: HttpReceiver, exporter_to) -> None:
    """Where it is, it encodes, and the backend gets the same spans."""
    stock = pytest.importorskip("opentelemetry.exporter.otlp.json.common.trace_encoder")
    assert json_encoder.encoder() is not json_encoder.encode
    span = make_span(attributes={"number": 1, "list": ["a"], "half": 0.5})
    exporter_to(otlp_http, "http/json").deliver([span])
    (got,) = otlp_http.spans
    assert (got.attributes, got.span_id) == ({"number": 1, "list": ["a"], "half": 0.5}, f"{1:016x}")
    assert stock.encode_spans([span]).to_json().encode() == json_encoder.encoder()([span])


def test_a_stock_encoder_that_changed_is_left_alone(monkeypatch) -> None:
    """It is a beta: one that no longer works as expected must not stop spans."""
    pytest.importorskip("opentelemetry.exporter.otlp.json.common.trace_encoder")
    module = sys.modules["opentelemetry.exporter.otlp.json.common.trace_encoder"]
    monkeypatch.setattr(module, "encode_spans", lambda spans: b"{}")
    assert json_encoder.encoder() is json_encoder.encode
