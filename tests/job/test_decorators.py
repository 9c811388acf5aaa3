"""Handles as decorators: every call is work of its own, and what is decorated behaves as it did."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

import dbbtrace
from dbbtrace.model import attributes as key
from tests.job.support import RUN, parent_of


@pytest.fixture(autouse=True)
def run(captured):
    with dbbtrace.join_run(RUN) as run:
        yield run


class Job:
    @dbbtrace.step("method")
    def method(self, value):
        """What it does."""
        return self, value

    @dbbtrace.step("above")
    @classmethod
    def above(cls):
        return cls

    @classmethod
    @dbbtrace.step("below")
    def below(cls):
        return cls

    @dbbtrace.step("static")
    @staticmethod
    def static(value):
        return value

    @property
    @dbbtrace.step("property")
    def value(self):
        return 7


def test_methods_of_every_kind(captured):
    """self and cls arrive, above and below the other decorators."""
    job = Job()
    assert job.method(1) == (job, 1)
    assert Job.above() is job.above() is Job.below() is Job
    assert Job.static(2) == job.static(2) == 2
    assert job.value == 7
    assert Job.method.__doc__ == "What it does."
    assert list(inspect.signature(Job.method).parameters) == ["self", "value"]
    names = [span.name for span in captured.spans]
    assert [names.count(name) for name in ("method", "above", "below", "static", "property")] == [1, 2, 1, 2, 1]


def test_without_its_parentheses_a_decorator_says_so():
    """It must never take the place of the function in silence."""
    decorated = dbbtrace.orchestration_run(lambda value: value)
    with pytest.raises(TypeError, match="only a function can be decorated"):
        decorated(3)
    with pytest.raises(TypeError, match="only a function can be decorated"):
        dbbtrace.step("name")(None)  # type: ignore[type-var]


@dbbtrace.step("echo")
def echo():
    received = []
    while True:
        try:
            received.append((yield received))
        except KeyError as error:
            received.append(error)
        if received[-1] == "stop":
            return len(received)


@dbbtrace.step("echo")
async def async_echo():
    received = []
    while True:
        try:
            received.append((yield received))
        except KeyError as error:
            received.append(error)
        if received[-1] == "stop":
            return


def test_what_is_sent_and_thrown_into_a_generator_arrives(captured):
    """And what it returns comes back; one span, from the first item to the end."""
    error = KeyError("thrown")
    generator = echo()
    next(generator)
    assert generator.send("sent") == ["sent"]
    assert generator.throw(error) == ["sent", error]
    assert not captured.spans
    with pytest.raises(StopIteration) as stopped:
        generator.send("stop")
    assert stopped.value.value == 3
    assert captured.named("echo").attributes["cicd.pipeline.task.run.result"] == "success"


def test_what_is_sent_and_thrown_into_an_async_generator_arrives(captured):
    """The same for those that are awaited."""
    error = KeyError("thrown")

    async def consume():
        generator = async_echo()
        await generator.__anext__()
        assert await generator.asend("sent") == ["sent"]
        assert await generator.athrow(error) == ["sent", error]
        with pytest.raises(StopAsyncIteration):
            await generator.asend("stop")

    asyncio.run(consume())
    assert captured.named("echo").attributes["cicd.pipeline.task.run.result"] == "success"


def test_a_generator_closed_early_has_not_finished_its_work(captured):
    """A load that streams and is left half-way must not move the watermark."""
    cleaned = []

    @dbbtrace.table_load("Customer")
    def rows():
        try:
            yield from range(10)
        finally:
            cleaned.append(1)

    for _ in rows():
        break
    gc.collect()
    assert cleaned == [1]
    attributes = captured.named("load Customer").attributes
    assert attributes[key.STATUS] == "Failed"
    assert attributes[key.ERROR_TYPE] == "GeneratorExit"


@pytest.mark.parametrize("how", ["closed", "abandoned"])
def test_an_async_generator_closed_early_ends_in_whatever_task(captured, caplog, how):
    """aclose() closes the one inside as well; the event loop closes what was abandoned, in another context."""
    caplog.set_level(logging.DEBUG, logger="opentelemetry")
    cleaned = []

    @dbbtrace.table_load("Customer")
    async def rows():
        try:
            for number in range(10):
                yield number
        finally:
            cleaned.append(1)

    async def consume():
        generator = rows()
        async for _ in generator:
            break
        if how == "closed":
            await generator.aclose()
        else:
            del generator
            gc.collect()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    asyncio.run(consume())
    assert cleaned == [1]
    assert captured.named("load Customer").attributes[key.STATUS] == "Failed"
    assert not caplog.records


@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_stop_iteration_inside_a_generator_is_the_error_that_python_makes_of_it(captured, kind):
    """PEP 479, decorated or not."""

    @dbbtrace.step("work")
    def generator():
        yield 1
        raise StopIteration

    @dbbtrace.step("work")
    async def async_generator():
        yield 1
        raise StopAsyncIteration

    async def consume():
        return [item async for item in async_generator()]

    with pytest.raises(RuntimeError):
        list(generator()) if kind == "generator" else asyncio.run(consume())
    assert captured.named("work").attributes[key.ERROR_TYPE] == "RuntimeError"


def test_interleaved_generators_leave_nothing_behind(captured):
    """Each ends where the other is current."""

    @dbbtrace.step("work")
    def count():
        yield 1
        yield 2

    with dbbtrace.step("outer"):
        first, second = count(), count()
        assert [next(first), next(second), next(first), next(second)] == [1, 1, 2, 2]
        first.close()
        second.close()
        with dbbtrace.step("after"):
            pass
    assert parent_of(captured, "after") == "outer"


def test_a_decorated_context_manager_surrounds_its_block(captured):
    """The step lasts as long as the block, and is the parent of what happens there."""

    @contextmanager
    @dbbtrace.step("session")
    def session():
        yield "connection"

    with session() as connection, dbbtrace.step("query"):
        assert connection == "connection"
    assert parent_of(captured, "query") == "session"


def test_decorated_functions_run_in_threads_and_call_themselves(captured):
    """A span for each call, nested as the calls are."""

    @dbbtrace.step("factorial")
    def factorial(number):
        return number * factorial(number - 1) if number else 1

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(factorial, [4] * 8)) == [24] * 8
    assert len(captured.spans) == 40
    deepest = [
        span for span in captured.spans if span.parent.span_id not in {s.context.span_id for s in captured.spans}
    ]
    assert len(deepest) == 8


def test_recursion_to_pythons_own_limit_is_the_jobs_error(lenient):
    """Where dbbtrace itself has no room left it steps aside."""

    @dbbtrace.step("deep")
    def deep():
        return deep()

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 200)
    try:
        with pytest.raises(RecursionError):
            deep()
    finally:
        sys.setrecursionlimit(limit)
    with dbbtrace.join_run(RUN), dbbtrace.step("after"):
        pass
    assert lenient.named("after").parent.span_id != lenient.spans[0].context.span_id


def test_a_run_as_decorator_opens_one_each_call(captured):
    """The first emits the root, the next is a step under it."""

    @dbbtrace.orchestration_run("nightly", data_product="Finance")
    async def job():
        with dbbtrace.step("inside"):
            pass

    asyncio.run(job())
    asyncio.run(job())
    roots = [span for span in captured.spans if span.parent is None]
    assert [span.name for span in roots] == ["orchestration_run Finance"]


def test_handles_can_be_copied_and_pickled_before_they_start(captured):
    """As closures are, on their way to Spark or Dask."""
    load = pickle.loads(pickle.dumps(dbbtrace.table_load("Customer", schema="mdm", source="MDS")))
    run = pickle.loads(pickle.dumps(dbbtrace.orchestration_run(RUN, data_product="Finance")))
    with run, load:
        load.rows_written = 3
    attributes = captured.named("load mdm.Customer").attributes
    assert attributes[key.SOURCE_NAME] == "MDS"
    assert attributes[key.ROWS_WRITTEN] == 3


def test_the_copy_of_work_that_runs_is_no_part_of_it(lenient, caplog):
    """Values set on it elsewhere don't come back; that is said, and the work itself is not touched."""
    with dbbtrace.table_load("Customer") as load:
        copy = pickle.loads(pickle.dumps(load))
        copy.rows_written = 3
        copy.end()
    assert "copied while it runs" in caplog.text
    assert key.ROWS_WRITTEN not in lenient.named("load Customer").attributes
    assert lenient.named("load Customer").attributes[key.STATUS] == "Succeeded"
