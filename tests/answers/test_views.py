"""The views' SQL: executed on SQLite against what plain Python makes of the same rows, parsed as T-SQL."""

from __future__ import annotations

import sqlite3
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from dbbtrace.warehouse import Warehouse, views
from dbbtrace.warehouse.dialects import SQLITE
from dbbtrace.warehouse.schema import TABLES
from tests.answers import expected
from tests.answers.history import History, Size, make, store
from tests.answers.mangle import OLD, mangled

LACKING = {
    "all of them": {},
    "the old tables": OLD,
    "no semantic_model_name": {"monitoring_semantic_model_refresh": ("semantic_model_name",)},
    "no record_id": {table.name: ("record_id",) for table in TABLES},
}


def rows_of(warehouse: Warehouse, view: str, *columns: str) -> list[dict[str, Any]]:
    """The view's rows, asked without creating it; times as datetimes."""
    names = ", ".join(f"v.{column}" for column in columns)
    found = views.ask(warehouse, f"SELECT {names} FROM meta.{view} AS v")
    return [dict(zip(columns, map(typed, columns, row), strict=True)) for row in found]


def typed(column: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if column.endswith("_time") and isinstance(value, str) else value


def without(history: History, lacking: dict[str, tuple[str, ...]]) -> dict[str, list[dict[str, Any]]]:
    """The rows as a table without those columns holds them; no old table holds interrupted ones."""
    return {
        name: [
            {key: value for key, value in row.items() if key not in lacking.get(name, ())}
            for row in rows
            if not ("error_type" in lacking.get(name, ()) and row["error_type"] == "Interrupted")
        ]
        for name, rows in history.rows.items()
    }


def comparable(rows: list[dict[str, Any]]) -> Counter[Any]:
    return Counter(tuple(sorted((key, rounded(value)) for key, value in row.items())) for row in rows)


def rounded(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else repr(value)


@pytest.mark.parametrize("lacking", LACKING.values(), ids=LACKING)
@pytest.mark.parametrize("seed", range(12))
def test_operations_are_what_the_rows_say(tmp_path: Path, seed: int, lacking: dict[str, tuple[str, ...]]) -> None:
    """One row for each operation, with doubles, interrupted and hand-made rows resolved; with every set of columns."""
    rows = without(mangled(make(6, seed=seed, failing=0.1 if seed % 2 else 0.01), seed), lacking)
    wanted = expected.operations(rows)
    warehouse = store(rows, tmp_path / "w.db", without=lacking, unique=False)
    found = rows_of(warehouse, "monitoring_operations", *wanted[0])
    assert comparable(found) == comparable(wanted)


@pytest.mark.parametrize("lacking", LACKING.values(), ids=LACKING)
@pytest.mark.parametrize("seed", range(6))
def test_runs_are_what_the_rows_say(tmp_path: Path, seed: int, lacking: dict[str, tuple[str, ...]]) -> None:
    """One row for each run: counts, sums, times, gaps."""
    rows = without(mangled(make(8, seed=seed, failing=0.05), seed), lacking)
    wanted = expected.runs(expected.operations(rows))
    warehouse = store(rows, tmp_path / "w.db", without=lacking, unique=False)
    columns = list(next(iter(wanted.values())))
    found = rows_of(warehouse, "monitoring_runs", "orchestration_run_id", *columns)
    assert comparable(found) == comparable([{"orchestration_run_id": run, **row} for run, row in wanted.items()])


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ({}, "Succeeded"),
        ({"node": "warn"}, "Warned"),
        ({"node": "warn", "refresh": "Unknown"}, "Unfinished"),
        ({"node": "warn", "refresh": "Never heard"}, "Unfinished"),
        ({"node": "error", "refresh": "Unknown"}, "Failed"),
        ({"load": "Failed"}, "Failed"),
        ({"node": "skipped"}, "Incomplete"),
        ({"refresh": "Cancelled"}, "Failed"),
    ],
)
def test_a_run_is_as_good_as_its_worst_operation(tmp_path: Path, words: dict[str, str], status: str) -> None:
    """Failed before Unfinished (it is months old) before Warned; what was skipped though nothing failed
    is missing."""
    history = make(1, seed=1, failing=0)
    for kind, rows in (("load", history.loads), ("node", history.nodes), ("refresh", history.refreshes)):
        if kind in words:
            unique_id = rows[0].get("unique_id")
            for row in rows:
                if row.get("unique_id") == unique_id:
                    row["status"] = words[kind]
    (found,) = rows_of(store(history, tmp_path / "w.db"), "monitoring_runs", "status")
    assert found["status"] == status


def test_the_slowest_operation_of_a_run_is_named(tmp_path: Path) -> None:
    """The name belongs to the greatest duration; a run of which no duration is known names none."""
    history = make(5, seed=3)
    history.loads.append(
        {
            **history.loads[0],
            "orchestration_run_id": "untimed",
            "record_id": "u",
            "duration": None,
            "process_completed_at": None,
        }
    )
    wanted = {}
    for operation in expected.operations(history.rows):
        best = wanted.setdefault(operation["orchestration_run_id"], (0.0, None))
        if operation["seconds"] is not None:
            wanted[operation["orchestration_run_id"]] = max(best, (operation["seconds"], operation["operation"]))
    warehouse = store(history, tmp_path / "w.db")
    found = rows_of(warehouse, "monitoring_runs", "orchestration_run_id", "slowest_operation", "slowest_seconds")
    assert {row["orchestration_run_id"]: row["slowest_operation"] for row in found} == {
        run: name for run, (_, name) in wanted.items()
    }
    assert {row["orchestration_run_id"]: row["slowest_seconds"] for row in found}["untimed"] is None


def test_lineage_has_every_edge_with_what_became_of_it(tmp_path: Path) -> None:
    """Edges are the nodes' depends_on; a source is matched with the load of its table."""
    history = mangled(make(6, seed=5, failing=0.1), 5)
    operations = expected.operations(history.rows)
    warehouse = store(history, tmp_path / "w.db", unique=False)
    found = rows_of(
        warehouse,
        "monitoring_lineage",
        "orchestration_run_id",
        "operation_id",
        "upstream_id",
        "upstream_status",
        "verdict",
    )
    edges = Counter((row["orchestration_run_id"], row["operation_id"], row["upstream_id"]) for row in found)
    assert edges == Counter(expected.edges(operations))
    outcomes = {(o["orchestration_run_id"], o["operation_id"]): o["status"] for o in operations if not o["superseded"]}
    loaded = {
        (o["orchestration_run_id"], o["operation"].rpartition(".")[2]): o["status"]
        for o in operations
        if o["workload"] == "integration"
    }
    for row in found:
        run, parent = row["orchestration_run_id"], row["upstream_id"]
        table = (run, parent.rpartition(".")[2])
        wanted = loaded.get(table) if parent.startswith("source.") else outcomes.get((run, parent))
        assert row["upstream_status"] == wanted
        built = outcomes[run, row["operation_id"]] in ("Succeeded", "Warned")
        if wanted is None:
            assert row["verdict"] == "upstream is not in this run"
        elif wanted not in ("Succeeded", "Warned"):
            assert row["verdict"] == (
                "built although its upstream was not" if built else "not built, like its upstream"
            )
    assert {row["verdict"] for row in found} >= {"valid", "not built, like its upstream"}


def test_a_source_is_matched_with_the_system_it_names(tmp_path: Path) -> None:
    """Where two systems have a table of one name, the one in dbt's source name is the upstream."""
    history = make(1, seed=1, failing=0)
    first = history.loads[0]
    first |= {"table_name": "Customer", "source_name": "SAP", "schema_name": "erp"}
    history.loads.append(
        {**first, "source_name": "MDS", "schema_name": "mdm", "record_id": "x", "status": "Failed", "error_type": "E"}
    )
    for row in history.nodes:
        row["depends_on"] = '["source.shop.mds.customer"]'
    warehouse = store(history, tmp_path / "w.db")
    found = rows_of(warehouse, "monitoring_lineage", "upstream", "upstream_status", "verdict")
    assert {(row["upstream"], row["upstream_status"]) for row in found} == {("mdm.Customer", "Failed")}
    assert {row["verdict"] for row in found} == {"built although its upstream was not"}


def test_a_node_that_began_before_its_upstream_ended_is_told(tmp_path: Path) -> None:
    """Built in the wrong order: what it read may not have been there."""
    history = make(1, seed=1, failing=0)
    for row in history.loads:
        row["process_completed_at"] = "2026-01-05 09:00:00.000000"
    found = rows_of(store(history, tmp_path / "w.db"), "monitoring_lineage", "upstream_kind", "verdict")
    assert {row["verdict"] for row in found if row["upstream_kind"] == "table_load"} == {
        "began before its upstream ended"
    }


@pytest.mark.parametrize("runs", [1, 2, 3, 20, 21, 41])
def test_performance_has_the_percentiles_of_what_went_before(tmp_path: Path, runs: int) -> None:
    """Newest duration, median and p95 of the earlier ones, for histories of any length."""
    history = make(runs, seed=runs, size=Size(2, 3, 1, 1), products=("One",), failing=0.05)
    timed: dict[str, list[tuple[datetime, float]]] = {}
    for o in expected.operations(history.rows):
        if o["status"] in ("Succeeded", "Warned"):
            timed.setdefault(o["operation_id"], []).append((o["start_time"], o["seconds"]))
    warehouse = store(history, tmp_path / "w.db")
    found = rows_of(
        warehouse,
        "monitoring_performance",
        "operation_id", "seconds", "earlier_runs", "least_seconds", "median_seconds", "p95_seconds", "most_seconds",
    )  # fmt: skip
    assert {row["operation_id"] for row in found} == set(timed)
    for row in found:
        *earlier, newest = [took for _, took in sorted(timed[row["operation_id"]])]
        assert row["seconds"] == pytest.approx(newest)
        assert row["earlier_runs"] == len(earlier)
        for name, wanted in (
            ("least_seconds", min(earlier, default=None)),
            ("median_seconds", expected.median(earlier)),
            ("p95_seconds", expected.p95(earlier)),
            ("most_seconds", max(earlier, default=None)),
        ):
            assert row[name] == (None if wanted is None else pytest.approx(wanted)), name


def test_failures_say_why_and_what_they_held_up(tmp_path: Path) -> None:
    """Every failed outcome with its message and the nodes that select from it and were not built."""
    history = mangled(make(10, seed=4, failing=0.08), 4)
    operations = [o for o in expected.operations(history.rows) if not o["superseded"]]
    outcomes = {(o["orchestration_run_id"], o["operation_id"]): o["status"] for o in operations}
    held: Counter[Any] = Counter()
    for run, node, parent in expected.edges(operations):
        if outcomes[run, node] not in ("Succeeded", "Warned"):
            held[run, parent.rpartition(".")[2] if parent.startswith("source.") else parent] += 1
    wanted = Counter(
        (
            o["orchestration_run_id"],
            o["operation_id"],
            o["error_message"],
            held[o["orchestration_run_id"], o["operation_id"].rpartition("/")[2]],
        )
        for o in operations
        if o["status"] == "Failed"
    )
    warehouse = store(history, tmp_path / "w.db", unique=False)
    found = rows_of(
        warehouse, "monitoring_failures", "orchestration_run_id", "operation_id", "error_message", "nodes_held_up"
    )
    assert Counter(tuple(row.values()) for row in found) == wanted
    assert any(row["nodes_held_up"] for row in found)


def test_gaps_name_what_is_missing(tmp_path: Path) -> None:
    """Runs without a refresh, loads without an end, what was interrupted, what still runs, runs by hand."""
    history = make(4, seed=1, failing=0, products=("One",))
    first, second, third, fourth = dict.fromkeys(row["orchestration_run_id"] for row in history.loads)
    history.rows["monitoring_semantic_model_refresh"] = [
        row for row in history.refreshes if row["orchestration_run_id"] != first
    ]
    lost = next(row for row in history.loads if row["orchestration_run_id"] == second)
    lost |= {"duration": None, "process_completed_at": None}
    killed = next(row for row in history.nodes if row["orchestration_run_id"] == third)
    killed |= {"error_type": "Interrupted", "error_message": "killed", "status": "error", "record_id": "x"}
    for row in history.refreshes:
        if row["orchestration_run_id"] == third:
            row["status"] = "Unknown"
    for rows in history.rows.values():
        for row in rows:
            if row["orchestration_run_id"] == fourth:
                row["data_product"] = None
    silent = next(row for row in history.loads if row["orchestration_run_id"] == fourth)
    silent |= {"status": "Failed", "error_type": None, "error_message": None}
    found = rows_of(store(history, tmp_path / "w.db"), "monitoring_gaps", "orchestration_run_id", "gap", "operation")
    assert {(row["orchestration_run_id"], row["gap"], row["operation"]) for row in found} == {
        (first, "no completed refresh", None),
        (second, "load without an end", f"{lost['schema_name']}.{lost['table_name']}"),
        (third, "interrupted", killed["item_name"]),
        (third, "not ended", "Model 0"),
        (third, "no completed refresh", None),
        (fourth, "no data product", None),
        (fourth, "failed without a reason", f"{silent['schema_name']}.{silent['table_name']}"),
    }


def test_reconciliation_joins_in_where_its_table_exists(tmp_path: Path) -> None:
    """Its results are operations of the run, and each figure's difference is told; without the table nothing breaks."""
    history = make(2, seed=1, failing=0)
    run = history.loads[0]["orchestration_run_id"]
    warehouse = store(history, tmp_path / "w.db")
    before = rows_of(warehouse, "monitoring_operations", "kind")
    assert rows_of(warehouse, "monitoring_reconciliation", "kpi_name") == []
    with sqlite3.connect(tmp_path / "w.db") as connection:
        connection.execute(
            "CREATE TABLE kpi_reconciliation_history (orchestration_run_id varchar(255), data_product varchar(255),"
            " source_name varchar(255), kpi_name varchar(255), amount float,"
            " reconciliation_pipeline_run_id varchar(255))"
        )
        connection.executemany(
            "INSERT INTO kpi_reconciliation_history VALUES (?, 'One', ?, 'revenue', ?, 'r')",
            [(run, "SAP", 100.5), (run, "DBB", 99.0), ("", "DBB", 1.0)],
        )
    found = rows_of(warehouse, "monitoring_operations", "kind", "operation", "source_name", "amount", "status")
    joined = [row for row in found if row["kind"] == "reconciliation_result"]
    assert len(found) == len(before) + 2
    assert {(row["operation"], row["source_name"], row["amount"]) for row in joined} == {
        ("revenue", "SAP", 100.5),
        ("revenue", "DBB", 99.0),
    }
    (figure,) = rows_of(warehouse, "monitoring_reconciliation", "orchestration_run_id", "results", "difference")
    assert figure == {"orchestration_run_id": run, "results": 2, "difference": 1.5}
    counts = rows_of(warehouse, "monitoring_runs", "orchestration_run_id", "reconciliation_results")
    assert {row["orchestration_run_id"]: row["reconciliation_results"] for row in counts}[run] == 2


# -- as views -----------------------------------------------------------------------------------------------


def created(path: Path, warehouse: Warehouse, existing: tuple[str, ...] = ()) -> dict[str, str]:
    made = views.statements(SQLITE, views.look(warehouse), existing)
    for statement in made.values():
        warehouse.query(statement)
    return made


@pytest.mark.parametrize("lacking", LACKING.values(), ids=LACKING)
def test_created_views_say_what_the_answers_say(tmp_path: Path, lacking: dict[str, tuple[str, ...]]) -> None:
    """The views in the file and the same SQL before a question give the same rows."""
    history = mangled(make(5, seed=9, failing=0.1), 9)
    warehouse = store(history, tmp_path / "w.db", without=lacking, unique=False)
    for view in created(tmp_path / "w.db", warehouse):
        columns = warehouse.query(f"SELECT * FROM meta.{view} LIMIT 0").columns
        quoted = ", ".join(f"v.{column}" for column in columns)
        as_view = warehouse.query(f"SELECT {quoted} FROM meta.{view} AS v").rows
        assert Counter(as_view) == Counter(views.ask(warehouse, f"SELECT {quoted} FROM meta.{view} AS v"))


def test_a_file_with_views_opens_without_being_attached(tmp_path: Path) -> None:
    """View bodies name tables unqualified: SQLite refuses to open a file whose views say ``meta.``."""
    history = make(2, seed=1)
    created(tmp_path / "w.db", store(history, tmp_path / "w.db"))
    with sqlite3.connect(tmp_path / "w.db") as connection:
        assert connection.execute("SELECT count(*) FROM monitoring_runs").fetchone() == (2,)


def test_views_are_made_anew(tmp_path: Path) -> None:
    """A second time, with all of them standing, the statements replace them."""
    warehouse = store(make(2, seed=1), tmp_path / "w.db")
    first = created(tmp_path / "w.db", warehouse)
    created(tmp_path / "w.db", warehouse, tuple(first))
    assert warehouse.query("SELECT count(*) FROM meta.monitoring_gaps").rows


def test_scoped_questions_read_only_their_runs(tmp_path: Path) -> None:
    """Asked about some runs, the answer is the same as a filter on all."""
    history = mangled(make(6, seed=2, failing=0.1), 2)
    warehouse = store(history, tmp_path / "w.db", unique=False)
    everything = views.ask(warehouse, "SELECT r.orchestration_run_id, r.operations FROM meta.monitoring_runs AS r")
    some = {run for run, _ in everything[:2]}
    scoped = views.ask(
        warehouse, "SELECT r.orchestration_run_id, r.operations FROM meta.monitoring_runs AS r", runs=some
    )
    assert sorted(scoped) == sorted(row for row in everything if row[0] in some)
