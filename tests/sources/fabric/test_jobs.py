"""Job events, from files, a table and the API, into the run's own record."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import dbbtrace
from dbbtrace.demo.fabric_service import FabricService
from dbbtrace.sources.fabric.http import FabricApi
from dbbtrace.sources.fabric.job_events import jobs_in_service
from tests.cli.support import assert_one_line, run
from tests.job.support import rows
from tests.support.fabric import RUN, WORKSPACE

FIRST, SECOND = "a0000000-7d3f-4b6a-9f10-2a6d5b1c8e47", "b0000000-7d3f-4b6a-9f10-2a6d5b1c8e47"
PIPELINE = "11111111-3c5d-4e6f-8a7b-1c2d3e4f5a6b"


def event(run_id: str, status: str, **more: Any) -> dict[str, Any]:
    """As the Delta table holds it."""
    return {
        "item_id": PIPELINE.upper(), "item_name": "orchestration_pipeline_Sales", "item_kind": "Pipeline",
        "workspace_id": WORKSPACE, "workspace_name": "DBB", "job_instance_id": run_id, "job_type": "Pipeline",
        "job_invoke_type": "Scheduled", "job_status": status, "job_start_time_utc": None, "job_end_time_utc": None,
        "job_schedule_time_utc": "2025-11-20T07:00:00Z", **more,
    }  # fmt: skip


STARTED = {"job_start_time_utc": "2025-11-20T07:00:12.5Z"}
EVENTS = [
    event(FIRST, "Completed", **STARTED, job_end_time_utc="2025-11-20T07:20:00Z", job_schedule_time_utc=None),
    event(FIRST.upper(), "NotStarted"),
    event(FIRST, "InProgress", **STARTED),
    event(SECOND, "Canceled", job_end_time_utc="2025-11-20T07:05:00Z"),
    event("c0000000-7d3f-4b6a-9f10-2a6d5b1c8e47", "Failed", item_name="transformation_pipeline_DBB", **STARTED),
]
DETAIL = {"job_type": "Pipeline", "item_kind": "Pipeline", "workspace_name": "DBB"}
PARTS = (
    "SELECT orchestration_run_id, status, process_started_at, process_completed_at, error_type, job_invoke_type,"
    " job_scheduled_at, data_product, pipeline_id FROM meta.monitoring_run_part WHERE part = 'run' ORDER BY 1, 2"
)
EXPECTED = [
    (FIRST, "Succeeded", "2025-11-20 07:00:12.500000", "2025-11-20 07:20:00.000000", None, "Scheduled",
     "2025-11-20 07:00:00.000000", "Sales", PIPELINE),
    (SECOND, "Failed", "2025-11-20 07:00:00.000000", "2025-11-20 07:05:00.000000", "Cancelled", "Scheduled",
     "2025-11-20 07:00:00.000000", "Sales", PIPELINE),
]  # fmt: skip


@pytest.mark.parametrize("form", ["lines", "list", "events"])
def test_from_a_file(tmp_path: Path, form: str) -> None:
    """In any order, and twice: one row a run, with what each event said; other items are left out."""
    lines = [{"specversion": "1.0", "data": each} for each in EVENTS] if form == "events" else EVENTS
    text = json.dumps(lines, indent=1) if form == "list" else "\n".join(map(json.dumps, lines))
    file = tmp_path / "events.jsonl"
    file.write_text(text, encoding="utf-8")
    for _ in range(2):
        done = run("--warehouse", "sqlite:///w.db", "import-jobs", str(file))
        assert (done.code, done.out) == (0, "2 runs, 1 of them never started; 1 event of other items\n"), done
    assert rows(PARTS) == EXPECTED
    [[message, detail]] = rows(
        f"SELECT error_message, detail FROM meta.monitoring_run_part WHERE orchestration_run_id = '{SECOND}'"
    )
    assert message == "the pipeline was cancelled before it started"
    assert json.loads(detail) == {**DETAIL, "job_status": "Canceled", "started": "no"}
    [[detail]] = rows(f"SELECT detail FROM meta.monitoring_run_part WHERE orchestration_run_id = '{FIRST}'")
    assert json.loads(detail) == {**DETAIL, "job_status": "Completed", "queued_seconds": 12.5}


def test_a_run_that_goes_on_is_known(tmp_path: Path) -> None:
    """As started; when it has ended, that is a row of its own, and the run is no longer Running."""
    dbbtrace.configure(warehouse="sqlite:///w.db")
    dbbtrace.import_jobs(EVENTS[1:3])
    assert dbbtrace.flush(30)
    assert [row[:2] for row in rows(PARTS)] == [(FIRST, "Started")]
    dbbtrace.import_jobs(EVENTS[:1])
    assert dbbtrace.flush(30)
    assert [row[:2] for row in rows(PARTS)] == [(FIRST, "Started"), (FIRST, "Succeeded")]


def test_from_a_table(tmp_path: Path) -> None:
    """The platform's Delta table, by SQL; its name is no place for a statement."""
    with sqlite3.connect("lake.db") as connection:
        connection.execute(f"CREATE TABLE dbb_orchestration_run_data ({', '.join(EVENTS[0])})")
        for each in EVENTS:
            marks = ", ".join("?" * len(each))
            connection.execute(f"INSERT INTO dbb_orchestration_run_data VALUES ({marks})", tuple(each.values()))
    options = ("--from", "sqlite:///lake.db", "--table")
    done = run("--warehouse", "sqlite:///w.db", "import-jobs", *options, "dbb_orchestration_run_data")
    assert done.code == 0, done
    assert rows(PARTS) == EXPECTED
    assert_one_line(run("--warehouse", "sqlite:///w.db", "import-jobs", *options, "x; DROP TABLE y"), "name of a table")


def test_a_run_that_was_left_out_because_another_went_on() -> None:
    """Deduped is no success: nothing of it ran."""
    dbbtrace.configure(warehouse="sqlite:///w.db")
    dbbtrace.import_jobs([event(FIRST, "Deduped", job_end_time_utc="2025-11-20T07:00:01Z")])
    assert dbbtrace.flush(30)
    assert [(row[1], row[4]) for row in rows(PARTS)] == [("Failed", "Deduped")]


def test_from_the_service(fabric: FabricService) -> None:
    """Job instances of the orchestration pipelines."""
    dbbtrace.configure(warehouse="sqlite:///w.db")
    done = dbbtrace.import_jobs(jobs_in_service(FabricApi(fabric.url, lambda: "t"), WORKSPACE))
    assert done.runs == 1
    assert dbbtrace.flush(30)
    [row] = rows(PARTS)
    assert row[:2] == (RUN, "Failed")
    assert row[5] == "Scheduled"


def test_what_makes_no_sense(tmp_path: Path) -> None:
    """One source, and JSON in it."""
    file = tmp_path / "events.jsonl"
    file.write_text('{"job_instance_id": 1}\nnonsense', encoding="utf-8")
    assert_one_line(run("--warehouse", "sqlite:///w.db", "import-jobs"), "FILE")
    assert_one_line(run("--warehouse", "sqlite:///w.db", "import-jobs", str(file)), "line 2")


def test_what_can_not_be_recorded_is_refused(tmp_path: Path) -> None:
    """No run is counted that has no row, and a time that is none decides no row."""
    times = {"job_start_time_utc": "0001-01-01T00:00:00", "job_end_time_utc": "9999-12-31T23:59:59.9999999"}
    timeless = event(FIRST, "Failed", **times, job_schedule_time_utc=17)
    file = tmp_path / "events.json"
    file.write_text(json.dumps([timeless, None, {}, event(SECOND, "Failed", **times)]), encoding="utf-8")
    done = run("--warehouse", "sqlite:///w.db", "import-jobs", str(file))
    assert (done.code, done.out) == (1, "1 run, 1 of them never started; 3 events refused\n"), done
    assert [row[:4] for row in rows(PARTS)] == [
        (SECOND, "Failed", "2025-11-20 07:00:00.000000", "2025-11-20 07:00:00.000000")
    ]
