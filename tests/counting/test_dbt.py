"""What a dbt build costs: how its artifact is read, its spans encoded and written, and what it takes in memory."""

from __future__ import annotations

import gc
import json
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

import dbbtrace
from dbbtrace.delivery import Delivery, Destination
from dbbtrace.job import finished
from dbbtrace.journal import json_lines, reader
from dbbtrace.model.parts import gives_rows
from dbbtrace.sources.dbt import artifacts
from dbbtrace.sources.dbt.build import build_spans
from dbbtrace.tracing.runtime import current

RUN = "0f8fad5b-d9cb-469f-a165-70867728950e"
NODES = 4_000


class Counted(SpanExporter):
    """Counts spans."""

    spans = 0

    def export(self, spans: Any) -> SpanExportResult:
        self.spans += len(spans)
        return SpanExportResult.SUCCESS


def node(number: int) -> dict[str, Any]:
    """A node as dbt 1.10 writes it; every other one is a not_null test."""
    moment = f"2026-11-24T15:{number // 60 % 60:02d}:{number % 60:02d}."
    return {
        "status": "pass" if number % 2 else "success",
        "timing": [
            {"name": "compile", "started_at": f"{moment}100000Z", "completed_at": f"{moment}200000Z"},
            {"name": "execute", "started_at": f"{moment}300000Z", "completed_at": f"{moment}400000Z"},
        ],
        "thread_id": f"Thread-{number % 4 + 1} (worker)",
        "execution_time": 0.25,
        "adapter_response": {"_message": "OK"},
        "message": None if number % 2 else "OK",
        "failures": 0 if number % 2 else None,
        "unique_id": f"test.shop.not_null_m{number}_id.{number:010x}" if number % 2 else f"model.shop.m{number}",
        "compiled": True,
        "compiled_code": "select id, name, amount from some_table\n" * 60,
        "relation_name": None if number % 2 else f'"shop"."main"."m{number}"',
    }


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """run_results.json of a large build."""
    file = tmp_path / "run_results.json"
    metadata = {
        "dbt_schema_version": "https://schemas.getdbt.com/dbt/run-results/v6.json",
        "dbt_version": "1.10.23",
        "generated_at": "2026-11-24T16:45:00.123456Z",
        "invocation_id": "af718ec4-e939-4923-9204-d52213f15694",
    }
    file.write_text(json.dumps({"metadata": metadata, "results": list(map(node, range(NODES)))}))
    return file


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Counted]:
    """Where the nodes' spans go, by a delivery whose journal is open; a slow machine is waited for."""
    exporter = Counted()
    delivery = Delivery(
        [Destination("memory://rows", lambda: exporter, rows=True, wants=gives_rows)],
        journal_dir=tmp_path / "journal",
        heartbeat=3600,
    )
    dbbtrace.configure(warehouse="none")
    monkeypatch.setitem(current().__dict__, "delivery", delivery)
    monkeypatch.setattr(finished, "_PATIENCE", 60.0)
    yield exporter
    delivery.shutdown()


def record(artifact: Path) -> None:
    """As a job does."""
    invocation = dbbtrace.record_dbt(artifact, run_id=RUN, data_product="Finance")
    assert sum(invocation.nodes.values()) == NODES
    assert current().delivery.flush(60)


def test_spans_are_written_by_the_hundred_and_never_read_back(
    artifact: Path, exporter: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One write for 250 nodes; no line of the journal is decoded again, as the destination keeps up."""
    writes, decoded = [], []
    write, decode = os.write, reader.decode
    monkeypatch.setattr(os, "write", lambda fd, data: (writes.append(len(data)), write(fd, data))[1])
    monkeypatch.setattr(reader, "decode", lambda *arguments: (decoded.append(1), decode(*arguments))[1])
    record(artifact)
    assert exporter.spans == NODES + 1  # the invocation is a part of the run's own record
    assert len([size for size in writes if size > 10_000]) <= NODES / 250 + 2
    assert not decoded


def test_no_slow_road_is_taken(artifact: Path, exporter: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """The artifact is read by its types alone, and no line is encoded by the standard library, though half of the
    names have null in them."""
    pytest.importorskip("orjson")
    monkeypatch.setattr(artifacts, "json", None)
    monkeypatch.setattr(json_lines, "_dumps_exactly", None)
    record(artifact)
    assert exporter.spans == NODES + 1  # the invocation is a part of the run's own record


def test_a_node_takes_little_memory(artifact: Path, exporter: Counted) -> None:
    """At most 2 kB a node beside the bytes of the file, most of them for those that wait; nothing once all is done."""
    record(artifact)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    record(artifact)
    gc.collect()
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - before - artifact.stat().st_size < 2_000 * NODES
    assert after - before < 100 * NODES


def test_spans_for_the_eye_are_not_made_where_nobody_looks(artifact: Path) -> None:
    """A node's stages give no row: a warehouse alone costs one span a node, and one for the invocation."""
    from dbbtrace.job.context import scope_for

    dbbtrace.configure(warehouse="none")
    scope = scope_for(RUN)
    results = artifacts.read_results(artifact)
    lean, full = (
        sum(map(len, build_spans(scope, results, {}, written_at=1, with_stages=stages))) for stages in (False, True)
    )
    assert (lean, full) == (NODES + 1, 3 * NODES + 1)
