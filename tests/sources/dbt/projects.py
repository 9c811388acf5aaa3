"""A dbt project with every kind of node and every kind of outcome, and how a test runs dbt on it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

RUN = "5e1f7d34-9f0c-4b41-8f6e-2f5f3c1b7a90"
FLAGS = ("--profiles-dir", ".")

_SMALL = {
    "profiles.yml": """
shop:
  target: dev
  outputs: {dev: {type: duckdb, path: shop.duckdb, threads: 4}}
""",
    "seeds/raw_orders.csv": (
        "id,customer,amount,ordered_at\n1,10,5,2026-11-20\n2,20,50,2026-11-21\n3,20,500,2026-11-22\n"
    ),
    "models/orders.sql": "{{ config(materialized='table') }} select * from {{ ref('raw_orders') }}",
    "models/customers.sql": "select distinct customer from {{ ref('orders') }}",
}

EVERYTHING = {
    **_SMALL,
    "dbt_project.yml": """
name: shop
version: '1.0'
profile: shop
on-run-start: ["create table if not exists main.audit (ran_at timestamp)"]
on-run-end: ["insert into main.audit values (now()::timestamp)"]
""",
    "macros/ops.sql": "{% macro greet() %}{% do run_query('select 1') %}{% endmacro %}",
    "models/schema.yml": """
version: 2
models:
  - name: orders
    columns: [{name: id, data_tests: [unique, not_null]}]
  - name: gate
    columns: [{name: customer, data_tests: [unique]}]
  - name: counted
    columns: [{name: n, data_tests: [not_null]}]
""",
    "models/big.sql": "{{ config(materialized='incremental') }} select * from {{ ref('orders') }} where amount > 10",
    "models/gate.sql": "{{ config(materialized='table') }} select customer from {{ ref('orders') }}",
    "models/behind_gate.sql": "select * from {{ ref('gate') }}",
    "models/shared.sql": "{{ config(materialized='ephemeral') }} select count(*) as n from {{ ref('orders') }}",
    "models/counted.sql": "select * from {{ ref('shared') }}",
    "models/broken.sql": "{{ config(materialized='table') }} select 1 / no_such_column as a from {{ ref('orders') }}",
    "models/below_broken.sql": "select * from {{ ref('broken') }}",
    "models/untold.sql": "{% if execute %}{{ exceptions.raise_compiler_error('no way') }}{% endif %} select 1 as a",
    "snapshots/orders_snap.sql": (
        "{% snapshot orders_snap %}{{ config(target_schema='snap', unique_key='id', strategy='check',"
        " check_cols=['amount']) }} select * from {{ ref('orders') }}{% endsnapshot %}"
    ),
    "tests/no_big.sql": "{{ config(severity='warn') }} select * from {{ ref('big') }} where amount > 20",
    "tests/no_sql.sql": "select * from {{ ref('customers') }} where no_such_column > 20",
}
"""Runs on every dbt-core since 1.5."""

SINCE_1_9 = {
    "models/units.yml": """
version: 2
unit_tests:
  - name: customers_are_distinct
    model: customers
    given: [{input: ref('orders'), rows: [{customer: 1}, {customer: 1}]}]
    expect: {rows: [{customer: 1}]}
  - name: customers_are_wrong
    model: customers
    given: [{input: ref('orders'), rows: [{customer: 1}]}]
    expect: {rows: [{customer: 2}]}
""",
    "models/days.sql": (
        "{{ config(materialized='table', event_time='day') }} select day::timestamp as day, i from (values"
        + ", ".join(f"('2026-11-{20 + i}', {i})" for i in range(5))
        + ") as v(day, i)"
    ),
    "models/daily.sql": (
        "{{ config(materialized='incremental', incremental_strategy='microbatch', event_time='day', batch_size='day',"
        " begin='2026-11-20', unique_key='day') }} select day, case when i = 1 then cast('x' as integer) else i end"
        " as i from {{ ref('days') }}"
    ),
    "models/after_daily.sql": "select * from {{ ref('daily') }}",
}
"""Unit tests and microbatches, one of which fails."""

SOURCES = {
    **_SMALL,
    "dbt_project.yml": EVERYTHING["dbt_project.yml"],
    "models/sources.yml": """
version: 2
sources:
  - name: raw
    schema: main
    loaded_at_field: "ordered_at::timestamp"
    freshness: {warn_after: {count: 36500, period: day}, error_after: {count: 36501, period: day}}
    tables:
      - name: fresh
        identifier: raw_orders
      - name: stale
        identifier: raw_orders
        freshness: {warn_after: {count: 1, period: minute}, error_after: {count: 1, period: minute}}
      - name: missing
""",
    "models/reads_source.sql": "select * from {{ source('raw', 'fresh') }}",
}
"""Sources that are fresh, stale and missing."""

SMALL = {name: text for name, text in SOURCES.items() if "source" not in name}
SLOW = {
    **SMALL,
    "models/slow.sql": (
        "{{ config(materialized='table') }} select count(*) as n from range(1000000000) a, {{ ref('orders') }} b,"
        " range(1000) c"
    ),
}
"""A project of which one model takes for ever."""


def made(folder: Path, *parts: dict[str, str]) -> Path:
    """The project in the folder."""
    for part in parts:
        for name, text in part.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    return folder


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Of a job in the folder: its rows go to a file there, and nothing of the test's own environment comes along."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DBT_", "DBBTRACE_", "OTEL_"))}
    return {
        **kept,
        "DBBTRACE_WAREHOUSE": f"sqlite:///{folder}/rows.db",
        "DBBTRACE_JOURNAL_DIR": str(folder / "journal"),
        "DBBTRACE_ROWS_TIMEOUT": "60",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DBBTRACE_DATA_PRODUCT": "Shop",
        "DBBTRACE_ENVIRONMENT": "TST",
        "DBBTRACE_ORCHESTRATION_RUN_ID": RUN,
        **more,
    }


def dbbtrace(folder: Path, *words: str, code: int | None = 0, **more: str) -> subprocess.CompletedProcess[str]:
    """``dbbtrace ...`` in the folder."""
    line = [sys.executable, "-m", "dbbtrace", *words]
    done = subprocess.run(
        line, cwd=folder, env=environment(folder, **more), capture_output=True, text=True, timeout=200
    )
    assert code is None or done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


JOB = """
import json, os, sys
import dbbtrace
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult


class ToFile(SpanExporter):
    def export(self, spans):
        with open("spans.jsonl", "a") as file:
            file.writelines(json.dumps(json.loads(span.to_json())) + "\\n" for span in spans)
        return SpanExportResult.SUCCESS


dbbtrace.configure(exporters=[ToFile()])
exec(os.environ.get("BEFORE", ""))
with dbbtrace.orchestration_run():
    with dbbtrace.transformation(pipeline_run_id="0e4f1fb4-0000-4000-8000-000000000001"):
        ended = dbbtrace.run_dbt(sys.argv[1:])
dbbtrace.shutdown()
sys.exit(ended.exit_code)
"""
"""Runs dbt on its arguments in this process, in a run that it opens; its spans go to a file, one a line."""


def started_job(folder: Path, *words: str, python: str = sys.executable, **more: str) -> subprocess.Popen[str]:
    """The job in the folder, running."""
    (folder / "job.py").write_text(JOB)
    line = [python, "-u", "job.py", *words, *FLAGS]
    return subprocess.Popen(line, cwd=folder, env=environment(folder, **more), stdout=subprocess.PIPE, text=True)


def job(folder: Path, *words: str, code: int | None = 0, python: str = sys.executable, **more: str) -> str:
    """What the job in the folder printed."""
    running = started_job(folder, *words, python=python, **more)
    printed, _ = running.communicate(timeout=200)
    assert code is None or running.returncode == code, printed
    return printed


def spans(folder: Path) -> list[dict[str, Any]]:
    """The spans that the job's own backend was given, in their order; a line that is just being written is not yet."""
    file = folder / "spans.jsonl"
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def nodes(folder: Path) -> dict[str, dict[str, Any]]:
    """Those of nodes by unique_id; none came twice."""
    found = [span for span in spans(folder) if span["attributes"].get("dbb.operation") == "dbt_node"]
    named = {span["attributes"]["dbb.dbt.unique_id"]: span for span in found}
    assert len(named) == len(found)
    return named


def rows(database: Path, table: str = "monitoring_transformation_dbt") -> list[dict[str, Any]]:
    """All rows of a table."""
    with sqlite3.connect(database) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]


def by_node(found: list[dict[str, Any]], stage: str = "execute") -> dict[str, dict[str, Any]]:
    """Rows of a stage by unique_id; none is there twice."""
    of_stage = [row for row in found if row["process_stage"] == stage]
    named = {row["unique_id"]: row for row in of_stage}
    assert len(named) == len(of_stage)
    return named
