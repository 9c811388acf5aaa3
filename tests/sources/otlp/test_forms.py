"""OTLP files in the other forms that people have them in: pretty-printed, protobuf, from before OTLP 0.15."""

from __future__ import annotations

import bz2
import gzip
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import Event
from opentelemetry.trace import Link, SpanContext, Status, StatusCode

from dbbtrace.errors import ConfigurationError
from dbbtrace.sources.otlp.decode import spans_of_json
from dbbtrace.sources.otlp.files import OtlpFile, import_otlp
from dbbtrace.testing import capture
from tests.exporters.otlp.conftest import make_span


def document(*names: str, **fields: Any) -> dict[str, Any]:
    """An OTLP document of these spans."""
    spans = [
        {"traceId": "ab" * 16, "spanId": f"{number:016x}", "name": name, "startTimeUnixNano": "1", "endTimeUnixNano": 2}
        | fields
        for number, name in enumerate(names, 1)
    ]
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {}, "spans": spans}]}]}


def message(*names: str) -> bytes:
    """The same as protobuf."""
    spans = [make_span(name, attributes={"text": "x" * 200, "list": ("a", "b"), "n": -5}) for name in names]
    return bytes(encode_spans(spans).SerializeToString())


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def read(path: Path, content: bytes) -> tuple[list[str], list[tuple[int, str]]]:
    """The names of the spans of a file, and its faults."""
    path.write_bytes(content)
    found = list(OtlpFile(path))
    names = [str(span.name) for _, (spans, _) in found for span in spans]
    return names, [(number, fault) for number, (_, faults) in found for fault in faults]


# -- JSON over many lines -------------------------------------------------------------------------------------

PRETTY: dict[str, Callable[[Any], str]] = {
    "indented": lambda held: json.dumps(held, indent=2),
    "tabs": lambda held: json.dumps(held, indent="\t").replace("\n", "\r\n"),
    "a value a line": lambda held: json.dumps(held, indent=0),
    "begun on its first line": lambda held: "{" + json.dumps(held, indent=2)[1:].lstrip(),
    "with a byte order mark": lambda held: "\ufeff" + json.dumps(held, indent=2),
    "blank lines": lambda held: "\n\n" + json.dumps(held, indent=1).replace("\n", "\n\n"),
}


@pytest.mark.parametrize("form", PRETTY)
@pytest.mark.parametrize("packed", [False, True])
def test_pretty_printed(form: str, packed: bool, tmp_path: Path) -> None:
    """One document or several, between lines that hold one each; braces in texts are no braces."""
    first, second = document("a", '}{"]'), document("b")
    text = "\n".join([PRETTY[form](first), json.dumps(document("line")), PRETTY[form](second)])
    content = text.encode()
    names, faults = read(tmp_path / "f", gzip.compress(content) if packed else content)
    assert (names, faults) == (["a", '}{"]', "line", "b"], [])


def _several(separator: str, *, indent: int | None = None) -> str:
    return separator.join(json.dumps(document(name), indent=indent) for name in "abc")


SEVERAL = {
    "on one line": _several(""),
    "on one line, with blanks": _several("  "),
    "pretty-printed on from each other": _several("", indent=2),
    "a list": f"[{_several(', ')}]",
    "a list, an item a line": f"[{_several(',' + chr(10))}]",
    "a list, brackets on lines of their own": f"[\n{_several(',' + chr(10))}\n]\n",
    "a pretty list": json.dumps([document(name) for name in "abc"], indent=2),
    "a list of resources": json.dumps([document(name)["resourceSpans"][0] for name in "abc"]),
    "records with their separators": f"\x1e{_several(chr(10) + chr(0x1E))}\n",
    "carriage returns": _several("\r"),
}


@pytest.mark.parametrize("form", SEVERAL)
def test_several_documents_are_read_however_they_follow_each_other(form: str, tmp_path: Path) -> None:
    """As jq -s, an archive's appends and stores of objects write them."""
    assert read(tmp_path / "spans.json", SEVERAL[form].encode()) == (["a", "b", "c"], [])


def test_what_is_wrong_in_a_list_is_said_once_and_costs_what_follows_in_its_line(tmp_path: Path) -> None:
    """A list of another tracer's spans is one fault, not a thousand."""
    others = json.dumps([{"traceId": "1", "id": str(number)} for number in range(1000)])
    names, faults = read(tmp_path / "zipkin.json", f"{json.dumps(document('a'))}\n{others}".encode())
    assert names == ["a"]
    assert faults == [(2, "no OTLP traces: resourceSpans is missing, there is id, traceId")]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_encodings(encoding: str, packed: bool, tmp_path: Path) -> None:
    """PowerShell's > writes UTF-16. Text is text, also across the pieces in which it is read."""
    text = json.dumps(document("é", "x" * 100_000, "ü"), indent=2, ensure_ascii=False)
    content = text.encode(encoding)
    names, faults = read(tmp_path / "spans.json", gzip.compress(content) if packed else content)
    assert (names, faults) == (["é", "x" * 100_000, "ü"], [])


def test_ids_in_base64(tmp_path: Path) -> None:
    """Protobuf's own JSON has ids so, OTLP's JSON has not: such a span is named, and no id is guessed."""
    held = document("a", traceId="q6urq6urq6urq6urq6urqw==", spanId="AAAAAAAAAAE=")
    names, faults = read(tmp_path / "spans.json", json.dumps(held).encode())
    assert names == []
    assert len(faults) == 1
    assert "traceId is not 32 hex digits" in str(faults[0])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bz2.compress(b"{}"), "unpack it first, it is bzip2"),
        (gzip.compress(gzip.compress(b"{}")), "unpack it first, it is gzip, twice"),
        (b"PK\x03\x04\x14\x00\x00\x00", "unpack it first, it is a zip file"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "neither OTLP JSON nor OTLP protobuf"),
    ],
    ids=["bzip2", "gzip twice", "zip", "png"],
)
def test_what_is_packed_otherwise_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    """One line says what to do."""
    names, ((number, fault),) = read(tmp_path / "spans.json", content)
    assert names == []
    assert number == 1
    assert words in fault


def test_a_document_that_does_not_end_costs_itself(tmp_path: Path) -> None:
    """It is one fault, at the line where it begins; the next document is read."""
    half = "\n".join(json.dumps(document("lost"), indent=2).splitlines()[:9])
    text = "\n".join([json.dumps(document("a")), half, json.dumps(document("b")), half])
    names, faults = read(tmp_path / "f", text.encode())
    assert names == ["a", "b"]
    assert [number for number, _ in faults] == [2, 12]
    assert "does not end" in faults[0][1]


def test_a_document_that_is_too_long(tmp_path: Path) -> None:
    """50 MB over many lines are refused in one line that says what to do, and are not held in memory."""
    path = tmp_path / "long.json"
    held = json.dumps(document(*["x" * 1000] * 40_000), indent=1) + "\n" + json.dumps(document("after"))
    path.write_text(held)
    del held
    tracemalloc.start()
    found = list(OtlpFile(path, max_line_bytes=1 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [[span.name for span in spans] for _, (spans, _) in found] == [[], ["after"]]
    assert "jq -c" in found[0][1][1][0]
    assert peak < 10_000_000


lines_of_json = st.lists(
    st.tuples(st.sampled_from([None, 0, 1, "\t"]), st.lists(st.text(max_size=5), min_size=1, max_size=2)), max_size=4
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines_of_json)
def test_any_mixture_of_lines_and_pretty_documents(tmp_path: Path, parts: list[tuple[Any, list[str]]]) -> None:
    """Whatever the names of spans are, each is read, in order."""
    text = "\n".join(json.dumps(document(*names), indent=indent) for indent, names in parts)
    assert read(tmp_path / "f", text.encode()) == ([name for _, names in parts for name in names], [])


# -- older names, and less of a document ----------------------------------------------------------------------


def test_names_from_before_otlp_0_15() -> None:
    """instrumentationLibrarySpans and instrumentationLibrary mean scopeSpans and scope."""
    text = json.dumps(document("old")).replace("scopeSpans", "instrumentationLibrarySpans")
    (span,), faults = spans_of_json(
        json.loads(text.replace('"scope": {}', '"instrumentationLibrary": {"name": "lib"}'))
    )
    assert (span.name, span.instrumentation_scope.name, faults) == ("old", "lib", [])


def test_a_resource_without_the_document_around_it() -> None:
    """As the logging exporter of Java writes its lines."""
    (span,), faults = spans_of_json(document("java")["resourceSpans"][0])
    assert (span.name, faults) == ("java", [])


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({"resourceSpans": [{"scope_spans": []}]}, "a resource without scopeSpans: there is scope_spans"),
        ({"resourceSpans": [{"scopeSpans": [{"span": []}]}]}, "a scope without spans: there is span"),
    ],
)
def test_spans_under_another_name_are_a_fault(held: Any, words: str) -> None:
    """Never silence where something was meant to be read."""
    assert spans_of_json(held) == ([], [words])


def test_a_resource_without_spans_is_none() -> None:
    """Senders may have nothing to say."""
    assert spans_of_json({"resourceSpans": [{"resource": {}}, {"scopeSpans": [{"scope": {}}]}, {}]}) == ([], [])


# -- protobuf -------------------------------------------------------------------------------------------------

PROTOBUF: dict[str, Callable[[list[bytes]], bytes]] = {
    "one message": b"".join,
    "length in four bytes": lambda parts: b"".join(len(part).to_bytes(4, "big") + part for part in parts),
    "length as a varint": lambda parts: b"".join(varint(len(part)) + part for part in parts),
    "gzip": lambda parts: gzip.compress(b"".join(parts)),
    "zstd": lambda parts: zstandard.ZstdCompressor().compress(PROTOBUF["length in four bytes"](parts)),
    "zstd of the file exporter": lambda parts: PROTOBUF["length in four bytes"](
        [zstandard.ZstdCompressor().compress(part) for part in parts]
    ),
}


@pytest.mark.parametrize("form", PROTOBUF)
@pytest.mark.parametrize("count", [1, 3, 500])
def test_protobuf(form: str, count: int, tmp_path: Path) -> None:
    """Every span takes the common road, whichever way the messages are put into the file."""
    path = tmp_path / "traces"
    path.write_bytes(PROTOBUF[form]([message(f"a{number}", f"b{number}") for number in range(count)]))
    with capture() as captured:
        done = import_otlp(path)
    assert [span.name for span in captured.spans] == [name for n in range(count) for name in (f"a{n}", f"b{n}")]
    assert (done.spans, done.faults) == (2 * count, 0)
    assert captured.spans[0].attributes["list"] == ("a", "b")


@pytest.mark.parametrize("form", ["one message", "length in four bytes", "length as a varint"])
def test_a_torn_protobuf_file(form: str, tmp_path: Path) -> None:
    """It is read as far as it goes, and the tear is said."""
    names, faults = read(tmp_path / "f", PROTOBUF[form]([message("a"), message("b"), message("c")])[:-20])
    assert names == ["a", "b"]
    assert "cut off" in faults[0][1]


def test_a_span_of_a_message_that_makes_no_sense(tmp_path: Path) -> None:
    """It is named, and its neighbours are read."""
    request = encode_spans([make_span("good"), make_span("bad")])
    request.resource_spans[0].scope_spans[0].spans[1].span_id = b"short"
    names, faults = read(tmp_path / "f", request.SerializeToString())
    assert names == ["good"]
    assert "'bad'" in faults[0][1]
    assert "8 bytes" in faults[0][1]


def test_what_is_neither(tmp_path: Path) -> None:
    """A binary file of another kind is one fault, not one a line."""
    assert read(tmp_path / "f", bytes(range(256)) * 20) == ([], [(1, "neither OTLP JSON nor OTLP protobuf")])


def test_a_message_that_is_too_long(tmp_path: Path) -> None:
    """It is named and skipped."""
    path = tmp_path / "f"
    path.write_bytes(PROTOBUF["length in four bytes"]([message("a"), message("x" * 5000), message("b")]))
    found = list(OtlpFile(path, max_line_bytes=2000))
    assert [[span.name for span in spans] for _, (spans, _) in found] == [["a"], [], ["b"]]
    assert "longer than" in found[1][1][1][0]


def test_protobuf_without_its_package(tmp_path: Path) -> None:
    """The core knows no protobuf: the error says what to install, before anything is read."""
    (tmp_path / "f").write_bytes(message("a"))
    code = (
        "import sys; sys.modules['opentelemetry.proto'] = None\n"
        "from dbbtrace.sources.otlp.files import OtlpFile\n"
        "try: OtlpFile('f')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(ConfigurationError.__name__)
    assert 'pip install "dbbtrace[receiver]"' in done.stdout


@given(
    attributes=st.dictionaries(
        st.text(max_size=5),
        st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
        max_size=5,
    ),
    parent=st.none() | st.integers(1, 2**64 - 1),
    failed=st.booleans(),
)
def test_protobuf_is_read_as_json_is(attributes: Any, parent: int | None, failed: bool) -> None:
    """A span that was encoded and read back is encoded to the same bytes."""
    from dbbtrace.sources.otlp.protobuf import spans_of_message

    span = make_span(
        "s",
        attributes=attributes,
        parent=parent and SpanContext(7, parent, True),
        events=[Event("e", attributes, 5)],
        links=[Link(SpanContext(8, 9, True), attributes)],
        status=Status(StatusCode.ERROR, "no") if failed else Status(),
    )
    encoded = encode_spans([span])
    spans, faults = spans_of_message(encoded.SerializeToString())
    assert faults == []
    assert encode_spans(spans) == encoded
