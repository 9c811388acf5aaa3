"""One value that OTLP can't hold costs at most itself."""

from __future__ import annotations

from decimal import Decimal

import numpy
import pytest
from dbbtrace_exporters.otlp.clean import clean
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, StatusCode

from dbbtrace.errors import RefusedError
from tests.exporters.otlp.conftest import make_span, make_spans
from tests.support.otlp import Receiver, plain_spans

DEEP: list[object] = ["bottom"]
for _ in range(50):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("bad", "arrives"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("\ud83d\ude00", "😀"),
        (2**63, str(2**63)),
        (-(2**200), str(-(2**200))),
        pytest.param(16**5000, "0x1" + "0" * 5000, id="very long"),
        (["x", "\udcff"], ["x", "\ufffd"]),
        ({"k\ud800": [2**64]}, {"k\ufffd": [str(2**64)]}),
        (numpy.int64(5), 5),
        (numpy.float32(0.5), 0.5),
        (Decimal("1.5"), "1.5"),
        (["x", None], ["x"]),
    ],
)
def test_bad_value(receiver: Receiver, exporter_to, bad: object, arrives: object) -> None:
    """A value that OTLP can't hold arrives repaired, and the rest of the batch arrives as it is."""
    exporter_to(receiver).deliver([*make_spans(2), make_span("bad", 3, attributes={"good": 1, "bad": bad})])
    assert receiver.named("bad")[0].attributes == {"good": 1, "bad": arrives}
    assert len(receiver.spans) == 3


def test_none_and_depth(receiver: Receiver, exporter_to) -> None:
    """None is left out, and lists in lists end somewhere."""
    exporter_to(receiver).deliver([make_span(attributes={"none": None, "deep": DEEP, "good": 1})])
    (span,) = receiver.spans
    assert set(span.attributes) == {"deep", "good"}


def test_every_part_of_a_span(receiver: Receiver, exporter_to) -> None:
    """Name, status, events, links, scope, resource and times are repaired too."""
    bad = "\ud800"
    link = Link(SpanContext(1, 2, False), {"l" + bad: 1})
    span = make_span(
        "n" + bad,
        status=Status(StatusCode.ERROR, "s" + bad),
        events=[Event("e" + bad, {"a": bad}, 5), Event("fine", {}, 6)],
        links=[link],
        resource=Resource({"r": bad}),
        instrumentation_scope=InstrumentationScope("i" + bad, "1"),
        start_time=-5,
        end_time=2**70,
    )
    exporter_to(receiver).deliver([span])
    (got,) = receiver.spans
    assert (got.name, got.message, got.scope) == ("n\ufffd", "s\ufffd", "i\ufffd")
    assert got.events == [("e\ufffd", {"a": "\ufffd"}), ("fine", {})]
    assert got.resource["r"] == "\ufffd"
    assert (got.start, got.end) == (0, 2**64 - 1)


def test_span_that_no_cleaning_helps(receiver: Receiver, exporter_to) -> None:
    """A span whose id is no id is refused, so that delivery sets it aside alone."""
    exporter = exporter_to(receiver)
    with pytest.raises(RefusedError):
        exporter.deliver([*make_spans(2), make_span("bad", 2**70)])
    exporter.deliver(make_spans(2))
    assert len(receiver.spans) == 2


def test_good_spans_are_not_copied() -> None:
    """What OTLP can hold goes as it is."""
    span = make_span(events=[Event("e", {"a": 1}, 5)], attributes={"a": ("x", "é"), "b": 1.5, "c": True})
    assert clean(span) is span


texts = st.text(alphabet=st.characters(), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


@given(attributes=st.dictionaries(texts, values, max_size=6), name=texts, events=st.lists(texts, max_size=3))
def test_anything_is_encoded(attributes, name: str, events: list[str]) -> None:
    """Whatever a span holds, its cleaned form is encoded, and stays as it is when it is cleaned again."""
    span = clean(make_span(name, attributes=attributes, events=[Event(text, {"k": text}, 1) for text in events]))
    request = encode_spans([span])
    assert set(plain_spans(request)[0].attributes) == set(span.attributes or {})
    assert clean(span) is span
