"""On 500 runs with 200,000 operations each answer of the terminal comes within 2 s on an idle machine of two cores.

What is measured is the processor time of the whole program, so that other tests beside this one hardly matter; several
times as much is allowed, since a busy or slower machine must not decide: a plan that reads everything for each run
takes minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.answers.history import PRODUCTS, Size, make, store

pytestmark = [
    pytest.mark.xdist_group("speed"),
    pytest.mark.skipif(sys.platform == "win32", reason="no Python on Windows tells the time of its children"),
]

ALLOWED = 10.0
"""Seconds of processor time."""

COMMANDS = (
    ("runs",),
    ("runs", "--status", "Failed", "--limit", "500"),
    ("show", "last"),
    ("failures", "--since", "2026-01-01", "--limit", "50"),
    ("failures", "last"),
    ("slowest", "--since", "2026-01-01"),
    ("slowest", "last"),
    ("audit", "--format", "csv"),
    ("audit", "--since", "2026-04-01"),
    ("check", "last", "--require-refresh"),
    ("watch", "--once", "--since", "2026-04-01"),
    ("diff", "last", "last"),
    ("report", "last"),
)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> str:
    """500 runs of 400 operations each, in a file of some 240 MB."""
    history = make(500, size=Size(loads=60, models=250, tests=85, refreshes=5), products=PRODUCTS, failing=0.002)
    path = tmp_path_factory.mktemp("speed") / "w.db"
    store(history, path).close()
    executed = sum(row["process_stage"] == "execute" for row in history.nodes)
    assert len(history.loads) + executed + len(history.refreshes) > 198_000
    return f"sqlite:///{path}"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_answers_come_fast(warehouse: str, tmp_path: Path, command: tuple[str, ...]) -> None:
    """Each command, as a program of its own."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "dbbtrace", *command],
        env={**os.environ, "DBBTRACE_WAREHOUSE": warehouse},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout or done.stderr
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert took < ALLOWED
