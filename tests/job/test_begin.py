"""begin_run() and the environment: cells run again, parameters that change, what child processes are told."""

from __future__ import annotations

import os

import pytest

import dbbtrace
from dbbtrace.job import propagation
from dbbtrace.model import attributes as key
from dbbtrace.model import identity
from tests.job.support import OTHER_RUN, PIPELINE, PIPELINE_RUN, RUN

TOLD = (
    "DBBTRACE_ORCHESTRATION_RUN_ID",
    "DBBTRACE_DATA_PRODUCT",
    "DBBTRACE_ENVIRONMENT",
    "DBBTRACE_WORKSPACE_ID",
    "DBBTRACE_RUN_BY_HAND",
    "TRACEPARENT",
)


def told() -> dict[str, str]:
    return {name: os.environ[name] for name in TOLD if name in os.environ}


@pytest.fixture(autouse=True)
def environment_is_left_as_it_was(request):
    """Whatever a test opens and ends."""
    yield
    if "captured" in request.fixturenames or "lenient" in request.fixturenames:
        assert not propagation._told


def attributes_of_a_load(captured):
    with dbbtrace.table_load("Customer"):
        pass
    return captured.operations("table_load")[-1].attributes


def test_what_changed_in_the_parameters_holds_from_then_on(captured):
    """The same run, for another of its pipelines: the cell is run again with other values."""
    run = dbbtrace.begin_run({"orchestration_run_id": RUN, "data_product": "Finance", "pipeline_run_id": PIPELINE})
    assert attributes_of_a_load(captured)[key.PIPELINE_RUN_ID] == PIPELINE
    assert (
        dbbtrace.begin_run({"orchestration_run_id": RUN, "pipeline_run_id": PIPELINE_RUN}, data_product="Sales") is run
    )
    attributes = attributes_of_a_load(captured)
    assert attributes[key.PIPELINE_RUN_ID] == PIPELINE_RUN
    assert attributes[key.DATA_PRODUCT] == "Sales"
    assert os.environ["DBBTRACE_DATA_PRODUCT"] == "Sales"
    run.end()
    assert told() == {}


def test_the_root_of_a_notebook_run_by_hand_learns_what_is_told_later(captured):
    """The first cell had no parameters yet."""
    run = dbbtrace.begin_run()
    assert dbbtrace.begin_run(data_product="Finance") is run
    run.end()
    (root,) = captured.spans
    assert root.attributes[key.DATA_PRODUCT] == "Finance"
    assert root.attributes[key.MANUAL] is True


def test_a_run_named_in_the_environment_between_cells_is_begun(captured):
    """A cell sets the variable and runs begin_run() again: neither the old run nor the cell's value is lost."""
    first = dbbtrace.begin_run(RUN)
    os.environ["DBBTRACE_ORCHESTRATION_RUN_ID"] = OTHER_RUN
    second = dbbtrace.begin_run()
    assert second.run_id == OTHER_RUN
    assert attributes_of_a_load(captured)[key.RUN_ID] == OTHER_RUN
    first.end()
    second.end()
    assert os.environ.pop("DBBTRACE_ORCHESTRATION_RUN_ID") == OTHER_RUN
    assert told() == {}


def test_the_run_id_may_be_all_that_is_given(captured):
    """begin_run(run_id), as one writes orchestration_run(run_id)."""
    with dbbtrace.begin_run(RUN.upper()) as run:
        assert run.run_id == RUN


def test_parameters_of_several_pipelines_name_none(lenient, caplog):
    """A notebook for all stages: each stage says its own pipeline; a single one's stands for the run."""
    both = {"integration_pipeline_source_run_id": PIPELINE, "transformation_pipeline_run_id": PIPELINE_RUN}
    with dbbtrace.begin_run({"orchestration_run_id": RUN, **both}):
        assert key.PIPELINE_RUN_ID not in attributes_of_a_load(lenient)
    assert "parameters of several pipelines" in caplog.text
    with dbbtrace.begin_run({"orchestration_run_id": RUN, "Integration_Pipeline_Source_Run_Id": PIPELINE}):
        assert attributes_of_a_load(lenient)[key.PIPELINE_RUN_ID] == PIPELINE


def test_begun_again_and_again_nothing_piles_up(captured):
    """A notebook that lives for weeks."""
    from dbbtrace.job import scope

    for number in range(50):
        run = dbbtrace.begin_run(f"run {number}")
        assert run is dbbtrace.begin_run(f"run {number}")
    assert len(scope._opened) == len(propagation._told) == 1
    run.end()
    assert not scope._opened
    assert told() == {}


@pytest.mark.parametrize("order", ["first in, last out", "first in, first out"])
def test_runs_that_overlap_put_the_environment_back(captured, monkeypatch, order):
    """Two threads or tasks with a run each: whichever ends last leaves what stood there before either."""
    monkeypatch.setenv("TRACEPARENT", "mine")
    monkeypatch.setenv("DBBTRACE_DATA_PRODUCT", "Everything")
    before = told()
    first = dbbtrace.orchestration_run(RUN, data_product="Finance").start()
    second = dbbtrace.orchestration_run(OTHER_RUN, environment="tst").start()
    assert told()["DBBTRACE_DATA_PRODUCT"] == "Everything"
    assert told()["DBBTRACE_ORCHESTRATION_RUN_ID"] == OTHER_RUN
    for run, left in ((second, RUN), (first, None)) if "last" in order else ((first, OTHER_RUN), (second, None)):
        run.end()
        assert told().get("DBBTRACE_ORCHESTRATION_RUN_ID") == left
    assert told() == before


def test_what_the_job_sets_meanwhile_is_left_alone(captured):
    """The end of the run undoes its own variables only."""
    with dbbtrace.orchestration_run(RUN, data_product="Finance"):
        os.environ["DBBTRACE_DATA_PRODUCT"] = "Mine"
        os.environ.pop("TRACEPARENT")
    assert told() == {"DBBTRACE_DATA_PRODUCT": "Mine"}
    del os.environ["DBBTRACE_DATA_PRODUCT"]


@pytest.mark.parametrize("product", ["nul \0 inside", "surrogate \ud800 inside"])
def test_a_value_that_no_environment_holds_is_not_told(captured, product):
    """The run goes on, and so do its child processes."""
    with dbbtrace.orchestration_run(RUN, data_product=product, environment="TST"):
        assert "DBBTRACE_DATA_PRODUCT" not in dbbtrace.child_environment()
        assert os.environ["DBBTRACE_ENVIRONMENT"] == "TST"
        assert attributes_of_a_load(captured)[key.DATA_PRODUCT] == product
    assert told() == {}


def test_an_environment_left_dirty_by_another_run_counts_for_that_run(captured, monkeypatch):
    """RUN_BY_HAND and TRACEPARENT of a run that is over: this one is no run by hand, and has its own root."""
    monkeypatch.setenv("DBBTRACE_RUN_BY_HAND", "1")
    monkeypatch.setenv("DBBTRACE_ORCHESTRATION_RUN_ID", OTHER_RUN)
    monkeypatch.setenv("TRACEPARENT", f"00-{OTHER_RUN.replace('-', '')}-00000000000000ab-01")
    with dbbtrace.orchestration_run(RUN, data_product="Finance") as run:
        assert not run.manual
        assert "DBBTRACE_RUN_BY_HAND" not in dbbtrace.child_environment()
        assert "DBBTRACE_RUN_BY_HAND" not in os.environ
    root = captured.named("orchestration_run Finance")
    assert root.parent is None
    assert [f"{link.context.span_id:x}" for link in root.links] == ["ab"]


def test_a_child_of_a_run_by_hand_emits_no_root_of_its_own(captured, monkeypatch):
    """With a journal directory of its own it could not know that the parent has emitted it."""
    monkeypatch.setenv("DBBTRACE_RUN_BY_HAND", "1")
    monkeypatch.setenv("DBBTRACE_ORCHESTRATION_RUN_ID", RUN)
    with dbbtrace.join_run() as run, dbbtrace.step("work"):
        assert run.manual
    assert [span.name for span in captured.spans] == ["work"]
    assert captured.named("work").parent.span_id == identity.root_span_id(identity.trace_id_of(RUN))


@pytest.mark.parametrize(
    "header",
    [
        "00-{trace}-00000000000000ab-01-extra",
        "01-{trace}-00000000000000ab-00",
        "00-{TRACE}-00000000000000AB-01",
    ],
)
def test_traceparents_of_other_writers_are_read(captured, monkeypatch, header):
    """A later version, more fields, upper case, not sampled: still the parent."""
    trace = RUN.replace("-", "")
    monkeypatch.setenv("TRACEPARENT", header.format(trace=trace, TRACE=trace.upper()))
    with dbbtrace.join_run(RUN), dbbtrace.step("inside"):
        pass
    assert captured.named("inside").parent.span_id == 0xAB


@pytest.mark.parametrize(
    "header",
    [
        "ff-{trace}-00000000000000ab-01",
        "00-{trace}-0000000000000000-01",
        "00-{trace}-00000000000000ab",
        "00-+{trace:.31}-00000000000000ab-01",
        "00-{trace:.30}_1-00000000000000ab-01",
    ],
)
def test_what_only_looks_like_a_traceparent_is_none(captured, monkeypatch, header):
    """int() would read some of them."""
    monkeypatch.setenv("TRACEPARENT", header.format(trace=RUN.replace("-", "")))
    with dbbtrace.join_run(RUN), dbbtrace.step("inside"):
        pass
    assert captured.named("inside").parent.span_id == identity.root_span_id(identity.trace_id_of(RUN))
