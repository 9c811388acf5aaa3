"""A job killed at any instant never reads as a run that can be trusted, before its record is complete."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.support import run

RUN = "0f8fad5b-d9cb-469f-a165-70867728950e"
_JOB = f"""
import time
import dbbtrace

print("up", flush=True)
with dbbtrace.orchestration_run("{RUN}", data_product="Shop", environment="PRD"):
    with dbbtrace.integration():
        for number in range(6):
            with dbbtrace.table_load(f"table {{number}}", schema="mdm", source="MDS", load_type="FULL") as load:
                print("loads", flush=True)
                time.sleep(0.01)
                load.rows_written = 10
    with dbbtrace.consumption():
        with dbbtrace.model_refresh("7c9e6679-7425-40de-944b-e07fc1f90ae7"):
            print("refreshes", flush=True)
            time.sleep(0.01)
print("done", flush=True)
"""
_LINES = 9
"""What it prints. It is killed a moment after one of the lines, so that no busy machine moves the instants away."""


def complete(warehouse: Path) -> bool:
    """Whether the record is: the run's and the job's ends, and all rows."""
    import sqlite3

    if not warehouse.exists():
        return False
    with sqlite3.connect(warehouse) as file:
        try:
            ends = file.execute(
                "SELECT COUNT(DISTINCT part) FROM monitoring_run_part WHERE part IN ('run', 'job', 'workload')"
                " AND status = 'Succeeded'"
            ).fetchone()[0]
            rows = file.execute("SELECT COUNT(*) FROM monitoring_integration").fetchone()[0]
        except sqlite3.OperationalError:
            return False
    return bool(ends == 3 and rows == 6)


def started_is_there(warehouse: Path) -> bool:
    import sqlite3

    if not warehouse.exists():
        return False
    with sqlite3.connect(warehouse) as file:
        try:
            return bool(file.execute("SELECT COUNT(*) FROM monitoring_run_part WHERE status = 'Started'").fetchone()[0])
        except sqlite3.OperationalError:
            return False


@pytest.mark.parametrize("kills", [5, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
def test_a_killed_job_is_never_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int) -> None:
    """On its machine never 0 before the record is complete; elsewhere never 0 once the Started row is there."""
    chance = random.Random(7)
    seen = set()
    for number in range(kills):
        place = tmp_path / str(number)
        place.mkdir()
        warehouse, journal = place / "w.db", place / "journal"
        environment = {
            **os.environ,
            "DBBTRACE_WAREHOUSE": f"sqlite:///{warehouse}",
            "DBBTRACE_JOURNAL_DIR": str(journal),
        }
        assert run("--warehouse", f"sqlite:///{warehouse}", "migrate").code == 0
        job = subprocess.Popen([sys.executable, "-c", _JOB], env=environment, stdout=subprocess.PIPE, text=True)
        assert job.stdout is not None
        for _ in range(chance.randint(1, _LINES)):
            assert job.stdout.readline()
        time.sleep(chance.uniform(0, 0.03))
        job.kill()
        job.communicate()
        whole = complete(warehouse)
        for known, directory in (("here", journal), ("elsewhere", place / "another")):
            monkeypatch.setenv("DBBTRACE_WAREHOUSE", f"sqlite:///{warehouse}")
            monkeypatch.setenv("DBBTRACE_JOURNAL_DIR", str(directory))
            done = run("check", RUN, "--json")
            word = json.loads(done.out)["verdict"] if done.out else None
            seen.add((known, word))
            if not whole and (known == "here" or started_is_there(warehouse)):
                assert done.code != 0, (number, known, done.out)
    assert ("here", "Unfinished") in seen
