"""A dbt that runs as a child and is cut off: by a signal to dbbtrace, or killed itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sources.dbt import projects
from tests.sources.dbt.projects import SLOW, by_node, made, rows

SCRIPT = """#!{python}
import json, os, sys, time
os.makedirs("logs", exist_ok=True)
log = open("logs/dbt.log", "a")
def say(name, node=None, **data):
    started = {{"unique_id": f"model.shop.{{node}}", "resource_type": "model", "node_started_at": "2026-11-24"}}
    info = {{"name": name, "pid": os.getpid(), "invocation_id": "5d0f0b2c-52cd-4d9b-8a0b-2f1c8f0f7a11"}}
    log.write(json.dumps({{"info": info, "data": {{"node_info": started, **data}}}}) + "\\n")
    log.flush()
say("MainReportVersion", version="=1.10.0")
say("NodeStart", "orders")
stage = {{"name": "execute", "started_at": "2026-11-24T16:00:00Z", "completed_at": "2026-11-24T16:00:01Z"}}
say("NodeFinished", "orders", run_result={{"status": "success", "execution_time": 1.0, "timing_info": [stage]}})
say("NodeStart", "slow")
try:
    print("running", os.getpid(), flush=True)
    for _ in range(6000):
        time.sleep(0.1)  # a signal just before a sleep is seen after it
except KeyboardInterrupt:
    say("NodeFinished", "slow", run_result={{"status": "error", "message": "INTERRUPT Error: Interrupted!"}})
    sys.exit(1)
"""
"""As dbt-core writes its log: one model ends, the next runs for ever; Ctrl-C makes the database give it up."""
CHILD, PARENT = "child", "dbbtrace"


def dbt_of(folder: Path) -> Path:
    """The script, as a program."""
    program = folder / "dbt"
    program.write_text(SCRIPT.format(python=sys.executable))
    program.chmod(0o755)
    return program


def started(folder: Path, program: Path, *words: str, marker: str) -> tuple[subprocess.Popen[str], str]:
    """``dbbtrace dbt`` in the folder with the program as a child, once a line of it holds the marker; that line."""
    line = [sys.executable, "-m", "dbbtrace", "dbt", "--executable", str(program), *words]
    running = subprocess.Popen(
        line, cwd=folder, env=projects.environment(folder), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert running.stdout is not None
    for said in running.stdout:
        if marker in said:
            return running, said
    pytest.fail(f"dbt ended with {running.wait()}")


def parts(folder: Path) -> list[tuple[str, str | None]]:
    """Status and error type of the invocations in the run's own record."""
    found = rows(folder / "rows.db", "monitoring_run_part")
    return [
        (row["status"], row["error_type"])
        for row in found
        if row["part"] == "dbt_invocation" and row["status"] != "Started"
    ]


@pytest.mark.parametrize(
    ("whom", "number", "code", "says"),
    [
        (PARENT, signal.SIGINT, 1, "KeyboardInterrupt"),
        (PARENT, signal.SIGTERM, 128 + signal.SIGTERM, "dbt.error"),
        (CHILD, signal.SIGKILL, 128 + signal.SIGKILL, "dbt.error"),
    ],
    ids=["int", "term", "kill"],
)
def test_a_child_that_is_cut_off_leaves_its_rows(tmp_path, whom, number, code, says):
    """What ran has its row, what ran on is Interrupted, the invocation failed; the exit code is the child's."""
    running, said = started(tmp_path, dbt_of(tmp_path), "run", marker="running")
    os.kill(int(said.split()[1]) if whom == CHILD else running.pid, number)
    running.communicate(timeout=100)
    assert running.returncode == code
    found = by_node(rows(tmp_path / "rows.db"))
    assert {name: (row["status"], row["error_type"]) for name, row in found.items()} == {
        "model.shop.orders": ("success", None),
        "model.shop.slow": ("error", "Interrupted"),
    }
    assert parts(tmp_path) == [("Failed", says)]


def test_a_signal_ends_the_job_as_it_ended_dbt(tmp_path):
    """SIGTERM to a job that calls run_dbt reaches dbt, and then the job; its rows are not lost."""
    job = "import dbbtrace, sys\nwith dbbtrace.join_run():\n    dbbtrace.run_dbt(['run'], executable=sys.argv[1])"
    running = subprocess.Popen(
        [sys.executable, "-c", job, str(dbt_of(tmp_path))],
        cwd=tmp_path, env=projects.environment(tmp_path), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stdout is not None
    said = next(line for line in running.stdout if "running" in line)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=100)
    assert running.returncode == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int(said.split()[1]), 0)
    projects.dbbtrace(tmp_path, "recover")
    words = {name: row["status"] for name, row in by_node(rows(tmp_path / "rows.db")).items()}
    assert words == {"model.shop.orders": "success", "model.shop.slow": "error"}
    assert parts(tmp_path) == [("Failed", "dbt.error")]


@pytest.mark.xdist_group("dbt-live")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_real_dbt_as_a_child_is_cut_off(tmp_path, number):
    """The same of dbt-core itself, watched through its log."""
    pytest.importorskip("dbt.adapters.duckdb", reason="dbt-duckdb is not installed")
    program = shutil.which("dbt", path=str(Path(sys.executable).parent))
    assert program is not None
    folder = made(tmp_path, SLOW)
    words = ("build", "--threads", "2", *projects.FLAGS)
    running, _ = started(folder, Path(program), *words, marker="main.slow")
    for said in running.stdout:  # type: ignore[union-attr]
        if "customers" in said and "OK" in said:
            break
    running.send_signal(number)
    running.communicate(timeout=100)
    assert running.returncode != 0
    found = by_node(rows(folder / "rows.db"))
    assert found["model.shop.orders"]["status"] == found["seed.shop.raw_orders"]["status"] == "success"
    assert (found["model.shop.slow"]["status"], found["model.shop.slow"]["error_type"]) == ("error", "Interrupted")
    assert parts(folder) == [("Failed", "KeyboardInterrupt" if number == signal.SIGINT else "dbt.error")]


def test_a_wrong_setting_does_not_keep_dbt_from_running(tmp_path):
    """It is said and ignored: what dbt builds must not wait for a word misspelt in dbbtrace's settings."""
    program = tmp_path / "dbt"
    program.write_text("#!/bin/sh\necho built\nexit 7\n")
    program.chmod(0o755)
    wrong = {"DBBTRACE_RECORD_STEPS": "maybe", "DBBTRACE_CONFIG": str(tmp_path / "missing.toml")}
    done = projects.dbbtrace(tmp_path, "dbt", "--executable", str(program), "build", code=7, **wrong)
    assert done.stdout == "built\n"
    assert "record_steps = maybe: write some or all" in done.stderr
    assert "missing.toml can't be read" in done.stderr


@pytest.mark.parametrize("name", ["missing", "not_executable"])
def test_a_program_that_can_not_be_run_is_named(tmp_path, name):
    """With what to do, as a shell's exit code for it says too."""
    (tmp_path / "not_executable").write_text("#!/bin/sh\n")
    done = projects.dbbtrace(tmp_path, "dbt", "--executable", f"./{name}", "build", code=127)
    assert f"./{name} is not a program that can be run" in done.stderr
    assert parts(tmp_path) == [("Failed", "dbt.error")]
