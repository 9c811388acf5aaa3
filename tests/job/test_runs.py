"""A run as a job author writes it: identity, inheritance, parents, failures."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from contextvars import copy_context

import pytest
from opentelemetry.trace import StatusCode

import dbbtrace
from dbbtrace.model import attributes as key
from dbbtrace.model import identity
from dbbtrace.testing import Captured, capture

RUN = "1c9e7f6a-0b1d-4f6e-9a53-3f0f6f2d8e11"
PIPELINE, PIPELINE_RUN = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"


@pytest.fixture
def captured():
    with capture() as captured:
        yield captured


def parent_of(captured: Captured, name: str) -> str | None:
    """Name of the parent of the span of this name; None for a root; its id where it was not captured."""
    parent = captured.named(name).parent
    if parent is None:
        return None
    names = {span.context.span_id: span.name for span in [*captured.spans, *captured.started]}
    return names.get(parent.span_id, f"{parent.span_id:016x}")


def test_the_whole_example_is_one_trace_with_the_tree_that_it_reads_like(captured):
    """The nesting of the blocks is the nesting of the spans, and the trace id is the run id's GUID."""
    with dbbtrace.orchestration_run(
        RUN, data_product="Finance", environment="prd", workspace_id="{" + PIPELINE.upper() + "}"
    ):
        with dbbtrace.integration(pipeline_id=PIPELINE, pipeline_run_id=PIPELINE_RUN):
            with dbbtrace.table_load(
                "Customer", schema="mdm", source="MDS", source_type="SQL", load_type="full"
            ) as load:
                load.rows_read = load.rows_written = 10
                load.data_written = 1024
        with dbbtrace.consumption():
            with dbbtrace.model_refresh("m1", name="Finance") as refresh:
                refresh.status = "Completed"
    assert {f"{span.context.trace_id:032x}" for span in captured.spans} == {RUN.replace("-", "")}
    assert parent_of(captured, "load mdm.Customer") == "integration"
    assert parent_of(captured, "integration") == "orchestration_run Finance"
    assert parent_of(captured, "refresh Finance") == "consumption"
    root = captured.named("orchestration_run Finance")
    assert root.parent is None
    assert root.context.span_id == identity.root_span_id(identity.trace_id_of(RUN))
    attributes = captured.named("load mdm.Customer").attributes
    assert attributes[key.RUN_ID] == RUN
    assert attributes[key.ENVIRONMENT] == "PRD"
    assert attributes[key.WORKSPACE_ID] == PIPELINE
    assert attributes[key.PIPELINE_RUN_ID] == PIPELINE_RUN
    assert attributes[key.LOAD_TYPE] == "FULL"
    assert attributes[key.STATUS] == "Succeeded"
    assert (attributes[key.ROWS_READ], attributes[key.ROWS_WRITTEN], attributes[key.DATA_WRITTEN]) == (10, 10, 1024)
    assert attributes["db.collection.name"] == "Customer"
    assert attributes["cicd.pipeline.task.run.result"] == "success"


def test_a_model_refresh_never_inherits_the_workspace_of_the_run(captured):
    """A model may live in another workspace than the pipelines."""
    with dbbtrace.orchestration_run(RUN, workspace_id=PIPELINE):
        with dbbtrace.model_refresh("m1"):
            pass
        with dbbtrace.model_refresh("m2", workspace_id=PIPELINE_RUN):
            pass
        dbbtrace.record_refresh("m3", started_at=1_700_000_000)
    assert key.WORKSPACE_ID not in captured.named("refresh m1").attributes
    assert captured.named("refresh m2").attributes[key.WORKSPACE_ID] == PIPELINE_RUN
    assert key.WORKSPACE_ID not in captured.named("refresh m3").attributes


def test_a_joined_run_hangs_its_work_on_a_root_it_has_not_seen(captured):
    """join_run emits no span of its own; the parent is the root's known id."""
    with dbbtrace.join_run(RUN, data_product="Finance") as run:
        with dbbtrace.step("look"):
            pass
        assert run.trace_id == RUN.replace("-", "")
    (span,) = captured.spans
    assert span.parent.span_id == identity.root_span_id(span.context.trace_id)
    assert span.parent.is_remote


def test_traceparent_of_the_run_gives_the_parent_and_another_one_a_link(captured, monkeypatch):
    """The run id alone decides the trace."""
    monkeypatch.setenv("TRACEPARENT", f"00-{RUN.replace('-', '')}-00000000000000ab-01")
    with dbbtrace.join_run(RUN), dbbtrace.step("inside"):
        pass
    assert captured.named("inside").parent.span_id == 0xAB
    monkeypatch.setenv("TRACEPARENT", f"00-{'1' * 32}-00000000000000ab-01")
    with dbbtrace.join_run(RUN), dbbtrace.step("linked"):
        with dbbtrace.step("deeper"):
            pass
    linked = captured.named("linked")
    assert linked.context.trace_id == identity.trace_id_of(RUN)
    assert [f"{link.context.trace_id:032x}" for link in linked.links] == ["1" * 32]
    assert not captured.named("deeper").links


@pytest.mark.parametrize("header", ["", "nonsense", "00-zz-11-01", "00-" + "0" * 32 + "-00000000000000ab-01"])
def test_a_malformed_traceparent_is_passed_by(monkeypatch, header):
    """What another tool leaves in the environment can't break a job."""
    monkeypatch.setenv("TRACEPARENT", header)
    with capture(strict=False) as captured, dbbtrace.join_run(RUN), dbbtrace.step("inside"):
        pass
    assert captured.named("inside").parent.span_id == identity.root_span_id(identity.trace_id_of(RUN))


def test_run_and_context_come_from_the_environment(captured, monkeypatch):
    """Run id, product, environment and workspace need not be arguments; empty ones count as missing."""
    monkeypatch.setenv("DBBTRACE_ORCHESTRATION_RUN_ID", RUN.upper())
    monkeypatch.setenv("DBBTRACE_DATA_PRODUCT", "Finance")
    monkeypatch.setenv("DBBTRACE_ENVIRONMENT", "acc")
    monkeypatch.setenv("DBBTRACE_WORKSPACE_ID", PIPELINE)
    with dbbtrace.join_run(""), dbbtrace.step("a"):
        pass
    dbbtrace.record_load("Customer", started_at=1_700_000_000)
    for span in captured.spans:
        assert span.attributes[key.RUN_ID] == RUN
        assert span.attributes[key.DATA_PRODUCT] == "Finance"
        assert span.attributes[key.ENVIRONMENT] == "ACC"
        assert key.MANUAL not in span.attributes


def test_a_missing_run_id_gets_a_fresh_one_with_a_warning(captured, caplog):
    """A notebook run by hand: nobody else knows the id, so this process emits the root; the run is marked."""
    with dbbtrace.join_run(None, data_product="Finance") as run:
        with dbbtrace.table_load("Customer"):
            pass
    assert "run by hand" in caplog.text
    assert run.run_id in caplog.text
    assert captured.named("load Customer").attributes[key.MANUAL] is True
    assert captured.named("orchestration_run Finance").parent is None


def test_a_run_opened_twice_emits_one_root(captured):
    """A cell that runs again becomes a step under the root that already ended."""
    for _ in range(2):
        with dbbtrace.orchestration_run(RUN, data_product="Finance"):
            pass
    roots = [span for span in captured.spans if span.parent is None]
    assert len(roots) == 1
    (again,) = [span for span in captured.spans if span.parent is not None]
    assert again.parent.span_id == roots[0].context.span_id
    assert again.attributes[key.OPERATION] == "step"


def test_leaving_the_outermost_run_flushes_the_rows_once(captured):
    """Rows must stand before the next job reads them; an inner run of the same id does not wait."""
    with dbbtrace.orchestration_run(RUN), dbbtrace.join_run(RUN):
        pass
    assert captured.flushes == [2.0]


def test_child_processes_are_told_of_the_run_and_the_environment_is_put_back(captured, monkeypatch):
    """While the run is open its id and TRACEPARENT stand in the environment."""
    import os

    monkeypatch.setenv("TRACEPARENT", "before")
    show = [
        sys.executable,
        "-c",
        "import os; print(os.environ['DBBTRACE_ORCHESTRATION_RUN_ID'], os.environ['TRACEPARENT'])",
    ]
    with dbbtrace.orchestration_run(RUN):
        told = subprocess.run(show, capture_output=True, text=True, check=True).stdout.split()
        with dbbtrace.step("child") as step:
            inner = subprocess.run(show, capture_output=True, text=True, check=True, env=dbbtrace.child_environment())
    root = identity.root_span_id(identity.trace_id_of(RUN))
    assert told == [RUN, f"00-{RUN.replace('-', '')}-{root:016x}-01"]
    assert inner.stdout.split()[1].split("-")[2] == step.span_id
    assert os.environ["TRACEPARENT"] == "before"
    assert "DBBTRACE_ORCHESTRATION_RUN_ID" not in os.environ


def test_a_made_up_run_stays_a_run_by_hand_in_child_processes(captured):
    """Otherwise the child's rows would name the product and stop the platform's gate."""
    with dbbtrace.orchestration_run() as run:
        environment = dbbtrace.child_environment({})
        assert environment["DBBTRACE_ORCHESTRATION_RUN_ID"] == run.run_id
        with dbbtrace.join_run() as inner:
            assert inner.manual
    assert environment["DBBTRACE_RUN_BY_HAND"] == "1"


def test_threads_join_the_run_with_and_without_a_context(captured):
    """A context that is handed on carries everything; without one the run that is open is still found."""
    with dbbtrace.orchestration_run(RUN, data_product="Finance"), dbbtrace.integration(pipeline_run_id=PIPELINE_RUN):
        context = copy_context()

        def load(name):
            with dbbtrace.table_load(name):
                pass

        threads = [
            threading.Thread(target=context.run, args=(load, "handed")),
            threading.Thread(target=load, args=("bare",)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert parent_of(captured, "load handed") == "integration"
    assert captured.named("load handed").attributes[key.PIPELINE_RUN_ID] == PIPELINE_RUN
    assert parent_of(captured, "load bare") == "integration"
    assert captured.named("load bare").attributes[key.PIPELINE_RUN_ID] == PIPELINE_RUN


def test_async_tasks_keep_their_own_scope(captured):
    """Two loads at once in one loop have the same parent and don't become each other's."""

    async def load(name, gate):
        async with dbbtrace.table_load(name) as handle:
            await gate.wait()
            handle.rows_written = len(name)

    async def job():
        gate = asyncio.Event()
        async with dbbtrace.orchestration_run(RUN, data_product="Finance"):
            async with dbbtrace.integration():
                tasks = [asyncio.create_task(load(name, gate)) for name in ("a", "bb")]
                await asyncio.sleep(0)
                gate.set()
                await asyncio.gather(*tasks)

    asyncio.run(job())
    for name in ("a", "bb"):
        assert parent_of(captured, f"load {name}") == "integration"
        assert captured.named(f"load {name}").attributes[key.ROWS_WRITTEN] == len(name)
    assert captured.flushes == [2.0]


@pytest.mark.parametrize(
    "error", [ValueError("no such table"), KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError()]
)
def test_every_exception_ends_the_operation_as_failed_and_goes_on_unchanged(captured, error):
    """The SDK's own context manager leaves all but Exception looking successful."""
    with pytest.raises(type(error)) as raised, dbbtrace.join_run(RUN), dbbtrace.table_load("Customer"):
        raise error
    assert raised.value is error
    span = captured.named("load Customer")
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes[key.STATUS] == "Failed"
    assert span.attributes[key.ERROR_TYPE].rpartition(".")[2] == type(error).__name__
    assert span.attributes[key.ERROR_MESSAGE]
    assert span.events[0].name == "exception"


def test_a_load_that_the_author_marks_is_failed_without_an_exception(captured):
    """fail() gives reason and type."""
    with dbbtrace.join_run(RUN), dbbtrace.table_load("Customer") as load:
        load.fail("source answered 0 rows", error_type="EmptySource")
    attributes = captured.named("load Customer").attributes
    assert attributes[key.STATUS] == "Failed"
    assert attributes[key.ERROR_TYPE] == "EmptySource"
    assert attributes[key.ERROR_MESSAGE] == "source answered 0 rows"
    assert attributes["cicd.pipeline.task.run.result"] == "failure"


def test_all_of_them_work_as_decorators(captured):
    """Each call is work of its own: functions, coroutines, generators."""

    @dbbtrace.step("plain")
    def plain(value):
        return value

    @dbbtrace.step("coroutine")
    async def coroutine(value):
        return value

    @dbbtrace.step("generator")
    def generator():
        yield 1
        return 2

    @dbbtrace.step("stream")
    async def stream():
        yield 1

    async def consume():
        return [item async for item in stream()]

    @dbbtrace.table_load("Customer")
    def load():
        raise ValueError("broken")

    with dbbtrace.orchestration_run(RUN):
        assert plain(1) == plain(value=1) == 1
        assert asyncio.run(coroutine(2)) == 2
        assert list(generator()) == [1]
        assert asyncio.run(consume()) == [1]
        for _ in range(2):
            with pytest.raises(ValueError, match="broken"):
                load()
    names = [span.name for span in captured.spans]
    assert [names.count(name) for name in ("plain", "coroutine", "generator", "stream", "load Customer")] == [
        2,
        1,
        1,
        1,
        2,
    ]
    assert plain.__name__ == "plain"


def test_retries_are_child_spans_and_the_row_starts_with_the_attempt_that_succeeded(captured):
    """One load, one row; failures before the last attempt are swallowed on the author's wish."""
    tries = []
    with dbbtrace.join_run(RUN), dbbtrace.table_load("Customer") as load:
        for attempt in load.attempts(3):
            with attempt:
                tries.append(attempt.number)
                if len(tries) < 3:
                    raise ConnectionError("gone")
                load.rows_written = 7
    assert tries == [1, 2, 3]
    span = captured.named("load Customer")
    assert span.attributes[key.STATUS] == "Succeeded"
    attempts = captured.operations("load_attempt")
    assert [one.parent.span_id for one in attempts] == [span.context.span_id] * 3
    assert [one.status.status_code for one in attempts] == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]
    from dbbtrace.model.times import to_unix_nanos

    assert to_unix_nanos(span.attributes[key.STARTED_AT]) == attempts[2].start_time


def test_the_exception_of_the_last_attempt_goes_on(captured):
    """After the limit the load is Failed; interrupts are never swallowed."""
    with pytest.raises(ConnectionError), dbbtrace.join_run(RUN), dbbtrace.table_load("Customer") as load:
        for attempt in load.attempts(2):
            with attempt:
                raise ConnectionError("gone")
    assert captured.named("load Customer").attributes[key.STATUS] == "Failed"
    with pytest.raises(KeyboardInterrupt), dbbtrace.join_run(RUN), dbbtrace.table_load("Other") as load:
        for attempt in load.attempts(2):
            with attempt:
                raise KeyboardInterrupt
    assert len(captured.operations("load_attempt")) == 3


def test_nothing_of_ours_reaches_the_job_when_dbbtrace_itself_breaks(monkeypatch, caplog, capsys):
    """A fault of dbbtrace's own is one log line; the job's code runs, its exception is its own."""
    with capture(strict=False) as captured:
        monkeypatch.setattr(type(captured), "on_end", lambda self, span: 1 / 0)
        monkeypatch.setattr(type(captured), "claim", lambda self, name: 1 / 0)
        ran = []
        with pytest.raises(ValueError, match="mine"), dbbtrace.orchestration_run(RUN), dbbtrace.table_load("Customer"):
            ran.append(1)
            raise ValueError("mine")
    assert ran == [1]
    assert any("ZeroDivisionError" in record.getMessage() for record in caplog.records if record.name == "dbbtrace")
    assert capsys.readouterr().out == ""


def test_work_without_any_run_joins_the_environment_or_one_run_by_hand(captured, caplog):
    """A job without a run loses nothing: all its work shares one made-up run."""
    caplog.set_level(logging.WARNING)
    with dbbtrace.table_load("A"):
        pass
    with dbbtrace.table_load("B"):
        pass
    runs = {span.attributes[key.RUN_ID] for span in captured.operations("table_load")}
    assert len(runs) == 1
    assert caplog.text.count("run by hand") == 1


def test_start_and_end_serve_cells_that_share_no_block(captured):
    """What start() opens is known to the whole process until end()."""
    run = dbbtrace.begin_run({"Orchestration_Run_Id": RUN, "data_product": "Finance"})
    load = dbbtrace.table_load("Customer").start()
    result = []
    thread = threading.Thread(target=lambda: result.append(dbbtrace.step("elsewhere").start().end()))
    thread.start()
    thread.join()
    load.rows_written = 3
    load.end()
    load.end()
    run.end()
    assert captured.named("load Customer").attributes[key.ROWS_WRITTEN] == 3
    assert parent_of(captured, "elsewhere") == "load Customer"
    with dbbtrace.join_run(PIPELINE), dbbtrace.step("after"):
        pass
    assert captured.named("after").attributes[key.RUN_ID] == PIPELINE


def test_begin_run_picks_parameters_by_name_and_is_harmless_when_run_again(captured, monkeypatch):
    """Case and underscores are ignored; the pipeline's spelling wins over the notebook's empty default."""
    cell = {
        "orchestration_run_id": "",
        "Orchestration_Run_Id": RUN.upper(),
        "Data_Product": "Finance",
        "_": "x",
        "environment": print,
    }
    run = dbbtrace.begin_run(cell)
    assert run is dbbtrace.begin_run(cell)
    assert run is dbbtrace.begin_run()
    assert run.run_id == RUN
    import os

    assert os.environ["DBBTRACE_ORCHESTRATION_RUN_ID"] == RUN
    assert os.environ["TRACEPARENT"].split("-")[1] == RUN.replace("-", "")
    other = dbbtrace.begin_run({**cell, "Orchestration_Run_Id": PIPELINE})
    assert other.run_id == PIPELINE
    run.end()
    other.end()
    assert "DBBTRACE_ORCHESTRATION_RUN_ID" not in os.environ


def test_a_notebook_begun_by_hand_and_run_again_stays_one_run(captured):
    """Without any parameter the second cell run does not open a second run."""
    run = dbbtrace.begin_run({})
    assert dbbtrace.begin_run({}) is run
    run.end()
    assert [span.parent for span in captured.spans] == [None]
