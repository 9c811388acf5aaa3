"""One row with an impossible value, ours or a hand-made writer's, never breaks a view or an answer."""

from __future__ import annotations

import json
import random
import sqlite3
import tempfile
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dbbtrace.answers.read import operations, run_rows
from dbbtrace.warehouse import Result, Warehouse, open_warehouse, views
from dbbtrace.warehouse.schema import TABLES, Column, Kind
from tests.answers.test_views_tsql import run_as_tsql
from tests.cli.support import run

RUNS = ("0f8fad5b-d9cb-469f-a165-70867728950e", "1f8fad5b-d9cb-469f-a165-70867728950e")
LARGEST = 2**63 - 1

EXTREMES: dict[Kind, list[Any]] = {
    Kind.BIGINT: [0, -1, 1000, LARGEST, -LARGEST - 1],
    Kind.FLOAT: [0.0, 1.5, 1e308, -1e308, 5e-324],
    Kind.DECIMAL: [0, 12.5, 999_999_999_999_999.0, -999_999_999_999_999.0],
    Kind.BIT: [0, 1],
    Kind.TIME: ["0001-01-01 00:00:00", "1970-01-01 00:00:00", "2026-11-24 10:00:00", "9999-12-31 23:59:59.999999"],
    Kind.TEXT: ["", "x", "é" * 40],
}
CHOSEN: dict[str, list[Any]] = {
    "orchestration_run_id": list(RUNS),
    "status": ["Succeeded", "Failed", "success", "error", "Completed", "whatever", ""],
    "process_stage": ["execute", "compile"],
    "data_product": ["P", None],
    "environment": ["PRD", ""],
    "unique_id": ["model.shop.a", None, "9" * 50],
    "depends_on": ['["model.shop.a"]', "[", None],
}


def value(column: Column, choose: random.Random) -> Any:
    """What may be in a column."""
    if column.name == "record_id":
        return choose.choice([None, f"{choose.getrandbits(128):032x}"])
    if column.name in CHOSEN:
        return choose.choice(CHOSEN[column.name])
    return choose.choice(EXTREMES[column.kind] + [None] * column.nullable)


def history(seed: int) -> dict[str, list[dict[str, Any]]]:
    """Some rows of each table."""
    choose = random.Random(seed)
    return {
        table.name: [
            {column.name: value(column, choose) for column in table.columns} for _ in range(choose.randint(0, 3))
        ]
        for table in TABLES
    }


HISTORIES = st.integers(0, 2**32).map(history)  # drawn value by value they take longer than what is tested

COMMANDS = [
    ["runs", "--json"], ["runs"], ["show", RUNS[0]], ["show", "last", "--json"], ["check", RUNS[0]], ["failures"],
    ["failures", "--json"], ["slowest"], ["slowest", "--json"], ["audit"], ["audit", "--format", "json"],
    ["audit", "--format", "csv"], ["diff", *RUNS], ["watch", "--once"], ["report", RUNS[0], "-o", "run.html"],
    ["report", "-o", "all.html"], ["report", "-o", "site/"], ["today"], ["today", "--json"], ["lineage", RUNS[0]],
    ["ready", RUNS[0]], ["verify", RUNS[0]], ["repair", RUNS[0]],
    ["query", "SELECT * FROM meta.monitoring_integration", "--format", "json"],
]  # fmt: skip


WRITTEN = {"run.html", "all.html", "site/"}
"""What the commands write."""
SLOW = [HealthCheck.too_slow]


def stored(rows: dict[str, list[dict[str, Any]]], path: Path) -> str:
    """The rows in a warehouse of SQLite; its URL."""
    url = f"sqlite:///{path}"
    warehouse = open_warehouse(url)
    warehouse.migrate()
    warehouse.close()
    with sqlite3.connect(path) as connection:
        for table, held in rows.items():
            for row in held:
                names = ", ".join(f'"{name}"' for name in row)
                marks = ", ".join("?" * len(row))
                connection.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", list(row.values()))
    connection.close()
    return url


def ask(rows: dict[str, list[dict[str, Any]]], commands: list[list[str]]) -> None:
    """Each command gives an answer, or says that there is no such run; never a fault."""
    with tempfile.TemporaryDirectory() as directory:
        url = stored(rows, Path(directory, "w.db"))
        known = {row["orchestration_run_id"] for held in rows.values() for row in held}
        for command in commands:
            done = run("--warehouse", url, *(f"{directory}/{one}" if one in WRITTEN else one for one in command))
            refusals = {0, 1, 3} if set(RUNS) <= known else {0, 1, 2, 3}
            if command[0] == "verify":
                refusals.add(4)  # the tables that the rows name are not there to be counted
            assert done.code in refusals, (command, done.err)
            for word in ("SQLite", "Traceback", "Error:", "overflow", "out of range", "can't convert"):
                assert word not in done.err, (command, done.err)
            if "--json" in command and done.out:
                json.loads(done.out)


@pytest.mark.long
@pytest.mark.timeout(1_800)
@settings(max_examples=3, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=SLOW)
@given(HISTORIES)
def test_every_command_answers(rows: dict[str, list[dict[str, Any]]]) -> None:
    """Whatever stands in the tables."""
    ask(rows, COMMANDS)


@pytest.mark.parametrize("command", [["report", RUNS[0], "-o", "run.html"], ["today"], ["report", "-o", "site/"]])
def test_times_and_figures_at_their_ends_break_no_answer(command: list[str]) -> None:
    """The last second of the year 9999, and figures whose sum is infinite: found by the long test."""
    ask(history(177), [command])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HISTORIES)
def test_every_view_answers_in_sqlite(rows: dict[str, list[dict[str, Any]]]) -> None:
    """All rows of all views."""
    with tempfile.TemporaryDirectory() as directory:
        warehouse = open_warehouse(stored(rows, Path(directory, "w.db")))
        for view in views.VIEWS[:-1]:
            views.ask(warehouse, f"SELECT v.* FROM meta.{view} AS v")
        warehouse.close()


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HISTORIES)
def test_every_view_answers_in_t_sql(rows: dict[str, list[dict[str, Any]]]) -> None:
    """The same in T-SQL's words."""
    connection = run_as_tsql(rows, {})
    for view in views.VIEWS[:-1]:
        connection.execute(f"SELECT * FROM meta.{view}").fetchall()
    connection.close()


def load(**values: Any) -> dict[str, Any]:
    """A load as a hand-made writer leaves it."""
    row = dict.fromkeys(column.name for column in TABLES[0].columns)
    return row | {"orchestration_run_id": RUNS[0], "table_name": "T", "status": "Succeeded"} | values


@pytest.mark.parametrize("count", [2, 5])
def test_counts_that_overflow_are_the_largest_there_is(count: int, tmp_path: Path) -> None:
    """The sum of impossible counts is the largest whole number; that of possible ones is exact."""
    loads = [
        load(table_name=f"T{n}", rows_read=LARGEST, rows_written=10**12 + n, timestamp="2026-11-24 10:00:00")
        for n in range(count)
    ]
    warehouse = open_warehouse(stored({TABLES[0].name: loads}, tmp_path / "w.db"))
    asked = "SELECT v.rows_read, v.rows_written FROM meta.monitoring_runs AS v"
    assert [tuple(row) for row in views.ask(warehouse, asked)] == [(LARGEST, sum(row["rows_written"] for row in loads))]
    connection = run_as_tsql({table.name: loads if table is TABLES[0] else [] for table in TABLES}, {})
    read, written = connection.execute("SELECT rows_read, rows_written FROM meta.monitoring_runs").fetchone()
    assert (int(read), int(written)) == (LARGEST, sum(row["rows_written"] for row in loads))


@pytest.mark.parametrize(
    ("start", "duration", "end"),
    [
        ("2026-11-24 10:00:00.5", 10, "2026-11-24 10:00:10.500000"),
        ("2026-11-24 10:00:00.5", 2**31 - 1, "2094-12-12 13:14:07.500000"),
        ("2026-11-24 10:00:00.5", 2**31, None),
        ("2026-11-24 10:00:00.5", LARGEST, None),
        ("2026-11-24 10:00:00.5", -7, None),
        ("9999-12-31 23:59:59", 10, None),
        ("0001-01-01 00:00:00", 10, None),
    ],
)
def test_a_duration_that_can_not_be_true_gives_no_end(
    start: str, duration: int, end: str | None, tmp_path: Path
) -> None:
    """The same on SQLite and in T-SQL, so that both tell the same of the run's end and of its silence."""
    loads = [load(timestamp=start, duration=duration)]
    asked = "SELECT o.end_time FROM meta.monitoring_operations AS o"
    warehouse = open_warehouse(stored({TABLES[0].name: loads}, tmp_path / "w.db"))
    assert [tuple(row) for row in views.ask(warehouse, asked)] == [(end,)]
    warehouse.close()
    connection = run_as_tsql({TABLES[0].name: loads}, {})
    [(found,)] = connection.execute(asked).fetchall()
    connection.close()
    assert found == (datetime.fromisoformat(end) if end else None)


class Decimals:
    """A warehouse whose server answers decimals where another answers floats."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse

    def __getattr__(self, name: str) -> Any:
        return getattr(self.warehouse, name)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Result:
        asked = self.warehouse.query(sql, parameters)
        rows = [tuple(Decimal(str(each)) if isinstance(each, float) else each for each in row) for row in asked.rows]
        return Result(asked.columns, rows)


def test_seconds_are_floats_on_every_server(tmp_path: Path) -> None:
    """Pages calculate with them; a report of many runs broke on decimals."""
    times = {"timestamp": "2026-11-24 10:00:00", "duration": 5}
    url = stored({TABLES[0].name: [load(**times)]}, tmp_path / "w.db")
    warehouse: Any = Decimals(open_warehouse(url))
    found: list[Any] = [*run_rows(warehouse), *operations(warehouse, RUNS)]
    assert [(each.seconds, type(each.seconds)) for each in found] == [(5.0, float)] * 2
    assert type(found[0].slowest_seconds) is float
    warehouse.close()
