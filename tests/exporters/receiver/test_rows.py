"""dbbtrace serve in front of a real SQLite warehouse: what is sent stands in the tables."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from dbbtrace_exporters.otlp.exporter import ForwardingSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from dbbtrace.warehouse import open_warehouse
from tests.exporters.receiver.conftest import RUN, body_of, call, call_all, load

URL = "sqlite:///warehouse.db"


def _tables() -> list[tuple[str, str, str]]:
    sql = "SELECT table_name, status, orchestration_run_id FROM meta.monitoring_integration ORDER BY 1"
    warehouse = open_warehouse(URL)
    rows = warehouse.query(sql).rows
    warehouse.close()
    return rows


@pytest.mark.parametrize("packed", [False, True])
def test_json(serving, packed: bool) -> None:
    """A load in OTLP JSON, gzipped or not, is a row when 200 is said."""
    body = body_of(load())
    headers = {"content_encoding": "gzip"} if packed else {}
    answered = call(f"{serving(warehouse=URL)}/v1/traces", gzip.compress(body) if packed else body, **headers)
    assert (answered.status, answered.json) == (200, {})
    assert answered.headers["content-type"] == "application/json"
    assert _tables() == [("Customer", "Succeeded", RUN)]


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_protobuf_from_a_stock_sdk(serving, monkeypatch, compression: str) -> None:
    """Spans of any OpenTelemetry SDK give rows where they carry the documented attributes; others are ignored."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
    exporter = ForwardingSpanExporter(serving(warehouse=URL))
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("job")
    with tracer.start_as_current_span("outer"):
        for table in ("A", "B"):
            attributes = {"dbb.operation": "table_load", "dbb.orchestration.run_id": RUN, "dbb.table.name": table}
            tracer.start_span(f"load {table}", attributes=attributes).end()
    assert provider.force_flush()
    provider.shutdown()
    exporter.deliver([])
    assert _tables() == [("A", "Succeeded", RUN), ("B", "Succeeded", RUN)]


def test_sent_twice_to_two_receivers(serving) -> None:
    """Several receivers may serve one warehouse: what both get at once is still one row each."""
    urls = [f"{serving(warehouse=URL)}/v1/traces" for _ in range(2)]
    bodies = [body_of(*(load(number, f"T{number}") for number in range(first, first + 20))) for first in (1, 11, 21)]
    answers = call_all([lambda url=url, body=body: call(url, body) for body in bodies for url in urls])
    assert [answer and answer.status for answer in answers] == [200] * 6
    assert sorted(int(name[1:]) for name, _, _ in _tables()) == list(range(1, 41))


def test_partial_success(serving) -> None:
    """A load without its table's name is told and left out; its neighbours stand."""
    spans = [load(1, "A"), load(2, "B", **{"dbb.table.name": None}), load(3, "C"), load(4, "D") | {"spanId": "zz"}]
    answered = call(f"{serving(warehouse=URL)}/v1/traces", body_of(*spans))
    assert (answered.status, answered.rejected) == (200, 2)
    assert "dbb.table.name" in answered.json["partialSuccess"]["errorMessage"]
    assert [name for name, _, _ in _tables()] == ["A", "C"]


def test_ready(serving) -> None:
    """/healthz and /readyz answer 200 where the warehouse has its tables."""
    base = serving(warehouse=URL)
    assert (call(f"{base}/healthz").status, call(f"{base}/readyz").status) == (200, 200)


def test_not_ready(serving, tmp_path: Path) -> None:
    """Where the warehouse can't be opened the process lives, is not ready, and asks senders to come again."""
    (tmp_path / "file").write_text("no folder")
    base = serving(warehouse=f"sqlite:///{tmp_path}/file/warehouse.db")
    assert (call(f"{base}/healthz").status, call(f"{base}/readyz").status) == (200, 503)
    answered = call(f"{base}/v1/traces", body_of(load()))
    assert answered.status == 503
    assert int(answered.headers["retry-after"]) >= 1


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """On SIGTERM a request under way gets its 200, its row stands, and the process ends with 0."""
    code = (
        "import sys, threading\n"
        "from dbbtrace.warehouse.warehouse import Warehouse\n"
        "from dbbtrace_exporters.receiver.server import serve\n"
        "write = Warehouse.write\n"
        "def slow(self, rows):\n"
        "    print('writing', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    return write(self, rows)\n"
        "Warehouse.write = slow\n"
        f"serve('127.0.0.1:0', warehouse={URL!r}, started=lambda url: print(url, flush=True))\n"
        "print('stopped', flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdin is not None
    url = process.stdout.readline().strip()
    answers: list[int] = []
    request = urllib.request.Request(url, body_of(load()), {"Content-Type": "application/json"})
    sender = threading.Thread(target=lambda: answers.append(urllib.request.urlopen(request, timeout=60).status))
    sender.start()
    assert process.stdout.readline() == "writing\n"
    process.send_signal(number)
    process.stdin.write("go on\n")
    process.stdin.flush()
    sender.join(60)
    assert answers == [200]
    assert process.stdout.readline() == "stopped\n"
    assert process.wait(60) == 0
    assert len(_tables()) == 1
    process.stdin.close()
    process.stdout.close()
    assert os.path.exists("warehouse.db")


def test_live_dbt_nodes_of_a_job_without_a_warehouse(serving) -> None:
    """The job marked the span as meant for other backends than its warehouse; here it gives its row all the same."""
    node = load(1, **{"dbb.operation": "dbt_node", "dbb.dbt.unique_id": "model.shop.a", "dbb.status": "success",
                      "dbb.audience": "spans"})  # fmt: skip
    assert call(f"{serving(warehouse=URL)}/v1/traces", body_of(node)).status == 200
    warehouse = open_warehouse(URL)
    rows = warehouse.query("SELECT item_name, status FROM meta.monitoring_transformation_dbt").rows
    warehouse.close()
    assert rows == [("a", "success")]
