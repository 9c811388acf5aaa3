"""dbt-core's own spans (``dbt.runner``): from files, at the receiver, and in our provider, they give a node's row.

The batches of a microbatch model have spans like their model's, and give none: shown with what dbt 1.12.6 sent.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import dbbtrace
from dbbtrace.sources.dbt.batches import Invocations
from dbbtrace.tracing.runtime import current
from tests.sources.dbt.projects import by_node, rows
from tests.sources.dbt.support import ARTIFACTS, RUN
from tests.support.otlp import request_of_json

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
    receive(tmp_path / "rows.db", [json.dumps(document())], content_type)
    check(tmp_path / "rows.db")


def receive(database: Path, requests: list[str], content_type: str) -> None:
    """The requests, one after another, to one receiver; given as JSON."""
    from dbbtrace_exporters.receiver.messages import spans_in
    from dbbtrace_exporters.warehouse.exporter import WarehouseSpanExporter

    exporter, invocations = WarehouseSpanExporter(f"sqlite:///{database}"), Invocations()
    for request in requests:
        body = request.encode()
        if content_type != "application/json":
            body = request_of_json(body).SerializeToString()
        spans, faults = spans_in(body, content_type, lambda elements: None, invocations)
        assert not faults
        exporter.deliver(spans)
    exporter.shutdown()


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


BUILD = (ARTIFACTS / "1.12.6" / "own_spans" / "spans.jsonl").read_text().splitlines()
"""A build as dbt sent it, a span a line: two microbatch models of five batches, and an incremental one without."""
OUTCOMES = {
    "operation.shop.shop-on-run-start-0": "success",
    "model.shop.days": "success",
    "test.shop.not_null_days_day.e805e48122": "pass",
    "model.shop.whole": "success",
    "model.shop.daily": "partial success",
    "model.shop.big": "success",
    "model.shop.after_daily": "skipped",
}


def named(line: str) -> str:
    """The name of the line's span."""
    return str(json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"])


def outcomes_of_files(folder: Path, *files: list[str]) -> dict[str, str]:
    """The status of each node after these files were imported."""
    paths = [folder / f"{number}.jsonl" for number in range(len(files))]
    for path, lines in zip(paths, files, strict=True):
        path.write_text("\n".join(lines))
    dbbtrace.configure(warehouse=f"sqlite:///{folder}/rows.db")
    imported = dbbtrace.import_otlp(*paths)
    assert dbbtrace.flush(60)
    found = by_node(rows(folder / "rows.db"))
    assert (imported.spans, imported.operations) == (sum(map(len, files)), len(found))
    return {name: row["status"] for name, row in found.items()}


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_batches_in_a_file_give_no_row(tmp_path, seed):
    """Each model has its row alone, with its own outcome, in whatever order the spans come."""
    lines = list(BUILD)
    if seed is not None:
        random.Random(seed).shuffle(lines)
    assert outcomes_of_files(tmp_path, lines) == OUTCOMES
    (whole,) = [row for row in rows(tmp_path / "rows.db") if row["unique_id"] == "model.shop.whole"]
    assert whole["process_started_at"] == "2025-11-28 20:52:06.240002"  # the model's: its first batch began 9 ms later


def test_batches_in_another_file_give_no_row(tmp_path):
    """A model's span may come in the next file, as after a rotation."""
    middle = next(number for number, line in enumerate(BUILD) if named(line) == "model.shop.whole") + 1
    assert outcomes_of_files(tmp_path, BUILD[:middle], BUILD[middle:]) == OUTCOMES


def test_without_the_beginning_what_other_nodes_are_below_tells(tmp_path):
    """In a file that begins in mid-run."""
    assert outcomes_of_files(tmp_path, BUILD[3:]) == {n: s for n, s in OUTCOMES.items() if "on-run-start" not in n}


def test_batches_of_a_dbt_that_was_killed_give_no_row(tmp_path):
    """Their model's span never came, nor the invocation's."""
    cut = [line for line in BUILD[:15] if named(line) != "model.shop.big"]
    assert set(outcomes_of_files(tmp_path, cut)) == set(list(OUTCOMES)[:3])


def test_a_node_of_which_nothing_else_is_known_has_its_row(tmp_path):
    """An incremental model alone in a file is no batch, as far as anybody can tell."""
    assert outcomes_of_files(tmp_path, [line for line in BUILD if named(line) == "model.shop.big"]) == {
        "model.shop.big": "success"
    }


@pytest.mark.parametrize("content_type", ["application/json", "application/x-protobuf"])
def test_batches_at_the_receiver_give_no_row(tmp_path, content_type):
    """They come before their model, in requests of their own: what dbt tells first is known from earlier ones."""
    receive(tmp_path / "rows.db", BUILD, content_type)
    assert {name: row["status"] for name, row in by_node(rows(tmp_path / "rows.db")).items()} == OUTCOMES


def test_batches_at_a_receiver_that_knows_nothing_give_none_beside_their_model(tmp_path):
    """In one request with the model's span."""
    (request, *others) = [json.loads(line) for line in BUILD if named(line) == "model.shop.daily"]
    for other in others:
        request["resourceSpans"] += other["resourceSpans"]
    receive(tmp_path / "rows.db", [json.dumps(request)], "application/json")
    (row,) = rows(tmp_path / "rows.db")
    assert row["status"] == "partial success"


def test_a_second_invocation_in_the_trace_is_not_taken_for_a_model(tmp_path):
    """The first one has ended; what the second one told first was lost on its way."""
    second = [line.replace("cc16e05853ccd16f", "aa16e05853ccd16f") for line in BUILD if named(line) == "model.shop.big"]
    receive(tmp_path / "rows.db", [*BUILD, *second], "application/json")
    assert len([row for row in rows(tmp_path / "rows.db") if row["unique_id"] == "model.shop.big"]) == 2
