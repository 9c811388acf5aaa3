"""Who belongs where: threads, pools, tasks and generators, several runs at once, runs inside runs."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import dbbtrace
from dbbtrace.model import attributes as key
from dbbtrace.model import identity
from dbbtrace.testing import capture
from tests.job.support import OTHER_RUN, PIPELINE, PIPELINE_RUN, RUN, parent_of

OTHER_PIPELINE_RUN = "cccccccc-0000-4000-8000-000000000003"


def load(name: str) -> None:
    with dbbtrace.table_load(name) as load:
        load.rows_written = 1


def test_loads_in_a_pool_belong_to_the_integration_that_is_open(captured):
    """ThreadPoolExecutor hands no context on; rows without the pipeline's run id would show in no report."""
    with dbbtrace.orchestration_run(RUN), dbbtrace.integration(pipeline_id=PIPELINE, pipeline_run_id=PIPELINE_RUN):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(load, "abcdef"))
            pool.submit(dbbtrace.record_load, "fact", started_at=1_700_000_000).result()
    loads = captured.operations("table_load")
    assert len(loads) == 7
    for span in loads:
        assert span.attributes[key.PIPELINE_RUN_ID] == PIPELINE_RUN
        assert parent_of(captured, span.name) == "integration"


def test_other_work_in_a_pool_belongs_to_the_run_alone(captured):
    """A refresh in a pool beside the integration is none of it; nor is a load, where two integrations are open."""
    with dbbtrace.orchestration_run(RUN, data_product="Finance"):
        with dbbtrace.integration(pipeline_run_id=PIPELINE_RUN), ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: dbbtrace.model_refresh("m1").start().end()).result()
            with dbbtrace.integration(pipeline_run_id=OTHER_PIPELINE_RUN):
                pool.submit(load, "between").result()
    for name in ("refresh m1", "load between"):
        assert key.PIPELINE_RUN_ID not in captured.named(name).attributes
        assert parent_of(captured, name) == "orchestration_run Finance"


def test_work_where_two_runs_are_open_and_nothing_tells_is_said(lenient, caplog):
    """A guess would put rows into somebody else's run in silence."""
    ready, done = threading.Barrier(3), threading.Event()

    def other():
        with dbbtrace.join_run(OTHER_RUN):
            ready.wait(timeout=30)
            done.wait(timeout=30)
            load("mine")

    threads = [threading.Thread(target=other)]
    with dbbtrace.join_run(RUN):
        context = copy_context()
        threads.append(threading.Thread(target=lambda: (ready.wait(timeout=30), context.run(load, "handed on"))))
        for thread in threads:
            thread.start()
        ready.wait(timeout=30)
        bare = threading.Thread(target=load, args=("bare",))
        bare.start()
        bare.join()
        done.set()
        for thread in threads:
            thread.join()
        load("here")
    assert "several runs are open" in caplog.text
    assert lenient.named("load mine").attributes[key.RUN_ID] == OTHER_RUN
    assert lenient.named("load handed on").attributes[key.RUN_ID] == RUN
    assert lenient.named("load here").attributes[key.RUN_ID] == RUN


def test_a_task_that_outlives_the_run_still_belongs_to_it(captured):
    """Fire and forget: the context that it was handed says where it came from, before and after its own work."""

    async def straggler(gate):
        await gate.wait()
        load("late")
        load("later")

    async def job():
        gate = asyncio.Event()
        async with dbbtrace.orchestration_run(RUN, data_product="Finance"):
            task = asyncio.create_task(straggler(gate))
            await asyncio.sleep(0)
        gate.set()
        await task

    asyncio.run(job())
    for name in ("load late", "load later"):
        assert captured.named(name).attributes[key.RUN_ID] == RUN
        assert parent_of(captured, name) == "orchestration_run Finance"


def test_a_run_inside_a_run_of_another_id_is_another_run(captured, monkeypatch):
    """Its rows are its own, and so is its data product: the environment names that of the outer run."""
    monkeypatch.setenv("DBBTRACE_DATA_PRODUCT", "Everything")
    with dbbtrace.orchestration_run(RUN, data_product="Finance", environment="prd"):
        with dbbtrace.join_run(OTHER_RUN):
            load("inside")
        load("outside")
        dbbtrace.record_load("fact", run_id=OTHER_RUN, started_at=1_700_000_000)
    inside, outside, fact = (captured.named(f"load {name}") for name in ("inside", "outside", "fact"))
    assert inside.attributes[key.RUN_ID] == fact.attributes[key.RUN_ID] == OTHER_RUN
    assert outside.attributes[key.RUN_ID] == RUN
    assert inside.attributes[key.DATA_PRODUCT] == fact.attributes[key.DATA_PRODUCT] == "Everything"
    assert inside.attributes[key.ENVIRONMENT] == "PRD"
    assert inside.context.trace_id == identity.trace_id_of(OTHER_RUN)
    assert [link.context.trace_id for link in inside.links] == [identity.trace_id_of(RUN)]


def test_a_run_inside_itself_adds_what_it_is_told(captured):
    """join_run in a function that also runs alone: its pipeline is not lost, and no run is made up."""
    with dbbtrace.orchestration_run(RUN, data_product="Finance"):
        with dbbtrace.join_run(pipeline_run_id=PIPELINE_RUN) as inner:
            load("inside")
        assert inner.run_id == RUN
        load("outside")
    assert captured.named("load inside").attributes[key.PIPELINE_RUN_ID] == PIPELINE_RUN
    assert captured.named("load inside").attributes[key.DATA_PRODUCT] == "Finance"
    assert key.PIPELINE_RUN_ID not in captured.named("load outside").attributes


def test_inside_a_run_no_run_id_is_needed_whatever_the_environment_says(captured, monkeypatch):
    """A job that cleans its environment, or another thread that opened another run."""
    with dbbtrace.orchestration_run(RUN):
        monkeypatch.delenv("DBBTRACE_ORCHESTRATION_RUN_ID")
        with dbbtrace.join_run() as inner:
            assert inner.run_id == RUN


def test_a_workload_inside_another_does_not_take_its_pipeline(captured):
    """As in a notebook that forgot to end the stage before; the run's own pipeline is inherited."""
    with dbbtrace.join_run(RUN, pipeline_id=PIPELINE):
        dbbtrace.integration(pipeline_run_id=PIPELINE_RUN).start()
        dbbtrace.transformation("tag:x").start()
        with dbbtrace.dbt_node("model.shop.a"):
            pass
        dbbtrace.consumption(pipeline_run_id=OTHER_PIPELINE_RUN).start()
        with dbbtrace.model_refresh("m1"):
            pass
    node, refresh = captured.named("model.shop.a").attributes, captured.named("refresh m1").attributes
    assert node[key.PIPELINE_ID] == refresh[key.PIPELINE_ID] == PIPELINE
    assert key.PIPELINE_RUN_ID not in node
    assert node[key.DBT_SELECT] == "tag:x"
    assert refresh[key.PIPELINE_RUN_ID] == OTHER_PIPELINE_RUN


def test_what_a_workload_learns_late_is_inherited_from_then_on(captured):
    """``integration.pipeline_run_id = ...`` once the pipeline has been invoked."""
    with dbbtrace.join_run(RUN), dbbtrace.integration() as integration:
        load("before")
        integration.pipeline_run_id = PIPELINE_RUN.upper()
        load("after")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(load, "in a pool").result()
    assert key.PIPELINE_RUN_ID not in captured.named("load before").attributes
    assert captured.named("load after").attributes[key.PIPELINE_RUN_ID] == PIPELINE_RUN
    assert captured.named("load in a pool").attributes[key.PIPELINE_RUN_ID] == PIPELINE_RUN
    assert captured.named("integration").attributes[key.PIPELINE_RUN_ID] == PIPELINE_RUN


def test_a_dbt_node_has_the_selector_of_its_transformation(captured):
    """Rows hold it as build_models."""
    with dbbtrace.join_run(RUN), dbbtrace.transformation("+tag:Finance"):
        with dbbtrace.dbt_node("model.shop.a"):
            pass
        with dbbtrace.dbt_node("model.shop.b", select="b"):
            pass
    assert captured.named("model.shop.a").attributes[key.DBT_SELECT] == "+tag:Finance"
    assert captured.named("model.shop.b").attributes[key.DBT_SELECT] == "b"


def test_a_host_with_a_provider_of_its_own_keeps_it_and_its_spans_join_in(captured):
    """Its spans become children of our work, ours of its spans, and its own trace a link."""
    host = TracerProvider()
    trace.set_tracer_provider(host)
    tracer = trace.get_tracer("host")
    with tracer.start_as_current_span("request") as request:
        with dbbtrace.orchestration_run(RUN, data_product="Finance"):
            with dbbtrace.step("outer"), tracer.start_as_current_span("query") as query, dbbtrace.step("inner"):
                pass
        assert trace.get_current_span() is request
    assert trace.get_tracer_provider() is host
    root, outer, inner = (captured.named(name) for name in ("orchestration_run Finance", "outer", "inner"))
    assert [link.context.trace_id for link in root.links] == [request.get_span_context().trace_id]
    assert query.parent.span_id == outer.context.span_id
    assert query.get_span_context().trace_id == inner.context.trace_id
    assert inner.parent.span_id == query.get_span_context().span_id


def test_cells_in_contexts_of_their_own_share_what_is_started(captured):
    """Jupyter kernels run each cell, or each cell with an await, in a context of its own."""
    cells = [copy_context() for _ in range(4)]
    run = cells[0].run(dbbtrace.begin_run, RUN)
    stage = cells[1].run(dbbtrace.integration(pipeline_run_id=PIPELINE_RUN).start)
    cells[0].run(load, "in the context that saw the run begin")
    cells[2].run(load, "in one that saw nothing")
    cells[3].run(stage.end)
    cells[1].run(load, "after the stage")
    cells[2].run(run.end)
    cells[0].run(dbbtrace.begin_run, OTHER_RUN)
    cells[0].run(load, "of the next run")
    cells[3].run(load, "of the next run, elsewhere")
    for name in ("in the context that saw the run begin", "in one that saw nothing"):
        span = captured.named(f"load {name}")
        assert span.attributes[key.PIPELINE_RUN_ID] == PIPELINE_RUN
        assert parent_of(captured, span.name) == "integration"
    after = captured.named("load after the stage")
    assert key.PIPELINE_RUN_ID not in after.attributes
    assert after.parent.span_id == identity.root_span_id(identity.trace_id_of(RUN))
    for name in ("of the next run", "of the next run, elsewhere"):
        assert captured.named(f"load {name}").attributes[key.RUN_ID] == OTHER_RUN


def test_work_before_a_run_is_begun_does_not_stand_in_its_way(lenient):
    """A load in a cell above begin_run makes up a run by hand; what comes after is the pipeline's, product and all."""
    load("early")
    with dbbtrace.begin_run(RUN, data_product="Finance", pipeline_run_id=PIPELINE_RUN):
        for context in (copy_context(), Context()):
            context.run(load, "after")
        environment = dbbtrace.child_environment()
    assert lenient.named("load early").attributes[key.MANUAL] is True
    for span in [span for span in lenient.spans if span.name == "load after"]:
        assert span.attributes[key.RUN_ID] == RUN
        assert span.attributes[key.PIPELINE_RUN_ID] == PIPELINE_RUN
        assert key.MANUAL not in span.attributes
    assert "DBBTRACE_RUN_BY_HAND" not in environment


def test_threads_that_all_need_a_run_at_once_share_one(lenient, caplog):
    """One run by hand a process, not one a thread."""
    together = threading.Barrier(8)

    def work():
        together.wait(timeout=30)
        load("x")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({span.attributes[key.RUN_ID] for span in lenient.operations("table_load")}) == 1
    assert caplog.text.count("run by hand") == 1


def test_capture_is_apart_from_what_is_open_outside():
    """A test inside a run that somebody forgot to end sees nothing of it, and leaves it as it was."""
    with capture() as outer, dbbtrace.begin_run(RUN) as run:
        with capture() as inner:
            with dbbtrace.begin_run(OTHER_RUN), dbbtrace.step("inside"):
                pass
        assert dbbtrace.begin_run() is run
        with dbbtrace.step("outside"):
            pass
    assert inner.named("inside").attributes[key.RUN_ID] == OTHER_RUN
    assert outer.named("outside").attributes[key.RUN_ID] == RUN
    assert [span.name for span in outer.spans] == ["outside"]


def test_an_interrupted_wait_for_rows_is_the_jobs_to_hear(lenient, monkeypatch):
    """Ctrl-C while the end of a run waits goes on, with the run ended."""

    def interrupt(timeout):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(lenient, "flush", interrupt)
    with pytest.raises(KeyboardInterrupt), dbbtrace.orchestration_run(RUN, data_product="Finance"):
        pass
    assert lenient.named("orchestration_run Finance").end_time
    with dbbtrace.join_run(OTHER_RUN) as run:
        assert run.run_id == OTHER_RUN
