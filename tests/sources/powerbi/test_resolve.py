"""A refresh whose job was killed: whoever reads the journal next asks the service what became of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import dbbtrace
from dbbtrace.errors import ConfigurationError
from dbbtrace.model import identity
from dbbtrace.warehouse import open_warehouse
from tests.cli.support import Done, run
from tests.e2e.programs import eventually
from tests.job.support import rows
from tests.support.powerbi import MODEL, WORKSPACE, PowerBiService, Refresh

RUN = "10000000-7d3f-4b6a-9f10-2a6d5b1c8e47"
JOB = """
import dbbtrace

dbbtrace.configure(fabric_token="right")
with dbbtrace.orchestration_run("{run}", data_product="Finance"):
    with dbbtrace.table_load("Ended"):
        pass
    with dbbtrace.table_load("Cut"):
        dbbtrace.refresh_model("Group Finance", workspace="Data Products", poll=0.02)
"""
REFRESHES = "SELECT status, error_type, record_id, process_started_at FROM meta.monitoring_semantic_model_refresh"


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, power_bi: PowerBiService) -> None:
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", "sqlite:///w.db")
    monkeypatch.setattr("dbbtrace.sources.powerbi.api.token_source", lambda *_: lambda: "right")
    power_bi.outcome = ("details-in-progress",)
    open_warehouse().migrate()


@pytest.fixture
def killed(power_bi: PowerBiService, tmp_path: Path) -> Callable[[], Refresh]:
    """A job that is killed with -9 in the middle of following its refresh."""

    def kill() -> Refresh:
        followed = threading.Event()
        power_bi.on_request = lambda method, path: (
            followed.set() if len([each for each in power_bi.asked("GET") if "/refreshes/" in each]) > 2 else None
        )
        job = subprocess.Popen([sys.executable, "-c", JOB.format(run=RUN)], env=dict(os.environ))
        assert followed.wait(60)
        os.kill(job.pid, signal.SIGKILL)
        job.wait(60)
        power_bi.on_request = None
        power_bi.requests.clear()
        return power_bi.refreshes[0]

    return kill


def recover() -> Done:
    return run("recover", "--timeout", "60")


def loads() -> list[Any]:
    return rows("SELECT table_name, status, error_type FROM meta.monitoring_integration ORDER BY table_name")


def test_a_killed_job_s_refresh_has_the_row_that_the_service_tells(
    killed: Callable[[], Refresh], power_bi: PowerBiService, tmp_path: Path
) -> None:
    """While it runs there is none, and it is asked after once more; then the service's own word, times and identity."""
    refresh = killed()
    done = recover()
    assert done.code == 1, done
    assert f"the refresh {refresh.request} of Group Finance still runs: it has its row once it has ended" in done.err
    assert rows(REFRESHES) == []
    assert loads() == [("Cut", "Failed", "Interrupted"), ("Ended", "Succeeded", None)]  # they do not wait for it
    refresh.coming = ["details-completed"]
    done = recover()
    assert (done.code, done.err) == (0, ""), done
    record_id = identity.record_id(RUN, identity.refresh_identity(refresh.request))
    started = refresh.times["START"].replace("T", " ") + "0"
    assert rows(REFRESHES) == [("Completed", None, record_id, started)]
    assert loads() == [("Cut", "Failed", "Interrupted"), ("Ended", "Succeeded", None)]
    assert not power_bi.asked("POST")
    assert power_bi.asked("GET")[-1].endswith(refresh.request)
    journals = [path.name for path in (tmp_path / "journal").iterdir() if "nobody" in path.name]
    assert journals == []


def test_the_next_job_asks_by_itself(killed: Callable[[], Refresh], power_bi: PowerBiService) -> None:
    """A job that uses the journal directory does what recover does."""
    killed().coming = ["details-failed"]
    dbbtrace.configure(fabric_token="right")
    with dbbtrace.join_run(RUN), dbbtrace.table_load("Next"):
        eventually(lambda: rows(REFRESHES))
    assert rows("SELECT status, error_type, error_message FROM meta.monitoring_semantic_model_refresh") == [
        ("Failed", "0xC11C0020", "Session cancelled: the model was evicted from memory")
    ]


def test_a_service_that_can_not_be_asked_now_is_asked_later(
    killed: Callable[[], Refresh], power_bi: PowerBiService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is guessed because somebody is not logged in; once somebody is, the row is right."""
    refresh = killed()
    refresh.coming = ["details-cancelled"]

    def nobody() -> str:
        raise ConfigurationError("nobody is logged in")

    with monkeypatch.context() as patch:
        patch.setattr("dbbtrace.sources.powerbi.api.token_source", lambda *_: nobody)
        done = recover()
    assert done.code == 1, done
    assert "can't be asked now: nobody is logged in" in done.err
    assert rows(REFRESHES) == []
    assert recover().code == 0
    assert [row[:2] for row in rows(REFRESHES)] == [("Cancelled", "Cancelled")]


def test_what_nobody_can_say_is_unknown(
    killed: Callable[[], Refresh], power_bi: PowerBiService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service has forgotten it: Unknown, said as such, unless it has only just begun. A later record of its end has
    a row beside it."""
    refresh = killed()
    power_bi.remembers = 0
    done = recover()
    assert done.code == 1, done
    assert "can't be told yet: the service does not know the refresh" in done.err
    assert rows(REFRESHES) == []
    monkeypatch.setattr("dbbtrace.sources.powerbi.resolve._YOUNG", 0)
    done = recover()
    assert done.code == 0, done
    assert [row[:2] for row in rows(REFRESHES)] == [("Unknown", "Interrupted")]
    refresh.coming = ["details-completed"]
    done_ = dbbtrace.import_refreshes(
        [refresh.entry], model=MODEL, workspace=WORKSPACE, run_id=RUN, request_id=refresh.request
    )
    assert done_.recorded == 1
    assert dbbtrace.flush(30)
    assert sorted(row[0] for row in rows(REFRESHES)) == ["Completed", "Unknown"]


def test_nobody_is_asked_for_ever(
    killed: Callable[[], Refresh], power_bi: PowerBiService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refresh takes a day at most: what is said to run for longer is Unknown."""
    killed()
    late = timedelta(hours=49)
    monkeypatch.setattr("dbbtrace.sources.powerbi.resolve._LONGEST", int(-late.total_seconds()))
    assert recover().code == 0
    assert [row[:2] for row in rows(REFRESHES)] == [("Unknown", "Interrupted")]


def test_ctrl_c_leaves_the_same_behind(power_bi: PowerBiService) -> None:
    """A command that is interrupted, and does not cancel, leaves its refresh to the next."""
    asked = threading.Event()
    power_bi.on_request = lambda method, path: asked.set() if "/refreshes/" in path else None
    program = JOB.format(run=RUN).replace("poll=0.02", "poll=30")
    job = subprocess.Popen([sys.executable, "-c", program], env=dict(os.environ), stderr=subprocess.PIPE, text=True)
    assert asked.wait(60)
    job.send_signal(signal.SIGINT)
    _, said = job.communicate(timeout=60)
    assert "goes on; the next process that uses the journal asks what became of it" in said
    assert rows(REFRESHES) == []
    power_bi.refreshes[0].coming = ["details-completed"]
    assert recover().code == 0
    assert [row[0] for row in rows(REFRESHES)] == ["Completed"]
