"""SIGKILL at any instant: what had ended stands once, what had started is told, nothing else."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

from dbbtrace.configure import destinations
from dbbtrace.delivery import Destination, recover, waiting
from dbbtrace.settings import resolve
from tests.delivery import jobs

KILLS = 210


def test_two_hundred_kills_lose_nothing_and_invent_nothing(tmp_path: Path) -> None:
    """Busy processes are killed at random moments, while they load, deliver and adopt what others left."""
    warehouse, journals, ledger = f"sqlite:///{tmp_path}/rows.db", tmp_path / "journals", tmp_path / "ledger"
    done = jobs.run("kill_many", warehouse, journals, ledger, KILLS, 20261124)
    assert done.returncode == 0, done.stderr

    (destination,) = destinations(resolve(warehouse=warehouse))
    by_name: dict[str, Destination] = {destination.name: destination}
    recovered = recover(journals, by_name.get, timeout=60)
    assert recovered.is_complete, recovered.errors
    assert recovered.refused == 0
    assert list(waiting(journals)) == []

    told = {"announced": set(), "started": set(), "ended": set()}
    for line in ledger.read_text().splitlines():
        word, table = line.split()
        told[word].add(table)
    connection = sqlite3.connect(tmp_path / "rows.db")
    rows = connection.execute("SELECT table_name, status, error_type FROM monitoring_integration").fetchall()
    connection.close()
    succeeded = Counter(table for table, status, _ in rows if status == "Succeeded")
    interrupted = Counter(table for table, _, error in rows if error == "Interrupted")
    assert len(told["ended"]) > 2 * KILLS, "the jobs were hardly busy"
    assert {table: succeeded[table] for table in told["ended"]} == dict.fromkeys(told["ended"], 1)
    assert told["started"] <= set(succeeded) | set(interrupted)
    assert set(succeeded) | set(interrupted) <= told["announced"]
    assert max((succeeded + interrupted).values()) == 1
    assert len(interrupted) > KILLS / 10
