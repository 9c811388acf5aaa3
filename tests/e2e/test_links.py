"""A real dbt build whose job knows only the Collector: Jaeger shows what depended on what, the warehouse the nodes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.programs import Programs, eventually
from tests.e2e.runs import job_environment, rows
from tests.sources.dbt.projects import SOURCES, made

pytest.importorskip("dbt.adapters.duckdb", reason="dbt-duckdb is not installed")

JOB = """
import sys
import duckdb
import dbbtrace

with dbbtrace.orchestration_run(sys.argv[1], data_product="Shop", environment="TST"):
    with dbbtrace.integration(), dbbtrace.table_load("raw_orders", schema="main", source="raw"):
        with duckdb.connect("shop.duckdb") as duck:
            duck.execute("CREATE TABLE raw_orders AS SELECT * FROM read_csv('seeds/raw_orders.csv')")
    with dbbtrace.transformation("+reads_source"):
        dbt = dbbtrace.run_dbt(["build", "--select", "+reads_source", "above", "--exclude-resource-type", "seed",
                                "--profiles-dir", "."])
    with dbbtrace.consumption(), dbbtrace.model_refresh("7c9e6679-7425-40de-944b-e07fc1f90ae7", reads=["above"]):
        pass
dbt.check()
"""


def test_jaeger_shows_what_a_node_selects_from(programs: Programs, tmp_path: Path) -> None:
    """A model links to the load of its source, another to that model, a refresh to what it reads."""
    warehouse = f"sqlite:///{tmp_path}/warehouse.db"
    jaeger, receiver = programs.jaeger(), programs.receiver(warehouse)
    agent = programs.agent(jaeger, receiver)
    folder = made(tmp_path / "shop", SOURCES, {"models/above.sql": "select * from {{ ref('reads_source') }}"})
    run_id = str(uuid4())
    environment = {**job_environment(agent, "http/protobuf"), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    job = [sys.executable, "-c", JOB, run_id]
    subprocess.run(job, cwd=folder, env=environment, check=True, timeout=180)

    trace_id = run_id.replace("-", "")
    spans = eventually(
        lambda: {span["operationName"]: span for span in jaeger.spans(trace_id).values()},
        lambda found: {"orchestration_run Shop", "model above"} <= found.keys(),
    )
    for name, upstream in (
        ("model reads_source", "load main.raw_orders"),
        ("model above", "model reads_source"),
        ("refresh 7c9e6679-7425-40de-944b-e07fc1f90ae7", "model above"),
    ):
        links = [each["spanID"] for each in spans[name]["references"] if each["refType"] == "FOLLOWS_FROM"]
        assert links == [spans[upstream]["spanID"]], name
    found = eventually(
        lambda: rows(warehouse, run_id),
        lambda found: len(found) >= 6 and any(each.operation_id == "model.shop.above" for each in found),
    )
    nodes = {operation.operation_id: operation for operation in found if operation.kind == "dbt_node"}
    assert nodes["model.shop.above"].word == "success"
    assert nodes["model.shop.above"].span_id == spans["model above"]["spanID"]
