"""ForwardingSpanExporter over real sockets: what arrives, where, and with which settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from dbbtrace_exporters.otlp.exporter import ForwardingSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

import dbbtrace
from dbbtrace.errors import ConfigurationError, UsageError
from tests.exporters.otlp.conftest import make_span, make_spans
from tests.support.otlp import HttpReceiver, Receiver, unauthorised

ROOT = Path(__file__).parents[3]


def test_spans_arrive_whole(receiver: Receiver, exporter_to) -> None:
    """Ids, parent, times, attributes, status and resource arrive as they were, over both protocols."""
    span = make_span(
        "load",
        0xAB,
        parent=SpanContext(7, 0xCD, True, TraceFlags(1)),
        attributes={"dbb.rows.read": 3, "dbb.dbt.depends_on": ("a", "b")},
        status=Status(StatusCode.ERROR, "broken"),
    )
    exporter_to(receiver).deliver([span])
    (got,) = receiver.spans
    assert (got.trace_id, got.span_id, got.parent_span_id) == (f"{7:032x}", f"{0xAB:016x}", f"{0xCD:016x}")
    assert (got.name, got.start, got.end) == ("load", 10**18, 10**18 + 5)
    assert got.attributes == {"dbb.rows.read": 3, "dbb.dbt.depends_on": ["a", "b"]}
    assert (got.status, got.message, got.resource) == ("ERROR", "broken", {"service.name": "test"})


@pytest.mark.parametrize(
    ("variables", "arguments", "destination"),
    [
        ({}, {}, "otlp+http/protobuf://localhost:4318/v1/traces"),
        ({}, {"protocol": "grpc"}, "otlp+grpc://localhost:4317"),
        ({}, {"protocol": "http/json"}, "otlp+http/json://localhost:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c:1/base/"}, {}, "otlp+http/protobuf://c:1/base/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c:1/own"}, {}, "otlp+http/protobuf://c:1/own"),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/own"},
            {"endpoint": "http://c/own"},
            "otlp+http/protobuf://c/own",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1"},
            {"endpoint": "http://d:2"},
            "otlp+http/protobuf://d:2/v1/traces",
        ),
        ({}, {"endpoint": "http://d:2/v1/traces"}, "otlp+http/protobuf://d:2/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "c:4317"}, {}, "otlp+grpc://c:4317"),
        ({}, {"endpoint": "https://user:secret@d/v1/traces?key=secret"}, "otlp+http/protobuf://d/v1/traces"),
    ],
)
def test_destination(monkeypatch, variables: dict[str, str], arguments: dict[str, str], destination: str) -> None:
    """The destination is the URL that is sent to, without secrets; only the traces' own variable is taken as it is."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ForwardingSpanExporter(**arguments).destination == destination


def test_unknown_protocol() -> None:
    """A protocol that there isn't is said when the exporter is made."""
    with pytest.raises(UsageError, match="http/protobuf, http/json or grpc"):
        ForwardingSpanExporter(protocol="http/xml")


def test_a_fault_in_other_settings_stops_no_span(otlp_http: HttpReceiver, monkeypatch) -> None:
    """configure() has said that it is ignored: so it is."""
    Path("dbbtrace.toml").write_text("warehouse = ")
    monkeypatch.setenv("DBBTRACE_ROWS_TIMEOUT", "soon")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp_http.endpoint)
    with dbbtrace.orchestration_run("r", data_product="P"):
        pass
    dbbtrace.shutdown(20)
    assert len(otlp_http.spans) == 1
    with pytest.raises(UsageError, match="http/protobuf, http/json or grpc"):
        ForwardingSpanExporter(otlp_http.endpoint, protocol="http/xml")


def test_large_batch_is_split(receiver: Receiver, exporter_to) -> None:
    """A batch of 10 MB goes in requests that each stay below the limit, every span once, in order."""
    spans = make_spans(100, attributes={"text": "é" * 50_000})
    exporter_to(receiver).deliver(spans)
    assert [span.name for span in receiver.spans] == [span.name for span in spans]
    assert len(receiver.requests) > 2
    assert all(request.size < 4 << 20 for request in receiver.requests)


def test_batch_of_small_spans_is_one_request(receiver: Receiver, exporter_to) -> None:
    """A thousand ordinary spans are one request."""
    exporter_to(receiver).deliver(make_spans(1000))
    assert len(receiver.requests) == 1
    assert len(receiver.spans) == 1000


def test_limit_can_be_set(receiver: Receiver, exporter_to) -> None:
    """The size is the caller's to choose; a span that is larger alone goes alone."""
    exporter_to(receiver, max_request_bytes=1).deliver(make_spans(3))
    assert [len(request.spans) for request in receiver.requests] == [1, 1, 1]


def test_stock_processor(receiver: Receiver, exporter_to) -> None:
    """Behind OpenTelemetry's own batch processor it works like any exporter."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter_to(receiver)))
    with provider.get_tracer("test").start_as_current_span("outer"):
        pass
    assert provider.force_flush()
    assert [span.name for span in receiver.spans] == ["outer"]
    provider.shutdown()


def test_after_shutdown(otlp_http: HttpReceiver, exporter_to, caplog) -> None:
    """After shutdown nothing is sent, and one warning says so."""
    exporter = exporter_to(otlp_http)
    exporter.shutdown()
    assert [exporter.export([make_span()]) for _ in range(3)] == [SpanExportResult.FAILURE] * 3
    assert len([record for record in caplog.records if "shut down" in record.message]) == 1
    assert otlp_http.requests == []


def test_instrumented_requests_make_no_spans(otlp_http: HttpReceiver, exporter_to, monkeypatch) -> None:
    """Where HTTP clients are instrumented, sending spans makes no spans, which would have to be sent."""
    from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled
    from requests import Session

    seen: list[bool] = []
    send = Session.send

    def observed(session: Session, *args: object, **options: object) -> object:
        seen.append(is_http_instrumentation_enabled())
        return send(session, *args, **options)

    monkeypatch.setattr(Session, "send", observed)
    exporter_to(otlp_http).deliver([make_span()])
    assert seen == [False]
    assert is_http_instrumentation_enabled()


def test_nothing_of_otlp_is_imported_before_the_first_span() -> None:
    """Making the exporter imports neither requests, grpc nor protobuf."""
    code = (
        "import sys; from dbbtrace_exporters.otlp.exporter import ForwardingSpanExporter as F\n"
        "for protocol in ('http/protobuf', 'http/json', 'grpc'): F(protocol=protocol)\n"
        "print([n for n in ('requests', 'grpc', 'google.protobuf') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("threads", [True, False])
def test_first_spans_at_exit(receiver: Receiver, threads: bool) -> None:
    """A short job sends its first spans while the interpreter exits: no pool and, from 3.12, no thread starts."""
    code = (
        "import atexit, sys, threading\n"
        "import concurrent.futures.thread\n"
        "from dbbtrace_exporters.otlp.exporter import ForwardingSpanExporter\n"
        "from tests.exporters.otlp.conftest import make_span\n"
        "def refuse(*_):\n"
        '    raise RuntimeError("can\'t create new thread at interpreter shutdown")\n'
        "def send():\n"
        "    if not threads: threading.Thread.start = refuse\n"
        "    exporter.deliver([make_span()])\n"
        f"threads = {threads}\n"
        "exporter = ForwardingSpanExporter(sys.argv[1], protocol=sys.argv[2])\n"
        "atexit.register(send)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, receiver.endpoint, receiver.protocol], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stderr == ""
    assert len(receiver.spans) == 1


@pytest.mark.parametrize(
    ("protocol", "package", "extra"),
    [
        ("http/protobuf", "opentelemetry.exporter.otlp.proto.common.trace_encoder", "otlp"),
        ("http/json", "requests", "otlp-json"),
        ("grpc", "grpc", "otlp"),
    ],
)
def test_missing_package(protocol: str, package: str, extra: str, monkeypatch) -> None:
    """Without the extra the error says what to install, word for word."""
    for module in ("http", "grpc"):
        monkeypatch.delitem(sys.modules, f"dbbtrace_exporters.otlp.{module}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match=rf'needs {package}: pip install "dbbtrace\[{extra}\]"'):
        ForwardingSpanExporter(protocol=protocol).deliver([make_span()])


def test_check(receiver: Receiver, exporter_to) -> None:
    """A check is a request without spans, and says what is wrong as ``deliver`` does."""
    exporter = exporter_to(receiver)
    exporter.check()
    assert [request.spans for request in receiver.requests] == [[]]
    receiver.answer(unauthorised())
    with pytest.raises(ConfigurationError):
        exporter.check()


def test_entry_point() -> None:
    """OTEL_TRACES_EXPORTER=dbb_otlp finds it."""
    from importlib.metadata import entry_points

    (found,) = entry_points(group="opentelemetry_traces_exporter", name="dbb_otlp")
    assert found.load() is ForwardingSpanExporter
