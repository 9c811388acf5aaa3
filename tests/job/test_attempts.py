"""load.attempts(): whatever the loop does, the row tells what became of the load."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

import dbbtrace
from dbbtrace.model import attributes as key
from dbbtrace.model.times import to_unix_nanos
from tests.job.support import RUN, parent_of


@pytest.fixture(autouse=True)
def run(lenient):
    with dbbtrace.join_run(RUN):
        yield


def outcome(captured):
    """Status, error.type and error message of the load."""
    attributes = captured.named("load Customer").attributes
    return tuple(attributes.get(name) for name in (key.STATUS, key.ERROR_TYPE, key.ERROR_MESSAGE))


FAILED = ("Failed", "ConnectionError", "gone")
SUCCEEDED = ("Succeeded", None, None)


def test_a_load_given_up_after_a_swallowed_failure_is_failed(lenient, caplog):
    """The job saw nothing of it: Succeeded would move the watermark past rows that never came."""
    with dbbtrace.table_load("Customer") as load:
        for attempt in load.attempts(3):
            if attempt.number == 2:
                break  # out of time, say
            with attempt:
                raise ConnectionError("gone")
    assert outcome(lenient) == FAILED
    assert "load Customer, attempt 1: ConnectionError: gone; it is tried again" in caplog.text


def test_returning_or_breaking_inside_an_attempt_is_success(lenient):
    """The block ended well."""

    def job():
        with dbbtrace.table_load("Customer") as load:
            for attempt in load.attempts(3):
                with attempt:
                    if attempt.number == 2:
                        return "done"
                    raise ConnectionError("gone")
        return None

    assert job() == "done"
    assert outcome(lenient) == SUCCEEDED
    assert [span.name for span in lenient.operations("load_attempt")] == ["attempt 1", "attempt 2"]


def test_an_exception_between_attempts_is_the_loads(lenient):
    """It goes on, and is what the row tells."""
    with pytest.raises(ValueError, match="between"), dbbtrace.table_load("Customer") as load:
        for attempt in load.attempts(3):
            with attempt:
                raise ConnectionError("gone")
            raise ValueError("between")
    assert outcome(lenient) == ("Failed", "ValueError", "between")


def test_an_attempt_passed_over_is_not_the_last_word(lenient):
    """continue before the block: the next attempt comes."""
    made = []
    with dbbtrace.table_load("Customer") as load:
        for attempt in load.attempts(3):
            if attempt.number < 3:
                continue
            with attempt:
                made.append(attempt.number)
    assert made == [3]
    assert outcome(lenient) == SUCCEEDED


def test_a_load_of_which_no_attempt_was_made_has_not_succeeded(lenient):
    """continue each time."""
    with dbbtrace.table_load("Customer") as load:
        for _ in load.attempts(2):
            continue
    assert outcome(lenient) == ("Failed", "Failed", "no attempt was made")


@pytest.mark.parametrize("where", ["around the loop", "inside the loop"])
def test_an_exception_that_the_job_handles_is_the_jobs_to_judge(lenient, where):
    """That of the last attempt reaches the job; where it falls back to something else the load goes on."""
    with dbbtrace.table_load("Customer") as load:
        try:
            for attempt in load.attempts(2):
                try:
                    with attempt:
                        raise ConnectionError("gone")
                except ConnectionError:  # noqa: PERF203
                    if where == "around the loop":
                        raise
        except ConnectionError:
            pass
        load.rows_written = 3
    assert outcome(lenient) == SUCCEEDED


def test_the_jobs_own_word_counts_after_a_swallowed_failure(lenient):
    """A load that fell back to something else says so by its status."""
    with dbbtrace.table_load("Customer") as load:
        for attempt in load.attempts(3):
            with attempt:
                raise ConnectionError("gone")
            break
        load.status = "Succeeded"
    assert outcome(lenient) == SUCCEEDED


def test_an_attempt_marked_as_failed_is_tried_again(lenient):
    """fail() without an exception; the last one's reason is the load's."""
    with dbbtrace.table_load("Customer") as load:
        for attempt in load.attempts(2):
            with attempt:
                attempt.fail(f"empty, {attempt.number}", error_type="EmptySource")
    assert outcome(lenient) == ("Failed", "EmptySource", "empty, 2")


def test_the_start_that_the_job_sets_is_the_rows(lenient):
    """It knows better than the attempt when the source was read."""
    with dbbtrace.table_load("Customer") as load:
        for attempt in load.attempts(2):
            with attempt:
                load.started_at = "2025-06-14T19:47:13Z"
    assert lenient.named("load Customer").attributes[key.STARTED_AT] == "2025-06-14T19:47:13.000000Z"


def test_a_load_started_again_forgets_its_attempts(lenient):
    """A cell that runs again."""
    load = dbbtrace.table_load("Customer")
    with load:
        for attempt in load.attempts(2):
            with attempt:
                raise ConnectionError("gone")
            break
    with load:
        pass
    assert [span.attributes[key.STATUS] for span in lenient.operations("table_load")] == ["Failed", "Succeeded"]


def test_attempts_in_a_pool_hang_on_their_load(lenient):
    """The worker was handed no context, but it has the load."""

    def work(load):
        for attempt in load.attempts(2):
            with attempt:
                pass

    with dbbtrace.table_load("Customer") as load, ThreadPoolExecutor(1) as pool:
        pool.submit(work, load).result()
    assert parent_of(lenient, "attempt 1") == "load Customer"


def test_attempts_are_awaited_in_an_event_loop(lenient):
    """``async for``: the pause between attempts holds nobody up; cancellation is never swallowed."""
    ticks = []

    async def tick():
        for _ in range(5):
            ticks.append(1)
            await asyncio.sleep(0)

    async def job():
        other = asyncio.create_task(tick())
        async with dbbtrace.table_load("Customer") as load:
            async for attempt in load.attempts(3, delay=0.01):
                async with attempt:
                    if attempt.number == 1:
                        raise ConnectionError("gone")
        await other

    async def cancelled():
        async with dbbtrace.table_load("Other") as load:
            async for attempt in load.attempts(3):
                async with attempt:
                    raise asyncio.CancelledError

    asyncio.run(job())
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert outcome(lenient) == SUCCEEDED
    load, attempt = lenient.named("load Customer"), lenient.operations("load_attempt")[1]
    assert to_unix_nanos(load.attributes[key.STARTED_AT]) == attempt.start_time
    assert lenient.named("load Other").attributes[key.ERROR_TYPE] == "asyncio.exceptions.CancelledError"


@pytest.mark.parametrize(
    ("limit", "delay"), [(0, 0), (-1, 0), (None, None), ("two", "soon"), (1, -3), (1, float("nan"))]
)
def test_a_limit_that_makes_no_sense_means_once(lenient, limit, delay):
    """Never an exception of ours, never no attempt at all."""
    made = []
    with dbbtrace.table_load("Customer") as load:
        for attempt in load.attempts(limit, delay=delay):
            with attempt:
                made.append(attempt.last)
    assert made == [True]
