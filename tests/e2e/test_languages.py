"""Senders in another language: whoever sets the documented attributes gets rows."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from dbbtrace.model.identity import root_span_id, trace_id_of
from tests.e2e.npm import installed
from tests.e2e.programs import TOKEN, Programs, eventually
from tests.e2e.runs import parent, rows

JAVASCRIPT = Path(__file__).parent / "javascript"
Job = Callable[..., None]


@pytest.fixture(scope="session")
def javascript() -> Job:
    """Runs javascript/job.js."""
    directory = installed(JAVASCRIPT)

    def job(run_id: str, endpoint: str, **environment: str) -> None:
        environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
        command = ["node", str(directory / "job.js"), run_id]
        subprocess.run(command, env={**os.environ, **environment}, check=True, timeout=120)

    return job


EXPECTED = {
    ("table_load", "mdm.Product", "Succeeded", 42, None),
    ("table_load", "Price", "Failed", None, "RangeError"),
    ("dbt_node", "products", "Succeeded", None, None),
    ("model_refresh", "Sales", "Succeeded", None, None),
}


def found(warehouse: str, run_id: str) -> set[tuple[object, ...]]:
    """The run's operations, as EXPECTED has them."""
    return {(each.kind, each.name, each.status, each.rows_written, each.error_type) for each in rows(warehouse, run_id)}


def test_a_job_in_javascript_gets_rows_and_its_place_in_the_trace(
    programs: Programs, javascript: Job, tmp_path: Path
) -> None:
    """Through the Collector to both: four operations as rows, five spans below the root that the run id names."""
    warehouse = f"sqlite:///{tmp_path}/warehouse.db"
    jaeger, receiver = programs.jaeger(), programs.receiver(warehouse)
    agent = programs.agent(jaeger, receiver)
    run_id = str(uuid4())
    javascript(run_id.upper(), agent.http)
    assert eventually(lambda: found(warehouse, run_id), lambda rows: len(rows) == 4) == EXPECTED
    assert {each.data_product for each in rows(warehouse, run_id)} == {"Shop"}
    spans = eventually(lambda: jaeger.spans(run_id.replace("-", "")), lambda spans: len(spans) == 5)
    assert {parent(span) for span in spans.values()} == {f"{root_span_id(trace_id_of(run_id)):016x}"}


def test_a_job_in_javascript_sends_json_straight_to_the_receiver(
    programs: Programs, javascript: Job, tmp_path: Path
) -> None:
    """Without a Collector, with the receiver's token: the same rows, and they stand when the job has ended."""
    warehouse = f"sqlite:///{tmp_path}/warehouse.db"
    receiver = programs.receiver(warehouse)
    run_id = str(uuid4())
    javascript(run_id, receiver.url, OTEL_EXPORTER_OTLP_HEADERS=f"Authorization=Bearer {TOKEN}")
    assert found(warehouse, run_id) == EXPECTED
