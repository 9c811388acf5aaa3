"""The shell completes commands, run ids, data products, environments and statuses."""

from __future__ import annotations

import threading

import pytest
from click.shell_completion import ShellComplete

import dbbtrace as api
from dbbtrace.answers import read
from dbbtrace.cli import completion
from dbbtrace.cli.commands import dbbtrace
from tests.cli.support import run_program

SALES, FINANCE = "0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7"
WORDS = ["last", "previous", "yesterday", "today"]


def _offered(*words: str) -> list[str]:
    """What is offered for the last word, after those before it."""
    *before, incomplete = words
    return [
        item.value
        for item in ShellComplete(dbbtrace, {}, "dbbtrace", "_DBBTRACE_COMPLETE").get_completions(before, incomplete)
    ]


@pytest.fixture
def two_runs() -> str:
    """URL of a warehouse with a run of Sales and, later, one of Finance."""
    api.configure(warehouse="sqlite:///runs.db")
    for run_id, product in ((SALES, "Sales"), (FINANCE, "Finance")):
        with api.orchestration_run(run_id, data_product=product, environment="PRD"), api.table_load("Customer"):
            pass
    assert api.flush(30)
    return "sqlite:///runs.db"


@pytest.mark.parametrize("command", ["show", "check", "gate", "repair", "report", "failures", "close", "replay"])
def test_a_run_is_completed(two_runs, command):
    """Words and ids, those that begin as typed. --warehouse counts before the command and after it."""
    assert set(_offered("--warehouse", two_runs, command, "")) == {*WORDS, SALES, FINANCE}
    assert _offered("--warehouse", two_runs, command, "7C9") == [FINANCE]
    assert _offered(command, "--warehouse", two_runs, "l") == ["last"]


def test_an_option_that_takes_a_run_id_takes_no_word(two_runs):
    """--run names the run that a job joins, which can't be "last"."""
    assert set(_offered("--warehouse", two_runs, "dbt", "--run", "")) == {SALES, FINANCE}
    assert _offered("--warehouse", two_runs, "exec", "--repairs", "0f") == [SALES]


def test_products_environments_and_statuses_are_completed(two_runs):
    """Whatever the case."""
    assert _offered("--warehouse", two_runs, "runs", "--data-product", "") == ["Finance", "Sales"]
    assert _offered("--warehouse", two_runs, "exec", "--data-product", "s") == ["Sales"]
    assert _offered("runs", "--environment", "p") == ["PRD"]
    assert _offered("runs", "--status", "un") == ["Unfinished"]


def test_the_program_tells_the_shell(two_runs):
    """As bash asks for it."""
    asked = {"_DBBTRACE_COMPLETE": "bash_complete", "COMP_WORDS": "dbbtrace show 7c9", "COMP_CWORD": "2"}
    done = run_program(DBBTRACE_WAREHOUSE=two_runs, **asked)
    assert (done.out.split(), done.err) == ([f"plain,{FINANCE}"], "")


@pytest.mark.parametrize(
    "url", ["sqlite:///absent.db", "none", "no such form", "mssql://127.0.0.1:1/none", "sqlite:///broken.db"]
)
def test_a_warehouse_that_cannot_be_read_offers_no_runs(url, tmp_path, monkeypatch):
    """No error, and no file is made."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.db").write_text("this is no database")
    assert _offered("--warehouse", url, "show", "") == WORDS
    assert _offered("--warehouse", url, "runs", "--data-product", "") == []
    assert [path.name for path in tmp_path.iterdir()] == ["broken.db"]


def test_nobody_waits_for_a_warehouse_that_does_not_answer(two_runs, monkeypatch):
    """Without an answer in time there are only the words."""
    answer, ask = threading.Event(), read.run_keys

    def ask_late(*arguments, **options):
        answer.wait(20)
        return ask(*arguments, **options)

    monkeypatch.setattr(completion, "_PATIENCE", 0.01)
    monkeypatch.setattr(read, "run_keys", ask_late)
    try:
        assert _offered("--warehouse", two_runs, "show", "") == WORDS
    finally:
        answer.set()


def test_names_that_would_break_the_shells_lines_are_left_out(two_runs):
    """A run id may be any text, also one with a line break."""
    with api.orchestration_run("0f\nplain,rm", data_product="Sales"), api.table_load("Customer"):
        pass
    assert api.flush(30)
    assert _offered("--warehouse", two_runs, "show", "0f") == [SALES]
