"""Fabric's API: patience where the service needs it, a token that goes nowhere else, errors that say what to do."""

from __future__ import annotations

import logging
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dbbtrace
from dbbtrace.access import credentials
from dbbtrace.demo.fabric_service import FabricService, load_responses
from dbbtrace.errors import ConfigurationError, RefusedError, TransientError, UsageError
from dbbtrace.model import attributes as key
from dbbtrace.sources.fabric.http import FabricApi
from dbbtrace.sources.fabric.runs import Importer
from dbbtrace.sources.fabric.service import ForbiddenError, GoneError
from dbbtrace.testing import capture
from tests.sources.fabric.test_copies import MANGLINGS, mangled
from tests.support.fabric import ENDED, RUN, WORKSPACE

MDS_RUN = "30000000-7d3f-4b6a-9f10-2a6d5b1c8e47"
PIPELINE = "11111111-3c5d-4e6f-8a7b-1c2d3e4f5a6b"
SECRET = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJmYWJyaWMifQ.c2lnbmF0dXJl"


@pytest.fixture
def service() -> Iterator[FabricService]:
    with FabricService(load_responses(ends_at=ENDED), page_size=5, token="right") as service:
        yield service


@pytest.fixture
def waits() -> list[float]:
    """Seconds that the client waited."""
    return []


@pytest.fixture
def api(service: FabricService, waits: list[float]) -> FabricApi:
    return FabricApi(service.url, lambda: "right", sleep=waits.append)


def ids(runs: Any) -> list[str]:
    return sorted(run["activityRunId"] for run in runs)


def test_pages(service: FabricService, api: FabricApi) -> None:
    """All of them, of a list that is asked for with a body, and of one that is not."""
    assert ids(api.activity_runs(WORKSPACE, MDS_RUN)) == ids(service.activities[MDS_RUN])
    assert len(service.requests) == -(-len(service.activities[MDS_RUN]) // 5)
    assert api.pipelines(WORKSPACE)["orchestration_pipeline_Group-FinancialStatements"] == PIPELINE
    assert [job["id"] for job in api.jobs(WORKSPACE, PIPELINE)] == [RUN]


def test_a_list_that_changes_between_two_pages(service: FabricService, api: FabricApi) -> None:
    """An entry that moves behind those already read would be missed: the list is read again."""
    listed = service.activities[MDS_RUN]
    moved = False

    def move(run_id: str, page: int) -> None:
        nonlocal moved
        if page == 1 and not moved:
            moved = True
            listed.append(listed.pop(0))

    service.on_page = move
    assert set(ids(api.activity_runs(WORKSPACE, MDS_RUN))) == set(ids(listed))
    assert moved


@pytest.mark.parametrize(
    ("faults", "waited"),
    [
        ([(429, {"Retry-After": "7"})], [7.0]),
        ([(429, {"Retry-After": "7"}), (429, {})], [7.0, 2.0]),
        ([(500, {}), (503, {}), (502, {})], [1.0, 2.0, 4.0]),
        ([(503, {"Retry-After": "3"})], [3.0]),
        ([(429, {"Retry-After": "nonsense"})], [1.0]),
        ([(429, {"Retry-After": "Thu, 20 Nov 2025 07:00:00 GMT"})], [0.0]),
    ],
)
def test_a_service_that_throttles_or_is_down(
    service: FabricService, api: FabricApi, waits: list[float], faults: Any, waited: list[float]
) -> None:
    """It is asked again when it says so, else after longer and longer pauses."""
    service.faults += faults
    assert api.job(WORKSPACE, PIPELINE, RUN)["id"] == RUN
    assert waits == waited


def test_patience_ends(service: FabricService, waits: list[float]) -> None:
    """Then the error is one to try again later, which names the status."""
    service.faults += [(429, {"Retry-After": "100"})] * 10
    with pytest.raises(TransientError, match="429 RequestBlocked"):
        FabricApi(service.url, lambda: "right", sleep=waits.append).job(WORKSPACE, PIPELINE, RUN)
    assert sum(waits) <= 300


def test_nobody_answers(waits: list[float]) -> None:
    """A port where nothing listens."""
    with FabricService(load_responses()) as service:
        url = service.url
    with pytest.raises(TransientError, match="ConnectError"):
        FabricApi(url, lambda: "right", patience=10, sleep=waits.append).job(WORKSPACE, PIPELINE, RUN)


def test_a_token_that_expires_on_the_way(service: FabricService) -> None:
    """A new one is asked for, once; a token that is not taken at all is an error for a person."""
    given = iter(["right", "new", "newer", "newest"])
    api = FabricApi(service.url, lambda: next(given))
    api.job(WORKSPACE, PIPELINE, RUN)
    service.token = "new"
    assert len(api.activity_runs(WORKSPACE, MDS_RUN)) == len(service.activities[MDS_RUN])
    assert next(given) == "newer"
    service.token = "none of them"
    with pytest.raises(ConfigurationError, match="does not take the access token"):
        api.job(WORKSPACE, PIPELINE, RUN)
    assert not list(given)


def test_a_long_running_operation(service: FabricService, api: FabricApi) -> None:
    """202 with a Location: followed to its result."""
    service.long_running = True
    assert ids(api.activity_runs(WORKSPACE, MDS_RUN)) == ids(service.activities[MDS_RUN])


@pytest.mark.parametrize(("status", "error"), [(403, ForbiddenError), (404, GoneError), (400, RefusedError)])
def test_what_a_person_must_see_to(service: FabricService, api: FabricApi, status: int, error: Any) -> None:
    """It is not tried again."""
    service.gone[RUN] = status
    with pytest.raises(error, match=str(status)):
        api.job(WORKSPACE, PIPELINE, RUN)
    assert len(service.requests) == 1


@pytest.mark.parametrize("url", ["http://example.com", "ftp://localhost", "api.fabric.microsoft.com"])
def test_no_token_over_an_open_line(url: str) -> None:
    """https, or this machine."""
    with pytest.raises(UsageError, match="https"):
        FabricApi(url, lambda: "right")


def test_an_id_is_one_part_of_a_path(service: FabricService, api: FabricApi) -> None:
    """Whatever an output holds in its place."""
    with pytest.raises(GoneError):
        api.activity_runs(WORKSPACE, "../../../operations/1?x=")
    assert service.requests[-1].endswith("/pipelineruns/..%2F..%2F..%2Foperations%2F1%3Fx%3D/queryactivityruns")


def test_the_token_goes_to_no_other_host(service: FabricService, api: FabricApi) -> None:
    """A page or an operation that is elsewhere is refused; a redirect is not followed."""
    with FabricService(load_responses()) as thief:
        service.faults.append((202, {"Location": f"{thief.url}/v1/operations/1", "Retry-After": "0"}))
        with pytest.raises(RefusedError, match="another host"):
            api.job(WORKSPACE, PIPELINE, RUN)
        service.faults.append((307, {"Location": thief.url}))
        with pytest.raises(RefusedError, match="307"):
            api.job(WORKSPACE, PIPELINE, RUN)
        assert not thief.requests


# -- credentials --------------------------------------------------------------------------------------------------


def test_the_order_of_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument (text, function or credential), then the notebook, then azure-identity as configure() found it."""
    made: list[str] = []

    class DefaultAzureCredential:
        def __init__(self) -> None:
            import os

            made.append(os.environ.get("AZURE_CLIENT_ID", ""))

        def get_token(self, scope: str) -> Any:
            return types.SimpleNamespace(token=f"{made[0]} for {scope}")

    identity = types.ModuleType("azure.identity")
    identity.DefaultAzureCredential = DefaultAzureCredential  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "azure", types.ModuleType("azure"))
    monkeypatch.setitem(sys.modules, "azure.identity", identity)
    monkeypatch.setitem(sys.modules, "notebookutils", None)
    monkeypatch.setattr("dbbtrace.access.fixed._fixed", None)
    credentials._azure_credential.cache_clear()
    monkeypatch.setenv("AZURE_CLIENT_ID", "us")
    try:
        dbbtrace.configure(warehouse="none")
        monkeypatch.setenv("AZURE_CLIENT_ID", "somebody else")
        source = credentials.token_source(None, credentials.FABRIC)
        assert source() == "us for https://api.fabric.microsoft.com/.default"
    finally:
        credentials._azure_credential.cache_clear()
    utils = types.ModuleType("notebookutils")
    utils.credentials = types.SimpleNamespace(getToken=lambda audience: f"for {audience}")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "notebookutils", utils)
    assert credentials.token_source(None, credentials.FABRIC)() == "for pbi"
    assert credentials.token_source("text", credentials.FABRIC)() == "text"
    assert credentials.token_source(lambda: "function", credentials.FABRIC)() == "function"
    assert credentials.token_source(DefaultAzureCredential(), credentials.POWER_BI)().endswith("powerbi/api/.default")


def test_no_token_is_ever_shown(fabric: FabricService, caplog: pytest.LogCaptureFixture) -> None:
    """Not in a log line, a span, an error or a repr; whatever the service echoes."""
    fabric.token = "another"
    caplog.set_level(logging.DEBUG)
    with capture(strict=False) as captured:
        dbbtrace.configure(fabric_token=SECRET)
        with pytest.raises(dbbtrace.RunFailedError) as failed:
            dbbtrace.import_run(RUN, raise_on_failure=True)
        fabric.token = None
        fabric.jobs[RUN]["failureReason"] = f"Bearer {SECRET} was not accepted"
        done = dbbtrace.import_run(RUN)
        from dbbtrace.tracing import runtime

        said = [repr(runtime.current()), str(failed.value), str(done), str(done.reason), caplog.text]
    said += [repr(dict(span.attributes)) for span in captured.spans]
    assert f"Bearer {SECRET}" in fabric.authorizations
    assert not [text for text in said if SECRET in text]


# -- whatever comes -----------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.integers(0, 200), MANGLINGS, st.randoms(use_true_random=False))
def test_a_run_of_mangled_activities(place: int, manglings: Any, order: Any) -> None:
    """Whatever one activity of the run lacks, the other loads have their rows; nothing is raised."""
    documents = load_responses(ends_at=ENDED)
    listed = next(
        each["value"] for each in documents
        if "value" in each and each["value"][0].get("pipelineRunId") == MDS_RUN
    )  # fmt: skip
    copies = [place for place, each in enumerate(listed) if each["activityType"] == "Copy"]
    chosen = copies[place % len(copies)]
    table = listed[chosen]["input"]["sink"]["datasetSettings"]["typeProperties"]["table"].rpartition("_")[2]
    listed[chosen] = mangled(listed[chosen], manglings, order)
    with capture(strict=False) as captured:
        Importer(RUN, workspace_id=WORKSPACE, service=Answers(documents)).once()
    loads = {span.attributes[key.TABLE_NAME]: span for span in captured.operations("table_load")}
    others = {"Customer", "Account", "Calendar", "Currency", "company", "ledgerentry"} - {table}
    assert others <= loads.keys()
    assert loads["Currency"].attributes[key.ERROR_TYPE] == "NotStarted"


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 60), MANGLINGS), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_a_run_of_which_anything_is_mangled(mangles: Any, order: Any, closing: bool) -> None:
    """Invoked pipelines, lookups, Filters, refreshes, the job: what can't be read is named, and nothing raises."""
    documents = load_responses(ends_at=ENDED)
    entries = [(each["value"], place) for each in documents if "value" in each for place in range(len(each["value"]))]
    service = Answers(documents)
    for place, manglings in mangles:
        listed, at = entries[place % len(entries)]
        listed[at] = mangled(listed[at], manglings, order)
    service._jobs = {RUN: mangled(service._jobs[RUN], mangles[0][1], order)}
    with capture(strict=False) as captured:
        done = Importer(RUN, workspace_id=WORKSPACE, service=service, closing=closing).once()
    for load in captured.operations("table_load"):
        assert load.attributes[key.STATUS] in ("Succeeded", "Failed")
        assert load.attributes[key.RUN_ID] == RUN
    assert all(": " in reason for reason in done.reasons)


class Answers:
    """A service that answers from documents, without a network."""

    def __init__(self, documents: list[Any]) -> None:
        self._runs: dict[str, list[Any]] = {}
        self._jobs = {each["id"]: each for each in documents if "jobType" in each}
        for each in documents:
            if "value" in each and "activityName" in each["value"][-1] | each["value"][0]:
                whole = next(entry for entry in each["value"] if "pipelineRunId" in entry)
                self._runs[whole["pipelineRunId"]] = each["value"]

    def activity_runs(self, workspace: str, run_id: str) -> Any:
        if run_id not in self._runs:
            raise GoneError(run_id)
        return self._runs[run_id]

    def job(self, workspace: str, item: str, run_id: str) -> Any:
        if run_id not in self._jobs:
            raise GoneError(run_id)
        return self._jobs[run_id]

    def pipelines(self, workspace: str) -> Any:
        return {}

    def jobs(self, workspace: str, item: str) -> Any:
        return []
