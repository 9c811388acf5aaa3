"""``refresh.from_details``: what the service, or sempy, says of a refresh, as the row says it."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dbbtrace
from dbbtrace.errors import UsageError
from dbbtrace.model import attributes as key
from dbbtrace.model.times import iso_utc, to_unix_nanos
from dbbtrace.sources.powerbi.details import read_details
from dbbtrace.testing import Captured, capture
from dbbtrace.warehouse import open_warehouse
from tests.job.support import rows
from tests.sources.fabric.test_copies import MANGLINGS, mangled
from tests.support.powerbi import MODEL, WORKSPACE, response

RUN = "10000000-7d3f-4b6a-9f10-2a6d5b1c8e47"
REQUEST = "22222222-9b0a-44c1-b6c0-0cb185c6ebfb"
START, MIDDLE, END = "2025-11-20T07:02:11.57", "2025-11-20T07:03:00.25", "2025-11-20T07:04:50.183"
NOW = to_unix_nanos("2026-01-01T00:00:00Z")


def details(name: str) -> dict[str, Any]:
    body: dict[str, Any] = response(name, START=START, MIDDLE=MIDDLE, END=END)["body"]
    return body


def recorded(*given: object, request_id: str | None = REQUEST, strict: bool = True) -> Captured:
    """What a job records that is given these, one after the other."""
    with capture(strict=strict) as captured, dbbtrace.orchestration_run(RUN, data_product="Finance"):
        with dbbtrace.model_refresh(MODEL, name="Group Finance", workspace_id=WORKSPACE) as refresh:
            refresh.request_id = request_id
            for each in given:
                refresh.from_details(each)
    return captured


def of(captured: Captured) -> dict[str, Any]:
    [span] = captured.operations("model_refresh")
    return dict(span.attributes or {})


def test_a_refresh_that_completed() -> None:
    """The service's own word and times; its attempts, tables and partitions are child spans."""
    captured = recorded(details("details-in-progress"), details("details-completed"))
    refresh = of(captured)
    assert refresh[key.STATUS] == "Completed"
    assert (refresh[key.STARTED_AT], refresh[key.ENDED_AT]) == (
        "2025-11-20T07:02:11.570000Z",
        "2025-11-20T07:04:50.183000Z",
    )
    assert refresh[key.REFRESH_TYPE] == "Full"
    assert key.ERROR_TYPE not in refresh
    first, second = captured.operations("load_attempt")
    assert (first.name, second.name) == ("attempt 1 (data)", "attempt 2 (data)")
    assert first.attributes[key.ERROR_TYPE] == "ModelRefreshFailed_GatewayTimeout"
    assert first.attributes[key.ERROR_MESSAGE] == "The gateway did not answer"
    assert key.ERROR_TYPE not in second.attributes
    [span] = captured.operations("model_refresh")
    parts = {each.name: each for each in captured.operations("refreshed_part")}
    assert set(parts) == {"Sales", "Sales-2024", "Sales-2025", "Date"}
    assert parts["Sales"].parent.span_id == parts["Date"].parent.span_id == span.context.span_id
    assert parts["Sales-2024"].parent.span_id == parts["Sales"].context.span_id
    assert parts["Date"].attributes[key.MODEL_PARTITION] == "Date"
    assert key.MODEL_PARTITION not in parts["Sales"].attributes


@pytest.mark.parametrize(
    ("name", "status", "error", "message"),
    [
        ("details-failed", "Failed", "0xC11C0020", "Session cancelled: the model was evicted from memory"),
        ("details-cancelled", "Cancelled", "Cancelled", "the refresh ended as Cancelled"),
        ("details-timed-out", "Failed", "TimedOut", "The operation took longer than the timeout"),
    ],
)  # fmt: skip
def test_a_refresh_that_did_not(name: str, status: str, error: str, message: str) -> None:
    """Each of its endings has an error.type of its own, and the service's message."""
    refresh = of(recorded(details(name)))
    assert (refresh[key.STATUS], refresh[key.ERROR_TYPE], refresh[key.ERROR_MESSAGE]) == (status, error, message)


def test_one_that_runs_gives_no_row_before_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken while it runs, then when it has ended, it is one row."""
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", "sqlite:///w.db")
    open_warehouse().migrate()
    with dbbtrace.orchestration_run(RUN), dbbtrace.model_refresh(MODEL) as refresh:
        refresh.from_details(json.dumps(details("details-not-started")))
    assert rows("SELECT COUNT(*) FROM meta.monitoring_semantic_model_refresh") == [(0,)]
    for _ in range(2):
        with (
            dbbtrace.join_run(RUN),
            dbbtrace.model_refresh(MODEL, request_id=REQUEST, workspace_id=WORKSPACE) as refresh,
        ):
            refresh.from_details(details("details-completed"))
    columns = "status, process_started_at, duration, workspace_id"
    assert rows(f"SELECT {columns} FROM meta.monitoring_semantic_model_refresh") == [
        ("Completed", "2025-11-20 07:02:11.570", 158, WORKSPACE)
    ]


def test_the_history_names_the_one_that_is_meant() -> None:
    """Of several, the refresh with the handle's request id counts, never the newest."""
    history = response("history")["body"]
    assert of(recorded(history))[key.STARTED_AT] == "2025-11-20T07:02:11.453737300Z"
    with pytest.raises(UsageError, match="4 refreshes were given: set request_id first"):
        recorded(history, request_id=None)
    with pytest.raises(UsageError, match="none of the 4 refreshes"):
        recorded(history, request_id="99999999-9b0a-44c1-b6c0-0cb185c6ebfb")
    with pytest.raises(UsageError, match="it is another refresh than"):
        recorded(history["value"][2])
    alone = of(recorded(history["value"][2], request_id=None))
    assert alone[key.REFRESH_REQUEST_ID] == "33333333-9b0a-44c1-b6c0-0cb185c6ebfb"
    assert alone[key.ERROR_TYPE] == "ModelRefreshFailed_CredentialsNotSpecified"


def frame() -> pd.DataFrame:
    """What sempy.fabric.list_refresh_requests gives."""
    entries = response("history")["body"]["value"]
    return pd.DataFrame(
        {
            "Id": [str(each["id"]) for each in entries],
            "Request Id": [each["requestId"] for each in entries],
            "Start Time": pd.to_datetime([each["startTime"] for each in entries], format="ISO8601").tz_localize(None),
            "End Time": pd.to_datetime([each.get("endTime") for each in entries], format="ISO8601").tz_localize(None),
            "Refresh Type": [each["refreshType"] for each in entries],
            "Service Exception Json": [each.get("serviceExceptionJson") for each in entries],
            "Status": [each["status"] for each in entries],
            "Extended Status": [each.get("extendedStatus") for each in entries],
            "Refresh Attempts": [str(each.get("refreshAttempts") or "") or None for each in entries],
        }
    )  # fmt: skip


@dataclass
class RefreshExecutionDetails:
    """As sempy.fabric.get_refresh_execution_details gives it."""

    start_time: datetime
    end_time: datetime | None
    type: str
    status: str
    extended_status: str
    objects: pd.DataFrame
    messages: pd.DataFrame
    refresh_attempts: pd.DataFrame


def test_what_sempy_gives() -> None:
    """Its frame, a row of it and its execution details say the same as the API's own answers."""
    captured = recorded(frame())
    assert of(captured)[key.STARTED_AT] == "2025-11-20T07:02:11.453737300Z"
    assert [span.name for span in captured.operations("load_attempt")] == ["attempt 1 (data)", "attempt 1 (query)"]
    assert of(recorded(frame().iloc[1]))[key.STATUS] == "Completed"
    execution = RefreshExecutionDetails(
        datetime(2025, 11, 20, 7, 2, 11),
        datetime(2025, 11, 20, 7, 4, 50, tzinfo=timezone.utc),
        "Full",
        "Failed",
        "Failed",
        pd.DataFrame({"Table": ["Sales"], "Partition": ["Sales-2024"], "Status": ["Failed"]}),
        pd.DataFrame({"Message": ["no gateway"], "Type": ["Error"]}),
        pd.DataFrame({"Attempt Id": [1], "Start Time": [pd.Timestamp(START)], "End Time": [pd.NaT], "Type": [0]}),
    )
    captured = recorded(execution)
    assert (of(captured)[key.STATUS], of(captured)[key.ERROR_MESSAGE]) == ("Failed", "no gateway")
    assert not captured.operations("load_attempt")
    [part] = captured.operations("refreshed_part")
    assert part.attributes[key.ERROR_TYPE] == "Failed"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": None}, "status is missing"),
        ({"status": 5}, "status = 5 is no status"),
        ({"startTime": ""}, "startTime is missing"),
        ({"startTime": "yesterday"}, "startTime = 'yesterday' is not a point in time"),
        ({"startTime": "2199-01-01T00:00:00Z"}, "startTime = .* lies before 1990 or in the future"),
        ({"endTime": None}, "endTime is missing"),
        ({"endTime": START[:5] + "01-01T00:00:00Z"}, "endTime = .* lies before startTime"),
        ({"requestId": "12"}, "requestId = '12' is not a GUID"),
    ],
)
def test_what_a_row_needs(change: dict[str, Any], said: str) -> None:
    """An entry that lacks it is refused by the name of the field; the block's own end counts then."""
    entry = details("details-completed") | change
    with pytest.raises(UsageError, match=said):
        recorded(entry)
    with pytest.raises(UsageError, match="is not a JSON object"):
        recorded([7])
    with pytest.raises(UsageError, match="is not JSON"):
        recorded("Completed")


@given(
    st.sampled_from(["details-completed", "details-failed", "history"]), MANGLINGS, st.randoms(use_true_random=False)
)
def test_a_correct_row_or_the_name_of_the_field(name: str, manglings: Any, order: random.Random) -> None:
    """Whatever is missing, null, mistyped or spelled otherwise: what is said is right, or refused by its name."""
    whole = response("history")["body"]["value"][1] if name == "history" else details(name)
    right = read_details(whole, now=NOW)
    said = ""
    try:
        found = read_details(mangled(json.loads(json.dumps(whole)), manglings, order), now=NOW)
    except UsageError as error:
        said = str(error)
    if said:
        assert said.startswith(("status", "extendedStatus", "startTime", "endTime", "requestId"))
        return
    odd = {repr(each[2]) for each in manglings if each[1] == "odd"}
    assert found.request in (right.request, None)
    if found.is_over and not odd & {repr(found.status)}:
        assert found.status == right.status
        assert (found.start, found.end) == (right.start, right.end) or odd
        assert (found.error is None) == (right.error is None)
        assert set(found.parts) <= set(right.parts) or odd or any(each[1] in ("drop", "null") for each in manglings)
    assert found.start is None or iso_utc(found.start)
