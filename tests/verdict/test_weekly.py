"""A table that comes once a week is due on its day, and on no other: with runs of ours, and with rows of others."""

from __future__ import annotations

import sqlite3
from copy import deepcopy
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from dbbtrace.answers.verdict import verdict_of
from dbbtrace.warehouse import Warehouse
from tests.verdict import histories
from tests.verdict.histories import BEGINNING, FINANCE, LOADS, LOCAL, LOGISTICS, PARTS, Run
from tests.verdict.support import insert, insert_rows, stored, without


def judged(warehouse: Warehouse, run: Run) -> list[str]:
    said = verdict_of(warehouse, run.run_id, now=(run.ended_at or run.started_at) + timedelta(minutes=5))
    return [reason.text for reason in said.reasons if reason.kind == "absent"]


def without_table(run: Run, table: str) -> Run:
    """The run, had its job never begun that load."""
    run = deepcopy(run)
    run.rows[LOADS] = [row for row in run.rows[LOADS] if row["table_name"] != table]
    for part in run.rows[PARTS]:
        if part["part"] == "job" and part["status"] != "Started":
            part["loads"] -= 1
    return run


def foreign(run: Run) -> Run:
    """The run as others would have recorded it: no parts, no record ids."""
    run = deepcopy(run)
    run.rows.pop(PARTS)
    for row in run.rows[LOADS]:
        row |= dict.fromkeys(("record_id", "process_started_at", "process_completed_at"))
    return run


@pytest.mark.parametrize("record", [lambda run: run, foreign], ids=["ours", "of others"])
def test_a_weekly_table_among_four_runs_a_day(tmp_path: Path, record) -> None:
    """From the fourth week on it is missed on its day, whatever the other 24 runs of a week do, and then forgotten."""
    history = [run for run in histories.make(420) if run.product is not LOGISTICS and run.good]
    mondays = [run for run in history if run.slot and any(table.name == "Consolidation" for table in run.tables)]
    judged_day = {run.started_at.date(): run for run in reversed(mondays)}[BEGINNING + timedelta(weeks=5)]
    history = [record(run) for run in history if run.started_at <= judged_day.started_at + timedelta(days=2)]
    warehouse = stored(tmp_path / "w.db", history)
    after = [run for run in history if run.started_at > judged_day.started_at][:6]
    assert len(after) == 6
    assert not any(judged(warehouse, run) for run in after)
    assert judged(warehouse, judged_day) == []
    with sqlite3.connect(tmp_path / "w.db") as file:
        without(file, judged_day)
        insert(file, record(without_table(judged_day, "Consolidation")))
    [text] = judged(warehouse, judged_day)
    assert text.startswith("fin.Consolidation was not loaded; it came in 4 of the last 4 runs at this time on this day")
    assert not any(judged(warehouse, run) for run in after), "nobody misses it on a Tuesday"


def test_a_weekly_table_among_four_runs_a_day_is_told_twice(tmp_path: Path) -> None:
    """On the second Monday without it too, though the newest runs are of one week; on the third it is forgotten."""
    history = [run for run in histories.make(560) if run.product is not LOGISTICS and run.good]
    loading = [run for run in history if run.slot and any(table.name == "Consolidation" for table in run.tables)]
    mondays = list({run.started_at.date(): run for run in reversed(loading)}.values())[::-1]
    absent = mondays[5:8]
    assert [(one.started_at.date() - absent[0].started_at.date()).days for one in absent] == [0, 7, 14]
    warehouse = stored(tmp_path / "w.db", history)
    with sqlite3.connect(tmp_path / "w.db") as file:
        for run in absent:
            without(file, run)
            insert(file, without_table(run, "Consolidation"))
    told = [[text for text in judged(warehouse, run) if "Consolidation" in text] for run in absent]
    assert [len(texts) for texts in told] == [1, 1, 0]


MONDAY = datetime(2026, 9, 7, 8, 0, tzinfo=LOCAL)


def daily(path: Path, weeks: int, *, comes: range) -> tuple[Warehouse, list[Run]]:
    """One run every morning, which loads Customer, and on the Mondays of these weeks Tariff too."""
    runs = []
    for day in range(7 * weeks):
        at = datetime.combine((MONDAY + timedelta(days=day)).date(), MONDAY.time(), LOCAL).astimezone(timezone.utc)
        tables = ["Customer", *(["Tariff"] if day % 7 == 0 and day // 7 in comes else [])]
        run = Run(f"run-{day:03}", FINANCE, at, "08:00", True)
        for table in tables:
            run.add(
                LOADS,
                {
                    "table_name": table,
                    "schema_name": "mdm",
                    "source_name": "MDS",
                    "load_type": "FULL",
                    "status": "Succeeded",
                    "timestamp": histories.text(at, 0),
                    "duration": 2,
                    "data_product": "Shop",
                    "orchestration_run_id": run.run_id,
                    "environment": "PRD",
                },
            )
        run.ended_at = at + timedelta(hours=7)
        runs.append(run)
    return stored(path, runs), runs


def test_a_weekly_table_of_a_daily_run(tmp_path: Path) -> None:
    """Due on the fourth Monday; absent twice, it is forgotten. Summer time ends in between."""
    warehouse, runs = daily(tmp_path / "w.db", 9, comes=range(6))
    found = {number: judged(warehouse, run) for number, run in enumerate(runs)}
    said = {number: texts for number, texts in found.items() if texts}
    assert list(said) == [42, 49]
    assert all("mdm.Tariff" in texts[0] for texts in said.values())


def test_two_mondays_teach_nothing(tmp_path: Path) -> None:
    """Three of the last four it must be."""
    warehouse, runs = daily(tmp_path / "w.db", 4, comes=range(2))
    assert not any(judged(warehouse, run) for run in runs)


def test_a_run_on_another_hour_of_the_day(tmp_path: Path) -> None:
    """The weekly table belongs to its slot: an afternoon run of a Monday is not asked for it."""
    warehouse, runs = daily(tmp_path / "w.db", 5, comes=range(5))
    at = runs[28].started_at + timedelta(hours=5)
    row = {**runs[28].rows[LOADS][0], "orchestration_run_id": "afternoon", "timestamp": histories.text(at, 0)}
    with sqlite3.connect(tmp_path / "w.db") as file:
        insert_rows(file, LOADS, [row])
    said = verdict_of(warehouse, "afternoon", now=at + timedelta(hours=7))
    assert [reason.text for reason in said.reasons if reason.kind == "absent"] == []
