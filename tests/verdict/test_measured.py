"""How often a good run is warned of, and how many faults are found: measured on generated histories."""

from __future__ import annotations

import sqlite3
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from dbbtrace.answers.verdict import verdict_of
from dbbtrace.warehouse import Warehouse
from tests.docs.reference import DOCS
from tests.verdict import histories
from tests.verdict.histories import Run
from tests.verdict.support import insert, stored, without


def good_runs(warehouse: Warehouse, history: list[Run]) -> Counter[str]:
    """Verdict → how many of the good runs got it, each judged five minutes after its end."""
    return Counter(
        verdict_of(warehouse, run.run_id, now=(run.ended_at or run.started_at) + timedelta(minutes=5)).word
        for run in history
        if run.good
    )


def found_faults(warehouse: Warehouse, path: Path, history: list[Run], count: int) -> tuple[int, list[str]]:
    """How many planted faults are found, and what was missed. Found: not Succeeded, and a reason names it."""
    found, missed = 0, []
    for planted in histories.plant(history, count):
        run = planted.run
        with sqlite3.connect(path) as file:
            without(file, planted.instead_of)
            insert(file, run)
        said = verdict_of(warehouse, run.run_id, now=(run.ended_at or run.started_at) + timedelta(minutes=5))
        named = any(planted.names in reason.text for reason in said.reasons if reason.verdict)
        if said.word != "Succeeded" and named:
            found += 1
        else:
            missed.append(f"{planted.fault} ({planted.names}) in {run.product.name} at {run.started_at}")
        with sqlite3.connect(path) as file:
            without(file, run)
            file.execute(f"DELETE FROM {histories.VALIDATIONS}")
            insert(file, planted.instead_of)
    return found, missed


@pytest.mark.parametrize(
    ("good", "faults"),
    [(60, 20), pytest.param(500, 200, marks=[pytest.mark.long, pytest.mark.timeout(1200)])],
)
def test_good_runs_are_trusted_and_faults_are_found(tmp_path: Path, good: int, faults: int) -> None:
    """At most 1 good run in 100 is Warned and none is worse; at least 95 faults in 100 are found (of few, 4 in 5)."""
    history = histories.make(good)
    warehouse = stored(tmp_path / "w.db", history)
    words = good_runs(warehouse, history)
    print(dict(words))
    assert words["Warned"] <= good / 100
    assert words["Warned"] + words["Succeeded"] == good
    found, missed = found_faults(warehouse, tmp_path / "w.db", history, faults)
    print(found, "of", faults, missed)
    assert found >= faults * (0.95 if faults >= 200 else 0.8), missed


def test_the_page_names_the_seed() -> None:
    """Somebody who doubts the figures can make the histories again."""
    assert str(histories.SEED) in (DOCS / "verdict.md").read_text(encoding="utf-8")
