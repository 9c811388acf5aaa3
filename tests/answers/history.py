"""Histories of runs as rows of the three tables: the same for the same seed, plausible, and as large as wanted.

The rows are plain dictionaries, so that a test can compute from them in Python what the answers compute in SQL.
"""

from __future__ import annotations

import json
import random
import sqlite3
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from dbbtrace.model.identity import record_id, trace_id_of
from dbbtrace.warehouse import Warehouse, open_warehouse
from dbbtrace.warehouse.dialects import SQLITE
from dbbtrace.warehouse.schema import DBT_NODES, LOADS, REFRESHES, TABLES

Row = dict[str, Any]
BEGINNING = datetime(2026, 1, 5, 2, 0)
PRODUCTS = ("Group-FinancialStatements", "Logistics", "Sales O'Neill", "HR", "Energy")


@dataclass
class History:
    """Rows by table name."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: {table.name: [] for table in TABLES})

    @property
    def loads(self) -> list[Row]:
        return self.rows[LOADS.name]

    @property
    def nodes(self) -> list[Row]:
        return self.rows[DBT_NODES.name]

    @property
    def refreshes(self) -> list[Row]:
        return self.rows[REFRESHES.name]


@dataclass(frozen=True)
class Size:
    """How large a run is."""

    loads: int = 6
    models: int = 10
    tests: int = 4
    refreshes: int = 1


def text(at: datetime | None, digits: int = 6) -> str | None:
    """A time as the embedded warehouse holds it."""
    if at is None:
        return None
    return at.isoformat(" ", {0: "seconds", 3: "milliseconds", 6: "microseconds"}[digits])


def make(
    runs: int,
    *,
    seed: int = 1,
    size: Size = Size(),
    products: Sequence[str] = PRODUCTS[:2],
    failing: float = 0.03,
    every: timedelta = timedelta(hours=6),
    beginning: datetime = BEGINNING,
) -> History:
    """A history of runs, one every few hours, the products in turn."""
    chance = random.Random(seed)
    history = History()
    for number in range(runs):
        product = products[number % len(products)]
        _run(history, chance, product, beginning + number * every, size, failing)
    return history


def _run(history: History, chance: random.Random, product: str, at: datetime, size: Size, failing: float) -> None:
    run_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
    common = {
        "data_product": product,
        "orchestration_run_id": run_id,
        "environment": "PRD",
        "trace_id": f"{trace_id_of(run_id):032x}",
    }
    end, failed = _loads(history, chance, at, size, failing, common)
    end, broken = _nodes(history, chance, end + timedelta(seconds=5), size, failing, common, failed)
    if not broken:
        _refreshes(history, chance, end + timedelta(seconds=3), size, common)


def _ids(chance: random.Random, common: Mapping[str, Any], identity: str, stage: str = "") -> dict[str, str]:
    return {
        "record_id": record_id(common["orchestration_run_id"], identity, stage),
        "span_id": f"{chance.getrandbits(64):016x}",
    }


def _loads(
    history: History, chance: random.Random, at: datetime, size: Size, failing: float, common: Mapping[str, Any]
) -> tuple[datetime, set[str]]:
    lanes, failed = [at] * 4, set()
    for number in range(size.loads):
        lane = number % 4
        took = timedelta(microseconds=int(chance.lognormvariate(1.5, 0.6) * 1e6))
        start, lanes[lane] = lanes[lane], lanes[lane] + took
        broken, rows = chance.random() < failing, 1_000_000 + chance.randrange(10, 5_000_000) % 100_000
        name = f"table_{number:03d}"
        if broken:
            failed.add(name)
        history.loads.append(
            {
                **common,
                **_ids(chance, common, f"load {number}"),
                "table_name": name,
                "schema_name": "mdm" if number % 2 else "erp",
                "source_name": "MDS" if number % 2 else "SAP",
                "source_type": "SQL",
                "load_type": "FULL",
                "workspace": "0d5e0f0a-0000-4000-8000-000000000001",
                "status": "Failed" if broken else "Succeeded",
                "timestamp": text(start, 0),
                "duration": int(took.total_seconds()),
                "throughput": None,
                "data_read": None if broken else rows * 83,
                "data_written": None if broken else rows * 31,
                "rows_read": None if broken else rows,
                "rows_written": None if broken else rows,
                "integration_pipeline_source_run_id": str(uuid.UUID(int=chance.getrandbits(128))),
                "integration_pipeline_id": str(uuid.UUID(int=17)),
                "error_type": "OperationalError" if broken else None,
                "error_message": f"the source of {name} does not answer" if broken else None,
                "process_started_at": text(start),
                "process_completed_at": text(start + took),
            }
        )
    return max(lanes), failed


def _graph(size: Size) -> dict[str, list[str]]:
    """unique_id → what it selects from: the first models read sources, the later ones read models."""
    graph: dict[str, list[str]] = {}
    chance = random.Random(7)
    for number in range(size.models):
        if number < max(size.models // 3, 1):
            parents = [f"source.shop.raw.table_{number % max(size.loads, 1):03d}"]
        else:
            parents = sorted({f"model.shop.model_{chance.randrange(number):03d}" for _ in range(2)})
        graph[f"model.shop.model_{number:03d}"] = parents
    for number in range(size.tests):
        graph[f"test.shop.test_{number:03d}.{number:010x}"] = [f"model.shop.model_{number % max(size.models, 1):03d}"]
    return graph


def _nodes(
    history: History,
    chance: random.Random,
    at: datetime,
    size: Size,
    failing: float,
    common: Mapping[str, Any],
    lost: set[str],
) -> tuple[datetime, bool]:
    invocation, selector = str(uuid.UUID(int=chance.getrandbits(128))), f"+tag:{common['data_product']}"
    lanes, ended, down = [at] * 4, dict[str, datetime](), set[str]()
    rows, broken = [], False
    for unique_id, parents in _graph(size).items():
        is_test = unique_id.startswith("test.")
        cause = next((parent for parent in parents if parent in down), None)
        skipped = cause is not None and not is_test
        fails = not skipped and (
            chance.random() < failing or any(parent.rpartition(".")[2] in lost for parent in parents)
        )
        lane = min(range(4), key=lambda one: lanes[one])
        start = max([lanes[lane], *(ended[parent] for parent in parents if parent in ended)])
        took = chance.lognormvariate(0.5, 0.8)
        end = start + timedelta(microseconds=int(took * 1e6))
        word = "skipped" if skipped else ("fail" if is_test else "error") if fails else "pass" if is_test else "success"
        if word == "skipped" or fails:
            broken = True
            if not is_test:
                down.add(unique_id)
        if not skipped:
            lanes[lane] = ended[unique_id] = end
        item = unique_id.rpartition(".")[2]
        message = f"Skipped due to upstream failure: {cause} (error)" if skipped else None
        if fails:
            message = f"Database Error in {item}\n  it did not work"
        row = {
            **common,
            "span_id": f"{chance.getrandbits(64):016x}",
            "item_name": item,
            "invocation_id": invocation,
            "status": word,
            "thread_id": f"Thread-{lane + 1} (worker)",
            "execution_time": 0.0 if skipped else took,
            "failures": None,
            "compiled": 1,
            "relation_name": None if is_test else f'"dbb"."marts"."{item}"',
            "adapter_message": None if word != "success" else "OK",
            "rows_affected": chance.randrange(100_000) if word == "success" else None,
            "build_models": selector,
            "transformation_pipeline_run_id": str(uuid.UUID(int=18)),
            "workspace_id": "0d5e0f0a-0000-4000-8000-000000000001",
            "transformation_pipeline_id": str(uuid.UUID(int=19)),
            "error_type": f"dbt.{word}" if fails else None,
            "error_message": message if fails else None,
            "unique_id": unique_id,
            "resource_type": unique_id.partition(".")[0],
            "message": message or "OK",
            "depends_on": json.dumps(parents),
            "materialized": "test" if is_test else "table",
        }
        stages = [("execute", None if skipped else start, None if skipped else end)]
        if not skipped:
            stages.append(("compile", start, start + timedelta(milliseconds=12)))
        for stage, begun, done in stages:
            rows.append(
                {
                    **row,
                    "record_id": record_id(common["orchestration_run_id"], f"dbt {invocation} {unique_id}", stage),
                    "process_stage": stage,
                    "process_started_at": text(begun),
                    "process_completed_at": text(done),
                    "duration": int((done - begun).total_seconds()) if begun and done else None,
                }
            )
    generated_at = text(max(lanes))
    history.nodes.extend({**row, "generated_at": generated_at} for row in rows)
    return max(lanes), broken


def _refreshes(history: History, chance: random.Random, at: datetime, size: Size, common: Mapping[str, Any]) -> None:
    for number in range(size.refreshes):
        took = timedelta(milliseconds=int(chance.lognormvariate(3.0, 0.4) * 1e3))
        history.refreshes.append(
            {
                **common,
                **_ids(chance, common, f"refresh {number}"),
                "workspace_id": "0d5e0f0a-0000-4000-8000-000000000002",
                "semantic_model_id": str(uuid.UUID(int=100 + number)),
                "process_started_at": text(at, 3),
                "process_completed_at": text(at + took, 3),
                "duration": int(took.total_seconds()),
                "status": "Completed",
                "data_product_refresh_pipeline_run_id": str(uuid.UUID(int=20)),
                "data_product_refresh_pipeline_id": str(uuid.UUID(int=21)),
                "semantic_model_name": f"Model {number}",
                "error_type": None,
                "error_message": None,
            }
        )


def store(
    history: History | Mapping[str, Iterable[Row]],
    path: Path,
    *,
    without: Mapping[str, Iterable[str]] | None = None,
    unique: bool = True,
) -> Warehouse:
    """The history in a file, opened as a warehouse.

    Args:
        without: columns that a table lacks, by table name; the table is then made by hand, as the platform's is.
        unique: False leaves the unique index away, so that doubles can stand, as they can in Fabric.
    """
    rows = history.rows if isinstance(history, History) else history
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    lacking = {name: set(columns) for name, columns in (without or {}).items()}
    for table in TABLES:
        columns = [column for column in table.columns if column.name not in lacking.get(table.name, ())]
        declared = ", ".join(SQLITE.column(column) for column in columns)
        connection.execute(f"CREATE TABLE {table.name} ({declared})")
        names = [column.name for column in columns]
        connection.executemany(
            f"INSERT INTO {table.name} ({', '.join(SQLITE.quote(name) for name in names)})"
            f" VALUES ({', '.join('?' * len(names))})",
            [[row.get(name) for name in names] for row in rows.get(table.name, ())],
        )
        if unique and "record_id" in names:
            connection.execute(
                f"CREATE UNIQUE INDEX ux_{table.name}_record_id ON {table.name} (orchestration_run_id, record_id)"
            )
    connection.commit()
    connection.close()
    return open_warehouse(f"sqlite:///{path}", create=False)
