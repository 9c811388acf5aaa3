"""The generator of histories: what it promises to whoever judges them."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from tests.verdict import histories
from tests.verdict.histories import FINANCE, LOADS, LOCAL, LOGISTICS, PARTS


def test_the_same_seed_gives_the_same_history():
    """And another seed another one."""
    assert histories.make(30) == histories.make(30)
    assert histories.make(30, seed=1) != histories.make(30)


def test_a_history_has_all_that_a_platform_has():
    """Slots that move with summer time, weekends, weekly, new and retired tables, zeros, runs by hand and repairs."""
    runs = histories.make(500)
    assert sum(run.good for run in runs) == 500
    slots = Counter(run.slot for run in runs)
    assert all(slots[slot] > 50 for slot in histories.SLOTS)
    assert slots[None] > 5
    mornings = {run.started_at.hour for run in runs if run.slot == "08:00"}
    assert mornings == {6, 7}, "08:00 in Brussels is 07:00 or 06:00 UTC"
    assert any(run.started_at.astimezone(LOCAL).weekday() >= 5 for run in runs)
    loads = [row for run in runs for row in run.rows[LOADS]]
    assert any(row["rows_read"] == 0 for row in loads)
    days = {
        name: sorted({row["timestamp"][:10] for row in loads if row["table_name"] == name})
        for name in ("Consolidation", "Scenario", "OldPlan", "Budget")
    }
    assert len(days["Consolidation"]) < len(days["Budget"]) / 5
    assert days["Scenario"][0] > days["Budget"][0]
    assert days["OldPlan"][-1] < days["Budget"][-1]
    assert {table.name for table in FINANCE.tables} & {table.name for table in LOGISTICS.tables}
    assert any(row["part"] == "link" for run in runs for row in run.rows[PARTS])
    started = [run.started_at for run in runs if run.slot is not None]
    assert max(started) - min(started) > timedelta(days=65)


def test_faults_are_planted_one_a_run():
    """Each fault leaves the history alone and changes one run, which had a history before it."""
    history = histories.make(200)
    before = histories.make(200)
    planted = list(histories.plant(history, 50))
    assert history == before
    assert Counter(each.fault for each in planted) == dict.fromkeys(histories.FAULTS, 10)
    assert all(each.run.rows != each.instead_of.rows for each in planted)
    assert all(each.run.run_id == each.instead_of.run_id for each in planted)
