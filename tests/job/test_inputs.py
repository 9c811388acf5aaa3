"""Wrong inputs of every kind: what makes no sense is left out and said, with the line, and nothing is raised."""

from __future__ import annotations

import enum
import functools
import inspect
import logging
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import numpy
import pandas
import pytest
from opentelemetry.trace import StatusCode

import dbbtrace
from dbbtrace.model import attributes as key
from dbbtrace.model.times import iso_utc, to_unix_nanos
from dbbtrace.testing import TimeGenerator, capture
from tests.job.support import PIPELINE, RUN


class Hostile:
    """Raises whatever it is asked."""

    def _no(self, *arguments):
        raise RuntimeError("leave me alone")

    __str__ = __repr__ = __index__ = __int__ = __float__ = __eq__ = __len__ = __iter__ = __bool__ = _no
    __hash__ = None


class Frame:
    """Like a DataFrame: a comparison is no truth value."""

    def __eq__(self, other):
        return self

    def __bool__(self):
        raise ValueError("The truth value of a DataFrame is ambiguous")

    __hash__ = None


class Kind(str, enum.Enum):
    FULL = "full"


ODD = [
    None,
    True,
    0,
    -1,
    10**5000,
    1.5,
    float("nan"),
    float("inf"),
    1j,
    Decimal("sNaN"),
    b"bytes",
    "",
    "  ",
    "\0",
    "\ud800",
    "x" * 1_000_000,
    [],
    {"a": 1},
    object(),
    object,
    Hostile(),
    Frame(),
    Path("x"),
    UUID(PIPELINE),
    Kind.FULL,
    numpy.int64(3),
    numpy.float32("nan"),
    numpy.bool_(True),
    numpy.str_("numpy"),
    numpy.array([1, 2]),
    numpy.datetime64("2025-06-14T19:47:13"),
    numpy.datetime64("NaT", "ns"),
    datetime(2025, 6, 14, tzinfo=timezone(timedelta(hours=2))),
    date(2025, 6, 14),
    lambda: None,
    ValueError("an exception"),
]


def name_of(value: object) -> str:
    return type(value).__name__


def settable(kind: type) -> list[str]:
    from dbbtrace.job.values import Value

    return sorted({name for name, _ in inspect.getmembers(kind, lambda member: isinstance(member, Value))})


@pytest.mark.parametrize("value", ODD, ids=name_of)
def test_nothing_that_is_passed_raises(lenient, value):
    """Every parameter of every function, one at a time."""
    functions = [
        dbbtrace.orchestration_run,
        dbbtrace.join_run,
        dbbtrace.integration,
        dbbtrace.transformation,
        dbbtrace.consumption,
        functools.partial(dbbtrace.table_load, "Customer"),
        functools.partial(dbbtrace.dbt_node, "model.shop.a"),
        functools.partial(dbbtrace.model_refresh, "m1"),
    ]
    for function in functions:
        called = getattr(function, "func", function)
        first, *rest = inspect.signature(called).parameters
        for work in [called(**{first: value}), *(function(**{parameter: value}) for parameter in rest)]:
            with work:
                pass
    for called, first in ((dbbtrace.record_load, "table"), (dbbtrace.record_refresh, "model_id")):
        for parameter in inspect.signature(called).parameters:
            called(**{first: "m1", "started_at": 1_700_000_000, parameter: value})
    dbbtrace.step(value).start().end()
    dbbtrace.step("step", anything=value).start().end()
    dbbtrace.begin_run(value).end()
    dbbtrace.begin_run({"orchestration_run_id": value, "data_product": value}).end()
    # Two ways to say that a refresh still runs give no row; every other call gives one.
    assert len(lenient.operations("table_load")) >= 30


@pytest.mark.parametrize("value", ODD, ids=name_of)
def test_nothing_that_is_set_raises(lenient, value):
    """Every value of every kind of work, and what is marked as failed."""
    with dbbtrace.join_run(RUN):
        for work in (
            dbbtrace.table_load("Customer"),
            dbbtrace.dbt_node("model.shop.a"),
            dbbtrace.model_refresh("m1"),
            dbbtrace.integration(),
        ):
            with work:
                for name in settable(type(work)):
                    setattr(work, name, value)
                work.fail(value, error_type=value)
                work.save()
            assert lenient.spans[-1].status.description
    assert lenient.named("load Customer").attributes[key.STATUS] == "Failed"


def test_what_names_nothing_is_said(lenient, caplog):
    """A row that reads ? was worth a word."""
    with dbbtrace.join_run(RUN), dbbtrace.table_load(None):  # type: ignore[arg-type]
        dbbtrace.record_load(" ", started_at=1_700_000_000)
    assert caplog.text.count("it names nothing") == 2
    assert {span.attributes[key.TABLE_NAME] for span in lenient.operations("table_load")} == {"?"}


def test_the_line_is_the_users(lenient, caplog):
    """In a function of theirs, in a callback of functools, in a task, in a folder called asyncio."""
    import asyncio

    code = compile("def careless(load):\n    load.rows_written = 'many'\n", "/home/me/asyncio/job.py", "exec")
    names: dict[str, object] = {}
    exec(code, names)

    async def task(load):
        load.rows_read = "few"

    with dbbtrace.join_run(RUN), dbbtrace.table_load("Customer") as load:
        names["careless"](load)  # type: ignore[operator]
        line = inspect.currentframe().f_lineno + 1
        functools.partial(setattr, load, "data_read", "much")()
        asyncio.run(task(load))
    text = caplog.text
    assert "rows_written = 'many' is left out: it is not a count (/home/me/asyncio/job.py:2)" in text
    assert f"data_read = 'much' is left out: it is not a count ({__file__}:{line})" in text
    assert f"rows_read = 'few' is left out: it is not a count ({__file__}:{task.__code__.co_firstlineno + 1})" in text


def test_a_status_that_a_load_does_not_know_is_said_where_it_is_set(lenient, caplog):
    """Not at the end of the block."""
    with dbbtrace.join_run(RUN), dbbtrace.table_load("Customer") as load:
        line = inspect.currentframe().f_lineno + 1
        load.status = "Succeded"
    assert f"is not an outcome of a load, so it is Failed: write Succeeded or Failed ({__file__}:{line})" in caplog.text
    assert lenient.named("load Customer").attributes[key.STATUS] == "Failed"  # it must not move the watermark


@pytest.mark.parametrize("status", ["", "Running", " In Progress "])
def test_a_status_that_says_nothing_of_the_outcome_is_left_out(lenient, caplog, status):
    """The load succeeded: nothing was raised."""
    with dbbtrace.join_run(RUN), dbbtrace.table_load("Customer") as load:
        load.status = status
    assert "is left out" in caplog.text
    assert lenient.named("load Customer").attributes[key.STATUS] == "Succeeded"


@pytest.mark.parametrize("status", ["Succeded", "Running", "", 5, object(), b"Succeeded"])
def test_a_load_recorded_with_a_word_nobody_knows_is_failed(lenient, caplog, status):
    """It must not move the watermark."""
    dbbtrace.record_load("Customer", started_at=1_700_000_000, run_id=RUN, status=status)
    span = lenient.named("load Customer")
    assert span.attributes[key.STATUS] == "Failed"
    assert "write Succeeded or Failed" in caplog.text or "is not text" in caplog.text


def test_a_failure_may_be_recorded_with_the_exception_itself(captured):
    """``except Exception as error: record_load(..., error_message=error)``."""
    dbbtrace.record_load("Customer", started_at=1_700_000_000, run_id=RUN, error_message=KeyError("id"))
    dbbtrace.record_refresh("m1", started_at=1_700_000_000, run_id=RUN, error_message="full")
    load, refresh = captured.named("load Customer"), captured.named("refresh m1")
    assert load.attributes[key.STATUS] == refresh.attributes[key.STATUS] == "Failed"
    assert (load.attributes[key.ERROR_TYPE], load.attributes[key.ERROR_MESSAGE]) == ("KeyError", "'id'")
    assert (refresh.attributes[key.ERROR_TYPE], refresh.attributes[key.ERROR_MESSAGE]) == ("Failed", "full")


MINUTE = 60 * 10**9


@pytest.mark.parametrize(
    ("ahead", "recorded"),
    [(-MINUTE, -MINUTE), (0, 0), (4 * MINUTE, 0), (6 * MINUTE, None), (24 * 60 * 365 * MINUTE, None)],
)
def test_a_start_ahead_of_the_clock(caplog, ahead, recorded):
    """Up to five minutes it is another clock's now; further ahead it is wrong. The watermark is never in the future."""
    clock = to_unix_nanos("2026-11-24T15:00:00Z")
    with capture(strict=False, clock=TimeGenerator(clock, step=0)) as captured:
        with dbbtrace.join_run(RUN):
            dbbtrace.record_load("Customer", started_at=iso_utc(clock + ahead))
    start = captured.named("load Customer").start_time
    assert start == clock + (recorded or 0)
    assert ("after now" in caplog.text) is (recorded is None)


@pytest.mark.parametrize("started_at", [0, "0001-01-01", "1989-12-31T23:59:59Z", datetime(1899, 12, 30)], ids=str)
def test_a_start_before_1990_is_wrong(lenient, caplog, started_at):
    """An empty cell of a spreadsheet, epoch 0: when the run began here is recorded instead."""
    with dbbtrace.join_run(RUN):
        dbbtrace.record_load("Customer", started_at=started_at)
    assert lenient.named("load Customer").start_time > to_unix_nanos("2020-01-01")
    assert "before 1990" in caplog.text


EMPTY = [
    None, "", "  ", [], {}, (), float("nan"), numpy.float64("nan"), numpy.array([]), pandas.NaT, pandas.NA,
    "null", "None", "[]", "{}", "nan", "NaT", "<NA>",
]  # fmt: skip


@pytest.mark.parametrize("empty", EMPTY, ids=repr)
def test_an_empty_error_is_no_error(captured, empty):
    """As a Copy's output, a refresh history and an empty cell of pandas say that all went well."""
    dbbtrace.record_load("T", started_at=1_700_000_000, error_message=empty, error_type=empty, run_id=RUN)
    dbbtrace.record_refresh("m", started_at=1_700_000_000, error_message=empty, run_id=RUN)
    load, refresh = captured.spans
    assert (load.attributes[key.STATUS], refresh.attributes[key.STATUS]) == ("Succeeded", "Completed")
    for span in captured.spans:
        assert key.ERROR_TYPE not in span.attributes
        assert span.status.status_code is not StatusCode.ERROR


@pytest.mark.parametrize("empty", [None, "", float("nan"), pandas.NA, []], ids=repr)
def test_a_failure_without_a_reason_is_one(captured, empty):
    """fail() says that the work failed, whatever its reason is; nan is no message that helps."""
    with dbbtrace.join_run(RUN), dbbtrace.table_load("T") as load:
        load.fail(empty)
    assert captured.named("load T").attributes[key.ERROR_MESSAGE] == "Failed"


@pytest.mark.parametrize("error", [["boom"], {"code": 5}, Exception(), "no", 0], ids=repr)
def test_any_other_error_is_one(captured, error):
    """An exception without text too."""
    dbbtrace.record_load("T", started_at=1_700_000_000, error_message=error, run_id=RUN)
    (load,) = captured.spans
    assert load.attributes[key.STATUS] == "Failed"


def test_a_load_whose_start_is_not_known_is_said(lenient, caplog):
    """The run's begin stands for it: the watermark must not skip source rows."""
    with dbbtrace.join_run(RUN):
        dbbtrace.record_load("Customer", started_at=None)
    assert "no start is known" in caplog.text


def test_texts_of_every_library_are_plain_text(captured):
    """An enum's value, not its name; numpy's text as Python's; a GUID in lower case."""
    with dbbtrace.join_run(RUN), dbbtrace.table_load(numpy.str_("Customer"), load_type=Kind.FULL) as load:
        load.source = Kind.FULL
        load.pipeline_run_id = UUID(PIPELINE)
    attributes = captured.named("load Customer").attributes
    assert attributes[key.LOAD_TYPE] == "FULL"
    assert attributes[key.SOURCE_NAME] == "full"
    assert attributes[key.PIPELINE_RUN_ID] == PIPELINE
    assert {type(attributes[name]) for name in (key.TABLE_NAME, key.SOURCE_NAME, key.LOAD_TYPE)} == {str}


def test_an_empty_cell_of_a_frame_is_no_text(lenient, caplog):
    """pandas says NaN where a cell is empty."""
    with dbbtrace.join_run(RUN), dbbtrace.table_load("Customer", schema=float("nan")):  # type: ignore[arg-type]
        pass
    assert "schema = nan is left out: it is not text" in caplog.text
    assert key.SCHEMA_NAME not in lenient.named("load Customer").attributes


def test_the_load_type_is_upper_case_however_it_is_said(lenient, caplog):
    """As the platform's tables have it."""
    with dbbtrace.join_run(RUN), dbbtrace.table_load("Customer") as load:
        load.load_type = " incremental "
        assert load.load_type == "INCREMENTAL"
        load.load_type = "delta"
    assert "write FULL or INCREMENTAL" in caplog.text


@pytest.mark.parametrize("name", ["rows_writen", "failed", "span", "end", "workload"])
def test_what_a_handle_does_not_take_is_said(lenient, caplog, name):
    """A typing error, or what is not to be set, would cost a value in silence."""
    with dbbtrace.join_run(RUN), dbbtrace.table_load("Customer") as load:
        line = inspect.currentframe().f_lineno + 1
        setattr(load, name, 3)
    assert f"{name} = 3 is left out: load Customer has no such value to set ({__file__}:{line})" in caplog.text
    assert lenient.named("load Customer").attributes[key.STATUS] == "Succeeded"


def test_a_step_takes_attributes_of_any_name(captured):
    """name, self and function too."""
    with dbbtrace.join_run(RUN), dbbtrace.step("copy", name="x", self="y", function="z"):
        pass
    attributes = captured.named("copy").attributes
    assert (attributes["name"], attributes["self"], attributes["function"]) == ("x", "y", "z")


def test_an_invocation_id_may_be_a_uuid(captured):
    """dbt hands out text, others a UUID."""
    with dbbtrace.join_run(RUN), dbbtrace.dbt_node("model.shop.a", invocation_id=UUID(PIPELINE)):  # type: ignore[arg-type]
        pass
    assert captured.named("model.shop.a").attributes[key.DBT_INVOCATION_ID] == PIPELINE


@pytest.mark.parametrize("run_id", [12345, UUID(RUN), RUN.upper(), numpy.str_(RUN), f"{{{RUN}}}", f" {RUN}\n"])
def test_run_ids_of_every_type_are_text(captured, run_id):
    """A number is written out."""
    with dbbtrace.join_run(run_id) as run:
        dbbtrace.record_load("Customer", started_at=1_700_000_000, run_id=run_id)
    assert run.run_id == str(run_id).strip(" \n{}").lower()
    assert captured.named("load Customer").attributes[key.RUN_ID] == run.run_id


@pytest.mark.parametrize("run_id", [float("nan"), b"run", object(), ["run"], True])
def test_what_is_no_run_id_counts_as_missing(lenient, caplog, run_id):
    """A run by hand, said twice: what was given, and what stands for it."""
    with dbbtrace.join_run(run_id) as run:
        assert run.manual
    assert "run_id = " in caplog.text
    assert "run by hand" in caplog.text


def test_a_log_handler_that_raises_does_not_break_the_job(lenient):
    """Some hosts hand records on to a logger of their own without a net."""

    class Broken(logging.Handler):
        def emit(self, record):
            raise OSError("no room")

    logger, broken = logging.getLogger("dbbtrace"), Broken()
    logger.addHandler(broken)
    try:
        with dbbtrace.join_run(RUN), dbbtrace.table_load("Customer") as load:
            load.rows_written = "many"
    finally:
        logger.removeHandler(broken)
    assert lenient.named("load Customer").attributes[key.STATUS] == "Succeeded"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (numpy.datetime64("2025-06-14T19:47:13.123456789"), "2025-06-14T19:47:13.123456789Z"),
        (numpy.datetime64("2025-06-14"), "2025-06-14T00:00:00.000000Z"),
        (numpy.int64(1749930433), "2025-06-14T19:47:13.000000Z"),
        (numpy.float64(1749930433.5), "2025-06-14T19:47:13.500000Z"),
        (date(2025, 6, 14), "2025-06-14T00:00:00.000000Z"),
        (datetime(2025, 6, 14, 21, 47, 13, tzinfo=timezone(timedelta(hours=2))), "2025-06-14T19:47:13.000000Z"),
    ],
)
def test_times_of_every_library_are_read(written, read):
    """What a column's maximum comes as."""
    assert iso_utc(to_unix_nanos(written)) == read


def test_times_of_pandas_are_read():
    """Its Timestamp is a datetime with nanoseconds; its NaT is one that equals nothing."""

    class Timestamp(datetime):
        nanosecond = 789

    class NaT(datetime):
        def __eq__(self, other):
            return False

        __hash__ = None

    written = Timestamp(2025, 6, 14, 21, 47, 13, 123456, tzinfo=timezone(timedelta(hours=2)))
    assert iso_utc(to_unix_nanos(written)) == "2025-06-14T19:47:13.123456789Z"
    with pytest.raises(ValueError, match="no point in time"):
        to_unix_nanos(NaT(1, 1, 1))
