"""Questions about one run take no longer for a long history: counted in SQLite's own steps, never by the clock."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from dbbtrace.answers.earlier import read_earlier
from dbbtrace.answers.past_runs import RUNS
from dbbtrace.answers.read import run_rows
from dbbtrace.model.identity import record_id, trace_id_of
from dbbtrace.warehouse import open_warehouse
from dbbtrace.warehouse.schema import PARTS
from tests.answers.history import PRODUCTS, History, Row, Size, _run
from tests.cli.support import run
from tests.verdict.support import insert_rows

pytestmark = pytest.mark.xdist_group("growth")

SHORT, LONG = 450, 1800
"""Runs, one each two hours: the short history is as long as questions look back, 35 days."""
SIZE = Size(loads=4, models=5, tests=1, refreshes=1)
ALLOWED = 1.25


def parts_of(history: History, product: str) -> list[Row]:
    """The record of a run that one job opened and ended."""
    rows = [*history.loads, *history.nodes, *history.refreshes]
    run_id = rows[0]["orchestration_run_id"]
    start = min(row["process_started_at"] for row in rows if row["process_started_at"])
    end = max(row["process_completed_at"] for row in rows if row["process_completed_at"])

    def part(kind: str, span: str, status: str, **more: Any) -> Row:
        return {
            "record_id": record_id(run_id, f"{kind} {span} {status}"),
            "orchestration_run_id": run_id,
            "data_product": product,
            "environment": "PRD",
            "part": kind,
            "name": kind,
            "status": status,
            "process_started_at": start,
            "process_completed_at": None if status == "Started" else end,
            "trace_id": f"{trace_id_of(run_id):032x}",
            "span_id": span * 16,
            **more,
        }

    told = {"loads": len(history.loads), "nodes": 0, "refreshes": len(history.refreshes)}
    return [
        *(part("job", "a", status, **told) for status in ("Started", "Succeeded")),
        *(part("workload", "b", status, workload="integration") for status in ("Started", "Succeeded")),
        part("run", "c", "Succeeded"),
    ]


def made(path: Path, runs: int) -> Path:
    """A warehouse with so many runs up to now; of others there are some without parts."""
    with open_warehouse(f"sqlite:///{path}") as warehouse:
        warehouse.migrate()
    chance, now = random.Random(3), datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)
    with sqlite3.connect(path) as file:
        for number in range(runs):
            history, product = History(), PRODUCTS[number % 3]
            _run(history, chance, product, now - (runs - number) * timedelta(hours=2), SIZE, 0.0)
            for table, rows in history.rows.items():
                insert_rows(file, table, rows)
            if number % 3:
                insert_rows(file, PARTS.name, parts_of(history, product))
    return path


@pytest.fixture(scope="module")
def warehouses(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("growth")
    return made(directory / "short.db", SHORT), made(directory / "long.db", LONG)


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """What SQLite's machine does meanwhile, in hundreds of steps."""
    steps = 0
    connect = sqlite3.connect

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    def counting(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_progress_handler(step, 100)
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", counting)
        yield lambda: steps


@pytest.mark.parametrize("nth", [1, 2], ids=["recorded by us", "recorded by others"])
@pytest.mark.parametrize(
    "command",
    ["runs --limit 1", "runs", "show RUN", "show PREFIX", "check RUN", "failures RUN", "show last", "report RUN"],
)
def test_questions_of_one_run_do_not_grow(
    warehouses: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, command: str, nth: int
) -> None:
    """With four times the history hardly more is read."""
    steps = []
    for path in warehouses:
        with sqlite3.connect(path) as file:
            newest = file.execute(
                "SELECT orchestration_run_id FROM monitoring_integration GROUP BY 1"
                " ORDER BY MIN(timestamp) DESC LIMIT 9"
            ).fetchall()
            ours = {row[0] for row in file.execute("SELECT orchestration_run_id FROM monitoring_run_part")}
        run_id = next(run_id for (run_id,) in newest if (run_id in ours) == (nth == 1))
        words = [run_id if word == "RUN" else run_id[:8] if word == "PREFIX" else word for word in command.split()]
        with counted(monkeypatch) as count:
            done = run("--warehouse", f"sqlite:///{path}", *words)
        assert done.code in (0, 1, 3), done.err
        steps.append(count())
    short, long = steps
    assert short > 0
    assert long <= ALLOWED * short, (short, long)


def test_a_busy_day_is_not_the_history_of_a_week(tmp_path: Path) -> None:
    """A run is held against the 30 before it, and against earlier weeks: not against all that ran today."""
    noon = datetime.now(timezone.utc).replace(tzinfo=None, hour=12, minute=0, second=0, microsecond=0) - timedelta(1)
    chance, runs = random.Random(3), 2 * RUNS
    with open_warehouse(f"sqlite:///{tmp_path / 'w.db'}") as warehouse:
        warehouse.migrate()
        with sqlite3.connect(tmp_path / "w.db") as file:
            for minute in range(runs):
                history = History()
                _run(history, chance, PRODUCTS[0], noon + timedelta(minutes=minute), SIZE, 0.0)
                for table, rows in history.rows.items():
                    insert_rows(file, table, rows)
                insert_rows(file, PARTS.name, parts_of(history, PRODUCTS[0]))
        newest = max(run_rows(warehouse), key=lambda run: run.started_at or datetime.min)
        earlier = read_earlier(warehouse, [newest], datetime.now(timezone.utc), timezone.utc)
    assert len(earlier.entries) == 1 + RUNS
