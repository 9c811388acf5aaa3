"""The platform's own views over job events and operations, both versions, on what dbbtrace has written.

Their SQL is not ours to have: it is built here from what the contract says of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

import dbbtrace
from dbbtrace.demo.fabric_service import FabricService
from dbbtrace.warehouse import Warehouse, open_warehouse
from tests.support.fabric import RUN, WORKSPACE
from tests.warehouse.conftest import IN_TURN, LIVE, live_server

MDS = "integration_pipeline_source_MDS"
CHILD = {
    MDS: "30000000-7d3f-4b6a-9f10-2a6d5b1c8e47",
    "integration_pipeline_source_Dynamics": "40000000-7d3f-4b6a-9f10-2a6d5b1c8e47",
    "data_product_refresh_DBB": "80000000-7d3f-4b6a-9f10-2a6d5b1c8e47",
}
ORCHESTRATION = "orchestration_pipeline_Group-FinancialStatements"
NEVER, GOING_ON = "a0000000-7d3f-4b6a-9f10-2a6d5b1c8e47", "b0000000-7d3f-4b6a-9f10-2a6d5b1c8e47"
COLUMNS = (
    "item_id", "item_name", "item_kind", "workspace_id", "workspace_name", "job_instance_id", "job_type",
    "job_invoke_type", "job_status", "job_start_time_utc", "job_end_time_utc", "job_schedule_time_utc",
)  # fmt: skip


def event(name: str, run_id: str, status: str, start: str | None, end: str | None) -> dict[str, Any]:
    values = (f"{name}-id", name, "Pipeline", WORKSPACE, "DBB", run_id, "Pipeline",
              "Scheduled" if name == ORCHESTRATION else "OnDemand", status, start and f"2025-11-20 {start}",
              end and f"2025-11-20 {end}", "2025-11-20 07:00:00" if name == ORCHESTRATION else None)  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


EVENTS = [
    event(ORCHESTRATION, RUN, "NotStarted", None, None),
    event(ORCHESTRATION, RUN, "InProgress", "07:00:05", None),
    *(event(name, run_id, "InProgress", "07:00:20", None) for name, run_id in CHILD.items()),
    event(
        "integration_pipeline_source_MDS", CHILD["integration_pipeline_source_MDS"], "Failed", "07:00:20", "07:02:00"
    ),
    event("data_product_refresh_DBB", CHILD["data_product_refresh_DBB"], "Completed", "07:00:20", "07:04:00"),
    event(ORCHESTRATION, RUN, "Failed", "07:00:05", "07:05:00"),
    event(ORCHESTRATION, NEVER, "Canceled", None, "07:05:00"),
    event(ORCHESTRATION, GOING_ON, "InProgress", "07:10:00", None),
]
FINISHED = """
SELECT j.job_instance_id, j.item_name, j.job_invoke_type,
    CASE WHEN j.job_status = 'Completed' THEN 'Succeeded' ELSE j.job_status END AS status,
    j.job_start_time_utc AS start_time, j.job_end_time_utc AS end_time, j.job_schedule_time_utc AS schedule_time
FROM {jobs} AS j
WHERE j.job_status IN ('Completed', 'Failed', 'Canceled')
"""
"""The version over finished events only."""
LATEST = """
SELECT e.job_instance_id, e.item_name, e.job_invoke_type,
    CASE WHEN e.job_status = 'Completed' THEN 'Succeeded' ELSE e.job_status END AS status,
    e.job_start_time_utc AS start_time, e.job_end_time_utc AS end_time, e.job_schedule_time_utc AS schedule_time
FROM (
    SELECT j.*, ROW_NUMBER() OVER (
        PARTITION BY j.job_instance_id
        ORDER BY CASE WHEN j.job_end_time_utc IS NULL THEN 1 ELSE 0 END,
            CASE WHEN j.job_start_time_utc IS NULL THEN 1 ELSE 0 END
    ) AS place
    FROM {jobs} AS j
) AS e
WHERE e.place = 1
"""
"""The one that takes the latest event of each run."""
OPERATIONS = """
SELECT i.timestamp AS start_time, i.integration_pipeline_id AS pipeline_id,
    i.integration_pipeline_source_run_id AS pipeline_run_id, i.orchestration_run_id, i.table_name AS operation,
    i.status, i.data_product
FROM meta.monitoring_integration AS i
UNION ALL
SELECT t.process_started_at, t.transformation_pipeline_id, t.transformation_pipeline_run_id, t.orchestration_run_id,
    t.item_name, CASE WHEN t.status = 'success' THEN 'Succeeded' ELSE t.status END, t.data_product
FROM meta.monitoring_transformation_dbt AS t
WHERE t.process_stage = 'execute'
UNION ALL
SELECT r.process_started_at, r.data_product_refresh_pipeline_id, r.data_product_refresh_pipeline_run_id,
    r.orchestration_run_id, r.semantic_model_name,
    CASE WHEN r.status = 'Completed' THEN 'Succeeded' ELSE r.status END, r.data_product
FROM meta.monitoring_semantic_model_refresh AS r
"""
FACT = """
SELECT o.operation, o.status, j.item_name, j.status AS job_status, o.orchestration_run_id
FROM ({operations}) AS o
LEFT JOIN ({orchestration}) AS j ON j.job_instance_id = o.pipeline_run_id
WHERE o.orchestration_run_id <> ''
"""


@pytest.fixture(params=["sqlite", pytest.param("live", marks=IN_TURN)])
def warehouse(request: pytest.FixtureRequest, fabric: FabricService) -> Iterator[Warehouse]:
    """A warehouse with the rows of an imported run, and a table of job events beside them, both imported."""
    if request.param == "live":
        if not os.environ.get(LIVE):
            pytest.skip(f"{LIVE} holds no connection string of a server to test against")
        with live_server() as opened:
            opened.query("DROP TABLE IF EXISTS dbo.dbb_orchestration_run_data")
            opened.migrate(views=True)
            for table in ("integration", "transformation_dbt", "semantic_model_refresh", "run_part"):
                opened.query(f"DELETE FROM meta.monitoring_{table}")
            fill(opened, os.environ[LIVE], "dbo.dbb_orchestration_run_data", "varchar(255)", "datetime2(6)")
            yield opened
            opened.query("DROP TABLE IF EXISTS dbo.dbb_orchestration_run_data")
    else:
        with open_warehouse("sqlite:///w.db") as opened:
            opened.migrate(views=True)
            fill(opened, "sqlite:///w.db", "meta.dbb_orchestration_run_data", "TEXT", "TEXT")
            yield opened


def fill(warehouse: Warehouse, url: str, events: str, text: str, moment: str) -> None:
    types = ", ".join(f"{name} {moment if name.endswith('_utc') else text}" for name in COLUMNS)
    warehouse.query(f"CREATE TABLE {events} ({types})")
    for each in EVENTS:
        marks = ", ".join("?" * len(COLUMNS))
        warehouse.query(f"INSERT INTO {events} VALUES ({marks})", [each[name] for name in COLUMNS])
    dbbtrace.configure(warehouse=url, fabric_token="t")
    dbbtrace.import_run(RUN)
    assert dbbtrace.flush(60)
    done = dbbtrace.import_jobs(EVENTS)
    assert str(done) == "3 runs, 1 of them never started; 3 jobs of their pipelines"
    assert dbbtrace.flush(60)


def asked(warehouse: Warehouse, sql: str) -> list[tuple[str, ...]]:
    """The rows as text, in order; times to the second."""
    found = [tuple("" if value is None else str(value)[:60] for value in row) for row in warehouse.query(sql).rows]
    return sorted(tuple(value[:19] if value[:5] == "2025-" else value for value in row) for row in found)


def test_the_views_say_the_same_of_what_was_imported(warehouse: Warehouse) -> None:
    """Of the table of job events and of meta.monitoring_jobs, which has its columns: finished ones, and the latest."""
    table = (
        "meta.dbb_orchestration_run_data" if warehouse.name.startswith("sqlite") else "dbo.dbb_orchestration_run_data"
    )
    for version, jobs in ((FINISHED, 4), (LATEST, 6)):
        theirs = asked(warehouse, version.format(jobs=table))
        assert len(theirs) == jobs
        assert asked(warehouse, version.format(jobs="meta.monitoring_jobs")) == theirs
    columns = ", ".join(COLUMNS)
    finished = "WHERE job_status IN ('Completed', 'Failed', 'Canceled')"
    assert asked(warehouse, f"SELECT {columns} FROM meta.monitoring_jobs {finished}") == asked(
        warehouse, f"SELECT {columns} FROM {table} {finished}"
    )


@pytest.mark.parametrize("version", [FINISHED, LATEST], ids=["finished", "latest"])
def test_jobs_are_joined_with_operations(warehouse: Warehouse, version: str) -> None:
    """Each load and refresh meets the job of the pipeline that the integration pipeline invoked, by its run id."""
    fact = FACT.format(operations=OPERATIONS, orchestration=version.format(jobs="meta.monitoring_jobs"))
    mds, dynamics, refresh = CHILD
    on = "InProgress" if version is LATEST else ""
    assert asked(warehouse, fact) == [
        ("Account", "Failed", mds, "Failed", RUN),
        ("Calendar", "Succeeded", mds, "Failed", RUN),
        ("Currency", "Failed", mds, "Failed", RUN),
        ("Customer", "Succeeded", mds, "Failed", RUN),
        ("Financial Statements", "Succeeded", refresh, "Succeeded", RUN),
        ("company", "Succeeded", dynamics if on else "", on, RUN),
        ("ledgerentry", "Succeeded", dynamics if on else "", on, RUN),
    ]


def test_whose_run_it_is(warehouse: Warehouse) -> None:
    """The jobs of invoked pipelines are part of the run that their rows name, and they do not fail it by themselves."""
    found = asked(warehouse, "SELECT job_instance_id, orchestration_run_id, data_product FROM meta.monitoring_jobs")
    assert {run for job, run, _ in found if job in CHILD.values()} == {RUN}
    assert {product for _, _, product in found} == {"Group-FinancialStatements"}
    [[status]] = warehouse.query(f"SELECT status FROM meta.monitoring_runs WHERE orchestration_run_id = '{NEVER}'").rows
    assert status == "Failed"
