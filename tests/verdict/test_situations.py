"""A run that is not right never reads as right: every situation, by every road that tells a verdict."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import dbbtrace
from tests.cli.support import run
from tests.verdict.situations import SITUATIONS, Situation
from tests.verdict.stage import RUN, ServerStage, Stage
from tests.warehouse.conftest import IN_TURN, LIVE, live_server


@pytest.fixture(params=["sqlite", pytest.param("live", marks=[IN_TURN, pytest.mark.timeout(1800)])])
def stage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """On SQLite, and on the T-SQL server where one is named."""
    with ExitStack() as open_server:
        stage = Stage(tmp_path / "w.db", tmp_path / "journal")
        if request.param == "live":
            if not os.environ.get(LIVE):
                pytest.skip(f"{LIVE} holds no connection string of a server to test against")
            server = open_server.enter_context(live_server())
            stage = ServerStage(stage.path, stage.journal, 300, server=server, address=os.environ[LIVE])
            stage.clear()
        monkeypatch.setenv("DBBTRACE_WAREHOUSE", stage.url)
        monkeypatch.setenv("DBBTRACE_JOURNAL_DIR", str(stage.journal))
        monkeypatch.setenv("DBBTRACE_ROWS_TIMEOUT", str(stage.patience))
        stage.configure()
        yield stage
        stage.end()
        dbbtrace.shutdown()


@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=SITUATIONS)
def test_each_situation_has_its_verdict(stage: Stage, situation: Situation) -> None:
    """The verdict, a reason that names what to look at, and the exit code."""
    situation.make(stage)
    done = run("check", RUN, "--json", *situation.options)
    assert done.out, done.err
    said = json.loads(done.out)
    reasons = [reason["text"] for reason in said["reasons"]]
    assert (said["verdict"], done.code) == (situation.verdict, situation.code), reasons
    assert any(situation.names in reason for reason in reasons) or not situation.names, reasons
    led_there = [reason for reason in said["reasons"] if reason["verdict"] == situation.verdict]
    assert bool(led_there) == (situation.verdict != "Succeeded")


@pytest.mark.parametrize(
    "name",
    [
        "a good run",
        "a load failed",
        "between two jobs",
        "a row is lost",
        "fewer rows than usual",
        "nothing at all",
        "failed by hand, without a time",
        "a script is retried with other arguments",
        "dbt left nothing, and dbt retry did",
        "only the model that failed is built again",
        "dbt selected nothing",
    ],
)
def test_every_answer_says_the_same(stage: Stage, name: str) -> None:
    """runs, show, audit, the page, dbbtrace.verdict and the view agree with check."""
    situation = SITUATIONS[name]
    situation.make(stage)
    run("check", RUN)  # it writes what it found, which the view reads
    (listed,) = [each for each in json.loads(run("runs", "--json").out) if each["run_id"] == RUN]
    assert listed["status"] == situation.verdict
    assert json.loads(run("show", RUN, "--json").out)["verdict"] == situation.verdict
    assert situation.verdict in run("show", RUN).out.splitlines()[0]
    (audited,) = [each for each in json.loads(run("audit", "--json").out)["runs"] if each["run_id"] == RUN]
    assert audited["status"] == situation.verdict
    assert dbbtrace.verdict(RUN).word == situation.verdict
    run("migrate", "--views")
    with dbbtrace.open_warehouse(stage.url) as warehouse:
        asked = warehouse.query("SELECT status FROM meta.monitoring_runs WHERE orchestration_run_id = ?", (RUN,))
    assert asked.rows == [(situation.verdict,)]


@pytest.mark.parametrize(
    ("name", "status"),
    {
        "a good run": "Succeeded",
        "nothing at all": "Incomplete",
        "only the model that failed is built again": "Incomplete",
        "figures differ": "Warned",
        "dbt selected nothing": "Incomplete",
        "dbt was to build what has changed, and nothing had": "Succeeded",
        "failed by hand, without a time": "Failed",
        "failed by hand, with the run's id in upper case": "Failed",
        "a script is told to do something else the second time": "Failed",
        "a script is retried with other arguments": "Failed",  # until somebody has compared its operations
        "a script is killed, and retried with other arguments": "Failed",  # likewise
        "a step fails, and one with other attributes does not": "Warned",
        "dbt left nothing, and built all the second time": "Succeeded",
    }.items(),
)
def test_the_view_is_not_kinder_before_a_run_is_judged(stage: Stage, name: str, status: str) -> None:
    """Without any finding, monitoring_runs never says that a run is better than it is."""
    SITUATIONS[name].make(stage)
    dbbtrace.shutdown()
    stage.sql("DELETE FROM meta.monitoring_run_part WHERE part = 'finding'")
    run("migrate", "--views")
    with dbbtrace.open_warehouse(stage.url) as warehouse:
        asked = warehouse.query("SELECT status FROM meta.monitoring_runs WHERE orchestration_run_id = ?", (RUN,))
    assert asked.rows == [(status,)]


def test_a_warehouse_that_can_not_be_asked(tmp_path: Path) -> None:
    """Exit code 4: no verdict either way."""
    assert run("--warehouse", f"sqlite:///{tmp_path}/none.db", "check", RUN).code == 4


def test_check_writes_what_it_finds_once(stage: Stage) -> None:
    """The second check finds the same, and writes nothing."""
    SITUATIONS["fewer rows than usual"].make(stage)
    dbbtrace.shutdown()
    counts = []
    for _ in range(2):
        run("check", RUN)
        with dbbtrace.open_warehouse(stage.url) as warehouse:
            counts.append(
                warehouse.query(
                    "SELECT COUNT(*) FROM meta.monitoring_run_part WHERE part = 'finding' AND orchestration_run_id = ?",
                    (RUN,),
                ).rows[0][0]
            )
    assert counts == [2, 2]  # that it was judged, and the volume
