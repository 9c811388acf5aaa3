"""What counts as the same thing in every answer: the same table, the same node, the same upstream."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dbbtrace import answers
from dbbtrace.warehouse import Warehouse, views
from tests.answers import expected
from tests.answers.history import BEGINNING, History, Row, Size, make, store

COLUMNS = ("data_product", "environment", "kind", "operation_id", "seconds", "earlier_runs", "median_seconds")


def asked(warehouse: Warehouse, view: str, *columns: str) -> list[dict[str, Any]]:
    names = ", ".join(f"v.{column}" for column in columns)
    rows = views.ask(warehouse, f"SELECT {names} FROM meta.{view} AS v")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def run_ids(history: History) -> list[str]:
    """Oldest first."""
    return list(dict.fromkeys(row["orchestration_run_id"] for row in history.loads))


def by_hand(rows: list[Row]) -> None:
    """The rows as the platform's own writers leave them."""
    for row in rows:
        row |= dict.fromkeys(
            ("record_id", "trace_id", "span_id", "unique_id", "resource_type", "depends_on", "message")
        )
        row |= dict.fromkeys(("error_type", "error_message"))
        if "table_name" in row:
            row |= dict.fromkeys(("environment", "process_started_at", "process_completed_at"))


# -- performance --------------------------------------------------------------------------------------------


def mixed(runs: int, by_hand_until: int) -> History:
    """Runs of one product of which the older ones were recorded by hand."""
    history = make(runs, seed=4, failing=0, size=Size(2, 3, 1, 1), products=("One",))
    older = set(run_ids(history)[:by_hand_until])
    for rows in history.rows.values():
        by_hand([row for row in rows if row["orchestration_run_id"] in older])
    return history


@pytest.mark.parametrize("by_hand_until", [0, 4, 6])
def test_the_view_and_the_terminal_tell_the_same_history(tmp_path: Path, by_hand_until: int) -> None:
    """By the run's product and environment, over all writers: hand-made loads name no environment, nodes no id."""
    history = mixed(6, by_hand_until)
    warehouse = store(history, tmp_path / "w.db", unique=False)
    in_view = asked(warehouse, "monitoring_performance", *COLUMNS)
    found = answers.slowest(warehouse, limit=None)
    assert sorted(
        (t.data_product, t.environment, t.kind, len(t.earlier), round(t.seconds, 4), round(t.median or 0, 4))
        for t in found
    ) == sorted(
        (
            row["data_product"], row["environment"], row["kind"], row["earlier_runs"],
            round(row["seconds"], 4), round(row["median_seconds"] or 0, 4),
        )
        for row in in_view
    )  # fmt: skip
    assert {(row["environment"], row["earlier_runs"]) for row in in_view} == {("PRD", 5)}
    assert len(in_view) == 2 + 3 + 1 + 1
    if by_hand_until < 6:
        assert {row["operation_id"] for row in in_view if row["kind"] == "dbt_node"} >= {"model.shop.model_000"}


def test_the_view_names_product_and_environment_as_the_run_does(tmp_path: Path) -> None:
    """Whatever single rows say or leave out."""
    history = make(6, seed=4, failing=0, size=Size(2, 3, 1, 1))
    by_hand(history.loads)
    runs = expected.runs(expected.operations(history.rows))
    warehouse = store(history, tmp_path / "w.db", unique=False)
    rows = asked(warehouse, "monitoring_performance", "orchestration_run_id", "data_product", "environment")
    assert {(row["data_product"], row["environment"]) for row in rows} == {
        (run["data_product"], run["environment"]) for run in runs.values()
    }
    for row in rows:
        run = runs[row["orchestration_run_id"]]
        assert (row["data_product"], row["environment"]) == (run["data_product"], run["environment"])


def test_a_relation_of_two_nodes_is_neither_s_history(tmp_path: Path) -> None:
    """A model was renamed, its alias kept: which of both the hand-made rows were is not known, so they stand apart."""
    history = mixed(4, 2)
    fourth = run_ids(history)[3]
    for row in history.nodes:
        if row["item_name"] == "model_001" and row["orchestration_run_id"] == fourth:
            row["unique_id"] = "model.shop.model_renamed"
    warehouse = store(history, tmp_path / "w.db", unique=False)
    rows = asked(warehouse, "monitoring_performance", "operation_id", "earlier_runs")
    counts = {row["operation_id"]: row["earlier_runs"] for row in rows}
    assert counts['"dbb"."marts"."model_001"'] == 1
    assert counts["model.shop.model_001"] == counts["model.shop.model_renamed"] == 0
    found = {t.operation_id: len(t.earlier) for t in answers.slowest(warehouse, limit=None)}
    assert {key: found[key] for key in counts if "model_" in key} == {k: v for k, v in counts.items() if "model_" in k}


# -- slowest since ------------------------------------------------------------------------------------------


def test_since_chooses_operations_but_cuts_no_history(tmp_path: Path) -> None:
    """What succeeded since then is told with everything that went before."""
    history = make(10, seed=2, failing=0, size=Size(2, 3, 1, 1), products=("One",))
    gone = run_ids(history)[:8]
    for row in history.loads:
        if row["table_name"] == "table_001" and row["orchestration_run_id"] not in gone:
            row["table_name"] = "table_new"
    warehouse = store(history, tmp_path / "w.db")
    everything = {(t.kind, t.operation_id): t for t in answers.slowest(warehouse, limit=None)}
    recent = answers.slowest(warehouse, since=BEGINNING + timedelta(hours=6 * 9), limit=None)
    names = {t.name for t in recent}
    assert "mdm.table_new" in names
    assert "mdm.table_001" not in names
    for timing in recent:
        assert timing == everything[timing.kind, timing.operation_id]
    assert {len(t.earlier) for t in recent if t.name != "mdm.table_new"} == {9}
    assert answers.slowest(warehouse, since=BEGINNING + timedelta(days=99)) == []


def test_everything_that_ran_is_told_however_many_runs_came_after(tmp_path: Path) -> None:
    """A table that is loaded once in forty runs is not forgotten; of its history as many runs count as of others'."""
    history = make(60, seed=2, failing=0, size=Size(2, 1, 0, 0), products=("One",))
    ids = run_ids(history)
    for number, run_id in enumerate(ids):
        row = next(row for row in history.loads if row["orchestration_run_id"] == run_id)
        row["table_name"] = "rare" if number in (2, 10, 20) else "often"
    warehouse = store(history, tmp_path / "w.db")
    (rare,) = [t for t in answers.slowest(warehouse, limit=None) if t.name == "erp.rare"]
    assert rare.run_id == ids[20]
    assert len(rare.earlier) == 2
    of_run = [t for t in answers.slowest(warehouse, run=ids[20], limit=None) if t.name == "erp.rare"]
    assert of_run == [rare]
    (fewer,) = [t for t in answers.slowest(warehouse, history=10, limit=None) if t.name == "erp.rare"]
    assert len(fewer.earlier) == 1


# -- lineage and failures -----------------------------------------------------------------------------------


def two_systems(first: Row, second: Row, *, source: str) -> History:
    """One run with the table cust from two systems, and models that select from one of them each."""
    history = make(1, seed=1, failing=0, size=Size(2, 3, 0, 0))
    for row, values in zip(history.loads, (first, second), strict=True):
        row |= {"table_name": "cust", "error_type": None, "error_message": None, **values}
    for row in history.nodes:
        row["depends_on"] = json.dumps([source])
    return history


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("source.shop.axb.cust", "Succeeded"),
        ("source.shop.a_b.cust", "Failed"),
        ("source.shop.raw_x.cust", "Succeeded"),
        ("source.shop.raw_a.cust", "Failed"),
        ("source.axb.a_b.cust", "Failed"),
    ],
)
def test_an_underscore_in_a_name_is_no_wildcard(tmp_path: Path, source: str, status: str) -> None:
    """The view finds the upstream that ``failures`` finds."""
    history = two_systems(
        {"source_name": "A_B", "schema_name": "raw_a", "status": "Failed"},
        {"source_name": "AXB", "schema_name": "raw_x", "status": "Succeeded"},
        source=source,
    )
    warehouse = store(history, tmp_path / "w.db")
    assert {row["upstream_status"] for row in asked(warehouse, "monitoring_lineage", "upstream_status")} == {status}
    (run_id,) = run_ids(history)
    found = answers.operations(warehouse, [run_id])
    (load,) = {load.status for load in [answers_graph(found).load_of(source)] if load}
    assert load == status


def answers_graph(found: Any) -> Any:
    from dbbtrace.answers.graph import RunGraph

    return RunGraph(found)


def test_a_load_that_was_done_again_is_no_upstream(tmp_path: Path) -> None:
    """Its last outcome is."""
    history = two_systems(
        {"source_name": "MDS", "schema_name": "raw", "status": "Failed"},
        {"source_name": "MDS", "schema_name": "raw", "status": "Succeeded"},
        source="source.shop.raw.cust",
    )
    history.loads[0]["process_started_at"] = "2026-01-05 01:00:00.000000"
    warehouse = store(history, tmp_path / "w.db")
    rows = asked(warehouse, "monitoring_lineage", "upstream_status", "upstream_operation_id")
    assert {(row["upstream_status"], row["upstream_operation_id"]) for row in rows} == {("Succeeded", "MDS/raw/cust")}


def test_the_same_table_of_two_systems_holds_up_its_own_nodes_only(tmp_path: Path) -> None:
    """As ``failures`` tells them apart, the view does."""
    history = two_systems(
        {"source_name": "MDS", "schema_name": "raw", "status": "Failed"},
        {"source_name": "SAP", "schema_name": "raw", "status": "Failed"},
        source="source.shop.mds.cust",
    )
    for row in history.nodes:
        row["status"] = "skipped"
        if row["item_name"] == "model_002":
            row["depends_on"] = '["source.shop.sap.cust"]'
    warehouse = store(history, tmp_path / "w.db")
    rows = asked(warehouse, "monitoring_failures", "operation_id", "nodes_held_up")
    assert {row["operation_id"]: row["nodes_held_up"] for row in rows} == {"MDS/raw/cust": 2, "SAP/raw/cust": 1}
    found = answers.failures(warehouse, run=run_ids(history)[0])
    assert {f.operation.operation_id: len(f.held_up) for f in found} == {"MDS/raw/cust": 2, "SAP/raw/cust": 1}
