"""The quick way of reading protobuf says what protobuf itself says, whatever comes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from dbbtrace_exporters.receiver import protobuf
from dbbtrace_exporters.receiver.limits import TooLargeError
from dbbtrace_exporters.receiver.protobuf import gives_rows, spans_of_protobuf
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from dbbtrace.model.attributes import OPERATION, ROW_OPERATIONS
from dbbtrace.sources.otlp import wire

Message = Any

# -- messages -------------------------------------------------------------------------------------------------

TEXTS = st.one_of(st.text(max_size=8), st.text(min_size=100, max_size=150), st.sampled_from(["", "é" * 64, "a" * 125]))
KEYS = st.one_of(st.sampled_from([OPERATION, "dbb.rows.read", "", "k" * 127, "k" * 128]), st.text(max_size=5))
PLAIN = st.one_of(
    st.builds(AnyValue, string_value=TEXTS),
    st.builds(AnyValue, int_value=st.integers(-(1 << 63), (1 << 63) - 1)),
    st.builds(AnyValue, int_value=st.integers(0, 1000)),
    st.builds(AnyValue, double_value=st.floats()),
    st.builds(AnyValue, bool_value=st.booleans()),
    st.builds(AnyValue, bytes_value=st.binary(max_size=5)),
    st.builds(AnyValue),
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.builds(lambda items: AnyValue(array_value=ArrayValue(values=items)), st.lists(inner, max_size=3)),
        st.builds(
            lambda items: AnyValue(kvlist_value=KeyValueList(values=items)),
            st.lists(st.builds(KeyValue, key=KEYS, value=inner), max_size=3),
        ),
    ),
    max_leaves=5,
)
OPERATIONS = st.builds(
    KeyValue,
    key=st.just(OPERATION),
    value=st.builds(AnyValue, string_value=st.sampled_from([*sorted(ROW_OPERATIONS), "step"])),
)
PAIRS = st.lists(st.one_of(OPERATIONS, st.builds(KeyValue, key=KEYS, value=VALUES), st.builds(KeyValue)), max_size=6)


def _id(length: int) -> st.SearchStrategy[bytes]:
    right = st.binary(min_size=length, max_size=length)
    return st.one_of(right, right, right, st.sampled_from([b"", bytes(length), b"short", bytes(20)]))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """An ExportTraceServiceRequest as a sender of any language may write it."""
    request = ExportTraceServiceRequest()
    for _ in range(draw(st.integers(0, 2))):
        of_resource = request.resource_spans.add()
        of_resource.resource.attributes.extend(draw(PAIRS))
        of_scope = of_resource.scope_spans.add()
        of_scope.scope.name = draw(TEXTS)
        for _ in range(draw(st.integers(0, 3))):
            span = of_scope.spans.add(
                name=draw(TEXTS),
                trace_id=draw(_id(16)),
                span_id=draw(_id(8)),
                parent_span_id=draw(_id(8)),
                start_time_unix_nano=draw(st.integers(0, (1 << 64) - 1)),
                end_time_unix_nano=draw(st.integers(0, (1 << 64) - 1)),
                attributes=draw(PAIRS),
                trace_state=draw(st.sampled_from(["", "a=b", "nonsense"])),
            )
            if draw(st.booleans()):
                span.status.code = draw(st.integers(0, 3))
                span.status.message = draw(TEXTS)
            if draw(st.booleans()):
                span.events.add(name=draw(TEXTS), attributes=draw(PAIRS))
                span.links.add(trace_id=draw(_id(16)), span_id=draw(_id(8)), attributes=draw(PAIRS))
    return bytes(request.SerializeToString())


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """The same, cut off, or with bytes in it that were not sent."""
    body = bytearray(draw(requests()))
    for _ in range(draw(st.integers(0, 3)) if body else 0):
        body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return bytes(body[: draw(st.integers(0, len(body)))] if draw(st.booleans()) else body)


# -- what protobuf says ---------------------------------------------------------------------------------------


def _held(value: Message) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_held(item) for item in value.array_value.values)
    if kind == "kvlist_value":
        return {pair.key: _held(pair.value) for pair in value.kvlist_value.values}
    return getattr(value, kind) if kind else None


def _is_fine(span: Message) -> bool:
    ids = [(span.trace_id, 16), (span.span_id, 8), (span.parent_span_id, 8)]
    ids += [pair for link in span.links for pair in ((link.trace_id, 16), (link.span_id, 8))]
    if any(raw and len(raw) != length for raw, length in ids):
        return False
    return any(span.trace_id) and any(span.span_id) and span.end_time_unix_nano != 0


def expected(body: bytes) -> tuple[list[Any], int] | None:
    """What rows need of the spans that give some, and how many spans are faulty; None: no request at all."""
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except (DecodeError, UnicodeDecodeError):
        return None
    sent = [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
    spans = []
    for span in filter(_is_fine, sent):
        attributes = {pair.key: _held(pair.value) for pair in span.attributes}
        if gives_rows(attributes, span.status.code):  # a step does with attributes of its own
            status = span.status.code if span.status.code in (1, 2) else 0
            message = (span.status.message or None) if status == 2 else None
            ids = int.from_bytes(span.trace_id, "big"), int.from_bytes(span.span_id, "big")
            times = span.start_time_unix_nano, span.end_time_unix_nano
            spans.append((span.name, *ids, *times, status, message, attributes))
    return spans, sum(not _is_fine(span) for span in sent)


def found(body: bytes) -> tuple[list[Any], int] | None:
    """The same, as the receiver reads it."""
    try:
        spans, faults = spans_of_protobuf(body)
    except ValueError:
        return None
    read = []
    for span in spans:
        context = span.get_span_context()
        assert context is not None
        status = (span.status.status_code.value, span.status.description)
        ids = context.trace_id, context.span_id
        read.append((span.name, *ids, span.start_time, span.end_time, *status, dict(span.attributes or {})))
    return read, len(faults)


def nested(levels: int) -> bytes:
    """A load with a value in so many lists."""
    value = b"\x18\x01"
    for _ in range(levels):
        value = _field(5, _field(1, value))
    return load(_field(1, b"deep") + _field(2, value))


def load(*attributes: bytes) -> bytes:
    """A load with such attributes, whatever the bytes say."""
    operation = KeyValue(key=OPERATION, value=AnyValue(string_value="table_load")).SerializeToString()
    inner = b"".join(_field(9, raw) for raw in (operation, *attributes))
    span = _field(1, b"t" * 16) + _field(2, b"s" * 8) + b"\x41" + b"\1" * 8 + inner
    return _field(1, _field(2, _field(2, span)))


def _field(number: int, content: bytes) -> bytes:
    length, size = b"", len(content)
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def _many(field: bytes) -> bytes:
    """So many that their objects would take far more memory than their bytes."""
    return field * (400_000 // len(field))


ODD = [
    pytest.param(b"", id="nothing"),
    pytest.param(b"\x0a\x01k", id="no value"),
    pytest.param(b"\x12\x03\x0a\x01v", id="no key"),
    pytest.param(b"\x12\x03\x0a\x01v\x0a\x01k", id="value first"),
    pytest.param(b"\x0a\x01k\x12\x00", id="empty value"),
    pytest.param(b"\x0a\x01k\x12\x02\x0a\x00", id="empty text"),
    pytest.param(b"\x0a\x01k\x12\x04\x0a\x01v\x10", id="torn after a text"),
    pytest.param(b"\x0a\x01k\x12\x05\x0a\x01v\x18\x07", id="two values, a number last"),
    pytest.param(b"\x0a\x01k\x12\x05\x18\x07\x0a\x01v", id="two values, a text last"),
    pytest.param(b"\x0a\x01k\x12\x04\x18\x07\x18\x08", id="two numbers"),
    pytest.param(b"\x0a\x01k\x12\x03\x18\x87\x00", id="a number longer than it need be"),
    pytest.param(b"\x0a\x01k\x12\x0b\x18" + b"\xff" * 9 + b"\x01", id="minus one"),
    pytest.param(b"\x0a\x01k\x12\x0c\x18" + b"\xff" * 10 + b"\x01", id="a number of eleven bytes"),
    pytest.param(b"\x0a\x01k\x12\x02\x18\xff", id="a torn number"),
    pytest.param(b"\x0a\x01k\x12\x01\x18", id="no number"),
    pytest.param(b"\x0a\x01k\x12\x02\x10\x05", id="a truth beyond one"),
    pytest.param(b"\x0a\x01k\x12\x09\x21" + b"\0" * 6 + b"\xf8\x7f", id="not a number"),
    pytest.param(b"\x0a\x01k\x12\x08\x21" + b"\0" * 7, id="a torn double"),
    pytest.param(b"\x0a\x01k\x12\x04\x0a\x02\xc3\x28", id="no UTF-8"),
    pytest.param(b"\x0a\x01\xff\x12\x03\x0a\x01v", id="a key that is no UTF-8"),
    pytest.param(b"\x0a\x01k\x12\x05\x0a\x03\xed\xa0\x80", id="a surrogate"),
    pytest.param(b"\x0a\x01k\x12\x03\x0a\x01\x00", id="a NUL"),
    pytest.param(b"\x0a\x01k\x12\x03\x0a\x01v\x12\x03\x0a\x01w", id="value twice"),
    pytest.param(b"\x0a\x01k\x0a\x01l\x12\x03\x0a\x01v", id="key twice"),
    pytest.param(b"\x0a\x01k\x12\x03\x0a\x01v\xf8\x01\x01", id="an unknown field"),
    pytest.param(b"\x0a\x81\x00k\x12\x03\x0a\x01v", id="a length longer than it need be"),
    pytest.param(b"\x08\x01", id="a key of another type"),
    pytest.param(b"\x0a\x05k", id="a torn key"),
    pytest.param(b"\x0a\x01k\x12\x03\x0a\x01v\x0f", id="no such type on the wire"),
]


@given(requests())
def test_the_quick_way_reads_what_protobuf_reads(body: bytes) -> None:
    """Whatever spans say, in whatever types and lengths."""
    assert repr(found(body)) == repr(expected(body))


@given(damaged())
@example(b"")
@example(b"\xff\xff")
def test_the_quick_way_refuses_what_protobuf_refuses(body: bytes) -> None:
    """No byte that is wrong goes by unseen, and none that is right is refused."""
    assert repr(found(body)) == repr(expected(body))


@pytest.fixture
def tiny_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut as if every body were large."""
    monkeypatch.setattr(wire, "PIECE_BYTES", 16)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests())
def test_a_large_body_is_read_in_pieces(tiny_pieces: None, body: bytes) -> None:
    """Cut into pieces, a body holds the same spans and the same faults."""
    assert repr(found(body)) == repr(expected(body))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damaged())
def test_a_damaged_body_is_refused_in_pieces_too(tiny_pieces: None, body: bytes) -> None:
    """What protobuf refuses whole is refused in pieces."""
    assert expected(body) is not None or found(body) is None


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(_many(b"\x0a\x00"), id="resources"),
        pytest.param(_field(1, _many(b"\x12\x00")), id="scopes"),
        pytest.param(_field(1, _field(2, _many(b"\x12\x00"))), id="spans"),
        pytest.param(_field(1, _field(2, _field(2, _many(b"\x4a\x00")))), id="attributes"),
        pytest.param(_field(1, _field(2, _field(2, _many(b"\x5a\x00")))), id="events"),
        pytest.param(_field(1, _field(2, _field(2, _many(b"\x6a\x00")))), id="links"),
        pytest.param(_field(1, _field(2, _field(2, _field(11, _many(b"\x1a\x00"))))), id="attributes of an event"),
        pytest.param(_field(1, _field(1, _many(b"\x0a\x00"))), id="attributes of a resource"),
        pytest.param(load(_field(1, b"k") + _field(2, _field(5, _many(b"\x0a\x00")))), id="a list"),
        pytest.param(load(_field(1, b"k") + _field(2, _field(6, _many(b"\x0a\x00")))), id="a map"),
        pytest.param(b"".join([load()] * 20_000), id="loads"),
        pytest.param(
            b"".join([load(_field(1, b"k") + _field(2, _field(5, b"\x0a\x00" * 2000)))] * 100), id="lists in many loads"
        ),
        pytest.param(_many(b"\x98\x06\x01"), id="unknown fields"),
    ],
)
def test_what_a_body_becomes_is_weighed_before_it_is_made(body: bytes) -> None:
    """However the elements are wrapped: more than the limit are refused, and few are made by then."""
    weighed = 0

    def weigh(elements: int) -> None:
        nonlocal weighed
        weighed += elements
        if weighed > 100_000:
            raise TooLargeError("enough")

    assert len(body) < 1_500_000
    with pytest.raises(TooLargeError):
        spans_of_protobuf(body, weigh)
    assert weighed < 140_000


@pytest.mark.parametrize("field", [2, 1000])
def test_scopes_as_older_senders_wrote_them(field: int) -> None:
    """OTLP before 0.15, and the field that 0.15 to 0.19 kept for it."""
    scope = load()[2:][2:]
    number = _field(field, scope) if field < 16 else b"\xc2\x3e" + _field(2, scope)[1:]
    spans, faults = spans_of_protobuf(_field(1, number))
    assert (len(spans), faults) == (1, [])


@pytest.mark.parametrize("raw", ODD)
def test_odd_attributes(raw: bytes) -> None:
    """One by one, what an attribute's bytes can be; the second time too."""
    for body in (load(raw), load(raw), load(raw, raw)):
        assert repr(found(body)) == repr(expected(body))


@pytest.mark.parametrize("levels", [1, 19, 20, 21, 30, 45, 46, 47, 48, 49, 50, 60, 200])
def test_values_in_values(levels: int) -> None:
    """As deep as protobuf takes them, and no deeper."""
    assert repr(found(nested(levels))) == repr(expected(nested(levels)))


@given(st.binary(max_size=12), st.binary(max_size=12))
def test_any_bytes_as_attribute(raw: bytes, value: bytes) -> None:
    """And whatever else they may be, or their value."""
    for odd in (raw, _field(1, b"k") + _field(2, value), _field(1, b"k") + _field(2, value) + raw):
        assert repr(found(load(odd))) == repr(expected(load(odd)))


@given(st.sampled_from([0x0A, 0x10, 0x18, 0x21, 0x2A, 0x3A]), st.binary(max_size=11))
def test_any_bytes_after_a_values_tag(tag: int, rest: bytes) -> None:
    """A value that begins as one of each type does."""
    odd = load(_field(1, b"k") + _field(2, bytes([tag]) + rest))
    assert repr(found(odd)) == repr(expected(odd))


def test_an_operation_that_is_no_text() -> None:
    """It is none: a list or an object where a text should stand is passed by."""
    inner = AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="a")]))
    body = load(KeyValue(key=OPERATION, value=inner).SerializeToString())
    assert spans_of_protobuf(body) == ([], [])


def test_what_is_remembered_has_a_limit() -> None:
    """Texts that never come again don't fill the memory."""
    for number in range(3 * protobuf._MOST_REMEMBERED):
        pair = KeyValue(key=f"key {number}", value=AnyValue(string_value=f"value {number}"))
        (span,), _ = spans_of_protobuf(load(pair.SerializeToString()))
        assert (span.attributes or {})[f"key {number}"] == f"value {number}"
    remembered = protobuf._pair_of.__self__  # type: ignore[attr-defined]
    assert len(remembered) <= protobuf._MOST_REMEMBERED
    assert len(remembered._keys) <= protobuf._MOST_REMEMBERED


def test_without_protobufs_own_c_code() -> None:
    """The same where protobuf runs in Python alone."""
    environment = os.environ | {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "odd or quick_way", __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
