"""OTLP JSON lines in: as the Collector's file exporter writes them, and as it doesn't."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import zstandard
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import Event
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

import dbbtrace
from dbbtrace.errors import ConfigurationError, UsageError
from dbbtrace.sources.dbt.fusion import is_telemetry
from dbbtrace.sources.otlp.decode import spans_of_json
from dbbtrace.sources.otlp.files import Fault, OtlpFile, import_otlp
from dbbtrace.testing import capture
from tests.exporters.otlp.conftest import make_span

# A line as the Collector (0.150, file exporter, format json) writes it.
COLLECTOR_LINE = (
    '{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"job"}}]},'
    '"scopeSpans":[{"scope":{"name":"dbbtrace","version":"1"},"spans":[{"traceId":"5b8efff798038103d269b633813fc60c",'
    '"spanId":"eee19b7ec3c1b174","parentSpanId":"eee19b7ec3c1b173","flags":769,"name":"load Customer","kind":1,'
    '"startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000001","attributes":['
    '{"key":"dbb.operation","value":{"stringValue":"table_load"}},{"key":"dbb.rows.read","value":{"intValue":"10"}},'
    '{"key":"dbb.throughput","value":{"doubleValue":1.5}},{"key":"ok","value":{"boolValue":true}},'
    '{"key":"list","value":{"arrayValue":{"values":[{"stringValue":"a"},{"intValue":"2"}]}}},'
    '{"key":"map","value":{"kvlistValue":{"values":[{"key":"k","value":{"bytesValue":"AQI="}}]}}},'
    '{"key":"none","value":{}}],"events":[{"timeUnixNano":"1544712660500000000","name":"e","attributes":['
    '{"key":"n","value":{"intValue":"1"}}]}],"links":[{"traceId":"5b8efff798038103d269b633813fc60d",'
    '"spanId":"eee19b7ec3c1b175"}],"status":{"message":"no","code":2},"unknown":{"a":1}}]}]}]}'
)


def _line(name: str = "step", number: int = 1, **fields: Any) -> str:
    span = {
        "traceId": "ab" * 16,
        "spanId": f"{number:016x}",
        "name": name,
        "startTimeUnixNano": "1",
        "endTimeUnixNano": "2",
    }
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span | fields]}]}]})


def _messages(lines: list[str]) -> bytes:
    frames = [zstandard.ZstdCompressor().compress(line.encode()) for line in lines]
    return b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)


FORMS = {
    "plain": lambda lines: "".join(f"{line}\n" for line in lines).encode(),
    "gz": lambda lines: gzip.compress(FORMS["plain"](lines)),
    "zstd": lambda lines: zstandard.ZstdCompressor().compress(FORMS["plain"](lines)),
    "zstd of the file exporter": _messages,
}


def test_a_line_of_the_collector() -> None:
    """Everything that OTLP says of a span is in the span that is read."""
    (span,), faults = spans_of_json(json.loads(COLLECTOR_LINE))
    assert faults == []
    assert span.context == SpanContext(0x5B8EFFF798038103D269B633813FC60C, 0xEEE19B7EC3C1B174, False, TraceFlags(1))
    assert span.parent is not None
    assert span.parent.span_id == 0xEEE19B7EC3C1B173
    assert span.parent.is_remote
    assert (span.name, span.kind) == ("load Customer", SpanKind.INTERNAL)
    assert (span.start_time, span.end_time) == (1544712660000000000, 1544712661000000001)
    assert dict(span.attributes or {}) == {
        "dbb.operation": "table_load",
        "dbb.rows.read": 10,
        "dbb.throughput": 1.5,
        "ok": True,
        "list": ("a", 2),
        "map": {"k": b"\1\2"},
        "none": None,
    }
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "no")
    assert [(event.name, event.timestamp, dict(event.attributes or {})) for event in span.events] == [
        ("e", 1544712660500000000, {"n": 1})
    ]
    assert [link.context.span_id for link in span.links] == [0xEEE19B7EC3C1B175]
    assert dict(span.resource.attributes) == {"service.name": "job"}
    assert (span.instrumentation_scope.name, span.instrumentation_scope.version) == ("dbbtrace", "1")


@pytest.mark.parametrize("form", FORMS)
def test_import(form: str, tmp_path: Path) -> None:
    """Plain or compressed, every span takes the common road, in order; progress reaches the end of the file."""
    path = tmp_path / "traces"
    path.write_bytes(FORMS[form]([_line(f"s{number}", number) for number in range(1, 2501)] + [COLLECTOR_LINE]))
    progress: list[tuple[str, int, int]] = []
    with capture() as captured:
        done = import_otlp(path, on_progress=lambda *step: progress.append(step))
    assert [span.name for span in captured.spans] == [f"s{number}" for number in range(1, 2501)] + ["load Customer"]
    assert (done.spans, done.operations, done.without_rows, done.faults) == (2501, 0, 1, 0)  # it has no run id
    assert progress[-1] == (str(path), path.stat().st_size, path.stat().st_size)


BAD = {
    "{": "not JSON",
    "nonsense": "not JSON",
    "[" * 100_000: "not JSON",
    "[]": "not OTLP",
    '{"spans": []}': "resourceSpans is missing",
    '{"resourceSpans": 5}': "resourceSpans is not a list",
    '{"resourceSpans": [{"scopeSpans": [7]}]}': "scopeSpans holds something that is not an object",
    _line(traceId="abc"): "traceId is not 32 hex digits",
    _line(traceId="0" * 32): "trace id or span id is missing",
    _line(spanId="zz" * 8): "invalid literal",
    _line(endTimeUnixNano="0"): "has not ended",
    _line(endTimeUnixNano="soon"): "endTimeUnixNano is not a number",
    _line(startTimeUnixNano=float("-inf")): "startTimeUnixNano is not a number",
    _line(attributes=[{"key": "a", "value": {"intValue": float("inf")}}]): "infinity",
    _line(attributes=[{"key": "a", "value": {"doubleValue": 10**400}}]): "too large",
    _line(attributes={"a": 1}): "attributes is not a list",
    _line(attributes=[{"key": "a", "value": {"intValue": "x"}}]): "invalid literal",
}


@pytest.mark.parametrize("form", FORMS)
def test_bad_lines_are_reported_and_passed_by(form: str, tmp_path: Path) -> None:
    """Each bad line is named by its number and reason; the good ones around it are read."""
    path = tmp_path / "traces"
    lines = [line for number, bad in enumerate(BAD, 1) for line in (bad, _line("good", number))]
    path.write_bytes(FORMS[form](lines))
    told: list[Fault] = []
    with capture() as captured:
        done = import_otlp(path, on_fault=told.append)
    assert len(captured.spans) == len(BAD)
    assert [fault.line for fault in told] == list(range(1, 2 * len(BAD), 2))
    for fault, reason in zip(told, BAD.values(), strict=True):
        assert reason in fault.reason
    assert done.faults == len(BAD)
    assert done.first_faults == told
    assert str(told[0]).startswith(f"{path}:1: not JSON")


def test_one_bad_span_costs_only_itself(tmp_path: Path) -> None:
    """In a line of several spans the good ones are read."""
    document = json.loads(_line("good", 1))
    document["resourceSpans"][0]["scopeSpans"][0]["spans"].append({"name": "bad"})
    spans, faults = spans_of_json(document)
    assert [span.name for span in spans] == ["good"]
    assert len(faults) == 1
    assert "'bad'" in faults[0]


@pytest.mark.parametrize(
    "bad", [None, 1, [], {"resource": 5}, {"scopeSpans": 5}, {"scopeSpans": [{"scope": 5}]}, {"scopeSpans": [None]},
            {"resource": {"attributes": [{"key": "a", "value": {"intValue": "x"}}]}}]
)  # fmt: skip
def test_one_bad_resource_costs_only_itself(bad: object) -> None:
    """Whatever is where a resource should be, those before and after it are read; so it is with a span."""
    document = json.loads(_line("before", 1))
    (good,) = json.loads(_line("after", 2))["resourceSpans"]
    document["resourceSpans"] += [bad, good]
    spans, faults = spans_of_json(document)
    assert [span.name for span in spans] == ["before", "after"]
    assert len(faults) == 1
    document["resourceSpans"][0]["scopeSpans"][0]["spans"].insert(0, None)
    spans, faults = spans_of_json(document)
    assert [span.name for span in spans] == ["before", "after"]
    assert len(faults) == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes among its files")
def test_a_pipe_is_named_and_not_waited_for(tmp_path: Path) -> None:
    """A file is read more than once, and nobody may ever write to a pipe."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="write it to a file"):
        import_otlp(tmp_path / "pipe")
    assert not is_telemetry(tmp_path / "pipe")


def test_other_signals_and_blank_lines(tmp_path: Path) -> None:
    """Metrics and logs in the same file are no faults, nor are blank lines or a byte order mark."""
    path = tmp_path / "mixed.json"
    path.write_bytes(b'\xef\xbb\xbf{"resourceLogs": []}\n\n{"resourceMetrics": []}\r\n{}\n' + _line("last").encode())
    with capture() as captured:
        assert import_otlp(path).faults == 0
    assert [span.name for span in captured.spans] == ["last"]


def test_names_of_enums() -> None:
    """Writers that follow protobuf's own JSON mapping name enums."""
    line = _line(kind="SPAN_KIND_CLIENT", status={"code": "STATUS_CODE_ERROR", "message": "no"})
    (span,), _ = spans_of_json(json.loads(line))
    assert (span.kind, span.status.status_code) == (SpanKind.CLIENT, StatusCode.ERROR)


@pytest.mark.parametrize("form", ["gz", "zstd", "zstd of the file exporter"])
def test_torn_end(form: str, tmp_path: Path) -> None:
    """A compressed file that its writer never finished is read as far as it goes, and the tear is reported."""
    path = tmp_path / "torn"
    whole = FORMS[form]([_line("x" * 200 + str(number), number) for number in range(1, 3000)])
    path.write_bytes(whole[:-20])
    with capture() as captured:
        done = import_otlp(path)
    assert done.faults == 1
    assert done.first_faults[0].reason.startswith(("the file can't be read any further", "not JSON"))
    assert len(captured.spans) == done.spans
    assert form != "zstd of the file exporter" or done.spans == 2998


def test_damaged_message(tmp_path: Path) -> None:
    """One damaged message of the file exporter costs only itself."""
    first, last = _messages([_line("first")]), _messages([_line("last")])
    path = tmp_path / "damaged"
    path.write_bytes(first + first[:8] + b"\xff" * (len(first) - 8) + last)
    with capture() as captured:
        done = import_otlp(path)
    assert [span.name for span in captured.spans] == ["first", "last"]
    assert [fault.line for fault in done.first_faults] == [2]


@pytest.mark.parametrize("form", FORMS)
def test_line_that_is_too_long(form: str, tmp_path: Path) -> None:
    """A line beyond the limit is passed by without being held in memory: 50 MB of it here."""
    path = tmp_path / "long"
    path.write_bytes(FORMS[form]([_line("before"), _line("x" * 50_000_000), _line("after")]))
    tracemalloc.start()
    found = list(OtlpFile(path, max_line_bytes=1 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [[span.name for span in spans] for _, (spans, _) in found] == [["before"], [], ["after"]]
    assert "longer than" in found[1][1][1][0]
    assert peak < 20_000_000


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Ten thousand lines need no more memory than their batch."""
    path = tmp_path / "traces"
    line = _line("x" * 2000)
    path.write_text(f"{line}\n" * 10_000)
    tracemalloc.start()
    count = sum(len(spans) for _, (spans, _) in OtlpFile(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 10_000
    assert peak < 2_000_000


def test_missing_file_is_said_before_anything_is_read(tmp_path: Path) -> None:
    """All files are opened before the first is sent."""
    path = tmp_path / "traces"
    path.write_text(_line())
    with capture() as captured, pytest.raises(UsageError, match="nowhere"):
        import_otlp(path, tmp_path / "nowhere")
    assert captured.spans == []


def test_zstd_without_its_package(tmp_path: Path, monkeypatch) -> None:
    """Without zstandard the error says what to install, before anything is read."""
    path = tmp_path / "traces.zst"
    path.write_bytes(FORMS["zstd"]([_line()]))
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(ConfigurationError, match="pip install zstandard"):
        import_otlp(path)


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)
scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | names
values = scalars | st.lists(scalars, max_size=3).map(tuple)


@given(
    attributes=st.dictionaries(names, values, max_size=5),
    start=st.integers(1, 2**63),
    parent=st.none() | st.integers(1, 2**64 - 1),
    event=names,
    failed=st.booleans(),
)
def test_what_is_written_is_read(attributes, start: int, parent: int | None, event: str, failed: bool) -> None:
    """A span encoded by OpenTelemetry and written as OTLP JSON is read back equal."""
    span = make_span(
        "s",
        attributes=attributes,
        start_time=start,
        end_time=start + 1,
        parent=parent and SpanContext(7, parent, False),
        events=[Event(event, attributes, start)],
        links=[Link(SpanContext(8, 9, False), attributes)],
        status=Status(StatusCode.ERROR, event) if failed else Status(),
    )
    (read,), faults = spans_of_json(json.loads(json.dumps(_otlp_json(span))))
    assert faults == []
    assert encode_spans([read]).SerializeToString(deterministic=True) == _as_remote_links(span)


def _otlp_json(span) -> dict[str, Any]:
    """protobuf's JSON with OTLP's one difference: ids in hex."""

    def hex_ids(value: Any) -> Any:
        if isinstance(value, list):
            return [hex_ids(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {
            key: __import__("base64").b64decode(item).hex()
            if key in ("traceId", "spanId", "parentSpanId")
            else hex_ids(item)
            for key, item in value.items()
        }

    return hex_ids(json_format.MessageToDict(encode_spans([span])))


def _as_remote_links(span) -> bytes:
    request = encode_spans([span])
    for link in request.resource_spans[0].scope_spans[0].spans[0].links:
        link.flags = 0x300
    return request.SerializeToString(deterministic=True)


def test_live_dbt_nodes_of_a_file_give_their_rows(tmp_path: Path) -> None:
    """A job that knew only a Collector marked them as meant for other backends; no others come for the warehouse."""
    texts = {
        "dbb.operation": "dbt_node",
        "dbb.orchestration.run_id": "r",
        "dbb.dbt.unique_id": "model.shop.a",
        "dbb.status": "success",
        "dbb.audience": "spans",
    }
    attributes = [{"key": name, "value": {"stringValue": text}} for name, text in texts.items()]
    (tmp_path / "a.json").write_text(_line("model a", attributes=attributes))
    dbbtrace.configure(warehouse="sqlite:///w.db")
    import_otlp(tmp_path / "a.json")
    assert dbbtrace.flush(30)
    found = dbbtrace.query("SELECT item_name, status FROM meta.monitoring_transformation_dbt", into="rows")
    assert list(found) == [{"item_name": "a", "status": "success"}]
