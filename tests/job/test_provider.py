"""The private provider: where spans go when it is told otherwise half-way, and what their attributes become."""

from __future__ import annotations

import math

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dbbtrace.delivery import DurableSpanProcessor
from dbbtrace.model.destinations import exporter_name
from dbbtrace.tracing import provider as provider_module
from dbbtrace.tracing.provider import LiveSpan, Provider


class Seen(SpanProcessor):
    """Notes what it is shown."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def on_start(self, span, parent_context=None) -> None:
        self.names.append(f"start {span.name}")

    def on_end(self, span) -> None:
        self.names.append(f"end {span.name}")


def test_a_span_ends_where_it_began():
    """Configured anew while a span runs: its end goes to the delivery that journalled its start; so do the ends of
    other instrumentation's spans."""
    provider, first, second = Provider("test"), Seen(), Seen()
    provider.processor = first
    ours = provider.start_span("ours", Context(), {}, start=1)
    theirs = provider.sdk.get_tracer("other").start_span("theirs")
    provider.processor = second
    ours.end()
    theirs.end()
    provider.start_span("later", Context(), {}, start=1).end()
    assert first.names == ["start ours", "start theirs", "end ours", "end theirs"]
    assert second.names == ["start later", "end later"]


def test_the_sdk_at_hand_is_known():
    """Its spans hold nothing that copies of one might share by mistake. A new name here: see whose it is, in
    ``LiveSpan.begun``, before it is added to those that are known."""
    assert Provider("test")._kind_of_span is not None


def test_spans_of_an_sdk_that_is_not_known_are_its_own():
    """Slower, and the same for who starts and sees them."""
    copied, made = Provider("test"), Provider("test")
    made._kind_of_span = None
    seen = Seen(), Seen()
    for provider, processor in zip((copied, made), seen, strict=True):
        provider.processor = processor
    spans = [
        provider.start_span("one", Context(), {"a": 1}, start=5, checked=True, trace_id=1, span_id=2)
        for provider in (copied, made)
    ]
    for span in spans:
        span.add_event("event", timestamp=7)
        span.end(9)
    assert seen[0].names == seen[1].names == ["start one", "end one"]
    assert spans[0].to_json() == spans[1].to_json()


def test_attributes_are_what_the_sdk_makes_of_them():
    """Values that the SDK would change are left to it; the others are taken as they are."""
    provider = Provider("test")
    plain = provider.start_span("plain", Context(), {"a": 1, "b": "x", "c": True, "d": 0.5}, start=1)
    plain.put({"a": 2, "b": "x"})
    assert dict(plain.attributes) == {"a": 2, "b": "x", "c": True, "d": 0.5}
    odd = provider.start_span("odd", Context(), {"list": [1, 2], "a": 1}, start=1)
    assert dict(odd.attributes) == {"list": (1, 2), "a": 1}


def test_a_value_that_nobody_checked_survives_the_journal(tmp_path):
    """NaN, None in a sequence, an event's: of a span whose own values were checked, too."""
    provider = Provider("test")
    backend = InMemorySpanExporter()
    provider.processor = delivery = DurableSpanProcessor(backend, tmp_path)
    for number, set_one in enumerate(
        (
            lambda span: span.set_attribute("odd", math.nan),
            lambda span: span.set_attributes({"odd": math.nan}),
            lambda span: span.put({"odd": math.nan}),
            lambda span: span.add_event("odd", {"odd": math.nan}),
        )
    ):
        span = provider.start_span(f"span {number}", Context(), {"a": 1}, start=1, checked=True)
        set_one(span)
        span.put({"b": 2}, checked=True)
        span.end()
    assert delivery.force_flush()
    (segment,) = tmp_path.glob("*/*.jsonl")
    ends = [line for line in segment.read_text().splitlines() if line.startswith('{"end"')]
    assert [line.count('"odd":NaN') for line in ends] == [1, 1, 1, 1]
    delivery.shutdown()


def test_nothing_is_set_on_a_span_that_has_ended():
    """As the SDK has it."""
    span = Provider("test").start_span("ended", Context(), {"a": 1}, start=1)
    span.end()
    span.put({"a": 2})
    assert dict(span.attributes) == {"a": 1}


# -- private names of OpenTelemetry, each gone ------------------------------------------------------------------


def test_an_sdk_that_names_its_copy_otherwise_hands_over_the_same(monkeypatch):
    """What has ended is then a copy, as of any other span; who takes it sees no difference."""
    ours, copied = Provider("test"), Provider("test")
    seen = InMemorySpanExporter(), InMemorySpanExporter()
    for provider, exporter in zip((ours, copied), seen, strict=True):
        provider.processor = SimpleSpanProcessor(exporter)
        if provider is copied:
            monkeypatch.delattr(LiveSpan, "_readable_span")
        span = provider.start_span("one", Context(), {"a": 1}, start=5, checked=True, trace_id=1, span_id=2)
        span.add_event("event", timestamp=7)
        span.end(9)
    (first,), (second,) = (exporter.get_finished_spans() for exporter in seen)
    assert isinstance(first, LiveSpan)
    assert not isinstance(second, LiveSpan)
    assert first.to_json() == second.to_json()


def test_an_sdk_whose_events_come_into_being_elsewhere_makes_its_spans_itself(monkeypatch):
    """Copies would lack what that SDK expects of a span."""
    monkeypatch.delattr(Span, "_add_link")
    provider = Provider("test")
    assert provider._kind_of_span is None
    span = provider.start_span("span", Context(), {"a": 1}, start=1)
    span.add_event("event", timestamp=7)
    span.end()
    assert [event.name for event in span.events] == ["event"]


def test_attributes_without_their_private_dictionary_are_set_in_the_public_way(monkeypatch):
    """``BoundedAttributes._dict``."""

    def without_dict(held, name, default=None):
        return default if name == "_dict" else getattr(held, name, default)

    monkeypatch.setattr(provider_module, "getattr", without_dict, raising=False)
    span = Provider("test").start_span("span", Context(), {"a": 1, "b": "x"}, start=1, checked=True)
    span.put({"a": 2}, checked=True)
    assert dict(span.attributes) == {"a": 2, "b": "x"}


def test_an_sdk_without_the_switch_for_one_provider_still_records_our_spans(monkeypatch):
    """``TracerProvider._disabled``: OTEL_SDK_DISABLED then stops spans of other instrumentation, never ours."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    seen = Seen()
    provider = Provider("test")
    provider.sdk._disabled = True
    provider.processor = seen
    provider.sdk.get_tracer("other").start_span("theirs").end()
    provider.start_span("ours", Context(), {}, start=1).end()
    assert seen.names == ["start ours", "end ours"]


def test_processors_that_others_add_see_every_span():
    """After ours."""
    provider, ours, theirs = Provider("test"), Seen(), Seen()
    provider.processor = ours
    provider.start_span("before", Context(), {}, start=1).end()
    provider.sdk.add_span_processor(theirs)
    provider.start_span("after", Context(), {}, start=1).end()
    assert ours.names == ["start before", "end before", "start after", "end after"]
    assert theirs.names == ["start after", "end after"]


def test_an_exporter_that_names_no_endpoint_goes_by_its_class():
    """``_endpoint`` of the stock OTLP exporters; without it two of one class are numbered."""

    class Exporter(InMemorySpanExporter):
        _endpoint = "http://h:4318/v1/traces"

    named = exporter_name(Exporter())
    assert named.endswith("Exporter:http://h:4318/v1/traces")
    del Exporter._endpoint
    assert exporter_name(Exporter()) == named.removesuffix(":http://h:4318/v1/traces")
