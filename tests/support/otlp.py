"""Real OTLP receivers, in this process on a free port: gRPC, and HTTP with protobuf or JSON.

They keep the spans they accept, as plain objects, and answer badly when told to:

    otlp_http.answer(unavailable(retry_after=3))       # the next request only
    otlp_http.always(unauthorised())                   # until always(None)
    otlp_http.rule = lambda spans: refused() if any(span.name == "poison" for span in spans) else None

``closed_port()`` is an address that refuses connections, ``black_hole()`` one that takes them and never
answers.
"""

from __future__ import annotations

import base64
import gzip
import json
import socket
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

STATUSES = ("UNSET", "OK", "ERROR")


@dataclass(frozen=True)
class Span:
    """A span as the backend got it; ids in lower-case hex, no parent is ''."""

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    kind: int
    start: int
    end: int
    attributes: dict[str, Any]
    status: str
    message: str
    events: list[tuple[str, dict[str, Any]]]
    links: list[tuple[str, str]]
    resource: dict[str, Any]
    scope: str


@dataclass(frozen=True)
class Answer:
    """What a receiver answers, over HTTP (status) or gRPC (code)."""

    status: int = 200
    code: str = "OK"
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/x-protobuf"
    retry_after: float | None = None
    rejected: int = 0
    delay: float = 0.0
    silent: bool = False
    """Never answer: hold the request until the receiver closes."""


def refused(status: int = 400, code: str = "INVALID_ARGUMENT") -> Answer:
    """The payload is refused for good."""
    return Answer(status, code, "refused by the test")


def unavailable(retry_after: float | None = None, status: int = 503) -> Answer:
    """Not now; perhaps with Retry-After, or RetryInfo in gRPC."""
    return Answer(status, "UNAVAILABLE", "down for the test", retry_after=retry_after)


def throttled(retry_after: float | None = None) -> Answer:
    """429, or RESOURCE_EXHAUSTED."""
    return Answer(429, "RESOURCE_EXHAUSTED", "too many requests", retry_after=retry_after)


def unauthorised(status: int = 401, code: str = "UNAUTHENTICATED") -> Answer:
    """A wrong or missing token."""
    return Answer(status, code, "who are you?")


def partial(rejected: int = 1, message: str = "rejected by the test") -> Answer:
    """Success that rejects the first spans of the request."""
    return Answer(rejected=rejected, message=message)


def redirect(location: str, status: int = 307) -> Answer:
    """Elsewhere (HTTP only)."""
    return Answer(status, "UNKNOWN", "moved", headers={"Location": location})


def slow(seconds: float) -> Answer:
    """Success, late."""
    return Answer(delay=seconds)


def silent() -> Answer:
    """No answer, ever."""
    return Answer(silent=True)


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def request_of_json(body: bytes) -> Any:
    """The ExportTraceServiceRequest of a JSON body: OTLP writes ids in hex, protobuf's own JSON in base64."""
    from google.protobuf import json_format
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    def in_base64(fields: dict[str, Any]) -> dict[str, Any]:
        ids = {name: fields[name] for name in ("traceId", "spanId", "parentSpanId") if name in fields}
        return fields | {name: base64.b64encode(bytes.fromhex(value)).decode() for name, value in ids.items()}

    return json_format.ParseDict(json.loads(body, object_hook=in_base64), ExportTraceServiceRequest())


def plain_spans(request: Any) -> list[Span]:
    """The spans of an ExportTraceServiceRequest."""
    return [
        Span(
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_span_id=span.parent_span_id.hex(),
            name=span.name,
            kind=span.kind,
            start=span.start_time_unix_nano,
            end=span.end_time_unix_nano,
            attributes=_attributes(span.attributes),
            status=STATUSES[span.status.code],
            message=span.status.message,
            events=[(event.name, _attributes(event.attributes)) for event in span.events],
            links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
            resource=_attributes(of_resource.resource.attributes),
            scope=of_scope.scope.name,
        )
        for of_resource in request.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


@dataclass(frozen=True)
class Request:
    """One request as it came, whatever was answered."""

    headers: dict[str, str]
    spans: list[Span]
    size: int
    """Bytes of the body, unpacked."""
    path: str = ""


class Receiver:
    """What both receivers share: what came, what to answer, waiting."""

    endpoint: str
    """Base URL, for OTEL_EXPORTER_OTLP_ENDPOINT."""
    protocol: str
    """How the tests are to send, for OTEL_EXPORTER_OTLP_PROTOCOL."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.requests: list[Request] = []
        self.rule: Callable[[list[Span]], Answer | None] | None = None
        self._next: deque[Answer] = deque()
        self._always: Answer | None = None
        self._changed = threading.Condition()
        self._closing = threading.Event()

    def answer(self, *answers: Answer) -> None:
        """Give these answers to the next requests, then be well again."""
        self._next.extend(answers)

    def always(self, answer: Answer | None) -> None:
        """Give this answer to every request from now on; None: be well again."""
        self._always = answer

    def named(self, name: str) -> list[Span]:
        """The accepted spans of this name."""
        return [span for span in self.spans if span.name == name]

    def wait_for(self, count: int, timeout: float = 20.0) -> list[Span]:
        """The spans accepted, as soon as there are so many."""
        return self._wait(lambda: len(self.spans) >= count, timeout, f"{count} spans", self.spans)

    def wait_for_requests(self, count: int, timeout: float = 20.0) -> list[Request]:
        """The requests that came, as soon as there are so many (answered or not)."""
        return self._wait(lambda: len(self.requests) >= count, timeout, f"{count} requests", self.requests)

    def _wait(self, there: Callable[[], bool], timeout: float, what: str, found: list[Any]) -> list[Any]:
        with self._changed:
            assert self._changed.wait_for(there, timeout), f"waited for {what}, got {len(found)}"
            return list(found)

    def take(self, request: Any, headers: dict[str, str], size: int, path: str = "") -> Answer:
        """Note the request, decide on its answer, keep the spans if that is a success."""
        spans = plain_spans(request)
        with self._changed:
            self.requests.append(Request(headers, spans, size, path))
            self._changed.notify_all()
            answer = self._always or (self._next.popleft() if self._next else None)
        answer = answer or (self.rule(spans) if self.rule else None) or Answer()
        self._closing.wait(3600 if answer.silent else answer.delay)
        if answer.status == 200 and answer.code == "OK" and not answer.silent:
            with self._changed:
                self.spans.extend(spans[answer.rejected :])
                self._changed.notify_all()
        return answer

    def close(self) -> None:
        """Stop; requests that are held get their answer."""
        self._closing.set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    receiver: HttpReceiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.path != self.receiver.path:
            return self._respond(Answer(404, message="no such path"))
        if len(body) > self.receiver.max_bytes:
            return self._respond(Answer(413, message="too large"))
        encoding = headers.get("content-encoding")
        plain = (
            gzip.decompress(body) if encoding == "gzip" else zlib.decompress(body) if encoding == "deflate" else body
        )
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        is_json = headers["content-type"] == "application/json"
        request = request_of_json(plain) if is_json else ExportTraceServiceRequest.FromString(plain)
        return self._respond(self.receiver.take(request, headers, len(plain), self.path))

    def _respond(self, answer: Answer) -> None:
        from google.protobuf import json_format
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

        body, content_type = answer.message.encode(), answer.content_type
        if answer.status == 200 and answer.content_type == "application/x-protobuf":
            response = ExportTraceServiceResponse()
            if answer.rejected or answer.message:
                response.partial_success.rejected_spans = answer.rejected
                response.partial_success.error_message = answer.message
            body = response.SerializeToString()
            if self.headers.get("Content-Type") == "application/json":
                content_type, body = "application/json", json_format.MessageToJson(response).encode()
        try:
            self.send_response(answer.status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            if answer.retry_after is not None:
                self.send_header("Retry-After", f"{answer.retry_after:g}")
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass  # the sender gave up waiting

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connections: list[socket.socket] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.append(request)
        super().process_request(request, client_address)

    def server_close(self) -> None:
        """Cut open connections too, as the end of a process would."""
        super().server_close()
        for connection in self.connections:
            with suppress(OSError):  # gone before
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: object) -> None:
        pass  # a sender that hung up is no news


class HttpReceiver(Receiver):
    """OTLP/HTTP with protobuf or JSON, on a free port of the loopback."""

    protocol = "http/protobuf"

    def __init__(self, *, port: int = 0, path: str = "/v1/traces", max_bytes: int = 20 << 20, ssl: Any = None) -> None:
        super().__init__()
        self.path, self.max_bytes = path, max_bytes
        self._server = _Server(("127.0.0.1", port), type("Handler", (_Handler,), {"receiver": self}))
        if ssl is not None:
            self._server.socket = ssl.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.endpoint = f"{'https' if ssl else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        super().close()
        self._server.shutdown()
        self._server.server_close()


class GrpcReceiver(Receiver):
    """OTLP/gRPC, on a free port of the loopback."""

    protocol = "grpc"

    def __init__(self, *, port: int = 0, max_bytes: int = 4 << 20, credentials: Any = None) -> None:
        super().__init__()
        import grpc
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service

        options = [("grpc.max_receive_message_length", max_bytes), ("grpc.so_reuseport", 0)]
        self._server = grpc.server(ThreadPoolExecutor(8), options=options)
        servicer = type("Servicer", (service.TraceServiceServicer,), {"Export": self._export})
        service.add_TraceServiceServicer_to_server(servicer(), self._server)
        address = f"127.0.0.1:{port}"
        self.port = (
            self._server.add_secure_port(address, credentials)
            if credentials
            else self._server.add_insecure_port(address)
        )
        self.endpoint = f"{'https' if credentials else 'http'}://127.0.0.1:{self.port}"
        self._server.start()

    def _export(self, request: Any, context: Any) -> Any:
        import grpc
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

        headers = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
        answer = self.take(request, headers, request.ByteSize())
        if answer.retry_after is not None:
            context.set_trailing_metadata([("grpc-status-details-bin", _details(answer))])
        if answer.code != "OK":
            context.abort(getattr(grpc.StatusCode, answer.code), answer.message)
        response = ExportTraceServiceResponse()
        if answer.rejected or answer.message:
            response.partial_success.rejected_spans = answer.rejected
            response.partial_success.error_message = answer.message
        return response

    def close(self) -> None:
        super().close()
        self._server.stop(0).wait(5)


def _details(answer: Answer) -> bytes:
    """A google.rpc.Status with RetryInfo, as the OTLP specification wants back-pressure told."""
    import grpc
    from google.rpc.error_details_pb2 import RetryInfo
    from google.rpc.status_pb2 import Status

    status = Status(code=getattr(grpc.StatusCode, answer.code).value[0], message=answer.message)
    retry = RetryInfo()
    retry.retry_delay.FromNanoseconds(round((answer.retry_after or 0) * 1e9))
    status.details.add().Pack(retry)
    return status.SerializeToString()


@contextmanager
def talker(*, answer: bytes, again: bytes = b"", pause: float = 0.0) -> Iterator[tuple[str, list[int]]]:
    """A base URL where each connection gets these bytes, then others again and again, until it is closed.

    Also a list with one number for each connection that has ended: how many bytes it took. Requests are not read.
    """
    taken: list[int] = []
    stop = threading.Event()

    def serve(connection: socket.socket) -> None:
        count = 0
        with connection, suppress(OSError):
            connection.recv(1)
            connection.sendall(answer)
            while again and not stop.wait(pause):
                connection.sendall(again)
                count += len(again)
        taken.append(count)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", taken
        stop.set()


@contextmanager
def black_hole() -> Iterator[str]:
    """A base URL that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def closed_port() -> Iterator[str]:
    """A base URL where nobody listens; the port stays taken meanwhile, so that nobody else will."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{holder.getsockname()[1]}"


@pytest.fixture
def otlp_http() -> Iterator[HttpReceiver]:
    """A real OTLP/HTTP receiver."""
    receiver = HttpReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def otlp_grpc() -> Iterator[GrpcReceiver]:
    """A real OTLP/gRPC receiver."""
    receiver = GrpcReceiver()
    yield receiver
    receiver.close()
