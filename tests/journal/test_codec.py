"""What goes into the journal comes out exactly the same."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from dbbtrace.delivery import Delivery, recover
from dbbtrace.journal import codec, json_lines, reader
from tests.delivery.support import Backend, finished, left_behind, to, tracer_of

text = st.text(st.characters())  # lone surrogates included
scalars = st.one_of(st.booleans(), st.integers(), st.floats(), text, st.binary(), st.none())
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(tuple), st.dictionaries(text.filter(bool), inner, max_size=4)
    ),
    max_leaves=8,
)
attributes = st.dictionaries(text.filter(bool), values, max_size=6)
nanos = st.integers(1, 2**63 - 1)
states = st.sampled_from([None, TraceState([("vendor", "a:b"), ("other", "c")])])
contexts = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.integers(0, 255).map(TraceFlags),
    states,
)
events = st.builds(Event, text, attributes, nanos)
links = st.builds(Link, contexts, attributes)
statuses = st.one_of(
    st.sampled_from([Status(), Status(StatusCode.OK)]), text.map(lambda words: Status(StatusCode.ERROR, words))
)
spans = st.builds(
    ReadableSpan,
    name=text,
    context=contexts,
    parent=st.none() | contexts,
    resource=attributes.map(lambda values: Resource({str(k): v for k, v in values.items()}, "https://schema")),
    attributes=attributes,
    events=st.lists(events, max_size=3),
    links=st.lists(links, max_size=3),
    kind=st.sampled_from(SpanKind),
    status=statuses,
    start_time=nanos,
    end_time=nanos,
    instrumentation_scope=st.none() | st.builds(InstrumentationScope, text, st.none() | text, st.none() | text),
)


def plain(value: Any) -> Any:
    """The value in a shape in which equal means the same: types told apart, NaN equal to itself."""
    if isinstance(value, float):
        return ("float", "nan" if math.isnan(value) else (value, math.copysign(1, value)))
    if isinstance(value, (list, tuple)):
        return ("sequence", [plain(inner) for inner in value])
    if hasattr(value, "items"):
        return {name: plain(inner) for name, inner in value.items()}
    return (type(value).__name__, value)


def told(span: ReadableSpan) -> dict[str, Any]:
    """All that an OTLP exporter reads of a span."""
    context, parent, scope = span.context, span.parent, span.instrumentation_scope
    return {
        "name": span.name,
        "ids": (context.trace_id, context.span_id, int(context.trace_flags), dict(context.trace_state)),
        "parent": parent and (parent.span_id, parent.is_remote),
        "kind": span.kind,
        "times": (span.start_time, span.end_time),
        "status": (span.status.status_code, span.status.description or None),
        "attributes": plain(span.attributes or {}),
        "events": [(e.name, e.timestamp, plain(e.attributes or {}), e.dropped_attributes) for e in span.events],
        "links": [(tuple(n.context), plain(n.attributes or {}), n.dropped_attributes) for n in span.links],
        "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
        "resource": (plain(span.resource.attributes), span.resource.schema_url),
        "scope": scope and (scope.name, scope.version or None, scope.schema_url or None),
    }


def through_a_line(span: ReadableSpan) -> ReadableSpan:
    """The span, written and read as lines of a dead letter are: with its resource and scope."""
    shared = {"resource": codec.definition_of(span.resource), "scope": codec.definition_of(span.instrumentation_scope)}
    line = codec.line("end", span, codec.frame_of(span, shared))
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert line.decode("utf-8")
    back = reader.decode("end", reader.parse(line) or {}, {})
    assert back is not None
    return back


@given(spans)
def test_any_span_comes_back_exactly(span: ReadableSpan) -> None:
    """Bytes, integers beside floats, NaN, lone surrogates, events, links: nothing changes its type or its value."""
    assert told(through_a_line(span)) == told(span)


@given(spans, st.sampled_from(["writer", "reader", "both"]))
def test_it_does_so_where_orjson_is_missing(span: ReadableSpan, where: str) -> None:
    """On the machine that writes, on the one that reads, or on both."""
    with pytest.MonkeyPatch.context() as patch:
        if where != "reader":
            patch.setattr(codec, "dumps", json_lines._dumps_plainly)
        if where != "writer":
            patch.setattr(reader, "loads", json_lines._loads_exactly)
        assert told(through_a_line(span)) == told(span)


@pytest.mark.parametrize("value", [2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**30, (10**30, 1), {"a": 2**64}])
def test_integers_of_any_size_stay_integers(value: Any) -> None:
    """A fast reader takes one beyond 64 bits for a float, and says nothing."""
    assert plain((through_a_line(finished(1, value=value)).attributes or {})["value"]) == plain(value)


def test_text_stands_in_the_journal_as_it_reads() -> None:
    """UTF-8, so that who looks for a name finds it."""
    frame = codec.frame_of(finished(1), {})
    assert "Zürich ☃".encode() in codec.line("end", finished(1, place="Zürich ☃"), frame)


def test_what_limits_dropped_is_still_counted() -> None:
    """OTLP tells how many attributes, events and links were dropped, and so does a replayed span."""
    backend: list[ReadableSpan] = []
    provider = TracerProvider(
        span_limits=SpanLimits(max_attributes=2, max_events=1, max_links=1, max_event_attributes=1),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(_Collect(backend))
    context = SpanContext(1, 2, False)
    span = provider.get_tracer("t").start_span("s", links=[Link(context), Link(context, {"a": 1})])
    for number in range(4):
        span.set_attribute(f"a{number}", number)
        span.add_event(f"e{number}", {"a": 1, "b": 2})
    span.end()
    (ended,) = backend
    assert ended.dropped_attributes == 2
    assert told(through_a_line(ended)) == told(ended)


class _Collect(Delivery):
    def __init__(self, backend: list[ReadableSpan]) -> None:
        super().__init__([], journal_dir=None)
        self.backend = backend

    def on_end(self, span: ReadableSpan) -> None:
        self.backend.append(span)


def test_a_value_that_cannot_be_written_costs_only_itself() -> None:
    """A circular list, an integer of too many digits and an object of no known type leave the other values alone."""
    circular: list[Any] = []
    circular.append(circular)
    span = finished(1, circular=circular, huge=10**5000, thing=object, fine="yes")
    back = through_a_line(span).attributes or {}
    assert back["fine"] == "yes"
    assert back["thing"] == "<class 'object'>"
    assert "can't be written" in str(back["circular"])


def test_numbers_of_numpy_keep_being_numbers() -> None:
    """What other libraries count with is stored as the number that it is."""
    import numpy

    span = finished(1, rows=numpy.int64(5), share=numpy.float32(0.5), few=numpy.bool_(True), all=numpy.arange(3))
    assert plain(through_a_line(span).attributes) == plain({"rows": 5, "share": 0.5, "few": True, "all": (0, 1, 2)})


def test_resources_and_scopes_survive_the_journal(tmp_path: Path) -> None:
    """Spans of different resources and scopes get their own back, across segments too."""
    backend = Backend()
    given_spans = []
    for number in range(60):
        span = finished(number, filler="x" * 100)
        span._resource = Resource({"n": number % 3})
        span._instrumentation_scope = InstrumentationScope(f"scope {number % 4}", "1", "https://schema")
        given_spans.append(span)
    left_behind(tmp_path, given_spans, segment_bytes=2000)
    recover(tmp_path, lambda name: to(backend))
    assert [told(span) for span in backend.stored] == [told(span) for span in given_spans]


def test_a_thousand_resources_and_more_find_room(tmp_path: Path) -> None:
    """A process that makes a resource for each span neither fills memory nor mixes them up."""
    backend = Backend()
    given_spans = []
    for number in range(1_200):
        span = finished(number)
        span._resource = Resource({"n": number})
        given_spans.append(span)
    left_behind(tmp_path, given_spans)
    recover(tmp_path, lambda name: to(backend))
    assert [span.resource.attributes["n"] for span in backend.stored] == list(range(1_200))


def test_an_instrumented_span_arrives_as_the_sdk_made_it(tmp_path: Path) -> None:
    """The same through the front door."""
    backend = Backend()
    delivery = Delivery([to(backend), to(Backend(), "memory://b")], journal_dir=tmp_path)
    tracer = tracer_of(delivery)
    with tracer.start_as_current_span("outer", kind=SpanKind.SERVER, attributes={"a": [1, 2], "b": 1.0}) as span:
        span.add_event("happened", {"why": "x"})
        with tracer.start_as_current_span("inner", links=[Link(span.get_span_context())]):
            pass
    assert delivery.flush(10)
    assert [span.name for span in backend.stored] == ["inner", "outer"]
    assert backend.stored[1].resource.attributes["telemetry.sdk.language"] == "python"
    delivery.shutdown()
