"""From a job to the tables and a backend, through processes of their own: what a run is for."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from dbbtrace.model import identity

RUN = "1c9e7f6a-0b1d-4f6e-9a53-3f0f6f2d8e11"
ROOT = f"{identity.root_span_id(identity.trace_id_of(RUN)):016x}"


def job(
    code: str, *, program: tuple[str, ...] = (sys.executable,), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a job script in a process of its own, in the working directory of the test."""
    Path("job.py").write_text(textwrap.dedent(code))
    environment = {**os.environ, "DBBTRACE_WAREHOUSE": "sqlite:///w.db", "DBBTRACE_ROWS_TIMEOUT": "30", **variables}
    done = subprocess.run(
        [*program, "job.py"], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done


def rows(sql: str) -> list[tuple]:
    """What the embedded warehouse answers, attached as users attach it."""
    with sqlite3.connect(":memory:") as connection:
        connection.execute("ATTACH 'w.db' AS meta")
        return connection.execute(sql).fetchall()


OPENER = """
    import dbbtrace, subprocess, sys
    with dbbtrace.orchestration_run("{run}", data_product="Finance", environment="PRD"):
        with dbbtrace.integration(pipeline_run_id="r1"):
            with dbbtrace.table_load("Customer", schema="mdm", source="MDS", load_type="FULL") as load:
                load.rows_written = 3
"""

JOINER = """
    import dbbtrace
    with dbbtrace.join_run("{run}", data_product="Finance"):
        with dbbtrace.consumption(pipeline_run_id="r2"):
            with dbbtrace.model_refresh("m1", name="Finance"):
                pass
"""


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_two_processes_that_share_only_the_run_id_make_one_trace(protocol, request):
    """Done when 2: right parents in a real OTLP receiver, and the trace id is the GUID."""
    backend = request.getfixturevalue("otlp_http" if protocol == "http/protobuf" else "otlp_grpc")
    otlp = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    job(JOINER.format(run=RUN.upper()), **otlp)
    job(OPENER.format(run=RUN), **otlp)
    spans = {span.name: span for span in backend.wait_for(5)}
    assert {span.trace_id for span in spans.values()} == {RUN.replace("-", "")}
    root = spans["orchestration_run Finance"]
    assert (root.span_id, root.parent_span_id) == (ROOT, "")
    assert spans["consumption"].parent_span_id == spans["integration"].parent_span_id == ROOT
    assert spans["load mdm.Customer"].parent_span_id == spans["integration"].span_id
    assert spans["refresh Finance"].parent_span_id == spans["consumption"].span_id
    found = rows(
        "SELECT table_name, status, rows_written, orchestration_run_id, trace_id, span_id"
        " FROM meta.monitoring_integration"
    )
    load = spans["load mdm.Customer"]
    assert found == [("Customer", "Succeeded", 3, RUN, load.trace_id, load.span_id)]
    assert rows("SELECT status, data_product_refresh_pipeline_run_id FROM meta.monitoring_semantic_model_refresh") == [
        ("Completed", "r2")
    ]


def test_a_child_process_hangs_on_the_span_that_started_it(otlp_http):
    """TRACEPARENT of the run gives the parent."""
    code = """
        import dbbtrace, subprocess, sys
        if len(sys.argv) > 1:
            with dbbtrace.join_run():
                dbbtrace.record_load("Child", started_at="2026-01-02T03:04:05.9Z", ended_at="2026-01-02T03:04:07Z")
        else:
            with dbbtrace.orchestration_run("{run}"), dbbtrace.step("spawn"):
                subprocess.run([sys.executable, "job.py", "child"], env=dbbtrace.child_environment(), check=True)
    """
    job(code.format(run=RUN), OTEL_EXPORTER_OTLP_ENDPOINT=otlp_http.endpoint)
    spans = {span.name: span for span in otlp_http.wait_for(3)}
    assert spans["load Child"].parent_span_id == spans["spawn"].span_id
    assert rows("SELECT timestamp, duration FROM meta.monitoring_integration") == [("2026-01-02 03:04:05", 1)]


def test_a_job_with_no_dbbtrace_code_gives_rows_under_opentelemetry_instrument(otlp_http):
    """Spans that carry the documented attributes give rows, others are ignored; OTLP gets both."""
    code = f"""
        from opentelemetry import trace
        tracer = trace.get_tracer("somebody")
        with tracer.start_as_current_span("copy", attributes={{
            "dbb.operation": "table_load", "dbb.orchestration.run_id": "{RUN}", "dbb.table.name": "Customer",
            "dbb.rows.written": 5,
        }}):
            with tracer.start_as_current_span("other"):
                pass
    """
    job(
        code,
        program=(str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable),
        OTEL_TRACES_EXPORTER="dbb_warehouse,otlp",
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
        OTEL_EXPORTER_OTLP_ENDPOINT=otlp_http.endpoint,
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
    )
    assert {span.name for span in otlp_http.wait_for(2)} == {"copy", "other"}
    assert rows("SELECT table_name, rows_written, orchestration_run_id FROM meta.monitoring_integration") == [
        ("Customer", 5, RUN)
    ]


def test_facts_recorded_twice_are_one_row_and_one_span(otlp_http):
    """By another process too: the fact's identity decides."""
    code = f"""
        import dbbtrace
        with dbbtrace.join_run("{RUN}"):
            for _ in range(2):
                dbbtrace.record_load("Customer", source="MDS", started_at=1764000000, ended_at=1764000060)
                dbbtrace.record_refresh("m1", request_id="q1", started_at=1764000000, ended_at=1764000060)
    """
    for _ in range(2):
        job(code, OTEL_EXPORTER_OTLP_ENDPOINT=otlp_http.endpoint)
    assert len({span.span_id for span in otlp_http.wait_for(4)}) == 2
    assert rows("SELECT COUNT(*) FROM meta.monitoring_integration") == [(1,)]
    assert rows("SELECT COUNT(*), MIN(duration) FROM meta.monitoring_semantic_model_refresh") == [(1, 60)]


def test_a_run_by_hand_names_no_data_product_in_its_rows():
    """So that the platform's gate does not take it for the product's newest run; the watermark counts it."""
    done = job(
        """
        import dbbtrace
        with dbbtrace.orchestration_run(data_product="Finance"), dbbtrace.table_load("Customer"):
            pass
        """
    )
    assert "run by hand" in done.stderr
    assert rows("SELECT data_product, status FROM meta.monitoring_integration") == [(None, "Succeeded")]


def test_without_a_gate_a_run_keeps_its_data_product():
    """Under cron nobody gives a run id, and no gate reads the rows: they keep the product, those of a child too."""
    done = job(
        """
        import subprocess, sys
        import dbbtrace
        with dbbtrace.orchestration_run(data_product="Finance", environment="PRD"), dbbtrace.table_load("Customer"):
            child = "import dbbtrace\\nwith dbbtrace.table_load('Order'): pass"
            subprocess.run([sys.executable, "-c", child], check=True)
        """,
        DBBTRACE_PROTECT_GATE="0",
    )
    assert "by hand" not in done.stderr
    found = rows("SELECT table_name, data_product, environment FROM meta.monitoring_integration ORDER BY table_name")
    assert found == [("Customer", "Finance", "PRD"), ("Order", "Finance", "PRD")]
    assert rows("SELECT COUNT(DISTINCT orchestration_run_id) FROM meta.monitoring_integration") == [(1,)]


def test_a_backend_that_is_down_costs_the_rows_nothing():
    """OTLP refused: the rows stand all the same, and the job ends in peace."""
    job(OPENER.format(run=RUN), OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert rows("SELECT COUNT(*) FROM meta.monitoring_integration") == [(1,)]
