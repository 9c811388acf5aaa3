"""The end of a job whose warehouse and OTLP backend are both down, compared with the stock SDK and its OTLP exporter.

This is the worst case: the warehouse is a SQLite file that another process has locked, and the backend accepts
connections but never answers. The job records 2,000 loads, prints the time, and ends. The time from then until its
process is gone is measured. Then both come back, `dbbtrace recover` runs, and the arrived spans are counted.
"""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.figures import Effort, Figure, at_most
from benchmarks.processes import clean_environment
from benchmarks.samples import RUN

__all__ = ["measure"]

_COUNT = 2_000
_OURS = f"""\
import dbbtrace, time
with dbbtrace.orchestration_run("{RUN}"):
    for number in range({_COUNT}):
        with dbbtrace.table_load(f"table_{{number}}") as load:
            load.rows_written = number
    print(time.time(), flush=True)
"""
_STOCK = f"""\
import time
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("job")
for number in range({_COUNT}):
    with tracer.start_as_current_span(f"load table_{{number}}") as span:
        span.set_attribute("rows", number)
print(time.time(), flush=True)
"""


def measure(effort: Effort) -> Iterable[Figure]:
    """The figures."""
    repeats = effort.size(5, 2)
    what = f"end of a job, warehouse and OTLP backend down, {_COUNT:,} spans"
    seconds, lost = [], []
    for number in range(repeats):
        took, missing = _ours(effort.scratch / f"ours{number}")
        seconds.append(took)
        lost.append(missing)
    stock = [_stock(effort.scratch / f"stock{number}") for number in range(effort.size(2, 1))]
    against = f"stock SDK with its OTLP exporter: {max(stock):.1f} s, all lost"
    yield Figure(f"{what}: time", against, seconds, "s", at_most(2.5), details={"stock": stock})
    yield Figure(f"{what}: rows and OTLP spans lost", "-", lost, "spans", at_most(0))


def _ours(directory: Path) -> tuple[float, float]:
    """Seconds until the process was gone, and how many rows and spans did not arrive after the backends came back."""
    directory.mkdir()
    with _silence() as port, _locked(directory / "dbb_warehouse.db"):
        took = _ending(_OURS, directory, port)
    with _collector(port) as received:
        environment = {**clean_environment(directory), "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
        subprocess.run([sys.executable, "-m", "dbbtrace", "recover"], cwd=directory, env=environment, check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
    rows = sqlite3.connect(directory / "dbb_warehouse.db").execute("SELECT COUNT(*) FROM monitoring_integration")
    return took, float(_COUNT - rows.fetchone()[0] + max(0, _COUNT - len(received)))


def _stock(directory: Path) -> float:
    directory.mkdir()
    with _silence() as port:
        return _ending(_STOCK, directory, port)


def _ending(script: str, directory: Path, port: int) -> float:
    """Seconds from the script's last line until its process is gone."""
    environment = {**clean_environment(directory), "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return time.time() - float(done.stdout.split()[-1])


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """The warehouse, locked by another connection."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.close()


@contextlib.contextmanager
def _silence() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


@contextlib.contextmanager
def _collector(port: int) -> Iterator[set[bytes]]:
    """A backend on the port, and the span ids it received."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    received: set[bytes] = set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for of_scope in of_resource.scope_spans:
                    received.update(span.span_id for span in of_scope.spans)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    ThreadingHTTPServer.allow_reuse_address = True
    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield received
        server.shutdown()
