"""What a backend sends is read to a limit, and a request that was given up ends. On real sockets."""

from __future__ import annotations

import gzip
import json
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from dbbtrace.errors import ConfigurationError, DbbtraceError, RefusedError, TransientError
from tests.exporters.otlp.conftest import make_span, make_spans
from tests.support.otlp import Answer, GrpcReceiver, HttpReceiver, silent, talker

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n"
HTTP = ["http/protobuf", "http/json"]
MIB = 1 << 20


def _senders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "dbbtrace-otlp"]


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    """Each test here ends with all sending threads gone, within seconds."""
    yield
    for thread in _senders():
        thread.join(10)
    assert _senders() == []


@pytest.mark.parametrize("protocol", HTTP)
@pytest.mark.parametrize("head", [OK + b"\r\n", OK + b"Content-Length: 9999999999\r\n\r\n"])
def test_endless_answer(exporter_to, protocol: str, head: bytes) -> None:
    """An answer without an end is read to the limit, the connection closed, and the spans wait."""
    with talker(answer=head, again=b"\0" * 100_000) as (endpoint, taken):
        exporter = exporter_to(endpoint, protocol)
        tracemalloc.start()
        try:
            with pytest.raises(ConfigurationError, match="can't be read"):
                exporter.deliver([make_span()])
            assert tracemalloc.get_traced_memory()[1] < 8 * MIB
        finally:
            tracemalloc.stop()
        exporter.shutdown()
    assert all(count < 32 * MIB for count in taken)  # the rest is in the buffers of the sockets


@pytest.mark.parametrize("status", [200, 307, 400, 503])
@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_packed_answer_is_unpacked_to_the_limit(exporter_to, status: int, pack) -> None:
    """100 MiB of zeros, packed in 100 kB, stay packed; the status says what it says."""
    bomb = pack(b"\0" * (100 * MIB))
    encoding = "gzip" if pack is gzip.compress else "deflate"
    head = f"HTTP/1.1 {status} X\r\nLocation: /\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(bomb)}\r\n\r\n"
    with talker(answer=head.encode() + bomb) as (endpoint, _):
        exporter = exporter_to(endpoint, "http/protobuf")
        tracemalloc.start()
        try:
            with pytest.raises({400: RefusedError, 503: TransientError}.get(status, ConfigurationError)):
                exporter.deliver([make_span()])
            assert tracemalloc.get_traced_memory()[1] < 16 * MIB
        finally:
            tracemalloc.stop()


def test_endless_redirect(exporter_to) -> None:
    """Nor is the body of a redirect read whole, which requests would do."""
    with talker(answer=b"HTTP/1.1 307 X\r\nLocation: /\r\n\r\n", again=b"\0" * 100_000) as (endpoint, _):
        with pytest.raises(ConfigurationError, match="redirect"):
            exporter_to(endpoint, "http/protobuf").deliver([make_span()])


@pytest.mark.parametrize(
    ("answer", "again"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"a"),
        (OK + b"Content-Length: 5000\r\n\r\n", b"a"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5000\r\n", b"a"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: a\r\n"),
    ],
)
def test_answer_that_trickles(exporter_to, monkeypatch, answer: bytes, again: bytes) -> None:
    """Each byte comes in time, the answer never: the deadline counts for the whole, and then the thread ends."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    with talker(answer=answer, again=again, pause=0.05) as (endpoint, _):
        with pytest.raises(TransientError) as caught:
            exporter_to(endpoint, "http/protobuf").deliver([make_span()])
        assert caught.value.ambiguous
        for thread in _senders():
            thread.join(10)
        assert _senders() == []


def test_trickle_through_a_proxy(exporter_to, monkeypatch) -> None:
    """A connection by a proxy is cut too."""
    with talker(answer=b"HTTP/1.1 200 OK\r\nX-A: ", again=b"a", pause=0.05) as (proxy, _):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
        monkeypatch.setenv("http_proxy", proxy)
        with pytest.raises(TransientError):
            exporter_to("http://backend.invalid", "http/protobuf").deliver([make_span()])
        for thread in _senders():
            thread.join(10)
        assert _senders() == []


@pytest.mark.parametrize("protocol", HTTP)
def test_shutdown_ends_the_thread(otlp_http: HttpReceiver, exporter_to, protocol: str) -> None:
    """A request under way ends with the exporter, its thread too, though the backend never answers."""
    exporter = exporter_to(otlp_http, protocol)
    otlp_http.always(silent())
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(exporter.deliver, [make_span()])
        otlp_http.wait_for_requests(1)
        exporter.shutdown()
        assert isinstance(sending.exception(10), TransientError)


def test_connection_is_kept(otlp_http: HttpReceiver, exporter_to) -> None:
    """Requests go one after another over one connection."""
    exporter = exporter_to(otlp_http)
    for number in range(3):
        exporter.deliver([make_span(str(number))])
    otlp_http.answer(Answer(400, message="no"))
    with pytest.raises(RefusedError):
        exporter.deliver([make_span()])
    exporter.deliver([make_span()])
    assert len(otlp_http._server.connections) == 1


def test_answer_packed_as_nobody_asked(exporter_to) -> None:
    """A success that can't be read may reject spans: it is none."""
    body = b"\x01\x02"
    with talker(answer=OK + b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\n" + body) as (endpoint, _):
        with pytest.raises(ConfigurationError, match="can't be read"):
            exporter_to(endpoint, "http/protobuf").deliver([make_span()])


def test_packed_partial_success_is_read(exporter_to) -> None:
    """A packed answer within the limit counts like any other."""
    body = gzip.compress(json.dumps({"partialSuccess": {"rejectedSpans": "2"}}).encode())
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}"
    with talker(answer=head.encode() + b"\r\n\r\n" + body) as (endpoint, _):
        with pytest.raises(RefusedError, match="rejected 2"):
            exporter_to(endpoint, "http/json").deliver(make_spans(3))


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_long_answer_over_grpc(exporter_to, compression: str | None) -> None:
    """gRPC reads to the same limit, and the spans are not refused for what is the answer's fault."""
    import grpc
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    class Talkative(GrpcReceiver):
        def _export(self, request: object, context: grpc.ServicerContext) -> ExportTraceServiceResponse:
            if compression:
                context.set_compression(grpc.Compression.Gzip)
            response = ExportTraceServiceResponse()
            response.partial_success.error_message = "x" * (3 * MIB)
            return response

    receiver = Talkative()
    with pytest.raises(DbbtraceError) as caught:
        exporter_to(receiver).deliver([make_span()])
    receiver.close()
    assert isinstance(caught.value, ConfigurationError)
