"""How work ends: whatever is raised, wherever it ends, its span ends with it and the job goes its own way."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from opentelemetry.trace import StatusCode

import dbbtrace
from dbbtrace.model import attributes as key
from dbbtrace.testing import TimeGenerator, capture
from dbbtrace.tracing import runtime
from tests.delivery.test_backends import wait_until
from tests.job.support import RUN, parent_of


class MuteError(Exception):
    """An exception that can't be told."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Leave(BaseException):
    """Somebody's own way out."""


@pytest.mark.parametrize(
    "error",
    [
        MuteError(),
        Leave("left"),
        GeneratorExit(),
        StopIteration(3),
        StopAsyncIteration(),
        RecursionError("deep"),
        MemoryError(),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        ValueError("nul \0 and surrogate \ud800"),
        ValueError("x" * 1_000_000),
        type("Odd", (Exception,), {"__module__": None})("odd"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_is_raised_goes_on_and_the_span_ends_as_failed(lenient, error):
    """Also what has no text, is no Exception, or means something to the interpreter."""
    with pytest.raises(type(error)) as raised, dbbtrace.join_run(RUN), dbbtrace.table_load("Customer"):
        raise error
    assert raised.value is error
    span = lenient.named("load Customer")
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes[key.STATUS] == "Failed"
    assert span.attributes[key.ERROR_TYPE].rpartition(".")[2] == type(error).__name__
    assert span.attributes[key.ERROR_MESSAGE]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no Python with exception groups: it runs under 3.11 and newer")
def test_the_exceptions_of_a_group_are_told(captured):
    """The event holds them all."""
    group = ExceptionGroup("two went wrong", [ValueError("first"), KeyError("second")])  # noqa: F821
    with pytest.raises(ExceptionGroup), dbbtrace.join_run(RUN), dbbtrace.table_load("Customer"):  # noqa: F821
        raise group
    span = captured.named("load Customer")
    assert span.attributes[key.ERROR_TYPE] == "ExceptionGroup"
    trace = span.events[0].attributes["exception.stacktrace"]
    assert "first" in trace
    assert "second" in trace


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (ValueError("x"), "failure"),
        (SystemExit(0), "failure"),
        (KeyboardInterrupt(), "cancellation"),
        (asyncio.CancelledError(), "cancellation"),
        (GeneratorExit(), "cancellation"),
        (TimeoutError(), "timeout"),
        (asyncio.TimeoutError(), "timeout"),
    ],
)
def test_results_are_those_of_the_semantic_conventions(captured, error, result):
    """failure: the work failed; error would be a fault of the system that runs it, such as a killed process."""
    with pytest.raises(type(error)), dbbtrace.join_run(RUN), dbbtrace.step("work"):
        raise error
    assert captured.named("work").attributes["cicd.pipeline.task.run.result"] == result


def test_a_handle_ended_inside_its_own_block_leaves_its_context(captured):
    """What follows is not hung on work that has ended."""
    with dbbtrace.join_run(RUN), dbbtrace.step("outer"):
        with dbbtrace.step("early") as early:
            early.end()
            early.end()
        with dbbtrace.step("after"):
            pass
    assert parent_of(captured, "after") == "outer"


def test_work_ended_by_another_thread_leaves_the_context_it_began_in(captured, caplog):
    """A watchdog may end what the main thread began; nothing is logged about contexts."""
    caplog.set_level(logging.DEBUG)
    with dbbtrace.join_run(RUN), dbbtrace.step("outer"):
        with dbbtrace.step("watched") as watched:
            thread = threading.Thread(target=watched.end, args=(TimeoutError("too long"),))
            thread.start()
            thread.join()
        with dbbtrace.step("after"):
            pass
    assert captured.named("watched").attributes[key.ERROR_TYPE] == "TimeoutError"
    assert parent_of(captured, "after") == "outer"
    assert not caplog.records


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
@pytest.mark.parametrize("how", ["with", "start"])
def test_blocks_that_end_out_of_order_leave_nothing_behind(captured, order, how):
    """Interleaved generators and notebook cells do that."""
    with dbbtrace.join_run(RUN), dbbtrace.step("outer"):
        works = {}
        for name in ("a", "b"):
            works[name] = dbbtrace.step(name)
            works[name].start() if how == "start" else works[name].__enter__()
        for name in order:
            works[name].end() if how == "start" else works[name].__exit__(None, None, None)
        with dbbtrace.step("after"):
            pass
    assert parent_of(captured, "after") == "outer"


def test_a_handle_used_again_is_work_of_its_own(captured):
    """One after the other, inside itself, and in threads at once: each entry has a span, and each ends."""
    work = dbbtrace.step("work")
    together = threading.Barrier(4)

    def use():
        with work:
            together.wait(timeout=30)

    with dbbtrace.orchestration_run(RUN):
        with work:
            pass
        with work as outer, work as inner:
            assert inner is not outer
        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with dbbtrace.step("after"):
            pass
    ids = [span.context.span_id for span in captured.spans if span.name == "work"]
    assert len(ids) == len(set(ids)) == 7
    assert parent_of(captured, "after").startswith("orchestration_run")


def test_a_load_entered_again_while_it_runs_is_said(captured):
    """Its values would be those of the first."""
    load = dbbtrace.table_load("Customer")
    with (
        dbbtrace.join_run(RUN),
        load,
        pytest.raises(dbbtrace.UsageError, match="load Customer is entered while it runs"),
    ):
        load.__enter__()


def test_a_started_handle_may_be_ended_by_a_block(captured):
    """``with dbbtrace.step("x").start():`` and ``with dbbtrace.begin_run(...):`` do what they read like."""
    with dbbtrace.begin_run(RUN) as run:
        with dbbtrace.step("started").start():
            pass
        with dbbtrace.step("after"):
            pass
    assert run.run_id == RUN
    assert [span.name for span in captured.spans] == ["started", "after"]
    assert captured.named("after").parent.span_id == captured.named("started").parent.span_id


def test_end_takes_a_reason_as_well(captured):
    """A text where an exception is asked for says why all the same."""
    with dbbtrace.join_run(RUN):
        dbbtrace.table_load("Customer").start().end("source is gone")  # type: ignore[arg-type]
    attributes = captured.named("load Customer").attributes
    assert attributes[key.STATUS] == "Failed"
    assert attributes[key.ERROR_MESSAGE] == "source is gone"


def test_time_that_goes_backwards_makes_no_negative_duration(captured):
    """A clock that was set back while the work ran."""
    with capture(clock=TimeGenerator(step=-3.0)) as captured, dbbtrace.join_run(RUN):
        with dbbtrace.dbt_node("model.shop.a"):
            pass
        with dbbtrace.step("work"):
            pass
    for span in captured.spans:
        assert span.end_time >= span.start_time
    assert captured.named("model.shop.a").attributes[key.DBT_EXECUTION_TIME] >= 0


def test_values_set_by_other_threads_while_the_work_ends_do_no_harm(lenient):
    """A progress thread writes on until it is stopped."""
    stop = threading.Event()
    with dbbtrace.join_run(RUN):
        for _ in range(20):
            with dbbtrace.table_load("Customer") as load:

                def write(load=load):
                    number = 0
                    while not stop.is_set():
                        number += 1
                        load._set(f"dbb.test.{number % 500}", number)

                thread = threading.Thread(target=write)
                thread.start()
                load.save()
            stop.set()
            thread.join()
            stop.clear()
    assert len(lenient.operations("table_load")) == 20


def test_a_fault_amid_the_start_leaves_no_span_open(lenient, monkeypatch):
    """Ctrl-C between the start of the span and the first line of the block: no exit of the block would end it."""
    from dbbtrace.job import handle

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with dbbtrace.join_run(RUN):
        monkeypatch.setattr(handle, "enter", interrupted)
        with pytest.raises(KeyboardInterrupt):
            dbbtrace.table_load("Customer").__enter__()
    assert lenient.named("load Customer").attributes[key.STATUS] == "Failed"


def test_thousands_of_spans_leave_nothing_in_memory(lenient):
    """Neither scopes nor handles nor contexts pile up."""
    import gc
    import tracemalloc

    from dbbtrace.job import scope

    def work(times):
        for _ in range(times):
            with dbbtrace.integration(), dbbtrace.table_load("Customer") as load:
                load.rows_written = 1
            dbbtrace.step("started").start().end()
            lenient.spans.clear()
            lenient.started.clear()
            lenient.parts.clear()

    with dbbtrace.join_run(RUN):
        work(100)
        gc.collect()
        tracemalloc.start()
        work(100)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        work(1000)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    assert not scope._opened
    assert after - before < 20_000


def test_what_was_lost_before_the_run_is_not_held_against_it(tmp_path: Path) -> None:
    """A row that the warehouse refuses makes ``flush()`` False in the run that it came from, not in the next one."""
    warehouse = tmp_path / "rows.db"
    dbbtrace.configure(warehouse=f"sqlite:///{warehouse}", journal_dir=tmp_path / "journal", rows_timeout=0)
    dbbtrace.migrate()
    with closing(sqlite3.connect(warehouse)) as database:
        database.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON monitoring_integration WHEN NEW.table_name = 'Bad' "
            "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        )
    with dbbtrace.orchestration_run(str(uuid4())), dbbtrace.table_load("Bad"):
        pass
    wait_until(lambda: not runtime.current().delivery.left())
    with dbbtrace.orchestration_run(str(uuid4())):
        with dbbtrace.table_load("Good"):
            pass
        assert dbbtrace.flush(30)
        with dbbtrace.table_load("Bad"):
            pass
        assert not runtime.current().delivery.force_flush(0)
        wait_until(lambda: not runtime.current().delivery.left())
        with dbbtrace.join_run():  # a run inside the run forgets nothing
            pass
        assert not dbbtrace.flush(30)
        assert dbbtrace.flush(30), "it has been told"
