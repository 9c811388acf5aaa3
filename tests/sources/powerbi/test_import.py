"""``import_refreshes``: what the service remembers of a model's refreshes, kept in the table."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dbbtrace
from dbbtrace.demo.fabric_service import FabricService
from dbbtrace.errors import UsageError
from dbbtrace.model import attributes as key
from dbbtrace.model import identity
from dbbtrace.testing import capture
from dbbtrace.warehouse import open_warehouse
from tests.cli.support import assert_one_line, run
from tests.job.support import rows
from tests.sources.fabric.test_copies import MANGLINGS, mangled
from tests.sources.powerbi.test_details import REQUEST, RUN, details, frame
from tests.support.fabric import RUN as PIPELINE_RUN
from tests.support.powerbi import MODEL, WORKSPACE, response

PLACE = ["--workspace", WORKSPACE, "--model", MODEL]
COLUMNS = "status, process_started_at, process_completed_at, duration, semantic_model_id, workspace_id"


@pytest.fixture(autouse=True)
def warehouse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", "sqlite:///w.db")
    open_warehouse().migrate()


def refreshes(columns: str = COLUMNS) -> list[Any]:
    return rows(f"SELECT {columns} FROM meta.monitoring_semantic_model_refresh ORDER BY process_started_at, status")


def test_the_command(tmp_path: Path) -> None:
    """Each refresh that has ended is one row with the service's words and times, however often the file is imported."""
    file = tmp_path / "history.json"
    file.write_text(json.dumps(response("history")["body"]), encoding="utf-8")
    done = run("import-refreshes", str(file), *PLACE, "--name", "Group Finance")
    assert (done.code, done.out) == (0, "3 refreshes recorded, 1 still running\n"), done
    assert refreshes() == [
        ("Disabled", "2025-11-19 12:30:00.500", "2025-11-19 12:30:00.500", 0, MODEL, WORKSPACE),
        ("Failed", "2025-11-19 18:00:04.123", "2025-11-19 18:00:19.500", 15, MODEL, WORKSPACE),
        ("Completed", "2025-11-20 07:02:11.453", "2025-11-20 07:04:50.183", 158, MODEL, WORKSPACE),
    ]
    done = run("import-refreshes", "-", *PLACE, given=file.read_text(encoding="utf-8"))
    assert (done.code, done.out) == (0, "0 refreshes recorded, 3 in the table already, 1 still running\n"), done
    assert len(refreshes()) == 3
    assert refreshes("orchestration_run_id, data_product, error_type, semantic_model_name")[2] == (
        "22222222-9b0a-44c1-b6c0-0cb185c6ebfb", None, None, "Group Finance")  # fmt: skip


def test_the_one_that_ran_has_its_row_once_it_has_ended(tmp_path: Path) -> None:
    """The next history names its end: one row more."""
    history = response("history")["body"]
    done = dbbtrace.import_refreshes(history, model=MODEL, workspace=WORKSPACE)
    assert (done.recorded, done.running) == (3, 1)
    history["value"][0] |= {"status": "Completed", "endTime": "2025-11-20T08:44:00Z"}
    assert dbbtrace.flush(30)
    assert dbbtrace.import_refreshes(history, model=MODEL, workspace=WORKSPACE).recorded == 1
    assert dbbtrace.flush(30)
    assert [row[0] for row in refreshes()] == ["Disabled", "Failed", "Completed", "Completed"]


def test_what_a_run_has_is_not_recorded_beside_it() -> None:
    """A refresh that a job recorded in its run, or that somebody wrote by hand and rounded, has no second row."""
    with dbbtrace.orchestration_run(RUN), dbbtrace.model_refresh(MODEL, request_id=REQUEST) as refresh:
        refresh.from_details(details("details-completed"))
    done = dbbtrace.import_refreshes(details("details-completed"), model=MODEL.upper(), workspace=WORKSPACE)
    assert (done.recorded, done.known) == (0, 1)
    assert len(refreshes()) == 1


def test_into_a_run() -> None:
    """With a run id it is the run's refresh; recorded by the job itself, imported and imported again, it is one row."""
    with dbbtrace.orchestration_run(RUN), dbbtrace.model_refresh(MODEL, request_id=REQUEST.upper()) as refresh:
        refresh.from_details(details("details-completed"))
    history = {
        "value": [*response("history")["body"]["value"][2:], details("details-completed") | {"requestId": REQUEST}]
    }
    for _ in range(2):
        done = dbbtrace.import_refreshes(
            history, model=MODEL, workspace=WORKSPACE, run_id=RUN, request_id=REQUEST, data_product="Finance"
        )
        assert (done.recorded, done.refused) == (1, [])
        assert dbbtrace.flush(30)
    assert refreshes("orchestration_run_id, status") == [(RUN, "Completed")]
    with pytest.raises(UsageError, match="3 refreshes were given, and one belongs to the run"):
        dbbtrace.import_refreshes(history, model=MODEL, workspace=WORKSPACE, run_id=RUN)


def test_a_frame_of_sempy() -> None:
    """What a notebook has is taken as it is."""
    assert str(dbbtrace.import_refreshes(frame(), model=MODEL, workspace=WORKSPACE)) == (
        "3 refreshes recorded, 1 still running"
    )
    assert dbbtrace.flush(30)
    assert len(refreshes()) == 3


def test_an_entry_that_makes_no_sense_costs_itself(tmp_path: Path) -> None:
    """It is refused by the name of its field, the others have their rows, and the command says so."""
    history = response("history")["body"]
    del history["value"][2]["endTime"]
    history["value"][3]["status"] = 5
    done = run("import-refreshes", "-", *PLACE, given=json.dumps(history))
    assert done.code == 1, done
    assert done.out == "1 refresh recorded, 1 still running, 2 refused\n"
    assert done.err.splitlines() == [
        "not read: value[2].endTime is missing",
        "not read: value[3].status = 5 is no status: write e.g. Completed",
        "dbbtrace: not everything could be read; the lines above say what",
    ]
    assert [row[0] for row in refreshes()] == ["Completed"]
    assert_one_line(run("import-refreshes", "-", *PLACE, given="{"), "is not JSON")


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MANGLINGS, st.randoms(use_true_random=False))
def test_a_mangled_entry_never_costs_another(manglings: Any, order: random.Random) -> None:
    """Whatever one entry lacks: it is right, refused by name, or running; its neighbour is recorded."""
    history = response("history")["body"]["value"]
    odd = mangled(history[1], manglings, order)
    with capture(strict=False) as captured:
        done = dbbtrace.import_refreshes([odd, history[2]], model=MODEL, workspace=WORKSPACE)
    spans = captured.operations("model_refresh")
    assert "33333333-9b0a-44c1-b6c0-0cb185c6ebfb" in {span.attributes.get(key.REFRESH_REQUEST_ID) for span in spans}
    assert len(spans) == done.recorded
    assert done.recorded + done.running + len(done.refused) == 2


def test_an_activity_s_request_id_is_the_refresh(fabric: FabricService) -> None:
    """What the job recorded itself and what the pipeline's activity says of it meet: one row, by the request id."""
    request = "7b7b7b7b-3c5d-4e6f-8a7b-1c2d3e4f5a6b"
    activity = next(
        each
        for activities in fabric.activities.values()
        for each in activities
        if each["activityType"] == "PBISemanticModelRefresh"
    )
    dbbtrace.configure(fabric_token="right")
    with dbbtrace.join_run(PIPELINE_RUN), dbbtrace.model_refresh(activity["input"]["datasetId"]) as refresh:
        refresh.request_id = request.upper()
        refresh.from_details(activity["output"])
    assert dbbtrace.import_run(PIPELINE_RUN).refreshes == 1
    assert dbbtrace.flush(60)
    record_id = identity.record_id(PIPELINE_RUN, identity.refresh_identity(request))
    assert refreshes("record_id, status") == [(record_id, "Completed")]
