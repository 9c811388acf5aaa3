"""A finished span becomes the rows that the platform's readers expect, column for column."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dbbtrace_exporters.warehouse.flatten import flatten, rows_of
from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.model import attributes as key
from dbbtrace.model.identity import record_id
from dbbtrace.model.parts import lacking
from dbbtrace.model.times import to_unix_nanos
from tests.warehouse.spans import RUN, load, node, refresh, skipped, span


def flat(span: ReadableSpan) -> list[dict[str, Any]]:
    """The span's rows as dictionaries."""
    return [dict(zip(row.table.position, row.values, strict=True)) for row in rows_of(span)]


def only(span: ReadableSpan) -> dict[str, Any]:
    """The span's one row."""
    (row,) = flat(span)
    return row


def test_a_load_is_one_row():
    """Every column of monitoring_integration, spelled as its readers compare it."""
    assert only(load()) == {
        "table_name": "Customer",
        "schema_name": "mdm",
        "source_name": "MDS",
        "source_type": "SQL",
        "load_type": "INCREMENTAL",
        "workspace": "a2b0c6f2-9e5b-4c7b-8b9c-0d4c7a1e2f30",
        "status": "Succeeded",
        "timestamp": "2026-11-24 02:15:07",
        "duration": 11,
        "throughput": 2.0,
        "data_read": 23_572,
        "data_written": 11_786,
        "rows_read": 10,
        "rows_written": 9,
        "data_product": "Group-FinancialStatements",
        "orchestration_run_id": RUN,
        "integration_pipeline_source_run_id": "0d0d0d0d-1111-2222-3333-444444444444",
        "integration_pipeline_id": "0c0c0c0c-1111-2222-3333-444444444444",
        "record_id": record_id(RUN, "span:0000000000000abc"),
        "trace_id": RUN.replace("-", ""),
        "span_id": "0000000000000abc",
        "error_type": None,
        "error_message": None,
        "environment": "PRD",
        "process_started_at": "2026-11-24 02:15:07.987654",
        "process_completed_at": "2026-11-24 02:15:19.500000",
    }


def test_a_dbt_node_is_a_compile_row_and_an_execute_row():
    """Each stage has its own times and its own record; everything else is the node's."""
    compiled, executed = flat(node())
    stage = {"process_stage", "process_started_at", "process_completed_at", "duration", "record_id"}
    assert {name for name in compiled if compiled[name] != executed[name]} == stage
    assert (compiled["process_stage"], compiled["process_started_at"], compiled["process_completed_at"]) == (
        "compile",
        "2026-11-24 02:15:08.000001",
        "2026-11-24 02:15:08.500000",
    )
    assert (compiled["duration"], executed["duration"]) == (0, 3)
    assert executed == {
        "item_name": "customers",
        "invocation_id": "11111111-aaaa-bbbb-cccc-222222222222",
        "status": "success",
        "thread_id": "Thread-1 (worker)",
        "execution_time": 4.25,
        "failures": None,
        "compiled": 1,
        "relation_name": '"dwh"."main"."customers"',
        "adapter_message": "OK",
        "rows_affected": None,
        "process_stage": "execute",
        "process_started_at": "2026-11-24 02:15:08.500001",
        "process_completed_at": "2026-11-24 02:15:12.250000",
        "duration": 3,
        "generated_at": "2026-11-24 02:20:00.123456",
        "environment": "PRD",
        "build_models": "+tag:Group-FinancialStatements",
        "orchestration_run_id": RUN,
        "data_product": "Group-FinancialStatements",
        "transformation_pipeline_run_id": "0d0d0d0d-1111-2222-3333-444444444444",
        "workspace_id": "a2b0c6f2-9e5b-4c7b-8b9c-0d4c7a1e2f30",
        "transformation_pipeline_id": "0c0c0c0c-1111-2222-3333-444444444444",
        "record_id": record_id(RUN, "dbt:inv:model.shop.customers", "execute"),
        "trace_id": RUN.replace("-", ""),
        "span_id": "0000000000000abc",
        "error_type": None,
        "error_message": None,
        "unique_id": "model.shop.customers",
        "resource_type": "model",
        "message": "OK",
        "depends_on": '["source.shop.mds.customer", "model.shop.base"]',
        "materialized": "table",
    }


def test_a_refresh_is_one_row():
    """Every column of monitoring_semantic_model_refresh; times to the millisecond."""
    assert only(refresh()) == {
        "workspace_id": "a2b0c6f2-9e5b-4c7b-8b9c-0d4c7a1e2f30",
        "semantic_model_id": "9e2d1c3b-0000-4000-8000-00000000beef",
        "data_product": "Group-FinancialStatements",
        "orchestration_run_id": RUN,
        "process_started_at": "2026-11-24 02:15:07.987",
        "process_completed_at": "2026-11-24 02:15:19.500",
        "duration": 11,
        "status": "Completed",
        "data_product_refresh_pipeline_run_id": "0d0d0d0d-1111-2222-3333-444444444444",
        "data_product_refresh_pipeline_id": "0c0c0c0c-1111-2222-3333-444444444444",
        "semantic_model_name": "Finance",
        "record_id": record_id(RUN, "span:0000000000000abc"),
        "trace_id": RUN.replace("-", ""),
        "span_id": "0000000000000abc",
        "error_type": None,
        "error_message": None,
        "environment": "PRD",
        "depends_on": '["model.shop.customers"]',
    }


def test_the_row_shows_the_attempt_that_succeeded():
    """dbb.started_at beats the span's start, as ISO text or as nanoseconds; so does dbb.ended_at its end."""
    nanos = 1_795_486_515_999_999_999  # 2026-11-24T02:15:15.999999999Z
    row = only(load(STARTED_AT=nanos, ENDED_AT="2026-11-24T02:15:18Z"))
    assert (row["timestamp"], row["process_started_at"]) == ("2026-11-24 02:15:15", "2026-11-24 02:15:15.999999")
    assert (row["process_completed_at"], row["duration"]) == ("2026-11-24 02:15:18.000000", 2)


def test_a_clock_set_back_makes_no_negative_duration():
    """The end before the start: 0 seconds, and no throughput from it."""
    row = only(load(start="2026-11-24T02:15:07Z", end="2026-11-24T02:15:01Z"))
    assert (row["duration"], row["throughput"]) == (0, None)


@pytest.mark.parametrize(
    ("word", "error", "status"),
    [
        (None, None, "Succeeded"),
        (None, "boom", "Failed"),
        ("succeeded", None, "Succeeded"),
        ("Success", None, "Succeeded"),
        ("Completed", None, "Succeeded"),
        ("failed", None, "Failed"),
        ("Cancelled", None, "Failed"),
        ("who knows", None, "Failed"),
    ],
)
def test_a_load_is_succeeded_or_failed(word, error, status):
    """Exactly these two words: the watermark and the gate compare them; a word nobody knows moves no watermark."""
    assert only(load(STATUS=word, error=error))["status"] == status


@pytest.mark.parametrize("word", ["Unknown", "InProgress", "NotStarted", "running", "In Progress"])
@pytest.mark.parametrize("operation", [load, node, refresh])
def test_what_still_runs_gives_no_row(operation, word):
    """Only what has ended is a fact."""
    assert rows_of(operation(STATUS=word)) == []


def test_what_was_interrupted_has_a_record_of_its_own():
    """A load Failed, a node error with its execute row alone, a refresh Unknown; none takes the ended row's id."""
    interrupted = {"ERROR_TYPE": key.INTERRUPTED, "error": "the process ended"}
    for operation, status in ((load, "Failed"), (node, "error"), (refresh, "Unknown")):
        ended = rows_of(operation())[-1]
        (row,) = rows_of(operation(**{**interrupted, "STATUS": None}))
        values = dict(zip(row.table.position, row.values, strict=True))
        assert values["status"] == status
        assert (values["error_type"], values["error_message"]) == ("Interrupted", "the process ended")
        assert row.ended_id == ended.record_id != row.record_id
        assert values["record_id"] == row.record_id
        assert values["process_started_at"] is not None


def test_a_run_by_hand_is_nobodys_product():
    """Its rows keep data_product NULL, so that the gate does not take it for the product's newest run."""
    for operation in (load, node, refresh):
        assert flat(operation(MANUAL=True))[-1]["data_product"] is None


def test_a_skipped_node_has_its_row():
    """One execute row without times; the reason stands in message."""
    row = only(skipped(DBT_MESSAGE="Skipping because upstream failed"))
    assert (row["process_stage"], row["status"], row["message"]) == (
        "execute",
        "skipped",
        "Skipping because upstream failed",
    )
    assert (row["process_started_at"], row["process_completed_at"], row["duration"]) == (None, None, None)


def test_a_node_recorded_live_without_stages_ran_when_its_span_did():
    """Without an identity of its own there is no artifact that would tell better."""
    stages = ("DBT_COMPILE_STARTED_AT", "DBT_COMPILE_COMPLETED_AT", "DBT_EXECUTE_STARTED_AT")
    row = only(node(IDENTITY=None, DBT_EXECUTE_COMPLETED_AT=None, **dict.fromkeys(stages)))
    assert (row["process_started_at"], row["duration"]) == ("2026-11-24 02:15:07.987654", 11)


@pytest.mark.parametrize(("reported", "expected"), [(-1, None), ("-1", None), (-1.0, None), (7, 7), ("7", 7), (7.0, 7)])
def test_minus_one_rows_affected_is_unknown(reported, expected):
    """As a number or as text."""
    assert flat(node(DBT_ROWS_AFFECTED=reported))[-1]["rows_affected"] == expected


def test_columns_that_take_no_null_say_what_is_unknown():
    """Environment UNKNOWN, build_models empty, the trace id for an invocation that nobody named."""
    row = flat(node(ENVIRONMENT=None, DBT_SELECT=None, DBT_INVOCATION_ID=None))[-1]
    assert (row["environment"], row["build_models"]) == ("UNKNOWN", "")
    assert row["invocation_id"] == RUN.replace("-", "")
    assert only(load(ENVIRONMENT=None))["environment"] is None


def test_text_is_cut_by_bytes_visibly():
    """On a character boundary, with an ellipsis that fits too."""
    assert only(load("é" * 200))["table_name"] == "é" * 126 + "…"
    assert only(load("x" * 255))["table_name"] == "x" * 255
    assert only(load("x" * 256))["table_name"] == "x" * 252 + "…"


def test_a_long_list_stays_a_list():
    """depends_on is cut between its members."""
    names = [f"model.shop.{'m' * 80}{place}" for place in range(200)]
    cut = flat(node(DBT_DEPENDS_ON=names))[-1]["depends_on"]
    assert len(cut.encode()) <= 8000
    listed = json.loads(cut)
    assert listed[-1] == "…"
    assert listed[:-1] == names[: len(listed) - 1]
    assert len(listed) > 50


@pytest.mark.parametrize(
    ("name", "value", "column", "stored"),
    [
        ("TABLE_NAME", "a\ud800b", "table_name", "a\ufffdb"),
        ("TABLE_NAME", "a\0b", "table_name", "a\ufffdb"),
        ("ROWS_READ", 2**63, "rows_read", None),
        ("ROWS_READ", 2**63 - 1, "rows_read", 2**63 - 1),
        ("ROWS_READ", "9223372036854775807", "rows_read", 2**63 - 1),
        ("ROWS_READ", 10.0, "rows_read", 10),
        ("ROWS_READ", "ten", "rows_read", None),
        ("ROWS_READ", float("nan"), "rows_read", None),
        ("DATA_READ", float("inf"), "data_read", None),
        ("THROUGHPUT", float("nan"), "throughput", 2.0),
        ("THROUGHPUT", 1e16, "throughput", None),
        ("THROUGHPUT", "12.345", "throughput", 12.35),
        ("STARTED_AT", "no time", "timestamp", "2026-11-24 02:15:07"),
        ("STARTED_AT", 10**30, "timestamp", "2026-11-24 02:15:07"),
        ("WORKSPACE_ID", "", "workspace", None),
    ],
)
def test_a_poisoned_value_costs_itself_alone(name, value, column, stored):
    """It is cleaned, or NULL; the rest of the row stands."""
    row = only(load(**{name: value}))
    assert row[column] == pytest.approx(stored, abs=0.01) if isinstance(stored, float) else row[column] == stored
    assert (row["schema_name"], row["rows_written"]) == ("mdm", 9)


def test_throughput_is_what_the_source_reports():
    """Otherwise bytes over seconds, in KB/s."""
    assert only(load(THROUGHPUT=5.5))["throughput"] == 5.5
    assert only(load(DATA_READ=None))["throughput"] == 1.0
    assert only(load(DATA_READ=None, DATA_WRITTEN=None))["throughput"] is None


def test_failures_count_without_a_decimal_point():
    """Other languages send every number as a double."""
    assert [flat(node(DBT_FAILURES=value))[-1]["failures"] for value in (3, 3.0, "3", 0)] == ["3", "3", "3", "0"]


@pytest.mark.parametrize(
    ("operation", "missing"),
    [
        (load(RUN_ID=None), (key.RUN_ID,)),
        (load(RUN_ID=" "), (key.RUN_ID,)),
        (load(TABLE_NAME=""), (key.TABLE_NAME,)),
        (node(DBT_UNIQUE_ID=None), (key.DBT_UNIQUE_ID,)),
        (refresh(MODEL_ID=None, RUN_ID=None), (key.RUN_ID, key.MODEL_ID)),
        (span({key.OPERATION: key.OPERATION_DBT_STAGE}), ()),
        (span({key.OPERATION: key.OPERATION_JOB}), (key.RUN_ID,)),
        (span({}), ()),
    ],
)
def test_spans_that_can_give_no_row_pass_by(operation, missing):
    """And one that claims an operation says what it lacks."""
    assert rows_of(operation) == []
    assert lacking(operation.attributes or {}) == missing


def test_an_identity_of_its_own_makes_a_fact():
    """Recorded twice under one identity, it is one record; live work is known by its span."""
    (live,), (first,), (second,) = (
        rows_of(load(IDENTITY=i, span_id=s)) for i, s in ((None, 1), ("copy:1", 1), ("copy:1", 2))
    )
    assert (live.fact, first.fact) == (False, True)
    assert live.record_id != first.record_id == second.record_id


def test_a_record_id_is_of_the_run_id_as_it_was_given():
    """Not as it can be stored: other writers of the record know only the former."""
    (row,) = rows_of(load(RUN_ID=" night\0run ", IDENTITY="copy:1"))
    assert row.record_id == record_id("night\0run", "copy:1")
    assert row.values[row.table.position["orchestration_run_id"]] == "night\ufffdrun"


def test_an_error_is_told():
    """error.type and dbb.error.message, or failing that the status's own description."""
    row = only(load(ERROR_TYPE="builtins.ValueError", ERROR_MESSAGE="no such file", error="ValueError: no such file"))
    assert (row["status"], row["error_type"], row["error_message"]) == ("Failed", "builtins.ValueError", "no such file")
    assert only(load(error="said by the status"))["error_message"] == "said by the status"


NOW = "2026-11-24T03:00:00.000000Z"


@pytest.mark.parametrize(
    ("said", "shown", "is_wrong"),
    [
        (None, "2026-11-24 02:15:07", False),
        ("2026-11-24T02:59:59Z", "2026-11-24 02:59:59", False),
        ("2026-11-24T03:04:59Z", "2026-11-24 03:00:00", False),
        ("2026-11-24T03:05:01Z", "2026-11-24 02:15:07", True),
        ("9999-12-31T23:59:59Z", "2026-11-24 02:15:07", True),
        ("1989-12-31T00:00:00Z", "2026-11-24 02:15:07", True),
        (0, "2026-11-24 02:15:07", True),
        ("soon", "2026-11-24 02:15:07", False),
    ],
)
def test_a_start_is_never_in_the_watermarks_future(said, shown, is_wrong):
    """A few minutes ahead count as now; a start that can't be gives way to the span's own."""
    made = flatten([load(STARTED_AT=said)], now=to_unix_nanos(NOW))
    ((row,), misdated) = made.rows, made.misdated
    assert row.values[row.table.position["timestamp"]] == shown
    assert bool(misdated) is is_wrong


def test_a_span_whose_own_start_is_in_the_future():
    """A sender's clock is years ahead: its row begins now, and stands."""
    made = flatten([load(start="2031-01-01T00:00:00Z", end="2031-01-01T00:00:01Z")], now=to_unix_nanos(NOW))
    (row,) = made.rows
    assert row.values[row.table.position["timestamp"]] == "2026-11-24 03:00:00"
    assert len(made.misdated) == 1


@pytest.mark.parametrize("start", [10**30, -(10**30), -(2**63), None])
def test_a_span_whose_own_start_is_no_time(start):
    """OTLP's JSON has numbers without end: the row begins now, for the watermark does not see one without a start."""
    span = load()
    span._start_time = start
    made = flatten([span, load()], now=to_unix_nanos(NOW))
    shown = [row.values[row.table.position["timestamp"]] for row in made.rows]
    assert shown == ["2026-11-24 03:00:00", "2026-11-24 02:15:07"]
    assert made.misdated == [span]
