"""Repair with real dbt: afterwards every table holds what a clean run would have made of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gate.project import below, contents, load, shop
from tests.gate.test_gate_dbt import EPHEMERAL, executed, integrate
from tests.sources.dbt.projects import RUN, dbbtrace, environment

pytest.importorskip("dbt.adapters.duckdb")
pytestmark = pytest.mark.xdist_group("gate_dbt")

AGAIN = "5e1f7d34-9f0c-4b41-8f6e-00000000000b"


def built(folder: Path) -> None:
    """``dbt build``, unrecorded; as a child, for DuckDB's file stays open in the process."""
    line = [sys.executable, "-c", "from dbt.cli.main import cli; cli()", "build", "--profiles-dir", ".", "--quiet"]
    done = subprocess.run(line, cwd=folder, env=environment(folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_after_a_repair_every_table_is_as_after_a_clean_run(tmp_path: Path) -> None:
    """Two tables were not loaded, and everything was built on the old ones; a model was broken, too."""
    folder, clean = shop(tmp_path / "bad"), tmp_path / "clean"
    built(folder)  # yesterday
    shutil.copytree(folder, clean)
    load(clean, 7)
    built(clean)
    report = (folder / "models" / "report.sql").read_text()
    (folder / "models" / "report.sql").write_text("{{ config(materialized='table') }} select no_such_column")

    load(folder, 7, "Customer", "calendar")
    integrate(folder, "Company", "orders")
    dbbtrace(folder, "dbt", "build", code=1)
    assert contents(folder) != contents(clean)

    (folder / "models" / "report.sql").write_text(report)
    done = dbbtrace(folder, "repair", RUN, "--manifest", "target/manifest.json", "--json", code=1)
    said = json.loads(done.stdout)
    assert [item["name"] for item in said["loads"]] == ["ERP dbo.orders", "MDS mdm.Company"]
    views = {"model.shop.stg_customer"}
    wanted = (below(folder, "mds.Company", "erp.orders") | {"model.shop.report"}) - EPHEMERAL - views
    assert {item["id"] for item in said["nodes"]} == wanted

    load(folder, 7, "MDS__mdm_Company", "ERP__dbo_orders")
    new = {"DBBTRACE_ORCHESTRATION_RUN_ID": AGAIN}
    integrate(folder, only=("Company", "orders"), **new)
    dbbtrace(folder, "dbt", "--repairs", RUN, "build", *said["dbt_arguments"], **new)
    assert contents(folder) == contents(clean)
    assert set(executed(folder, AGAIN)) == wanted

    assert "nothing to do" in dbbtrace(folder, "repair", AGAIN, "--manifest", "target/manifest.json").stdout
    assert f"made right by run {AGAIN}" in dbbtrace(folder, "show", RUN).stdout.replace("\n", " ")
