"""Values of a handle: typed, checked where they are written."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dbbtrace
from dbbtrace.errors import UsageError
from dbbtrace.job.values import count
from dbbtrace.model import attributes as key
from dbbtrace.model.times import format_utc, iso_utc, to_unix_nanos
from dbbtrace.testing import capture

RUN = "1c9e7f6a-0b1d-4f6e-9a53-3f0f6f2d8e11"


@pytest.mark.parametrize(
    "value", [10, numpy.int64(10), numpy.uint8(10), Decimal(10), Decimal("10.0"), 10.0, numpy.float32(10), "10"]
)
def test_whole_numbers_of_every_library_are_counts(value):
    """numpy and Decimal integers too; they arrive as plain int."""
    with capture() as captured, dbbtrace.join_run(RUN), dbbtrace.table_load("Customer") as load:
        load.rows_written = value
        assert load.rows_written == 10
    stored = captured.named("load Customer").attributes[key.ROWS_WRITTEN]
    assert type(stored) is int
    assert stored == 10


@pytest.mark.parametrize(
    "value", [10.5, "ten", True, numpy.True_, -1, 2**63, float("nan"), Decimal("NaN"), [1], object(), "", 1j]
)
def test_what_is_no_count_is_left_out_with_value_and_line(value, caplog):
    """A warning names value and line; the rest of the row stands."""
    with capture(strict=False) as captured, dbbtrace.join_run(RUN), dbbtrace.table_load("Customer") as load:
        load.rows_read = 5
        load.rows_written = value
    attributes = captured.named("load Customer").attributes
    assert key.ROWS_WRITTEN not in attributes
    assert attributes[key.ROWS_READ] == 5
    assert repr(value)[:20] in caplog.text
    assert Path(__file__).name in caplog.text


def test_strict_raises_it():
    """In tests a mistake is an error."""
    with capture(strict=True), dbbtrace.join_run(RUN), dbbtrace.table_load("Customer") as load:
        with pytest.raises(UsageError, match="rows_written = 'ten'"):
            load.rows_written = "ten"


def test_a_value_that_comes_after_the_end_is_said():
    """The row has been written by then."""
    with capture(), dbbtrace.join_run(RUN):
        with dbbtrace.table_load("Customer") as load:
            pass
        with pytest.raises(UsageError, match=r"has ended; .* is ignored"):
            load.rows_written = 1


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_counts_keep_their_value(value):
    """Whatever the type that carries it."""
    assert count(value) == count(Decimal(value)) == count(str(value)) == value


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2025-06-14T19:47:13.1234567Z", "2025-06-14T19:47:13.123456700Z"),
        ("2025-06-14T19:47:13.1234567", "2025-06-14T19:47:13.123456700Z"),
        ("2025-06-14 21:47:13+02:00", "2025-06-14T19:47:13.000000Z"),
        ("2025-06-14T19:47:13.123456789Z", "2025-06-14T19:47:13.123456789Z"),
        ("6/14/2025, 7:47:13 PM", "2025-06-14T19:47:13.000000Z"),
        ("6/14/2025, 12:47:13 AM", "2025-06-14T00:47:13.000000Z"),
        ("2025-06-14", "2025-06-14T00:00:00.000000Z"),
        (1749930433, "2025-06-14T19:47:13.000000Z"),
        (1749930433.5, "2025-06-14T19:47:13.500000Z"),
        (1749930433500, "2025-06-14T19:47:13.500000Z"),
        (1749930433123456789, "2025-06-14T19:47:13.123456789Z"),
    ],
)
def test_points_in_time_of_every_tool_are_read(written, read):
    """Fabric's seven digits, the portal's words, dbt's and Fusion's digits, epoch numbers."""
    assert iso_utc(to_unix_nanos(written)) == read


@pytest.mark.parametrize(
    "value", ["", "yesterday", "2025-13-01", "25/06/2025 1:1:1", None, float("nan"), True, "2025-06-14T25:00:00Z"]
)
def test_what_is_no_point_in_time_is_an_error(value):
    """Never a guess: a wrong time moves a watermark."""
    with pytest.raises(ValueError):
        to_unix_nanos(value)


@given(st.integers(min_value=-62_135_596_800 * 10**9, max_value=253_402_300_799 * 10**9), st.integers(0, 9))
def test_columns_floor_and_never_round(nanos, digits):
    """Rounding up a watermark would skip source rows for ever."""
    text = format_utc(nanos, digits)
    assert to_unix_nanos(text) <= nanos < to_unix_nanos(text) + 10 ** (9 - digits)


def test_own_attributes_are_on_the_span(captured):
    """A job sets attributes of its own while the work goes on."""
    with dbbtrace.join_run(RUN), dbbtrace.table_load("Customer") as load:
        load.set_attribute("shop.files", 3)
    assert captured.named("load Customer").attributes["shop.files"] == 3


def test_a_value_that_is_taken_back_is_not_on_the_span(captured):
    """What the work inherits is there again."""
    with dbbtrace.orchestration_run(), dbbtrace.integration(pipeline_run_id="outer"):
        with dbbtrace.table_load("t", schema="s") as load:
            load.schema = None
            load.pipeline_run_id = "own"
            load.pipeline_run_id = None
    span = captured.named("load s.t")
    assert key.SCHEMA_NAME not in span.attributes
    assert span.attributes[key.PIPELINE_RUN_ID] == "outer"


def test_an_attribute_outside_of_the_work_is_left_out_with_a_message(lenient, caplog):
    """Before the start and after the end there is no span that takes it. The job goes on."""
    load = dbbtrace.table_load("Customer")
    load.set_attribute("shop.files", 3)
    with dbbtrace.join_run(RUN), load:
        pass
    load.set_attribute("shop.files", 4)
    assert "shop.files" not in lenient.named("load Customer").attributes
    assert [
        record.getMessage().split(" is left out")[0] for record in caplog.records if "left out" in record.message
    ] == [
        "shop.files = 3",
        "shop.files = 4",
    ]
