"""Spans over OTLP/HTTP, as protobuf, committed as rows in SQLite, compared with servers that do less.

Each server is a process on the same two cores as the senders. The senders use eight connections and send 500 loads per
request, like a Collector, and wait for the answer. Each request is its own run. No real run has a million loads, and in
such a run each row would go to a different page of the index, because record ids are hashes. One baseline is a bare
receiver on the same server library, which parses the protobuf and discards it. The other is Jaeger v2 (Go), which keeps
the spans in its memory store.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from uuid import UUID

from benchmarks.figures import Effort, Figure, alternate, at_least, compared, missing
from benchmarks.processes import clean_environment
from benchmarks.samples import loads

__all__ = ["measure", "serve_bare"]

_SENDERS, _A_REQUEST = 8, 500
_HEADERS = {"Content-Type": "application/x-protobuf"}
_JAEGER = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "dbbtrace-e2e")

Rate = Callable[[], float]


def measure(effort: Effort) -> Iterable[Figure]:
    """The figures."""
    what = "receiver: OTLP/HTTP in, rows committed in SQLite"
    repeats = effort.size(9, 3)
    requests = effort.size(60, 20)
    with contextlib.ExitStack() as servers:
        ours = servers.enter_context(_receiver(effort.scratch, requests))
        bare = servers.enter_context(_bare(effort.scratch, requests))
        pairs = list(alternate(ours, bare, repeats))
        yield compared(what, "bare starlette + uvicorn, parses and discards", pairs, at_least(0.4), "spans/s")
        against, goal = "Jaeger (Go) with its memory store", at_least(0.3)
        binary = next(iter(sorted(_JAEGER.glob("*/jaeger"), key=os.path.getmtime, reverse=True)), None)
        if binary is None:
            yield missing(what, against, goal, "Jaeger is missing: tests/e2e/build-binaries.sh builds it")
            return
        jaeger = servers.enter_context(_jaeger(binary, effort.scratch, requests))
        yield compared(what, against, list(alternate(ours, jaeger, repeats)), goal, "spans/s")


# -- the servers ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _receiver(scratch: Path, requests: int) -> Iterator[Rate]:
    port = _free_port()
    command = [sys.executable, "-m", "dbbtrace", "--warehouse", f"sqlite:///{scratch}/received.db"]
    with _running([*command, "serve", "--http", f"127.0.0.1:{port}"], scratch, port):
        yield _load_on(port, requests)


@contextlib.contextmanager
def _bare(scratch: Path, requests: int) -> Iterator[Rate]:
    port = _free_port()
    with _running([sys.executable, "-c", f"from {__name__} import serve_bare; serve_bare({port})"], scratch, port):
        yield _load_on(port, requests)


@contextlib.contextmanager
def _jaeger(binary: Path, scratch: Path, requests: int) -> Iterator[Rate]:
    port = _free_port()
    config = scratch / "jaeger.yaml"
    config.write_text(_JAEGER_CONFIG.replace("PORT", str(port)))
    with _running([str(binary), "--config", str(config)], scratch, port):
        yield _load_on(port, requests)


_JAEGER_CONFIG = """\
receivers: {otlp: {protocols: {http: {endpoint: "127.0.0.1:PORT"}}}}
exporters: {jaeger_storage_exporter: {trace_storage: memory}}
extensions: {jaeger_storage: {backends: {memory: {memory: {max_traces: 100000}}}}}
service:
  extensions: [jaeger_storage]
  pipelines: {traces: {receivers: [otlp], exporters: [jaeger_storage_exporter]}}
  telemetry: {metrics: {level: none}}
"""


def serve_bare(port: int) -> None:
    """The bare receiver: parse and discard."""
    from dbbtrace_exporters.receiver.server import run_app
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def traces(request: Request) -> Response:
        ExportTraceServiceRequest.FromString(await request.body())
        return Response(b"", media_type="application/x-protobuf")

    app = Starlette(routes=[Route("/v1/traces", traces, methods=["POST"])])
    run_app(app, socket.create_server(("127.0.0.1", port), backlog=2048))


@contextlib.contextmanager
def _running(command: Sequence[str], scratch: Path, port: int) -> Iterator[None]:
    with (scratch / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(command, env=clean_environment(scratch), cwd=scratch, stdout=log, stderr=log)
    try:
        _wait_for(port, process)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"{process.args} did not start")


def _free_port() -> int:
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        return candidate.getsockname()[1]


# -- the load -------------------------------------------------------------------------------------------------


def _load_on(port: int, requests: int) -> Rate:
    """Send this many requests; returns how many spans per second were accepted. Each span is sent only once."""
    number = count()

    def rate() -> float:
        bodies: SimpleQueue[bytes] = SimpleQueue()
        for _ in range(requests):
            bodies.put(_body(next(number) * _A_REQUEST))
        failures: list[object] = []
        senders = [threading.Thread(target=_send, args=(port, bodies, failures)) for _ in range(_SENDERS)]
        began = time.perf_counter()
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        took = time.perf_counter() - began
        if failures:
            raise RuntimeError(f"not accepted: {failures[0]}")
        return requests * _A_REQUEST / took

    return rate


def _body(first: int) -> bytes:
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    run = str(UUID(bytes=sha256(b"%d" % first).digest()[:16]))
    body: bytes = encode_spans(list(loads(_A_REQUEST, first, run))).SerializeToString()
    return body


def _send(port: int, bodies: SimpleQueue[bytes], failures: list[object]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while not failures:
        try:
            body = bodies.get_nowait()
        except Empty:
            break
        try:
            connection.request("POST", "/v1/traces", body, _HEADERS)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                failures.append(answer.status)
        except OSError as error:
            failures.append(error)
    connection.close()
