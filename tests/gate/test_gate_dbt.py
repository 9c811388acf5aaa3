"""The gate with real dbt: what is built is what a walk through the whole graph says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.gate.project import LOADED, below, buildable, shop
from tests.sources.dbt.projects import RUN, by_node, dbbtrace, environment, rows

pytest.importorskip("dbt.adapters.duckdb")
pytestmark = pytest.mark.xdist_group("gate_dbt")

JOB = """
import sys
import dbbtrace

with dbbtrace.orchestration_run(data_product="Finance", environment="TST"):
    with dbbtrace.integration():
        for said in sys.argv[1:]:
            name, status = said.split("=")
            source, schema, table = name.split("/")
            try:
                with dbbtrace.table_load(table, schema=schema or None, source=source) as load:
                    load.rows_written = 3
                    if status == "Failed":
                        raise OSError("no access")
            except OSError:
                pass
"""
SELECTORS = {
    "selectors.yml": """
selectors:
  - name: finance
    definition: {union: ['+tag:finance', {exclude: ['dim_company']}]}
"""
}


def integrate(folder: Path, *failed: str, only: Sequence[str] = (), **more: str) -> None:
    """Load all tables, or only some; these fail."""
    words = [
        f"{'/'.join(table)}={'Failed' if table[2] in failed else 'Succeeded'}"
        for table in LOADED.values()
        if not only or table[2] in only
    ]
    done = subprocess.run(
        [sys.executable, "-c", JOB, *words], cwd=folder, env=environment(folder, **more), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, the run in which Company failed, and a first build through the gate."""
    found = shop(tmp_path_factory.mktemp("shop"), SELECTORS)
    integrate(found, "Company")
    dbbtrace(found, "dbt", "build", "--gate", "--select", "+tag:finance")
    return found


def executed(folder: Path, run: str = RUN) -> dict[str, dict[str, Any]]:
    found = [row for row in rows(folder / "rows.db") if row["orchestration_run_id"] == run]
    return {row["unique_id"]: row for row in by_node(found).values()}


def listed(folder: Path, *words: str) -> set[str]:
    """What dbt says that it would build with these arguments."""
    from dbt.cli.main import dbtRunner

    places = ["--project-dir", str(folder), "--profiles-dir", str(folder), "--no-write-json", "--quiet"]
    before = os.getcwd()
    try:
        done = dbtRunner().invoke(["ls", *words, *places, "--output", "json", "--output-keys", "unique_id"])
    finally:
        os.chdir(before)
    assert done.success, done.exception
    return {json.loads(said)["unique_id"] for said in done.result} & buildable(folder)  # type: ignore[union-attr]


EPHEMERAL = {"model.shop.stg_orders"}


def test_exactly_what_is_not_affected_is_built(folder: Path) -> None:
    """What is left out are rows of the same invocation, skipped, with the reason."""
    found = executed(folder)
    affected = below(folder, "mds.Company")
    selected = listed(folder, "--select", "+tag:finance") - EPHEMERAL
    assert set(found) == selected
    built = {name for name, row in found.items() if row["status"] != "skipped"}
    assert built == selected - affected
    assert built
    assert len({row["invocation_id"] for row in found.values()}) == 1
    for name in selected & affected:
        assert found[name]["message"].startswith("left out by the gate: MDS mdm.Company: its load at ")
        assert found[name]["message"].endswith("ended as Failed: no access (source.shop.mds.Company)")
        assert found[name]["process_started_at"] is None


@pytest.mark.parametrize(
    "selection",
    [
        ("--select", "+tag:finance"),
        ("--select", "dim_customer", "--select", "report"),
        ("--exclude", "dim_company"),
        ("--selector", "finance"),
        (),
    ],
    ids=["select", "two", "exclude", "selector", "all"],
)
def test_the_printed_arguments_build_just_that(folder: Path, selection: tuple[str, ...]) -> None:
    """Whatever the user selects, also by a selector, and without the models above."""
    done = dbbtrace(folder, "gate", "--manifest", "target/manifest.json", *selection, "--json", code=1)
    said = json.loads(done.stdout)
    wanted = listed(folder, *selection) - below(folder, "mds.Company") - EPHEMERAL
    assert set(said["unaffected"]) == wanted
    assert listed(folder, *said["dbt_arguments"]) - EPHEMERAL == wanted


def test_a_selectors_file_builds_just_that(folder: Path, tmp_path: Path) -> None:
    """For command lines that get too long: the file goes into the project."""
    other = shop(tmp_path)
    words = ("--select", "+tag:finance,config.materialized:table report", "--exclude", "dim_company")
    for name in ("target", "rows.db"):
        (other / name).symlink_to(folder / name)
    done = dbbtrace(
        other,
        "gate",
        "--manifest",
        "target/manifest.json",
        *words,
        "--selectors",
        "selectors.yml",
        "--dbt-args",
        code=1,
    )
    assert done.stdout.strip() == "--selector dbbtrace_gate"
    assert listed(other, "--selector", "dbbtrace_gate") == listed(folder, *words[:4]) - below(folder, "mds.Company")


def test_a_selection_of_nothing_is_not_open(folder: Path) -> None:
    """A typo would pass for a run in which everything arrived."""
    for command in ("gate", "repair"):
        words = (command, "--manifest", "target/manifest.json", "--select", "tag:finanse")
        assert "selects nothing" in dbbtrace(folder, *words, code=2).stderr


def test_nothing_that_may_be_built_is_no_success(folder: Path) -> None:
    """dbt has nothing to do, the rows say why, and the command fails."""
    done = dbbtrace(folder, "dbt", "--gate", "build", "--select", "dim_company", code=1)
    assert "nothing of the selection may be built" in done.stderr


def test_a_run_that_loaded_nothing_is_not_built(folder: Path) -> None:
    """dbt is not run at all, and the run says why."""
    run = "5e1f7d34-9f0c-4b41-8f6e-00000000000a"
    done = dbbtrace(folder, "dbt", "--gate", "build", code=1, DBBTRACE_ORCHESTRATION_RUN_ID=run)
    assert "no table was loaded in this run" in done.stderr
    assert not executed(folder, run)
    done = dbbtrace(folder, "check", run, code=1)
    assert "GateClosed" in done.stdout


PYTHON = """
import dbbtrace
try:
    dbbtrace.gate(manifest="target/manifest.json", select="+dim_company", wait=0)
except dbbtrace.GateClosed as closed:
    print(closed)
found = dbbtrace.gate(manifest="target/manifest.json", select="+calendar", wait=0)
print(found.word, found.unaffected)
with dbbtrace.join_run():
    ended = dbbtrace.run_dbt(["build", "--select", "dim_company", "fct_orders", "--quiet"], gate=True)
print(ended.exit_code, dict(ended.invocation.nodes))
"""


def test_in_python_a_closed_gate_is_raised(folder: Path) -> None:
    """In a notebook nothing else would stop what follows; run_dbt leaves out what is affected."""
    done = subprocess.run(
        [sys.executable, "-c", PYTHON], cwd=folder, env=environment(folder), capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"the gate of run {RUN} is closed: MDS mdm.Company: its load"), done.stderr
    assert lines[1:2] == ["open ('model.shop.calendar',)"], done.stderr
    assert lines[2] == "0 {'success': 1, 'pass': 1, 'skipped': 3}"
