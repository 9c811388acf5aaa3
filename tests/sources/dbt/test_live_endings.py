"""dbt that is cut off, that can't start, and several dbts in one run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dbbtrace
from dbbtrace.errors import UsageError
from dbbtrace.sources.dbt.arguments import Arguments
from tests.sources.dbt import projects
from tests.sources.dbt.projects import EVERYTHING, SLOW, SMALL, by_node, made, rows

pytestmark = pytest.mark.xdist_group("dbt-live")
pytest.importorskip("dbt.adapters.duckdb", reason="dbt-duckdb is not installed")


def invocations(folder: Path) -> list[dict]:
    """Spans of dbt's invocations."""
    return [span for span in projects.spans(folder) if span["attributes"].get("dbb.operation") == "dbt_invocation"]


def parts(folder: Path) -> list[dict]:
    """What the run's own record says of how dbt ended."""
    found = rows(folder / "rows.db", "monitoring_run_part")
    return [row for row in found if row["part"] == "dbt_invocation" and row["status"] != "Started"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_ran_has_its_rows_and_what_was_running_is_interrupted(tmp_path, number):
    """A signal amid a slow model: what had ended was forwarded at once and has its row, the model is Interrupted, the
    invocation is in error."""
    folder = made(tmp_path, SLOW)
    running = projects.started_job(folder, "build", "--threads", "2")
    try:
        for line in running.stdout:
            if "main.slow" in line:
                break
        deadline = time.monotonic() + 60
        while "model.shop.orders" not in projects.nodes(folder) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "model.shop.orders" in projects.nodes(folder)  # while dbt works
        assert not (folder / "rows.db").exists() or rows(folder / "rows.db") == []
    finally:
        running.send_signal(number)
        running.communicate(timeout=120)
    assert running.returncode != 0
    projects.dbbtrace(folder, "recover")
    found = by_node(rows(folder / "rows.db"))
    assert found["model.shop.orders"]["status"] == found["seed.shop.raw_orders"]["status"] == "success"
    assert found["model.shop.orders"]["process_completed_at"]
    assert (found["model.shop.slow"]["status"], found["model.shop.slow"]["error_type"]) == ("error", "Interrupted")
    [part] = parts(folder)
    assert part["status"] == ("Failed" if number == signal.SIGINT else "Interrupted")
    if number == signal.SIGINT:
        [invocation] = invocations(folder)
        assert invocation["attributes"]["error.type"] == "KeyboardInterrupt"


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A project that was built before: its artifact is old."""
    folder = made(tmp_path_factory.mktemp("small"), SMALL)
    projects.job(folder, "build")
    for name in ("rows.db", "spans.jsonl"):
        (folder / name).unlink()
    return folder


@pytest.mark.parametrize(
    ("break_it", "words", "says"),
    [
        ({}, ("run", "--target", "nope"), "does not have a target named 'nope'"),
        ({}, ("run", "--no-such-flag"), "no-such-flag"),
        ({"models/torn.sql": "select * from {{ ref('nowhere') }}"}, ("run",), "nowhere"),
        ({"profiles.yml": "shop: {"}, ("run",), "profiles.yml"),
    ],
    ids=["target", "flag", "parse", "profile"],
)
def test_a_dbt_that_can_not_start_has_failed(small, break_it, words, says):
    """The invocation is in error with dbt's message; nothing that an earlier dbt left is taken for its work."""
    (small / "spans.jsonl").unlink(missing_ok=True)
    before = {name: (small / name).read_text() if (small / name).exists() else None for name in break_it}
    try:
        made(small, break_it)
        projects.job(small, *words, code=2)
    finally:
        for name, text in before.items():
            (small / name).unlink() if text is None else (small / name).write_text(text)
    [invocation] = invocations(small)
    assert invocation["status"]["status_code"] == "ERROR"
    assert says in invocation["attributes"]["dbb.error.message"]
    assert projects.nodes(small) == {}
    assert rows(small / "rows.db") == []
    assert (parts(small)[-1]["status"], parts(small)[-1]["error_message"]) == (
        "Failed",
        invocation["attributes"]["dbb.error.message"],
    )


def test_the_command_prints_and_exits_as_dbt_does(small):
    """Colours, usage and exit codes are dbt's own; the target folder is where the project file says."""
    assert "Usage: dbt run" in projects.dbbtrace(small, "dbt", "run", "--no-such-flag", code=2).stderr
    assert projects.dbbtrace(small, "dbt", "build", "--help").stdout.startswith("Usage: dbt build")
    project = small / "dbt_project.yml"
    text = project.read_text()
    project.write_text(text + "target-path: \"{{ env_var('WHERE', 'elsewhere') }}/out\"\n")
    try:
        done = projects.dbbtrace(
            small, "dbt", "--run", "another run", "run", "--select", "orders", "--use-colors", *projects.FLAGS
        )
    finally:
        project.write_text(text)
    assert "\x1b[32m" in done.stdout
    assert not (small / "target" / "run_results.json").samefile(small / "elsewhere" / "out" / "run_results.json")
    [row] = [
        row for row in rows(small / "rows.db") if row["process_stage"] == "execute" and "model" in row["unique_id"]
    ]
    assert (row["orchestration_run_id"], row["build_models"]) == ("another run", "orders")
    written = json.loads((small / "elsewhere" / "out" / "run_results.json").read_text())
    assert row["generated_at"].replace(" ", "T") + "Z" == written["metadata"]["generated_at"]


def test_what_breaks_dbt_before_it_can_say_so_is_printed_as_dbt_prints_it(small):
    """An argument that is no UTF-8 breaks dbt outside of what it catches: traceback and exit code are its program's."""
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    words = ("ls", "--vars", "{'na\u00efve': 1}", *projects.FLAGS)
    alone = subprocess.run(
        [sys.executable, "-c", "from dbt.cli.main import cli; cli()", *words],
        cwd=small, env=projects.environment(small, **locale), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert alone.stderr.startswith("Traceback")
    done = projects.dbbtrace(small, "dbt", *words, code=alone.returncode, **locale)
    assert done.stderr.splitlines()[-1] == alone.stderr.splitlines()[-1]
    assert parts(small)[-1]["status"] == "Failed"


def test_arguments_may_be_one_line(tmp_path):
    """As in a shell, quotes included; a quote that is not closed is said."""
    folder = made(tmp_path, SMALL)
    job = "import dbbtrace; print(dbbtrace.run_dbt('ls --profiles-dir . --select \"orders customers\"').exit_code)"
    done = subprocess.run(
        [sys.executable, "-c", job], cwd=folder, env=projects.environment(folder), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-3:] == ["shop.customers", "shop.orders", "0"]
    with pytest.raises(UsageError, match="No closing quotation"):
        dbbtrace.run_dbt("ls --select 'orders")


def test_the_commands_of_one_run_are_kept_apart(tmp_path):
    """As the platform does it: deps, build into a folder of its own, clean, deps, run of one model, and a retry."""
    folder = made(tmp_path, {**EVERYTHING, "models/kpi_reconciliation_history.sql": "select 1 as kpi"})
    projects.job(folder, "deps")
    projects.job(folder, "build", "--target-path", "../monitoring/dbt_1", code=1)
    projects.job(folder, "retry", "--target-path", "../monitoring/dbt_1", code=1)
    projects.job(folder, "clean")
    projects.job(folder, "run", "--select", "kpi_reconciliation_history")
    found = [row for row in rows(folder / "rows.db") if row["process_stage"] == "execute"]
    of_kpi = [row for row in found if row["item_name"] == "kpi_reconciliation_history"]
    assert [row["status"] for row in of_kpi] == ["success", "success"]
    assert len({row["invocation_id"] for row in of_kpi}) == 2
    of_broken = [row for row in found if row["unique_id"] == "model.shop.broken"]
    assert [row["status"] for row in of_broken] == ["error", "error"]  # the build's and the retry's
    assert len({row["orchestration_run_id"] for row in found}) == 1
    assert [span["name"] for span in invocations(folder)] == [
        "dbt deps", "dbt build", "dbt retry", "dbt clean", "dbt run"
    ]  # fmt: skip
    assert [span["attributes"].get("dbb.dbt.nodes") is None for span in invocations(folder)] == [
        True, False, False, True, False
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("--target", "test", "run"), "run"),
        (("-t", "build", "source", "freshness"), "source freshness"),
        (("--quiet", "docs", "generate"), "docs generate"),
        (("--target=test", "seed", "--target", "build"), "seed"),
        (("--no-write-json",), ""),
    ],
)
def test_a_target_that_is_called_like_a_command_is_none(words, command):
    """The value of an option before the command is not taken for it."""
    assert Arguments(words, {}).command == command
