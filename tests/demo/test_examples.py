"""Every example runs as it is, in a process of its own, and leaves the rows that it promises."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.py"))


def example(name: str, *arguments: str, **environment: str) -> str:
    """Run the example; what it printed to stdout."""
    import os

    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        env={**os.environ, "DBBTRACE_ROWS_TIMEOUT": "60", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(sql: str) -> list[tuple[Any, ...]]:
    """Rows of the default warehouse in the working directory."""
    connection = sqlite3.connect("dbb_warehouse.db")
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


LOADS = "SELECT schema_name || '.' || table_name, status, rows_written FROM monitoring_integration ORDER BY 1"
REFRESHES = "SELECT semantic_model_name, status FROM monitoring_semantic_model_refresh"


def test_one_process() -> None:
    """A load that needed two attempts, one that failed, and a refresh."""
    example("one_process.py")
    assert rows(LOADS) == [("shop.Customer", "Succeeded", 3), ("shop.Order", "Failed", None)]
    assert rows("SELECT error_message FROM monitoring_integration WHERE status = 'Failed'") == [
        ("the source answered 503",)
    ]
    assert rows(REFRESHES) == [("Shop", "Completed")]


def test_two_processes() -> None:
    """Jobs that share the run id alone write rows of one run and one trace."""
    run_id = example("two_processes/orchestrate.py").strip()
    assert rows(LOADS) == [("shop.Customer", "Succeeded", 3)]
    assert rows(REFRESHES) == [("Shop", "Completed")]
    ids = rows(
        "SELECT orchestration_run_id, trace_id FROM monitoring_integration"
        " UNION ALL SELECT orchestration_run_id, trace_id FROM monitoring_semantic_model_refresh"
    )
    assert ids == [(run_id, run_id.replace("-", ""))] * 2


def test_notebook() -> None:
    """Cells find the parameters by name, and operations may span them."""
    example("notebook.py")
    assert rows(LOADS) == [("shop.Customer", "Succeeded", 3), ("shop.Order", "Succeeded", 7)]
    assert rows("SELECT DISTINCT orchestration_run_id, data_product, environment FROM monitoring_integration") == [
        ("0d5f2f4e-3f0b-4b52-8c73-2f3c7f0a9b10", "Shop", "TST")
    ]


def test_report_only() -> None:
    """What is reported after it was done has the times it was given."""
    example("report_only.py")
    assert rows(LOADS) == [("shop.Customer", "Succeeded", 10)]
    assert rows("SELECT duration FROM monitoring_integration") == [(42,)]
    assert rows("SELECT status, error_message FROM monitoring_semantic_model_refresh") == [
        ("Failed", "The column 'Total' does not exist.")
    ]


def test_plain_opentelemetry(tmp_path: Path) -> None:
    """A job that knows no dbbtrace gives its row, by OpenTelemetry's own launcher and the exporter's entry point."""
    launcher = Path(sys.executable).with_name("opentelemetry-instrument")
    done = subprocess.run(
        [launcher, sys.executable, EXAMPLES / "plain_opentelemetry.py"],
        env={
            "PATH": str(launcher.parent),
            "HOME": str(tmp_path),
            "OTEL_TRACES_EXPORTER": "dbb_warehouse",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert rows(LOADS) == [("shop.Customer", "Succeeded", 3)]


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_example_is_explained(script: str) -> None:
    """The list of examples names each, and each is short enough to be read."""
    folder = script.split("/")[0]
    assert folder in (EXAMPLES / "README.md").read_text(encoding="utf-8")
    text = (EXAMPLES / script).read_text(encoding="utf-8")
    assert text.startswith('"""')
    assert len(text.splitlines()) < 80
