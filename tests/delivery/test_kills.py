"""SIGKILL at any instant: what had ended stands once, what had started is told, nothing else."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from dbbtrace.configure import destinations
from dbbtrace.delivery import Destination, recover, waiting
from dbbtrace.settings import resolve
from tests.delivery import jobs

KILLS, MANY_KILLS = 210, 1_000


def test_two_hundred_kills_lose_nothing_and_invent_nothing(tmp_path: Path) -> None:
    """Busy processes are killed at random moments, while they load, deliver and adopt what others left."""
    warehouse, journals, ledger = f"sqlite:///{tmp_path}/rows.db", tmp_path / "journals", tmp_path / "ledger"
    done = jobs.run("kill_many", warehouse, journals, ledger, KILLS, 20261124, timeout=280)
    assert done.returncode == 0, done.stderr
    _recover_the_rest(warehouse, journals)
    _compare(tmp_path / "rows.db", ledger, KILLS)


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_a_thousand_kills_while_recover_is_killed_too(tmp_path: Path) -> None:
    """Beside the jobs one ``recover`` after the other takes over what they left, and is killed amid that."""
    warehouse, journals, ledger = f"sqlite:///{tmp_path}/rows.db", tmp_path / "journals", tmp_path / "ledger"
    dice = random.Random(20261128)
    killed = 0
    with subprocess.Popen(jobs.command("kill_many", warehouse, journals, ledger, MANY_KILLS, 20261128)) as killing:
        while killing.poll() is None:
            recovering = subprocess.Popen(
                jobs.command("recover_until_killed", warehouse, journals), stdout=subprocess.PIPE, text=True
            )
            assert recovering.stdout is not None
            with recovering.stdout as said:
                assert said.readline() == "begins\n"
            time.sleep(dice.uniform(0.0, 0.5))
            recovering.kill()
            assert recovering.wait() == -signal.SIGKILL, "recover ended by itself"
            killed += 1
    assert killing.returncode == 0
    assert killed > MANY_KILLS / 100, "recover was hardly killed"
    _recover_the_rest(warehouse, journals)
    _compare(tmp_path / "rows.db", ledger, MANY_KILLS)


def _recover_the_rest(warehouse: str, journals: Path) -> None:
    """What the last ones left; nothing may be left then."""
    (destination,) = destinations(resolve(warehouse=warehouse))
    by_name: dict[str, Destination] = {destination.name: destination}
    recovered = recover(journals, by_name.get, timeout=-1)
    assert recovered.is_complete, recovered.errors
    assert recovered.refused == 0
    assert list(waiting(journals)) == []


def _compare(rows_file: Path, ledger: Path, kills: int) -> None:
    """What is in the table with what the jobs wrote down themselves."""
    told = {"announced": set(), "started": set(), "ended": set()}
    for line in ledger.read_text().splitlines():
        word, table = line.split()
        told[word].add(table)
    connection = sqlite3.connect(rows_file)
    rows = connection.execute("SELECT table_name, status, error_type FROM monitoring_integration").fetchall()
    connection.close()
    succeeded = Counter(table for table, status, _ in rows if status == "Succeeded")
    interrupted = Counter(table for table, _, error in rows if error == "Interrupted")
    assert len(told["ended"]) > 2 * kills, "the jobs were hardly busy"
    assert {table: succeeded[table] for table in told["ended"]} == dict.fromkeys(told["ended"], 1)
    assert told["started"] <= set(succeeded) | set(interrupted)
    assert set(succeeded) | set(interrupted) <= told["announced"]
    assert max((succeeded + interrupted).values()) == 1
    assert len(interrupted) > kills / 10
