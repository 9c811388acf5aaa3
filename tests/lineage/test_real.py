"""A real dbt on DuckDB, end to end: tables are loaded, models are built, a semantic model is refreshed, twice.

In the second run the load of Customer fails, and dbt builds all the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dbbtrace.answers.asof import asof
from dbbtrace.answers.lineage import lineage
from dbbtrace.answers.openlineage import as_json_lines, events
from dbbtrace.answers.things import Lineage
from dbbtrace.operate.lineage import manifest_in
from dbbtrace.warehouse import open_warehouse
from tests.lineage.rows import FINANCE
from tests.lineage.test_openlineage import assert_valid

pytest.importorskip("dbt.adapters.duckdb", reason="dbt-duckdb is not installed")
pytestmark = pytest.mark.xdist_group("dbt-lineage")
"""One worker runs the project, once."""

FIRST, SECOND = "5e1f7d34-9f0c-4b41-8f6e-2f5f3c1b7a90", "5e1f7d34-9f0c-4b41-8f6e-2f5f3c1b7a91"
PROJECT = {
    "dbt_project.yml": "{name: shop, version: '1.0', profile: shop, flags: {send_anonymous_usage_stats: false}}",
    "profiles.yml": "{shop: {target: dev, outputs: {dev: {type: duckdb, path: shop.duckdb, threads: 2}}}}",
    "models/schema.yml": """
version: 2
sources:
  - name: mds
    schema: raw
    tables: [{name: customer, identifier: MDS__mdm_Customer}, {name: invoice, identifier: MDS__mdm_Invoice}]
models:
  - name: fct
    columns: [{name: id, data_tests: [not_null]}]
exposures:
  - {name: finance, label: Finance, type: dashboard, owner: {name: Ann}, depends_on: [ref('fct')]}
""",
    "models/stg_customer.sql": "select * from {{ source('mds', 'customer') }}",
    "models/stg_invoice.sql": "{{ config(materialized='ephemeral') }} select * from {{ source('mds', 'invoice') }}",
    "models/fct.sql": (
        "{{ config(materialized='table') }} select i.id, c.name from {{ ref('stg_invoice') }} i"
        " left join {{ ref('stg_customer') }} c on c.id = i.customer"
    ),
    "job.py": """
import sys

import duckdb

import dbbtrace

run, failing = sys.argv[1:]
TABLES = {"Customer": "select 1 as id, 'Ann' as name", "Invoice": "select 7 as id, 1 as customer"}
with dbbtrace.orchestration_run(run, data_product="Finance", environment="PRD"):
    with dbbtrace.integration():
        for table, rows in TABLES.items():
            try:
                with dbbtrace.table_load(table, schema="mdm", source="MDS") as load:
                    if table == failing:
                        raise OSError("the source does not answer")
                    with duckdb.connect("shop.duckdb") as duck:
                        duck.execute("create schema if not exists raw")
                        duck.execute(f"create or replace table raw.MDS__mdm_{table} as {rows}")
                    load.rows_written = 1
            except OSError:
                pass
    with dbbtrace.transformation():
        dbbtrace.run_dbt(["build", "--profiles-dir", "."], check=True)
    with dbbtrace.consumption():
        with dbbtrace.model_refresh("MODEL", name="Finance"):
            pass
assert dbbtrace.flush(60)
""".replace("MODEL", FINANCE),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, after both runs."""
    folder = tmp_path_factory.mktemp("shop")
    for name, text in PROJECT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    environment = {
        **os.environ,
        "DBBTRACE_WAREHOUSE": f"sqlite:///{folder}/w.db",
        "DBBTRACE_JOURNAL_DIR": str(folder / "journal"),
    }
    for run, failing in ((FIRST, "none"), (SECOND, "Customer")):
        done = subprocess.run(
            [sys.executable, "job.py", run, failing],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def lineage_of(project: Path, run: str, *, with_manifest: bool) -> Lineage:
    manifest = manifest_in(project / "target") if with_manifest else None
    with open_warehouse(f"sqlite:///{project}/w.db", create=False) as warehouse:
        return lineage(warehouse, run, manifest=manifest)


def chains(found: Lineage) -> dict[str, list[str]]:
    return {thing.label: sorted(found.things[name].label for name in thing.reads) for thing in found.things.values()}


def test_the_lineage_of_a_run_that_went_well(project: Path) -> None:
    """From the loads to the semantic model, which the exposure of its name names. Rows don't know ephemeral models."""
    found = lineage_of(project, FIRST, with_manifest=False)
    assert chains(found) == {
        "mdm.Customer": [],
        "mdm.Invoice": [],
        "source mds.customer": ["mdm.Customer"],
        "model stg_customer": ["source mds.customer"],
        "model stg_invoice": [],
        "model fct": ["model stg_customer", "model stg_invoice"],
        "semantic model Finance": ["model fct"],
    }
    assert [fact.text for fact in found.facts] == [
        "model fct reads model stg_invoice, of which this run has no row",
        "nothing is known to have used mdm.Invoice",
    ]
    found = lineage_of(project, FIRST, with_manifest=True)
    assert chains(found)["model stg_invoice"] == ["source mds.invoice"]
    assert chains(found)["source mds.invoice"] == ["mdm.Invoice"]
    assert found.facts == ()


def test_the_lineage_of_a_run_in_which_a_load_failed(project: Path) -> None:
    """What was built on the old table is named, through the view."""
    found = lineage_of(project, SECOND, with_manifest=True)
    assert [fact.text for fact in found.facts] == [
        "model stg_customer was built although mdm.Customer, above it, failed",
        "model fct was built although mdm.Customer, above it, failed",
    ]


def test_its_openlineage_events_are_valid_and_hang_together(project: Path) -> None:
    """What dbt read is what the loads wrote, by the names in the database."""
    made = events(lineage_of(project, FIRST, with_manifest=True), namespace="duckdb://shop")
    told = [json.loads(line) for line in as_json_lines(made).splitlines()]
    for event in told:
        assert_valid(event)
    written = {data["name"] for event in told for data in event["outputs"]}
    read = {data["name"] for event in told for data in event["inputs"] if data["namespace"] == "duckdb://shop"}
    assert read == {
        "shop.raw.MDS__mdm_Customer",
        "shop.raw.MDS__mdm_Invoice",
        "shop.main.stg_customer",
        "shop.main.fct",
    }
    assert read < written
    assert [event["eventType"] for event in told].count("FAIL") == 0


def test_as_of_right_after_a_load_failed(project: Path) -> None:
    """Finance shows the customers of the first run, and says since when they fail; Invoice is of the second."""
    with open_warehouse(f"sqlite:///{project}/w.db", create=False) as warehouse:
        found = asof(warehouse, "Finance", manifest=manifest_in(project / "target"))
    runs = {table.name: table.run_id for table in found.tables}
    assert runs == {"mdm.Customer": FIRST, "mdm.Invoice": SECOND}
    assert [table.name for table in found.overdue] == ["mdm.Customer"]
    invoice = next(table for table in found.tables if table.name == "mdm.Invoice")
    assert found.as_of == invoice.loaded_at
    assert "; overdue: mdm.Customer, failing since " in found.headline
    assert [step.name for step in invoice.way] == [
        "Finance", "model.shop.fct", "model.shop.stg_invoice", "source.shop.mds.invoice"
    ]  # fmt: skip
    assert found.unknown == ()
