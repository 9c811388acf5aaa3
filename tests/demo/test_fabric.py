"""``dbbtrace demo --fabric``: a run of Fabric pipelines, played by a local server, and imported while it goes on."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.cli.support import run

pytestmark = [pytest.mark.xdist_group("demo"), pytest.mark.timeout(600)]


def test_the_demo_ends_in_tree_rows_and_verdict() -> None:
    """A Copy that failed, one that never started, a retry, a refresh with two attempts; twice in one directory."""
    for number in (1, 2):
        done = run("demo", "--fabric", columns=120)
        assert done.code == 0, done
        assert " Running: " in done.err
        assert "✗ Failed" in done.out.split("\n")[0]
        assert "workload integration failed" in done.out
        assert "NotStarted: its Copy never started: lookup_integration_source_metadata failed" in done.out
        assert "attempt 1 failed: ModelRefresh" in done.out
        assert "no operation was recorded in it" in done.out.partition("transformation")[2].split("\n")[1]
        assert "for_each_source_table" not in done.out, "it failed because something in it did, which has a line"
        assert "7 operations: 5 succeeded, 2 failed" in done.out
        connection = sqlite3.connect(Path(".demo/dbb_warehouse.db"))
        [counted] = connection.execute("SELECT COUNT(*) FROM monitoring_integration").fetchall()
        assert counted == (6 * number,)
        parts = connection.execute(
            "SELECT part, COUNT(*) FROM monitoring_run_part WHERE part IN ('run', 'expected') GROUP BY part ORDER BY 1"
        ).fetchall()
        assert parts == [("expected", 6 * number), ("run", number)]
