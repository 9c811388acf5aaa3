"""What a command's exit code says: 4 where the warehouse could not be asked, whatever the command."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

import dbbtrace
from dbbtrace.cli.commands import dbbtrace as commands
from tests.cli.support import assert_one_line, run

RUN = "0f8fad5b-d9cb-469f-a165-70867728950e"
OTHER = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
READING = {
    "ack": [RUN, "--reason", "seen"],
    "asof": ["Finance"],
    "audit": [],
    "check": [RUN],
    "diff": [RUN, OTHER],
    "failures": [],
    "gate": [RUN],
    "lineage": [RUN],
    "migrate": ["--dry-run"],
    "query": ["SELECT 1"],
    "ready": [RUN],
    "repair": [RUN],
    "report": [RUN],
    "runs": [],
    "show": [RUN],
    "slowest": [],
    "today": [],
    "verify": [RUN],
    "watch": ["--once"],
    "watermark": ["--table", "Customer"],
}
"""Arguments of every command that asks the warehouse."""
ELSEWHERE = {
    "close", "dbt", "demo", "doctor", "exec", "flush", "follow", "import", "import-jobs", "import-refreshes",
    "import-run", "record-copy", "record-dbt", "recover", "refresh", "replay", "serve",
}  # fmt: skip
"""They write through the journal, or also say what they know without the warehouse."""


def test_every_command_that_takes_a_warehouse_is_here() -> None:
    """A new command finds its place in one of the lists."""
    taking = {
        name for name, command in commands.commands.items() if any(each.name == "warehouse" for each in command.params)
    }
    assert taking == READING.keys() | ELSEWHERE


@pytest.fixture(params=["missing", "no database", "no tables"])
def unreadable(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """What is wrong with a warehouse, and its URL."""
    path = tmp_path / "w.db"
    if request.param == "no database":
        path.write_text("this is a text, and no database " * 100)
    if request.param == "no tables":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE other (a)")
    return str(request.param), f"sqlite:///{path}"


@pytest.mark.parametrize("command", READING)
def test_a_warehouse_that_can_not_be_asked(command: str, unreadable: tuple[str, str]) -> None:
    """One line says why, nothing is printed that looks like an answer, and the exit code is 4."""
    what, url = unreadable
    if (command == "query" and what == "no tables") or (command == "migrate" and what != "no database"):
        assert run(command, *READING[command], "--warehouse", url).code == 0
        return
    assert_one_line(run(command, *READING[command], "--warehouse", url), code=4)


@pytest.fixture
def one_run(tmp_path: Path) -> str:
    """URL of a warehouse with one run."""
    url = f"sqlite:///{tmp_path}/w.db"
    dbbtrace.configure(warehouse=url)
    with dbbtrace.orchestration_run(RUN, data_product="Shop", environment="TST"):
        dbbtrace.record_load("Customer", schema="mdm", source="MDS", started_at="2026-11-24T08:00:00Z")
    assert dbbtrace.flush(60)
    return url


@pytest.mark.parametrize(
    "arguments",
    [
        ("show",), ("failures",), ("check",), ("gate",), ("ready",), ("repair",), ("verify",), ("lineage",),
        ("report",), ("ack", "--reason", "x"), ("replay", "--to", "otlp", "--endpoint", "http://localhost:1"),
    ],
)  # fmt: skip
def test_an_unknown_run(arguments: tuple[str, ...], one_run: str) -> None:
    """Exit code 2: nothing is said of a run that nobody knows."""
    command, *options = arguments
    for unknown in (OTHER, "nightly"):
        assert run(command, unknown, *options, "--warehouse", one_run).code == 2, unknown


@pytest.mark.parametrize(
    "arguments",
    [
        ("lineage", RUN, "--json", "--mermaid"),
        ("lineage", RUN, "--json", "--openlineage", "-"),
        ("gate", RUN, "--json", "--dbt-args"),
        ("repair", RUN, "--json", "--dbt-args"),
        ("audit", "--json", "--format", "csv"),
    ],
)
def test_two_forms_of_one_answer(arguments: tuple[str, ...], one_run: str) -> None:
    """They are refused, rather than one of them ignored."""
    assert_one_line(run(*arguments, "--warehouse", one_run), "--json", "choose one")


def test_a_statement_that_is_wrong_is_not_a_warehouse_that_is(one_run: str) -> None:
    """Exit code 2: the input is invalid, and asking again can't help."""
    assert_one_line(run("query", "SELEC 1", "--warehouse", one_run), "syntax")
    assert_one_line(run("query", "SELECT * FROM meta.nowhere", "--warehouse", one_run), "no such table")


def test_the_watermark_of_a_table_that_is_written_wrongly(one_run: str) -> None:
    """It may be a first load, so everything is read; what may have been meant is said. A load type is one of two."""
    done = run("watermark", "--table", "Custmer", "--warehouse", one_run)
    assert (done.code, done.out) == (0, "0000-00-00 00:00:00\n")
    assert "did you mean Customer?" in done.err
    with pytest.raises(dbbtrace.UsageError, match="'DELTA' is neither INCREMENTAL nor FULL"):
        dbbtrace.watermark("Customer", load_type="DELTA")


def test_the_page_of_a_run_right_after_its_start(tmp_path: Path) -> None:
    """The file of the warehouse is new: the page shows that the run goes on. Before the start there is none."""
    dbbtrace.configure(warehouse=f"sqlite:///{tmp_path}/new.db", rows_timeout=60)
    run_ = dbbtrace.orchestration_run(RUN, data_product="Shop")
    with pytest.raises(dbbtrace.UsageError, match="not started"):
        run_.report()
    with run_:
        assert "Running" in run_.report().html
