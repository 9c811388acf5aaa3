"""``dbbtrace record-dbt``: builds that ran without dbbtrace, from files of real runs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import assert_one_line, run

ARTIFACTS = Path(__file__).parents[1] / "sources" / "dbt" / "artifacts"
OLD = ARTIFACTS / "1.5.12" / "build_all"
RUN = "8f14e45f-ceea-467f-a0e6-1b2c3d4e5f60"
EXECUTED = "FROM meta.monitoring_transformation_dbt WHERE process_stage = 'execute'"


def rows(sql: str) -> list[dict[str, Any]]:
    """What the query command answers."""
    result: list[dict[str, Any]] = json.loads(run("query", sql, "--format", "json").out)
    return result


@pytest.mark.parametrize("path", [OLD, OLD / "run_results.json"])
def test_an_old_build(path: Path) -> None:
    """A build of long ago, by file or folder, gives a row for every node; recorded twice, still one."""
    results = json.loads((OLD / "run_results.json").read_text(encoding="utf-8"))["results"]
    for _ in range(2):
        done = run("record-dbt", str(path), "--run", RUN)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith(f"dbt build: {len(results)} nodes (")
    found = rows(f"SELECT unique_id, status {EXECUTED}")
    assert Counter((row["unique_id"], row["status"]) for row in found) == Counter(
        (result["unique_id"], result["status"]) for result in results
    )


def test_what_the_options_say_stands_in_the_rows() -> None:
    """Every option fills the column of its name."""
    options = {
        "--run": RUN.upper(),
        "--data-product": "Shop",
        "--environment": "prd",
        "--select": "+tag:Shop",
        "--pipeline-id": "11111111-1111-1111-1111-111111111111",
        "--pipeline-run-id": "22222222-2222-2222-2222-222222222222",
        "--workspace-id": "33333333-3333-3333-3333-333333333333",
    }
    assert run("record-dbt", str(OLD), *(word for pair in options.items() for word in pair)).code == 0
    columns = (
        "orchestration_run_id, data_product, environment, build_models, transformation_pipeline_id,"
        " transformation_pipeline_run_id, workspace_id"
    )
    [row] = rows(f"SELECT DISTINCT {columns} {EXECUTED}")
    assert list(row.values()) == [RUN, "Shop", "PRD", *list(options.values())[3:]]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (ARTIFACTS / "1.10.23" / "show", ("dbt show", "builds nothing")),
        (ARTIFACTS / "1.10.23" / "nothing", ("no results",)),
        (Path(__file__), ("test_record_dbt.py",)),
        (Path(__file__).parent, ("run_results.json",)),
    ],
)
def test_what_is_no_build_is_refused(path: Path, words: tuple[str, ...]) -> None:
    """Files that hold no build are refused in one line that says why."""
    assert_one_line(run("record-dbt", str(path), "--run", RUN), *words)


def test_an_empty_run_id_is_refused() -> None:
    """A variable that was never set must not become a run by hand."""
    assert_one_line(run("record-dbt", str(OLD), "--run", " "), "--run")


def test_rows_that_do_not_stand_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the warehouse down, the command says that the rows wait, and where; exit code 1."""
    (tmp_path / "obstacle").write_text("in the way")
    monkeypatch.setattr("dbbtrace.cli.dbt._PATIENCE", 3)
    done = run("record-dbt", str(OLD), "--run", RUN, "--warehouse", f"sqlite:///{tmp_path}/obstacle/rows.db")
    assert done.code == 1
    assert "dbbtrace flush" in done.err.splitlines()[-1]
    (tmp_path / "obstacle").unlink()
    assert run("runs", "--warehouse", f"sqlite:///{tmp_path}/obstacle/rows.db").code == 4
