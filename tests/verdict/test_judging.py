"""A run is judged when it ends, whoever says so: what is found is stored, in time, and never at the job's cost."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

import dbbtrace
from dbbtrace.answers.verdict import runs
from dbbtrace.demo.fabric_service import RESPONSES, FabricService
from dbbtrace.errors import TransientError
from dbbtrace.operate import verdict as judging
from dbbtrace.tracing import runtime
from dbbtrace.warehouse import open_warehouse, views
from tests.answers.history import Size, make, store
from tests.cli.support import run
from tests.support.fabric import RUN as PIPELINE_RUN
from tests.verdict import situations
from tests.verdict.situations import PRODUCT, RUN, SITUATIONS, Stage, fewer_rows, load, opened

FINDINGS = """\
SELECT error_type, name, status FROM meta.monitoring_run_part
WHERE part = 'finding' AND orchestration_run_id = ? ORDER BY error_type, name"""


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    stage = Stage(tmp_path / "w.db", tmp_path / "journal")
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", stage.url)
    stage.configure()
    yield stage
    stage.end()


def findings(stage: Stage, run_id: str = RUN) -> list[tuple[object, ...]]:
    with open_warehouse(stage.url) as warehouse:
        return warehouse.query(FINDINGS, (run_id,)).rows


def job(stage: Stage) -> None:
    fewer_rows(stage)


def _joined(stage: Stage) -> None:
    situations._before(stage, 8, "Customer")
    with dbbtrace.join_run(RUN, **PRODUCT):  # type: ignore[arg-type]
        load("Customer", 12)


def closed_by_python(stage: Stage) -> None:
    _joined(stage)
    dbbtrace.close_run(RUN)


def closed_by_command(stage: Stage) -> None:
    _joined(stage)
    dbbtrace.shutdown()
    assert run("close", RUN).out == f"closed {RUN}\n"


def watched(stage: Stage) -> None:
    fewer_rows(stage)
    stage.sql("DELETE FROM meta.monitoring_run_part WHERE part = 'finding'")
    run("watch", "--once")


def checked(stage: Stage) -> None:
    fewer_rows(stage)
    stage.sql("DELETE FROM meta.monitoring_run_part WHERE part = 'finding'")
    run("check", RUN)


@pytest.mark.parametrize("end", [job, closed_by_python, closed_by_command, watched, checked])
def test_whoever_ends_a_run_stores_what_is_found(stage: Stage, end: Callable[[Stage], None]) -> None:
    """The view says it too; and a second look, whoever takes it, writes nothing more."""
    end(stage)
    expected = [("judged", "judged", "Judged"), ("volume", "mdm.Customer", "Warned")]
    assert findings(stage) == expected
    run("migrate", "--views")
    with open_warehouse(stage.url) as warehouse:
        ((status, reason),) = warehouse.query(
            "SELECT status, reason FROM meta.monitoring_runs WHERE orchestration_run_id = ?", (RUN,)
        ).rows
    assert (status, "mdm.Customer brought 12 rows" in reason) == ("Warned", True)
    for command in (("check", RUN), ("watch", "--once"), ("close", RUN)):
        run(*command)
    assert findings(stage) == expected


def test_an_imported_pipeline_is_judged(fabric: FabricService, stage: Stage) -> None:
    """By the function and by the command."""
    dbbtrace.configure(warehouse=stage.url, fabric_token="t", rows_timeout=30)
    dbbtrace.import_run(PIPELINE_RUN)
    first = findings(stage, PIPELINE_RUN)
    assert ("judged", "judged", "Judged") in first
    stage.sql("DELETE FROM meta.monitoring_run_part WHERE part = 'finding' AND expected_by = 'judge'")
    dbbtrace.shutdown()
    run("import-run", "--file", str(RESPONSES))
    assert findings(stage, PIPELINE_RUN) == first


def test_a_job_that_joins_ends_no_run(stage: Stage) -> None:
    """Between two jobs there is nothing to judge yet."""
    SITUATIONS["between two jobs"].make(stage)
    assert findings(stage) == []


def test_rows_that_come_later_are_judged_too(stage: Stage) -> None:
    """Even with times before the judgement: until then the run says that it was not compared yet."""
    with opened():
        load()
    assert findings(stage) == [("judged", "judged", "Judged")]
    early = datetime.now(timezone.utc) - timedelta(hours=1)
    dbbtrace.record_load("Late", schema="mdm", source="MDS", run_id=RUN, started_at=early, **PRODUCT)  # type: ignore[arg-type]
    assert dbbtrace.flush(30)
    run("migrate", "--views")
    with open_warehouse(stage.url) as warehouse:
        (asked,) = warehouse.query("SELECT judged_at, reason FROM meta.monitoring_runs").rows
    assert asked == (None, "not yet compared with earlier runs")
    run("watch", "--once")
    assert len(findings(stage)) == 2
    run("watch", "--once")
    assert len(findings(stage)) == 2


def test_long_findings_are_stored_once(stage: Stage) -> None:
    """What is cut to fit its column is not new each time."""
    name = "very long name " * 60
    for day in range(8):
        with dbbtrace.orchestration_run(f"day {day}", **PRODUCT):  # type: ignore[arg-type]
            load(name, 1000 + day)
        dbbtrace.shutdown()
        stage.age(24)
        stage.configure()
    with opened():
        load(name, 12)
    before = findings(stage)
    assert [kind for kind, *_ in before] == ["judged", "volume"]
    run("check", RUN)
    assert findings(stage) == before


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A warehouse that answers for ever: each question counts without end."""
    ended: list[str] = []

    def count(warehouse: dbbtrace.Warehouse, *_: object, **__: object) -> None:
        try:
            warehouse.query("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT COUNT(*) FROM c")
        except TransientError as error:
            ended.append(str(error))
            raise

    monkeypatch.setattr(judging, "verdict_of", count)
    yield ended
    for thread in threading.enumerate():
        if thread.name == "dbbtrace-judge":
            thread.join(30)
            assert not thread.is_alive()


def test_a_job_never_waits_for_its_verdict_beyond_the_deadline(stage: Stage, slow: list[str]) -> None:
    """It goes on, and the question ends."""
    dbbtrace.configure(warehouse=stage.url, journal_dir=stage.journal, rows_timeout=1)
    with opened():
        load()
    for thread in threading.enumerate():
        if thread.name == "dbbtrace-judge":
            thread.join(30)
    assert len(slow) == 1
    assert findings(stage) == []
    assert json.loads(run("runs", "--json").out)[0]["status"] == "Succeeded"


def test_a_job_that_has_no_time_left_is_not_judged(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where rows wait in the journal: what is in the warehouse is not the whole run."""
    stage.path.touch()
    asked: list[float] = []
    monkeypatch.setattr(judging, "open_warehouse", lambda **_: pytest.fail("nobody has time to ask"))
    monkeypatch.setattr(
        runtime, "judge", lambda run_id, seconds: (asked.append(seconds), judging.judge(run_id, seconds))
    )
    dbbtrace.configure(
        warehouse=f"sqlite:///{stage.path}/not/a/directory.db", journal_dir=stage.journal, rows_timeout=0.1
    )
    with opened():
        load()
    assert asked == [0.0]


def test_a_fault_of_judging_stays_out_of_the_job(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job's own exception is the one that is seen; strict tests see ours."""

    def broken(*_: object, **__: object) -> None:
        raise ValueError("a fault of ours")

    monkeypatch.setattr(judging, "verdict_of", broken)
    with pytest.raises(KeyError, match="theirs"), opened():
        raise KeyError("theirs")
    dbbtrace.configure(warehouse=stage.url, journal_dir=stage.journal, rows_timeout=30, strict=True)
    with pytest.raises(ValueError, match="a fault of ours"), dbbtrace.orchestration_run("another"):
        pass


def test_the_end_of_a_pipeline_is_no_better_than_its_jobs(stage: Stage) -> None:
    """A job that broke between two operations leaves no failed row; the closing step fails all the same."""
    with pytest.raises(RuntimeError), dbbtrace.join_run(RUN, **PRODUCT):  # type: ignore[arg-type]
        load()
        raise RuntimeError("it broke")
    dbbtrace.shutdown()
    done = run("close", RUN, "--raise-on-failure")
    assert done.code == 1
    assert "it broke" in done.err
    assert run("check", RUN).code == 1


def test_a_long_list_says_what_the_view_says(tmp_path: Path) -> None:
    """Only the newest runs of a long list are judged anew; the others are no better than the view says."""
    history = make(55, seed=1, failing=0, size=Size(loads=1, models=2, tests=1))
    seen: set[object] = set()
    for row in history.nodes:  # one node of each run was skipped, though nothing failed
        if row["orchestration_run_id"] not in seen and row["process_stage"] == "execute":
            seen.add(row["orchestration_run_id"])
            row["status"] = "skipped"
    warehouse = store(history, tmp_path / "w.db")
    in_view = dict(
        views.ask(warehouse, "SELECT r.orchestration_run_id, r.status FROM meta.monitoring_runs AS r")  # type: ignore[arg-type]
    )
    listed = {run.run_id: run.status for run in runs(warehouse)}
    assert len(listed) == 55
    assert set(listed.values()) == {"Incomplete"}
    assert listed == in_view
