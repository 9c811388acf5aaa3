"""A run whose jobs know only the Collector: in Jaeger one trace that looks right, in the warehouse its rows."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.programs import Programs, eventually
from tests.e2e.runs import building_job, job_environment, loading_job, parent, period, record_ids, rows, tags, tree

TREE = """\
orchestration_run Shop
  integration
    load mdm.Customer
    load mdm.Order
      attempt 1 !
      attempt 2
    load mdm.Broken !
  transformation
    model.shop.customers
    test.shop.unique_customers.0123456789 !
    model.shop.report
  consumption
    refresh Finance
      wait for the service"""


@pytest.fixture
def warehouse(tmp_path: Path) -> str:
    """A warehouse that the receivers create."""
    return f"sqlite:///{tmp_path}/warehouse.db"


def test_two_jobs_that_share_only_the_run_id_are_one_trace_and_its_rows(programs: Programs, warehouse: str) -> None:
    """Two processes, one over HTTP and one over gRPC: Jaeger shows one trace, tree, times, tags and errors right."""
    jaeger, receiver = programs.jaeger(), programs.receiver(warehouse)
    agent = programs.agent(jaeger, receiver)
    run_id = str(uuid4())
    trace_id = run_id.replace("-", "")
    began = time.time()
    with loading_job(run_id, agent) as job:
        job.load("Customer", "?Order", "!Broken")
        building_job(run_id, agent, "grpc")

    spans = eventually(lambda: jaeger.spans(trace_id), lambda found: len(found) == TREE.count("\n") + 1)
    (trace,) = jaeger.trace(trace_id)
    assert tree(spans) == TREE
    assert trace["traceID"] == trace_id
    assert len(trace["spans"]) == len(spans), "a span id stands twice"
    assert not trace.get("warnings")
    assert not [warning for span in spans.values() for warning in span["warnings"] or ()]
    (root,) = [span for span in spans.values() if parent(span) is None]
    assert root["startTime"] / 1e6 == pytest.approx(began, abs=60)
    for span in spans.values():
        assert root["startTime"] <= span["startTime"]
        assert span["startTime"] + span["duration"] <= root["startTime"] + root["duration"]
        assert tags(span)["dbb.orchestration.run_id"] == run_id

    found = eventually(lambda: rows(warehouse, run_id), lambda found: len(found) == 7)
    for exporter, number in (("otlp_http/warehouse", len(found)), ("otlp_grpc/jaeger", len(spans))):
        assert eventually(lambda: agent.sent(exporter), lambda sent: sent >= number) == number, exporter  # noqa: B023
    by_span = {operation.span_id: operation for operation in found}
    shown = {
        span_id: span
        for span_id, span in spans.items()
        if tags(span)["dbb.operation"] in ("table_load", "dbt_node", "model_refresh")
    }
    assert by_span.keys() == shown.keys()
    for span_id, operation in by_span.items():
        span = shown[span_id]
        assert operation.data_product == tags(span)["dbb.data_product"] == "Shop"
        assert operation.word == tags(span)["dbb.status"]
        assert (operation.status == "Failed") == bool(tags(span).get("error"))
        if operation.status == "Skipped":
            assert operation.started_at is None
        elif operation.name == "mdm.Order":  # its row shows the attempt that succeeded
            (attempt,) = [other for other in spans.values() if other["operationName"] == "attempt 2"]
            assert period(operation)[0] == attempt["startTime"]
        else:
            start, duration = period(operation)
            assert abs(start - span["startTime"]) <= 1000, operation.name  # refreshes are kept to the millisecond
            assert abs(duration - span["duration"]) <= 2000, operation.name
    broken = next(operation for operation in found if operation.name == "mdm.Broken")
    assert (broken.error_type, broken.error_message) == ("LookupError", "no table Broken in the source")
    assert tags(shown[broken.span_id or ""])["error.type"] == "LookupError"


def test_programs_that_are_killed_on_the_way_lose_and_double_nothing(programs: Programs, warehouse: str) -> None:
    """SIGKILL of Collector, receiver and Jaeger while a run goes on: every span in Jaeger, every row once."""
    jaeger, receiver = programs.jaeger(), programs.receiver(warehouse)
    agent = programs.agent(jaeger, receiver)
    run_id = str(uuid4())
    trace_id = run_id.replace("-", "")
    tables = iter(range(1000))

    def some() -> list[str]:
        return [f"Table{next(tables):03}" for _ in range(20)]

    with loading_job(run_id, agent) as job:
        job.load(*some())
        # what has arrived stays: the first loads, before anything is killed
        assert eventually(lambda: len(jaeger.spans(trace_id)), lambda spans: spans >= 20) >= 20
        for program in (agent, receiver, jaeger, receiver, agent):
            program.kill()
            job.load(*some())
            program.start()
            job.load(*some())
        jaeger.kill()  # what the Collector has taken and can't hand on survives the Collector
        receiver.kill()
        before = agent.accepted()
        job.load(*some())
        assert eventually(agent.accepted, lambda accepted: accepted >= before + 20) >= before + 20
        agent.kill()
        job.load(*some())
        agent.start()
        receiver.start()
        jaeger.start()
        job.load(*some())
        building_job(run_id, agent, "grpc")

    loads = {f"mdm.Table{number:03}" for number in range(next(tables))}
    expected = len(loads) + 4
    found = eventually(lambda: rows(warehouse, run_id), lambda found: len(found) == expected)
    assert {operation.name for operation in found if operation.kind == "table_load"} == loads
    assert len(found) == expected
    ids = record_ids(warehouse)
    assert len(ids) == len(set(ids)) == expected

    # root, three workloads, the step in the refresh
    spans = eventually(lambda: jaeger.spans(trace_id), lambda spans: len(spans) == expected + 5)
    (trace,) = jaeger.trace(trace_id)
    assert len(trace["spans"]) == len(spans) == expected + 5
    assert {operation.span_id for operation in found} <= spans.keys()
    assert not [warning for span in spans.values() for warning in span["warnings"] or ()]
    assert receiver.stop() == 0, receiver.tail()
    assert agent.stop() == 0, agent.tail()
    assert jaeger.stop() == 0, jaeger.tail()


def test_the_demo_goes_through_all_of_it(programs: Programs, warehouse: str, tmp_path: Path) -> None:
    """As docker-compose.yml runs it: a job that knows only the Collector; real loads, a real dbt build, a refresh."""
    jaeger, receiver = programs.jaeger(), programs.receiver(warehouse)
    agent = programs.agent(jaeger, receiver)
    run_id = str(uuid4())
    command = [sys.executable, "-m", "dbbtrace", "demo", "--fail", "--dir", str(tmp_path / "demo"), "--run-id", run_id]
    done = subprocess.run(command, env=job_environment(agent), capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert run_id in done.stdout

    found = eventually(lambda: rows(warehouse, run_id), lambda found: any(each.kind == "dbt_node" for each in found))
    failed = {operation.name for operation in found if operation.status == "Failed"}
    assert "raw.weather" in failed
    spans = eventually(
        lambda: jaeger.spans(run_id.replace("-", "")), lambda spans: {each.span_id for each in found} <= spans.keys()
    )
    assert {each.span_id for each in found} <= spans.keys()
    assert {span["operationName"] for span in spans.values() if parent(span) not in spans} == {
        "orchestration_run NYC-Flights"
    }
    assert not [warning for span in spans.values() for warning in span["warnings"] or ()]
    errors = {span_id for span_id, span in spans.items() if tags(span).get("error") is True}
    assert {each.span_id for each in found if each.status == "Failed"} <= errors
