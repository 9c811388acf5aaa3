"""How long a run may be silent: twice its product's usual longest pause, at least half an hour, six hours without."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import dbbtrace
from dbbtrace.warehouse import open_warehouse
from tests.cli.support import run
from tests.verdict.situations import PRODUCT, RUN, Stage, load


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    stage = Stage(tmp_path / "w.db", tmp_path / "journal")
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", stage.url)
    stage.configure()
    yield stage
    stage.end()


def wait(stage: Stage, hours: float) -> None:
    dbbtrace.shutdown()
    stage.age(hours)
    stage.configure()


def earlier_run(stage: Stage, run_id: str, *pauses: float) -> None:
    """A run with these pauses, in hours, between a load, dbt nodes and its end."""
    with dbbtrace.join_run(run_id, **PRODUCT):  # type: ignore[arg-type]
        load()
    for number, pause in enumerate(pauses):
        wait(stage, pause)
        with dbbtrace.join_run(run_id, **PRODUCT), dbbtrace.dbt_node(f"model.shop.m{number}"):  # type: ignore[arg-type]
            pass
    dbbtrace.close_run(run_id)
    wait(stage, 24)


def open_run(stage: Stage, silent: float) -> None:
    """A run between two jobs that has been silent for so many hours; its job was on another machine."""
    stage.configure(journal=stage.journal.with_name("elsewhere"))
    with dbbtrace.join_run(RUN, **PRODUCT):  # type: ignore[arg-type]
        load()
    dbbtrace.shutdown()
    stage.age(silent)
    stage.configure()


def said(stage: Stage) -> set[tuple[str, str]]:
    """What every answer says of the run."""
    run("migrate", "--views")
    with open_warehouse(stage.url) as warehouse:
        ((status,),) = warehouse.query(
            "SELECT status FROM meta.monitoring_runs WHERE orchestration_run_id = ?", (RUN,)
        ).rows
    (listed,) = [one for one in json.loads(run("runs", "--json").out) if one["run_id"] == RUN]
    return {
        ("view", status),
        ("runs", listed["status"]),
        ("check", json.loads(run("check", RUN, "--json").out)["verdict"]),
        ("show", json.loads(run("show", RUN, "--json").out)["verdict"]),
        ("verdict", dbbtrace.verdict(RUN).word),
    }


@pytest.mark.parametrize(
    ("pauses", "silent", "word"),
    [
        ((), 7, "Unfinished"),
        ((), 5, "Running"),
        (((0.01,),) * 3, 0.75, "Unfinished"),
        (((0.01,),) * 3, 0.4, "Running"),
        (((4.0,),) * 3, 7, "Running"),
        (((4.0,),) * 3, 9, "Unfinished"),
        # One long pause in many is not usual.
        (((0.01,), (5.0,), (0.01,)), 0.75, "Unfinished"),
        # dbt nodes are signs of life as loads are: one an hour is a pause of an hour, not of three.
        (((1.0, 1.0, 1.0),) * 3, 2.5, "Unfinished"),
        (((1.0, 1.0, 1.0),) * 3, 1.5, "Running"),
    ],
)
def test_silence_is_measured_by_the_products_own_pauses(
    stage: Stage, pauses: tuple[tuple[float, ...], ...], silent: float, word: str
) -> None:
    """View, commands and function agree."""
    for number, each in enumerate(pauses):
        earlier_run(stage, f"day {number}", *each)
    open_run(stage, silent)
    assert said(stage) == {(who, word) for who in ("view", "runs", "check", "show", "verdict")}


def test_where_nothing_was_judged_the_rows_tell(stage: Stage) -> None:
    """As in a warehouse in which findings may not be written: the commands learn from the earlier runs themselves."""
    for number in range(3):
        earlier_run(stage, f"day {number}", 4.0)
    stage.sql("DELETE FROM meta.monitoring_run_part WHERE part = 'finding'")
    open_run(stage, 7)
    assert dbbtrace.verdict(RUN).word == "Running"


def test_another_product_does_not_tell(stage: Stage) -> None:
    """Nor another environment."""
    for number in range(2):
        earlier_run(stage, f"day {number}", 0.01)
    stage.sql("UPDATE meta.monitoring_run_part SET environment = 'TST'")
    stage.sql("UPDATE meta.monitoring_integration SET environment = 'TST'")
    stage.sql("UPDATE meta.monitoring_transformation_dbt SET environment = 'TST'")
    open_run(stage, 5)
    assert said(stage) == {(who, "Running") for who in ("view", "runs", "check", "show", "verdict")}
