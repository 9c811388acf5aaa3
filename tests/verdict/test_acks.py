"""What somebody says that they know: forgotten if it was found or is absent, else marked, the same in every answer."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dbbtrace
from tests.cli.support import assert_one_line, run
from tests.verdict.situations import PRODUCT, RUN, Stage, load, opened


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    stage = Stage(tmp_path / "w.db", tmp_path / "journal")
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", stage.url)
    monkeypatch.setenv("DBBTRACE_JOURNAL_DIR", str(stage.journal))
    monkeypatch.setenv("DBBTRACE_ROWS_TIMEOUT", "30")
    stage.configure()
    yield stage
    stage.end()


def everywhere(stage: Stage, run_id: str = RUN) -> set[str]:
    """The verdicts that the answers and the view give."""
    run("migrate", "--views")
    with sqlite3.connect(":memory:") as file:
        file.execute("ATTACH ? AS meta", (str(stage.path),))
        [(in_sql,)] = file.execute(
            "SELECT status FROM meta.monitoring_runs WHERE orchestration_run_id = ?", (run_id,)
        ).fetchall()
    [listed] = [each for each in json.loads(run("runs", "--json").out) if each["run_id"] == run_id]
    [audited] = [each for each in json.loads(run("audit", "--json").out)["runs"] if each["run_id"] == run_id]
    return {
        in_sql,
        listed["status"],
        audited["status"],
        json.loads(run("show", run_id, "--json").out)["verdict"],
        json.loads(run("check", run_id, "--json").out)["verdict"],
        dbbtrace.verdict(run_id).word,
    }


def acknowledged(*arguments: str) -> None:
    done = run("ack", *arguments, "--reason", "it moved to another source", "--until", "7d")
    assert done.code == 0, done
    dbbtrace.shutdown()


@pytest.mark.parametrize("name", ["MDM.vendor", RUN])
def test_what_is_expected_and_known_to_be_absent(stage: Stage, name: str) -> None:
    """It is forgotten: in this run, and by the table's name in the next too; not in another environment."""
    for run_id, place in ((RUN, "PRD"), ("the next", "PRD"), ("elsewhere", "TST")):
        with dbbtrace.orchestration_run(run_id, data_product="Shop", environment=place, expect=["mdm.Vendor"]):
            load()
    dbbtrace.shutdown()
    assert everywhere(stage) == {"Incomplete"}
    acknowledged(name, "--environment", "PRD") if name != RUN else acknowledged(name)
    assert everywhere(stage) == {"Succeeded"}
    shown = json.loads(run("check", RUN, "--json").out)
    assert any("it moved to another source" in each["text"] and each["known"] for each in shown["reasons"])
    assert everywhere(stage, "the next") == {"Succeeded" if name != RUN else "Incomplete"}
    assert everywhere(stage, "elsewhere") == {"Incomplete"}
    stage.sql("UPDATE meta.monitoring_run_part SET process_completed_at = '2020-01-01' WHERE part = 'ack'")
    assert everywhere(stage) == {"Incomplete"}


def broken(*tables: str) -> None:
    with pytest.raises(RuntimeError), opened(), dbbtrace.integration():
        load()
        for table in tables[:-1]:
            with pytest.raises(RuntimeError), dbbtrace.table_load(table, schema="mdm", source="MDS"):
                raise RuntimeError("the source is closed")
        with dbbtrace.table_load(tables[-1], schema="mdm", source="MDS"):
            raise RuntimeError("the source is closed")
    dbbtrace.shutdown()


def lines(*arguments: str) -> Any:
    return " ".join(run(*arguments).out.split())


def test_what_failed_stays_failed_and_is_marked(stage: Stage) -> None:
    """Every answer says why and until when; watch tells nobody who knows."""
    broken("Vendor")
    acknowledged("mdm.Vendor")
    assert everywhere(stage) == {"Failed"}
    for answer in (("check", RUN), ("show", RUN), ("today", "--json"), ("runs", "--json")):
        said = lines(*answer)
        assert "known until" in said, answer
        assert "it moved to another source" in said, answer
    assert run("check", RUN).code == 1
    assert run("watch", "--once").code == 0


def test_of_two_failures_one_is_known(stage: Stage) -> None:
    """The other is told, with both."""
    broken("Vendor", "Country")
    acknowledged("mdm.Vendor")
    done = run("watch", "--once", columns=300)
    assert done.code == 1
    assert "mdm.Country" in done.out


def test_lost_rows_are_marked_and_stay(stage: Stage) -> None:
    with opened():
        load()
        load("Vendor")
    dbbtrace.shutdown()
    stage.sql("DELETE FROM meta.monitoring_integration WHERE table_name = 'Vendor'")
    acknowledged(RUN)
    assert everywhere(stage) == {"Incomplete"}
    assert "known until" in lines("check", RUN)


def test_an_empty_reason_is_refused(stage: Stage) -> None:
    """Others are to read it."""
    with opened():
        load()
    dbbtrace.shutdown()
    assert_one_line(run("ack", RUN, "--reason", "  "), "--reason", "it is empty")


def test_one_cause_is_told_once(stage: Stage) -> None:
    """An exception that leaves the load, the workload, the job and the run is one reason: the load's."""
    broken("Vendor")
    [reason] = [each for each in dbbtrace.verdict(RUN).reasons if each.verdict]
    assert (reason.kind, reason.name) == ("failed", "mdm.Vendor")
    dbbtrace.shutdown()
    stage.configure()
    with pytest.raises(RuntimeError), dbbtrace.orchestration_run("other", **PRODUCT), dbbtrace.integration():  # type: ignore[arg-type]
        load()
        raise RuntimeError("between two loads")
    [reason] = [each for each in dbbtrace.verdict("other").reasons if each.verdict]
    assert reason.name == "workload integration"
