"""Spans over OTLP/HTTP, as protobuf, committed as rows in SQLite, compared with what else would write them to a disk.

The receiver is a process on the same two cores as its senders, which use eight connections, send 500 loads per request,
like a Collector, and wait for the answer. Each request is its own run. No real run has a million loads, and in such a
run each row would go to a different page of the index, because record ids are hashes.

One baseline is ``executemany`` in a process of its own: the tuples of the same loads, ready, into the same table with
the same indexes, as many per transaction as the senders have under way. The other is Jaeger v2 (Go), which takes the
same requests and writes to its Badger store on the same disk.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import sqlite3
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

from opentelemetry.sdk.trace import ReadableSpan

from benchmarks.figures import Effort, Figure, alternate, at_least, compared, missing
from benchmarks.processes import clean_environment
from benchmarks.samples import batches, loads

__all__ = ["measure", "write_ready"]

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
        ready = servers.enter_context(_ready(effort.scratch, requests))
        pairs = list(alternate(ours, ready, repeats))
        yield compared(what, "executemany of ready tuples, same table and indexes", pairs, at_least(0.5), "rows/s")
        against, goal = "Jaeger (Go) writing to its Badger store", at_least(1)
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
def _ready(scratch: Path, requests: int) -> Iterator[Rate]:
    directory = scratch / "ready"
    directory.mkdir()
    command = [sys.executable, "-c", f"from {__name__} import write_ready; write_ready({requests})"]
    process = subprocess.Popen(
        command,
        env=clean_environment(directory),
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    to, of = process.stdin, process.stdout

    def rate() -> float:
        print(file=to, flush=True)
        return float(of.readline())

    try:
        yield rate
    finally:
        process.communicate()


def write_ready(requests: int) -> None:
    """The process: for each line that it reads, it writes the rows of so many requests, and prints rows per second."""
    from dbbtrace_exporters.warehouse.flatten import rows_of

    from dbbtrace.warehouse import open_warehouse
    from dbbtrace.warehouse.schema import LOADS

    open_warehouse("sqlite:///ready.db").shapes()
    connection = sqlite3.connect("ready.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    sql = f"INSERT INTO {LOADS.name} VALUES ({', '.join('?' * len(LOADS.columns))})"
    number = count()
    for _ in sys.stdin:
        rows = [row.values for _ in range(requests) for span in _spans(next(number)) for row in rows_of(span)]
        began = time.perf_counter()
        for batch in batches(rows, _SENDERS * _A_REQUEST):
            connection.execute("BEGIN")
            connection.executemany(sql, batch)
            connection.execute("COMMIT")
        print(len(rows) / (time.perf_counter() - began), flush=True)


@contextlib.contextmanager
def _jaeger(binary: Path, scratch: Path, requests: int) -> Iterator[Rate]:
    port = _free_port()
    config = scratch / "jaeger.yaml"
    config.write_text(_JAEGER_CONFIG.replace("PORT", str(port)).replace("SCRATCH", str(scratch)))
    with _running([str(binary), "--config", str(config)], scratch, port):
        yield _load_on(port, requests)


_JAEGER_CONFIG = """\
receivers: {otlp: {protocols: {http: {endpoint: "127.0.0.1:PORT"}}}}
exporters: {jaeger_storage_exporter: {trace_storage: badger}}
extensions:
  jaeger_storage:
    backends:
      badger:
        badger: {ephemeral: false, directories: {keys: "SCRATCH/badger", values: "SCRATCH/badger"}, ttl: {spans: 48h}}
service:
  extensions: [jaeger_storage]
  pipelines: {traces: {receivers: [otlp], exporters: [jaeger_storage_exporter]}}
  telemetry: {metrics: {level: none}}
"""


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
            bodies.put(_body(next(number)))
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


def _body(number: int) -> bytes:
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    body: bytes = encode_spans(list(_spans(number))).SerializeToString()
    return body


def _spans(number: int) -> Iterator[ReadableSpan]:
    """What the request of that number sends."""
    first = number * _A_REQUEST
    return loads(_A_REQUEST, first, str(UUID(bytes=sha256(b"%d" % first).digest()[:16])))


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
