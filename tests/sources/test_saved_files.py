"""What people have saved of other tools: in encodings of Windows, and whatever is in it, never a stray exception."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import dbbtrace
from dbbtrace.errors import UsageError
from dbbtrace.sources.fabric.job_events import jobs_in_file
from dbbtrace.sources.fabric.saved import SavedResponses

DEEP = "[" * 200_000
EVENTS = [{"id": "0f8fad5b-d9cb-469f-a165-70867728950e", "status": "Completed", "itemDisplayName": "é"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(encoding: str, tmp_path: Path) -> None:
    """PowerShell's > writes UTF-16, Notepad a byte order mark."""
    path = tmp_path / "events.json"
    path.write_text(json.dumps(EVENTS, ensure_ascii=False), encoding=encoding)
    assert list(jobs_in_file(path)) == EVENTS
    runs = [{"activityRunId": "1", "activityName": "é", "pipelineRunId": EVENTS[0]["id"], "activityType": "Copy"}]
    path.write_text(json.dumps(runs, ensure_ascii=False), encoding=encoding)
    assert SavedResponses(path).only_run() == EVENTS[0]["id"]


def test_what_is_nested_too_deeply_is_not_json(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One error of ours says so, wherever it was read; where a job gives it, a log line, and the job goes on."""
    path = tmp_path / "deep.json"
    path.write_text(DEEP)
    for read in (lambda: list(jobs_in_file(path)), lambda: SavedResponses(path)):
        with pytest.raises(UsageError, match="not JSON"):
            read()
    with pytest.raises(UsageError, match="not JSON"):
        dbbtrace.import_refreshes(DEEP, workspace="w", model="m", run_id="r")
    dbbtrace.record_copy(DEEP, table="T", run_id="r")
    assert "not JSON" in caplog.text
