"""Copy activities: each gives one row, whatever its output lacks, and a failure never leaves none."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dbbtrace
from dbbtrace.model import attributes as key
from dbbtrace.model.times import to_unix_nanos
from dbbtrace.testing import Captured, capture
from tests.cli.support import assert_one_line, run
from tests.job.support import rows
from tests.sources.fabric.examples import ACTIVITY, MESSAGE, RUN, STARTED, failed, succeeded, whole

NAMES = {"schema": "mdm", "source": "MDS", "source_type": "SQL", "load_type": "FULL"}
METRICS = {
    key.ROWS_READ: 1_200, key.ROWS_WRITTEN: 1_200, key.DATA_READ: 2_048_000, key.DATA_WRITTEN: 512_000,
    key.THROUGHPUT: 170.667,
}  # fmt: skip


def recorded(output: Any, *, strict: bool = True, **options: Any) -> Captured:
    """What ``record_copy`` leaves."""
    with capture(strict=strict) as captured:
        dbbtrace.record_copy(output, "Customer", **{**NAMES, "run_id": RUN, **options})
    return captured


def load_of(captured: Captured) -> dict[str, Any]:
    [span] = captured.operations("table_load")
    return {**span.attributes, "start": span.start_time, "end": span.end_time}


def pascal(value: Any) -> Any:
    """The same with names in PascalCase."""
    if isinstance(value, dict):
        return {name[:1].upper() + name[1:]: pascal(member) for name, member in value.items()}
    return [pascal(each) for each in value] if isinstance(value, list) else value


def as_text(value: Any) -> Any:
    """The same with numbers as text."""
    if isinstance(value, dict):
        return {name: as_text(member) for name, member in value.items()}
    if isinstance(value, list):
        return [as_text(each) for each in value]
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


@pytest.mark.parametrize("form", [lambda value: value, pascal, as_text, json.dumps], ids=["", "Pascal", "text", "JSON"])
@pytest.mark.parametrize("is_whole", [False, True])
def test_a_copy_that_succeeded(form: Any, is_whole: bool) -> None:
    """Rows, bytes, throughput and the Copy's own start are in the row, in whatever spelling they come."""
    load = load_of(recorded(form(whole(succeeded()) if is_whole else succeeded())))
    assert {name: load[name] for name in METRICS} == METRICS
    assert load[key.STATUS] == "Succeeded"
    assert load["start"] == to_unix_nanos(STARTED)
    assert load["end"] - load["start"] == (13_376_543_300 if is_whole else 12_000_000_000)


@pytest.mark.parametrize("form", [lambda value: value, pascal, as_text, json.dumps], ids=["", "Pascal", "text", "JSON"])
@pytest.mark.parametrize(("is_whole", "code"), [(False, "11000"), (True, "2200")])
def test_a_copy_that_failed(form: Any, is_whole: bool, code: str) -> None:
    """It has a row, with the error's code and message."""
    load = load_of(recorded(form(whole(failed(), "Failed") if is_whole else failed())))
    assert (load[key.STATUS], load[key.ERROR_TYPE], load[key.ERROR_MESSAGE]) == ("Failed", code, MESSAGE)
    assert key.ROWS_WRITTEN not in load


@pytest.mark.parametrize("output", [None, {}, "", [], {"errors": []}])
def test_an_activity_that_failed_without_output(output: Any) -> None:
    """The activity's own error is in the row."""
    load = load_of(recorded(whole(output, "Failed"), strict=output != []))
    assert (load[key.STATUS], load[key.ERROR_TYPE]) == ("Failed", "2200")


def test_a_copy_that_was_cancelled() -> None:
    """Failed, with the service's word as the error's type."""
    activity = {**whole({}, "Cancelled"), "error": {}}
    load = load_of(recorded(activity))
    assert (load[key.STATUS], load[key.ERROR_TYPE]) == ("Failed", "Cancelled")


def test_a_copy_of_nothing_wrote_no_rows() -> None:
    """Where no byte was written, no row was either, whatever rowsCopied says or lacks."""
    for output in (succeeded() | {"dataWritten": 0}, {**succeeded(), "dataWritten": 0, "rowsCopied": None}):
        assert load_of(recorded(output))[key.ROWS_WRITTEN] == 0


def test_a_time_as_the_portal_shows_it() -> None:
    """6/14/2025, 7:47:13 PM is read as UTC."""
    output = succeeded()
    output["executionDetails"][0]["start"] = "6/14/2025, 7:47:13 PM"
    assert load_of(recorded(output))["start"] == to_unix_nanos("2025-06-14T19:47:13Z")


def test_what_the_time_went_into() -> None:
    """Queue, time to first byte and transfer are child spans, one after the other."""
    captured = recorded(succeeded())
    [load] = captured.operations("table_load")
    stages = captured.operations("copy_stage")
    assert [(each.name, each.end_time - each.start_time) for each in stages] == [
        ("queue", 4_000_000_000), ("time to first byte", 1_000_000_000), ("transfer", 6_000_000_000)
    ]  # fmt: skip
    assert {each.parent.span_id for each in stages} == {load.context.span_id}
    assert [each.start_time for each in stages[1:]] == [each.end_time for each in stages[:-1]]


def test_retries_are_one_row() -> None:
    """Each attempt is a child span; the row has the outcome and the start of the attempt that succeeded."""
    first = whole(failed(), "Failed", activityRunId="11111111-0000-4000-8000-000000000000", retryAttempt=0)
    first["output"]["executionDetails"][0]["start"] = "2025-11-20T06:59:00Z"
    last = whole(succeeded(), retryAttempt=1)
    captured = recorded([last, first])
    load = load_of(captured)
    assert (load[key.STATUS], load[key.STARTED_AT]) == ("Succeeded", "2025-11-20T07:00:05.123456700Z")
    assert load[key.IDENTITY] == f"activity\n{ACTIVITY}"
    attempts = captured.operations("load_attempt")
    assert [(each.attributes[key.ATTEMPT], each.attributes[key.STATUS]) for each in attempts] == [
        (1, "Failed"), (2, "Succeeded")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("output", "word"),
    [
        ("no JSON", "JSON"),
        (None, "JSON object"),
        ([], "JSON object"),
        (7, "JSON object"),
        (whole({}, "InProgress"), "still runs"),
        ({**succeeded(), "executionDetails": None, "copyDuration": None}, r"executionDetails\[0\].start"),
    ],
)
def test_what_is_refused(output: Any, word: str) -> None:
    """What is no activity, what still runs, and a success at an unknown time, which would move the watermark."""
    with capture(strict=False) as captured:
        assert not dbbtrace.record_copy(output, "Customer", run_id=RUN)
    assert not captured.spans
    with capture(), pytest.raises(dbbtrace.UsageError, match=word):
        dbbtrace.record_copy(output, "Customer", run_id=RUN)


@pytest.mark.parametrize("start", ["2038-01-19T03:14:07Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_start_that_cannot_be_never_moves_the_watermark(start: str) -> None:
    """The activity's start is taken, or, where there is none either, the Copy is refused."""
    output = succeeded()
    output["executionDetails"][0]["start"] = start
    load = load_of(recorded(whole(output), strict=False))
    assert load["start"] == to_unix_nanos("2025-11-20T07:00:01Z")
    captured = recorded(output, strict=False)
    assert not captured.spans


def test_in_a_load_that_runs() -> None:
    """The handle takes values, outcome and identity; a failure raises nothing in the job."""
    with capture() as captured, dbbtrace.join_run(RUN):
        with dbbtrace.table_load("Customer", schema="mdm") as load:
            load.from_copy_output(whole(succeeded()))
        with dbbtrace.table_load("Order") as load:
            load.from_copy_output(failed())
    good, bad = (dict(span.attributes) for span in captured.operations("table_load"))
    assert {name: good[name] for name in METRICS} == METRICS
    assert (good[key.IDENTITY], good[key.STARTED_AT]) == (f"activity\n{ACTIVITY}", "2025-11-20T07:00:05.123456700Z")
    assert (bad[key.STATUS], bad[key.ERROR_TYPE], bad[key.ERROR_MESSAGE]) == ("Failed", "11000", MESSAGE)
    assert {each.parent.span_id for each in captured.operations("copy_stage")} == {
        span.context.span_id for span in captured.operations("table_load")
    }


def test_live_and_recorded_meet() -> None:
    """A load whose job took the whole activity, and the same activity recorded afterwards, are one row."""
    dbbtrace.configure(warehouse="sqlite:///w.db")
    with dbbtrace.join_run(RUN), dbbtrace.table_load("Customer", schema="mdm", source="MDS") as load:
        load.from_copy_output(whole(succeeded()))
    dbbtrace.record_copy(whole(succeeded()), "Customer", schema="mdm", source="MDS", run_id=RUN)
    assert dbbtrace.flush(30)
    assert rows("SELECT timestamp, rows_written, status FROM meta.monitoring_integration") == [
        ("2025-11-20 07:00:05", 1_200, "Succeeded")
    ]


# -- whatever comes -----------------------------------------------------------------------------------------------

ODD = st.sampled_from(["", " ", "n/a", -1, 1.5, True, [], {}, [1], {"a": 1}, "\0", "1e400", 10**30])
MANGLINGS = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from(["drop", "null", "odd", "text", "Pascal"]), ODD), max_size=12
)


def mangled(value: dict[str, Any], manglings: list[tuple[int, str, Any]], order: random.Random) -> dict[str, Any]:
    """The object with some members missing, null, mistyped or spelled otherwise, in another order."""
    members: list[tuple[dict[str, Any], str]] = []

    def collect(part: Any) -> None:
        if isinstance(part, dict):
            members.extend((part, name) for name in part)
            part = list(part.values())
        if isinstance(part, list):
            for each in part:
                collect(each)

    collect(value)
    for place, how, odd in manglings:
        part, name = members[place % len(members)]
        if name not in part:
            continue
        member = part.pop(name)
        if how == "null":
            part[name] = None
        elif how == "odd":
            part[name] = odd
        elif how == "text" and not isinstance(member, (dict, list)):
            part[name] = str(member)
        elif how == "Pascal":
            part[name[:1].upper() + name[1:]] = member
    return dict(order.sample(sorted(value.items()), len(value)))


@given(st.booleans(), MANGLINGS, st.randoms(use_true_random=False))
def test_a_failed_activity_never_leaves_no_row(is_whole: bool, manglings: Any, order: random.Random) -> None:
    """Whatever of it is missing, null, mistyped or reordered: one row, Failed, with an error."""
    activity = mangled(whole(failed(), "Failed") if is_whole else failed(), manglings, order)
    load = load_of(recorded(activity, strict=False))
    assert load[key.STATUS] == "Failed"
    assert load[key.ERROR_TYPE]
    assert load[key.ERROR_MESSAGE]
    assert key.ROWS_WRITTEN not in load


@given(st.booleans(), MANGLINGS, st.randoms(use_true_random=False))
def test_a_success_is_right_or_refused(is_whole: bool, manglings: Any, order: random.Random) -> None:
    """Values are right or missing, never wrong; the start is never later than the Copy's own."""
    from unittest.mock import patch

    activity = mangled(whole(succeeded()) if is_whole else succeeded(), manglings, order)
    said: list[str] = []
    with patch("dbbtrace.sources.fabric.record.complain", said.append):
        captured = recorded(activity, strict=False)
    if not captured.operations("table_load"):
        assert any("executionDetails[0].start" in line for line in said)
        return
    load = load_of(captured)
    if load[key.STATUS] == "Succeeded":
        odd = {str(each[2]) for each in manglings if each[1] == "odd"}
        for name, right in METRICS.items():
            assert load.get(name, right) in (right, 0) or str(load[name]).removesuffix(".0") in odd
        assert load["start"] <= to_unix_nanos(STARTED) or any(each[1] == "odd" for each in manglings)
    else:  # only where nothing says any more that it succeeded
        assert load[key.ERROR_TYPE]
        assert manglings


# -- the command --------------------------------------------------------------------------------------------------


def test_the_command(tmp_path: Any) -> None:
    """A file or standard input, recorded twice, is one row with what the options say."""
    options = ["--run", RUN.upper(), "--table", "Customer", "--schema", "mdm", "--source", "MDS", "--load-type", "full",
               "--source-type", "SQL", "--data-product", "Sales", "--environment", "tst",
               "--pipeline-run-id", ACTIVITY]  # fmt: skip
    file = tmp_path / "copy.json"
    file.write_text(json.dumps(succeeded()), encoding="utf-8")
    done = run("--warehouse", "sqlite:///w.db", "record-copy", str(file), *options)
    assert (done.code, done.out) == (0, "mdm.Customer: Succeeded\n"), done
    done = run("--warehouse", "sqlite:///w.db", "record-copy", "-", *options, given=file.read_text(encoding="utf-8"))
    assert done.code == 0, done
    columns = "table_name, schema_name, source_name, source_type, load_type, status, timestamp, rows_written"
    columns += ", data_product, orchestration_run_id, integration_pipeline_source_run_id, environment"
    assert rows(f"SELECT {columns} FROM meta.monitoring_integration") == [
        ("Customer", "mdm", "MDS", "SQL", "FULL", "Succeeded", "2025-11-20 07:00:05", 1_200, "Sales", RUN, ACTIVITY,
         "TST")
    ]  # fmt: skip


def test_the_command_records_a_failure_once(tmp_path: Any) -> None:
    """A failure without any time is one row too, however often it is recorded."""
    file = tmp_path / "copy.json"
    file.write_text('{"errors": [{"Code": 1, "Message": "no"}]}', encoding="utf-8")
    for _ in range(2):
        done = run("--warehouse", "sqlite:///w.db", "record-copy", str(file), "--run", RUN, "--table", "T")
        assert (done.code, done.out) == (0, "T: Failed\n"), done
    assert rows("SELECT status, error_type FROM meta.monitoring_integration") == [("Failed", "1")]


@pytest.mark.parametrize(
    ("content", "word"), [("nonsense", "JSON"), ('{"rowsCopied": 3}', "executionDetails[0].start"), ("[]", "JSON")]
)
def test_the_command_refuses_in_one_line(tmp_path: Any, content: str, word: str) -> None:
    """The line names the field, or what the file is not."""
    file = tmp_path / "copy.json"
    file.write_text(content, encoding="utf-8")
    done = run("--warehouse", "sqlite:///w.db", "record-copy", str(file), "--run", RUN, "--table", "T")
    assert_one_line(done, word)
