"""``refresh_model``: a refresh that is started, followed by its own request id, and recorded as the service says."""

from __future__ import annotations

import json
import logging
import random
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dbbtrace
from dbbtrace.errors import RefreshError, UsageError
from dbbtrace.job.api import model_refresh
from dbbtrace.model import attributes as key
from dbbtrace.model import identity
from dbbtrace.sources.powerbi.api import Model, PowerBi
from dbbtrace.sources.powerbi.refresh import Refresher, RefreshResult
from dbbtrace.sources.powerbi.request import RefreshRequest
from dbbtrace.testing import Captured, capture
from dbbtrace.warehouse import open_warehouse
from tests.cli.support import assert_one_line, run
from tests.job.support import rows
from tests.sources.fabric.test_copies import MANGLINGS, mangled
from tests.support.powerbi import MODEL, WORKSPACE, PowerBiService, response

RUN = "10000000-7d3f-4b6a-9f10-2a6d5b1c8e47"
REQUEST = "22222222-9b0a-44c1-b6c0-0cb185c6ebfb"
PIPELINE_RUN = "30000000-7d3f-4b6a-9f10-2a6d5b1c8e47"


@pytest.fixture
def waits() -> list[float]:
    """Seconds that the client waited."""
    return []


@pytest.fixture
def refreshed(power_bi: PowerBiService, waits: list[float]) -> Any:
    """Refreshes the model; gives the result and what was recorded."""
    power_bi.clock = lambda: datetime(2025, 11, 24, 16, 0, tzinfo=timezone.utc)  # where the clock of capture() starts

    def refresh(
        patience: float = 60.0, tokens: list[str] | None = None, **options: Any
    ) -> tuple[RefreshResult, Captured]:
        def token() -> str:
            return tokens.pop(0) if tokens else "right"

        api = PowerBi(power_bi.url, token, patience=patience, sleep=waits.append)
        follow, cancels = options.pop("follow", None), options.pop("cancels", False)
        with capture(strict=False) as captured, dbbtrace.orchestration_run(RUN):
            handle = model_refresh("Group Finance", name="Group Finance", workspace_id="Data Products")
            refresher = Refresher(handle, "Group Finance", "Data Products", poll=7.0, api=api)
            return refresher.run(RefreshRequest(**options), follow, cancels), captured
        raise AssertionError

    return refresh


def of(captured: Captured) -> dict[str, Any]:
    [span] = captured.operations("model_refresh")
    return dict(span.attributes or {})


# -- a refresh that goes well -------------------------------------------------------------------------------------


def test_its_own_request_is_followed_to_the_end(refreshed: Any, power_bi: PowerBiService, waits: list[float]) -> None:
    """Names become ids; the row has the service's word and times, whatever newer refresh there is."""
    begun = []

    def another(method: str, path: str) -> None:
        if method == "GET" and path.count("/refreshes/") and not begun:  # ours has begun: so does a newer one
            begun.append(power_bi.begin("Scheduled", "details-failed"))

    power_bi.on_request = another
    result, captured = refreshed()
    ours = power_bi.refreshes[1]
    assert (result.outcome, result.status, result.request_id) == ("Completed", "Completed", ours.request)
    assert (result.success, result.seconds, str(result.check())) == (True, 60.0, "Completed")
    refresh = of(captured)
    assert (refresh[key.MODEL_ID], refresh[key.WORKSPACE_ID]) == (MODEL, WORKSPACE)
    assert refresh[key.MODEL_NAME] == "Group Finance"
    assert refresh[key.REFRESH_REQUEST_ID] == ours.request
    assert refresh[key.STARTED_AT].startswith(ours.times["START"])
    assert refresh[key.ENDED_AT].startswith(ours.times["END"])
    assert key.REFRESH_IDENTIFIED_BY not in refresh
    assert [span.name for span in captured.operations("load_attempt")] == ["attempt 1 (data)", "attempt 2 (data)"]
    assert {span.name for span in captured.operations("refreshed_part")} == {
        "Sales",
        "Sales-2024",
        "Sales-2025",
        "Date",
    }
    assert waits == [7.0, 7.0]


def test_what_is_asked_of_the_service(refreshed: Any, power_bi: PowerBiService) -> None:
    """Objects, commit mode, timeout and retries as Power BI's API spells them."""
    refreshed(
        tables=["Date"],
        partitions=[("Sales", "Sales-2025")],
        refresh_type="dataonly",
        commit_mode="partial_batch",
        max_parallelism=4,
        retries=2,
        timeout=5400,
    )
    [(_, path, body)] = [each for each in power_bi.requests if each[0] == "POST"]
    assert path == f"/v1.0/myorg/groups/{WORKSPACE}/datasets/{MODEL}/refreshes"
    assert body == {
        "type": "dataOnly",
        "commitMode": "partialBatch",
        "maxParallelism": 4,
        "retryCount": 2,
        "timeout": "01:30:00",
        "applyRefreshPolicy": False,
        "objects": [{"table": "Date"}, {"table": "Sales", "partition": "Sales-2025"}],
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"refresh_type": "half"}, "refresh_type = 'half': write full, automatic"),
        ({"commit_mode": "never"}, "commit_mode = 'never': write transactional or partialBatch"),
        ({"retries": -1}, "retries = -1: write a whole number, 0 or more"),
        ({"timeout": 86_400}, "timeout = 86400: write seconds, from 1 to 86399"),
        ({"timeout": "5"}, "timeout = '5': write seconds"),
        ({"tables": [7]}, "tables = .*: write a list of names"),
        ({"partitions": ["Sales"]}, "'Sales' is no pair: write .table, partition."),
        ({"commit_mode": "partialBatch", "apply_refresh_policy": True}, "apply_refresh_policy"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_starts(options: dict[str, Any], said: str) -> None:
    """The message names the value and what to write."""
    with pytest.raises(UsageError, match=said):
        dbbtrace.refresh_model("M", workspace="W", **options)


# -- endings, each its own outcome --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "outcome", "status", "message"),
    [
        ("details-failed", "Failed", "Failed", "Session cancelled: the model was evicted from memory"),
        ("details-cancelled", "Cancelled", "Cancelled", "the refresh ended as Cancelled"),
        ("details-timed-out", "TimedOut", "Failed", "The operation took longer than the timeout"),
    ],
)
def test_how_the_service_says_it_ended(
    refreshed: Any, power_bi: PowerBiService, response: str, outcome: str, status: str, message: str
) -> None:
    """Failed with the service's message, cancelled by somebody, timed out: the row has the service's word."""
    power_bi.outcome = ("details-in-progress", response)
    result, captured = refreshed()
    assert (result.outcome, result.status, result.message) == (outcome, status, message)
    assert (of(captured)[key.STATUS], of(captured)[key.ERROR_MESSAGE]) == (status, message)
    with pytest.raises(RefreshError, match=f"Group Finance was not refreshed: {outcome}: {message}"):
        result.check()


def test_refused_because_another_refresh_runs(refreshed: Any, power_bi: PowerBiService) -> None:
    """The one that runs is named, and never taken for ours; the failure leaves a row."""
    other = power_bi.begin("Scheduled", "details-in-progress")
    result, captured = refreshed()
    assert (result.outcome, result.request_id) == ("Busy", None)
    assert f"the refresh {other.request} of the model runs" in result.message
    assert (of(captured)[key.STATUS], of(captured)[key.ERROR_TYPE]) == ("Failed", "Busy")
    assert key.REFRESH_REQUEST_ID not in of(captured)
    assert len(power_bi.refreshes) == 1


def test_throttled(refreshed: Any, power_bi: PowerBiService, waits: list[float]) -> None:
    """As long as the service asks for, then no more: nothing was started, and the row says why."""
    power_bi.faults = ["throttled"]
    assert refreshed()[0].success
    assert waits[0] == 7.0
    power_bi.faults = ["throttled"] * 20
    result, captured = refreshed(patience=20.0)
    assert result.outcome == "Throttled"
    assert "429 TooManyRequests" in result.message
    assert (of(captured)[key.STATUS], of(captured)[key.ERROR_TYPE]) == ("Failed", "Throttled")


def test_a_token_that_expires_in_the_middle_is_renewed(refreshed: Any, power_bi: PowerBiService) -> None:
    """Power BI says it with a 403; the refresh is followed with the next token."""
    power_bi.token = "first"
    power_bi.on_request = lambda method, path: (
        setattr(power_bi, "token", "second") if power_bi.refreshes and method == "GET" else None
    )
    result, _ = refreshed(tokens=["first", "second"])
    assert result.success
    assert len(power_bi.refreshes) == 1


def test_a_service_that_is_down_gets_patience(refreshed: Any, power_bi: PowerBiService, waits: list[float]) -> None:
    """At the start and while the refresh is followed."""
    power_bi.faults = ["unavailable", "unavailable"]
    power_bi.on_request = lambda method, path: (
        power_bi.faults.append("unavailable") if "/refreshes/" in path and len(power_bi.requests) == 7 else None
    )
    assert refreshed()[0].success
    assert waits[:2] == [1.0, 2.0]
    assert len(power_bi.refreshes) == 1


def test_one_that_the_service_forgot(refreshed: Any, power_bi: PowerBiService, waits: list[float]) -> None:
    """Nobody can say how it ended: Unknown, which neither passes for success nor counts as running."""
    power_bi.on_request = lambda method, path: setattr(power_bi, "remembers", 0) if "/refreshes/" in path else None
    result, captured = refreshed()
    assert (result.outcome, result.status) == ("Vanished", "Unknown")
    assert "does not know the refresh" in result.message
    assert (of(captured)[key.STATUS], of(captured)[key.ERROR_TYPE]) == ("Unknown", "Interrupted")
    assert len(waits) == 5


def test_one_that_can_not_be_followed_is_not_guessed(refreshed: Any, power_bi: PowerBiService) -> None:
    """It goes on in the service: no row now. Followed once more by its request id, it has one."""
    power_bi.on_request = lambda method, path: (
        power_bi.faults.extend(["unavailable"] * 50) if "/refreshes/" in path and not power_bi.faults else None
    )
    result, captured = refreshed()
    assert result.outcome == "Running"
    assert not captured.operations("model_refresh")
    power_bi.on_request, power_bi.faults = None, []
    result, captured = refreshed(follow=result.request_id)
    assert result.success
    assert len(power_bi.asked("POST")) == 1
    assert of(captured)[key.STATUS] == "Completed"


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        ("forbidden", "ForbiddenError", "needs the Contributor role"),
        ("token-expired", "ConfigurationError", "does not take the access token"),
    ],
)
def test_what_could_not_be_started_leaves_a_row(
    refreshed: Any, power_bi: PowerBiService, fault: str, error: str, said: str
) -> None:
    """The right that is missing is named."""
    power_bi.faults = [fault] * 20
    result, captured = refreshed()
    assert result.outcome == "Refused"
    assert said in result.message
    assert (of(captured)[key.STATUS], of(captured)[key.ERROR_TYPE]) == ("Failed", error)


# -- capacities ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_named", [True, False])
def test_without_premium_a_standard_refresh_takes_its_place(
    refreshed: Any, power_bi: PowerBiService, caplog: pytest.LogCaptureFixture, is_named: bool
) -> None:
    """It is followed in the history: by the id that the answer names, else as the only one that began since."""
    power_bi.shared_capacity, power_bi.names_standard = True, is_named
    power_bi.begin("ViaApi", "details-failed", ago=timedelta(hours=1))
    over = ["details-in-progress", "details-in-progress", "details-completed"]
    newer: list[object] = []

    def goes_on(method: str, path: str) -> None:
        if "?" in path and len(power_bi.refreshes) > 1:
            power_bi.refreshes[-2].coming = [over.pop(0) if len(over) > 1 else over[0]]
            if len(over) == 1 and not newer:
                newer.append(power_bi.begin("Scheduled", "details-failed"))

    power_bi.on_request = goes_on
    with caplog.at_level(logging.WARNING):
        result, captured = refreshed(retries=2)
    assert result.success
    assert newer
    assert result.request_id == power_bi.refreshes[-2].request
    assert [body for method, _, body in power_bi.requests if method == "POST"][1] == {"notifyOption": "NoNotification"}
    assert "needs Premium, Premium Per User, Embedded or Fabric capacity" in caplog.text
    assert "It ignores retries." in caplog.text
    assert of(captured).get(key.REFRESH_IDENTIFIED_BY) == (None if is_named else "history")
    assert ("it is taken to be" in caplog.text) is not is_named


def test_what_a_standard_refresh_can_not_do_is_refused(refreshed: Any, power_bi: PowerBiService) -> None:
    """A table alone needs such a capacity, and the message says so; the whole model is not refreshed instead."""
    power_bi.shared_capacity = True
    result, captured = refreshed(tables=["Date"], refresh_type="calculate")
    assert result.outcome == "Refused"
    assert result.message.startswith("refreshing tables and type calculate needs Premium, Premium Per User, Embedded")
    assert of(captured)[key.ERROR_TYPE] == "CapacityError"
    assert not power_bi.refreshes


# -- answers that are lost ----------------------------------------------------------------------------------------


def test_a_lost_answer_starts_nothing_twice(refreshed: Any, power_bi: PowerBiService) -> None:
    """The refresh that began since is taken for the one that was started, and the record says so."""
    power_bi.begin("ViaEnhancedApi", "details-completed", ago=timedelta(minutes=1))
    power_bi.lost = 1
    result, captured = refreshed()
    assert result.success
    assert len(power_bi.refreshes) == 2
    assert result.request_id == power_bi.refreshes[0].request
    assert of(captured)[key.REFRESH_IDENTIFIED_BY] == "history"


def test_two_that_began_are_not_told_apart(refreshed: Any, power_bi: PowerBiService) -> None:
    """Nothing tells which one is ours: none is followed, and the record says Unknown."""
    power_bi.lost = 1
    power_bi.on_request = lambda method, path: (
        power_bi.begin("ViaEnhancedApi", "details-completed") if len(power_bi.refreshes) == 1 else None
    )
    result, captured = refreshed()
    assert (result.outcome, result.request_id) == ("Vanished", None)
    assert "2 refreshes of the model began at the same time" in result.message
    assert of(captured)[key.ERROR_TYPE] == "Interrupted"


# -- Ctrl-C -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cancels", [True, False])
def test_ctrl_c(refreshed: Any, power_bi: PowerBiService, cancels: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Cancelled on the service if asked to, with its row; otherwise it goes on, and nothing is guessed."""
    captured: list[Captured] = []
    power_bi.clock = lambda: datetime(2025, 11, 24, 16, 0, tzinfo=timezone.utc)
    power_bi.outcome = ("details-in-progress",)
    interrupted = []

    def interrupt(method: str, path: str) -> None:
        if method == "GET" and "/refreshes/" in path and not interrupted:
            import _thread

            interrupted.append(path)
            _thread.interrupt_main()

    power_bi.on_request = interrupt
    with capture(strict=False) as inner, pytest.raises(KeyboardInterrupt):
        captured.append(inner)
        api = PowerBi(power_bi.url, lambda: "right", sleep=lambda seconds: None)
        with dbbtrace.orchestration_run(RUN):
            handle = model_refresh("Group Finance")
            Refresher(handle, "Group Finance", "Data Products", api=api).run(RefreshRequest(), None, cancels)
    deleted = power_bi.asked("DELETE")
    if cancels:
        assert deleted == [f"/v1.0/myorg/groups/{WORKSPACE}/datasets/{MODEL}/refreshes/{power_bi.refreshes[0].request}"]
        assert (of(captured[0])[key.STATUS], of(captured[0])[key.ERROR_TYPE]) == ("Cancelled", "Cancelled")
    else:
        assert not deleted
        assert not captured[0].operations("model_refresh")
        assert "goes on; the next process that uses the journal asks what became of it" in caplog.text


# -- whatever comes -----------------------------------------------------------------------------------------------


class Answers:
    """A service that answers from documents, without a network."""

    def __init__(self, details: Any, history: Any) -> None:
        self._details, self._history, self._before = details, history, True

    def model(self, workspace: str, model: str) -> Model:
        return Model(WORKSPACE, MODEL, "Group Finance")

    def history(self, model: Model) -> Any:
        was, self._before = self._before, False
        return [] if was else self._history

    def start(self, model: Model, body: Any) -> str:
        return REQUEST

    def details(self, model: Model, request: str) -> Any:
        return self._details

    def sleep(self, seconds: float) -> None:
        pass


@settings(max_examples=150)
@given(MANGLINGS, MANGLINGS, st.randoms(use_true_random=False))
def test_mangled_answers_are_never_guessed(details: Any, history: Any, order: random.Random) -> None:
    """Whatever its answers lack: the right row, or none because it is asked after later; nothing is raised."""
    whole = response("details-completed", START="2025-11-24T16:00:00.57", MIDDLE="2025-11-24T16:00:20.57",
                     END="2025-11-24T16:01:00.57")["body"]  # fmt: skip
    entry = {name: whole[name] for name in ("startTime", "endTime", "status")} | {"requestId": REQUEST}
    api: Any = Answers(mangled(whole, details, order), [mangled(entry, history, order)])
    with capture(strict=False) as captured, dbbtrace.orchestration_run(RUN):
        refresher = Refresher(model_refresh(MODEL), MODEL, WORKSPACE, api=api)
        result = refresher.run(RefreshRequest())
    if result.outcome == "Running":
        assert not captured.operations("model_refresh")
        return
    span = of(captured)
    assert span[key.REFRESH_REQUEST_ID] == REQUEST
    assert span[key.STATUS] == result.status
    odd = {repr(each[2]) for each in (*details, *history) if each[1] == "odd"}
    if not odd:
        assert (span[key.STATUS], result.outcome, result.seconds) == ("Completed", "Completed", 60.0)


# -- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def command(power_bi: PowerBiService, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", "sqlite:///w.db")
    monkeypatch.setattr("dbbtrace.sources.powerbi.api.token_source", lambda *_: lambda: "right")
    open_warehouse().migrate()
    return ["refresh", "--workspace", "Data Products", "--model", "Group Finance", "--poll", "0", "--run", RUN]


def test_the_command(command: list[str], power_bi: PowerBiService) -> None:
    """Progress on stderr, the end on stdout, the row in the table with what the options say."""
    done = run(*command, "--data-product", "Finance", "--environment", "tst", "--pipeline-run-id", PIPELINE_RUN)
    request = power_bi.refreshes[0].request
    assert (done.code, done.out) == (0, f"Group Finance: Completed in 60.0 s (request {request})\n"), done
    assert done.err.splitlines() == [
        "Group Finance: NotStarted, 0 of 3 parts",
        "Group Finance: InProgress, 1 of 3 parts",
        "Group Finance: Completed, 3 of 3 parts",
    ]
    columns = "status, duration, semantic_model_id, semantic_model_name, workspace_id, data_product"
    columns += ", orchestration_run_id, data_product_refresh_pipeline_run_id, environment, record_id"
    [row] = rows(f"SELECT {columns} FROM meta.monitoring_semantic_model_refresh")
    assert row[:-1] == (
        "Completed", 60, MODEL, "Group Finance", WORKSPACE, "Finance", RUN, PIPELINE_RUN, "TST",
    )  # fmt: skip
    assert row[-1] == identity.record_id(RUN, identity.refresh_identity(request))


def test_it_meets_what_others_say_of_the_same_refresh(command: list[str], power_bi: PowerBiService) -> None:
    """The job's own record, the activity's request id and the imported history are one row."""
    assert run(*command).code == 0
    refresh = power_bi.refreshes[0]
    history = json.dumps({"value": [refresh.entry]})
    place = ["--workspace", "Data Products", "--model", "Group Finance"]
    done = run("import-refreshes", "-", *place, "--run", RUN, "--request", refresh.request, given=history)
    assert (done.code, done.out) == (0, "1 refresh recorded\n"), done
    done = run("import-refreshes", "-", *place, given=history)
    assert (done.code, done.out) == (0, "0 refreshes recorded, 1 in the table already\n"), done
    assert rows("SELECT COUNT(*) FROM meta.monitoring_semantic_model_refresh") == [(1,)]


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [("details-failed", 1, "Failed"), ("details-timed-out", 1, "TimedOut"), ("details-cancelled", 1, "Cancelled")],
)
def test_exit_codes(command: list[str], power_bi: PowerBiService, outcome: str, code: int, said: str) -> None:
    """Anything but a model that was refreshed is 1, with the reason on stderr."""
    power_bi.outcome = (outcome,)
    done = run(*command)
    assert done.code == code, done
    assert done.out.startswith(f"Group Finance: {said} in 60.0 s (request ")
    assert done.err.splitlines()[-1].startswith("dbbtrace: ")


def test_exit_code_of_one_that_was_refused(command: list[str], power_bi: PowerBiService) -> None:
    """Another runs: 1. A name that nobody knows: 1, and the row is there. Options that make no sense: 2, and none."""
    power_bi.begin("OnDemand", "details-in-progress")
    done = run(*command)
    assert (done.code, done.out) == (1, "Group Finance: Busy\n"), done
    assert "another refresh" in done.err.lower()
    command[4] = "Nobody's"
    done = run(*command)
    assert (done.code, done.out) == (1, "Nobody's: Refused\n"), done
    assert 'there is no semantic model "Nobody\'s" that this identity may see' in done.err
    assert_one_line(run(*command, "--type", "half"), "refresh_type = 'half'")
    found = rows("SELECT status, error_type FROM meta.monitoring_semantic_model_refresh ORDER BY error_type")
    assert found == [("Failed", "Busy"), ("Failed", "UsageError")]
