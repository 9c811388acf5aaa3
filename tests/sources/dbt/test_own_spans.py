"""dbt-core's own spans (``dbt.runner``): from files, at the receiver, and in our provider, they give a node's row."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import dbbtrace
from dbbtrace.tracing.runtime import current
from tests.sources.dbt.projects import by_node, rows
from tests.sources.dbt.support import RUN

TRACE = RUN.replace("-", "")
NODE = {"unique_id": "model.shop.orders", "node_outcome": "success", "node_type": "model", "rows_affected": 3}
FAILED = {"unique_id": "test.shop.no_big.84ef11d8fe", "node_outcome": "fail", "node_type": "test"}
SKIPPED = {"unique_id": "model.shop.below", "node_outcome": "skipped", "node_type": "model"}
HOOK = {"unique_id": "operation.shop.shop-on-run-start-0", "hook_outcome": "success", "hook_type": "on-run-start"}
INLINED = {"unique_id": "model.shop.shared", "node_outcome": "success", "materialization": "ephemeral"}
ALL = (NODE, FAILED, SKIPPED, HOOK, INLINED, {"inside_transaction": True})


def document() -> dict[str, Any]:
    """What dbt's exporter sends, as OTLP JSON."""

    def value(of: Any) -> dict[str, Any]:
        return (
            {"boolValue": of} if of is True else {"intValue": str(of)} if isinstance(of, int) else {"stringValue": of}
        )

    spans = [
        {
            "traceId": TRACE,
            "spanId": f"{number:016x}",
            "parentSpanId": "00f067aa0ba902b7",
            "name": attributes.get("unique_id", "run_hooks"),
            "startTimeUnixNano": "1764000000123456789",
            "endTimeUnixNano": "1764000002000000000",
            "attributes": [{"key": name, "value": value(of)} for name, of in attributes.items()],
        }
        for number, attributes in enumerate(ALL, start=1)
    ]
    return {"resourceSpans": [{"scopeSpans": [{"scope": {"name": "dbt.runner"}, "spans": spans}]}]}


def check(database: Path) -> None:
    """Each node has its row, in the run whose id the trace id is."""
    found = by_node(rows(database))
    assert {name: row["status"] for name, row in found.items()} == {
        "model.shop.orders": "success",
        "test.shop.no_big.84ef11d8fe": "fail",
        "model.shop.below": "skipped",
        "operation.shop.shop-on-run-start-0": "success",
    }
    assert {row["orchestration_run_id"] for row in found.values()} == {RUN}
    orders = found["model.shop.orders"]
    assert (orders["rows_affected"], orders["process_started_at"]) == (3, "2025-11-24 16:00:00.123456")
    assert found["test.shop.no_big.84ef11d8fe"]["error_type"] == "dbt.fail"
    assert found["model.shop.below"]["process_started_at"] is None


def test_spans_in_a_file_become_rows_once(tmp_path):
    """Imported twice, too."""
    (tmp_path / "spans.jsonl").write_text(json.dumps(document()))
    dbbtrace.configure(warehouse=f"sqlite:///{tmp_path}/rows.db")
    for _ in range(2):
        assert dbbtrace.import_otlp(tmp_path / "spans.jsonl").operations == 4
    assert dbbtrace.flush(60)
    check(tmp_path / "rows.db")


@pytest.mark.parametrize("content_type", ["application/json", "application/x-protobuf"])
def test_spans_at_the_receiver_become_rows(tmp_path, content_type):
    """As JSON and as protobuf."""
    json_format = pytest.importorskip("google.protobuf.json_format")
    service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    from dbbtrace_exporters.receiver.messages import spans_in
    from dbbtrace_exporters.warehouse.exporter import WarehouseSpanExporter

    body = json.dumps(document()).encode()
    if content_type != "application/json":
        import base64

        sent = document()
        for span in sent["resourceSpans"][0]["scopeSpans"][0]["spans"]:
            for name in ("traceId", "spanId", "parentSpanId"):
                span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
        body = json_format.ParseDict(sent, service.ExportTraceServiceRequest()).SerializeToString()
    spans, faults = spans_in(body, content_type, lambda elements: None)
    assert not faults
    WarehouseSpanExporter(f"sqlite:///{tmp_path}/rows.db").deliver(spans)
    check(tmp_path / "rows.db")


def test_spans_in_our_provider_are_the_nodes_of_the_artifact(tmp_path, monkeypatch):
    """With dbt's own invocation id a node is the same record as in its artifact; batches of a model are none."""
    invocation = "5d0f0b2c-52cd-4d9b-8a0b-2f1c8f0f7a11"
    monkeypatch.setitem(sys.modules, "dbt_common.invocation", SimpleNamespace(get_invocation_id=lambda: invocation))
    dbbtrace.configure(warehouse=f"sqlite:///{tmp_path}/rows.db")
    tracer = current().provider.sdk.get_tracer("dbt.runner")
    with dbbtrace.orchestration_run(RUN), dbbtrace.transformation("+tag:Finance", pipeline_run_id=RUN):
        for attributes in ALL:
            with tracer.start_as_current_span(attributes.get("unique_id", "run_hooks")) as span:
                with tracer.start_as_current_span(span.name) as batch:  # the model itself is told after its batches
                    batch.set_attributes({**attributes, "node_outcome": "error"})
                span.set_attributes(attributes)
        result = {"unique_id": "model.shop.orders", "status": "success", "timing": [], "execution_time": 1.0}
        about = {"invocation_id": invocation, "generated_at": "2026-11-24T16:45:00Z", "dbt_version": "1.12.6"}
        schema = {"dbt_schema_version": "https://schemas.getdbt.com/dbt/run-results/v6.json"}
        artifact = {"metadata": {**about, **schema}, "results": [result], "args": {"which": "build"}}
        (tmp_path / "run_results.json").write_text(json.dumps(artifact))
        assert dbbtrace.flush(60)
        dbbtrace.record_dbt(tmp_path, allow_old=True)
    assert dbbtrace.flush(60)
    found = by_node(rows(tmp_path / "rows.db"))
    assert {name: row["status"] for name, row in found.items()} == {
        "model.shop.orders": "success",
        "test.shop.no_big.84ef11d8fe": "fail",
        "model.shop.below": "skipped",
        "operation.shop.shop-on-run-start-0": "success",
    }
    assert {(row["invocation_id"], row["build_models"]) for row in found.values()} == {(invocation, "+tag:Finance")}
