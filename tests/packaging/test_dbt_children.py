"""Other dbts, each in an environment of its own.

The oldest dbt-core and Fusion run as children; beside the newest dbt-core dbbtrace is installed.
"""

from __future__ import annotations

import json
import os
import signal
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.conftest import Venv
from tests.sources.dbt import projects
from tests.sources.dbt.projects import EVERYTHING, RUN, SINCE_1_9, SLOW, by_node, made, rows

FUSION = "2.0.0rc196"
"""The newest whose wheel is on PyPI; later ones download the program while they are built."""
WITH_ANOTHER = projects.JOB.replace(
    "ended = dbbtrace.run_dbt(sys.argv[1:])",
    """if os.environ.get("RUNNER") == "dbt":
            from dbt.cli.main import dbtRunner
            ended = dbbtrace.DbtRun(0 if dbtRunner().invoke(sys.argv[1:]).success else 1)
        else:
            ended = dbbtrace.run_dbt(sys.argv[1:], executable=os.environ.get("DBT"))""",
)
UNTOLD = frozenset(
    {
        "thread_id",
        "execution_time",
        "process_started_at",
        "process_completed_at",
        "duration",
        "generated_at",
        "materialized",
    }
)
"""What Fusion's telemetry tells otherwise than its artifact, or not at all."""

PID_TO_FILE = """
from dbbtrace.sources.dbt.child import _Child
begin = _Child.started
def started(self, pid):
    open("pid", "w").write(str(pid))
    begin(self, pid)
_Child.started = started
"""


@pytest.fixture(autouse=True)
def _with_another_dbt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projects, "JOB", WITH_ANOTHER)


@pytest.fixture(scope="session")
def oldest(make_venv: Callable[..., Venv]) -> str:
    """The program of the oldest dbt-core that dbbtrace supports."""
    return str(make_venv("dbt-core~=1.5.0", "dbt-duckdb~=1.5.0", newest_python=(3, 11)).path / "bin" / "dbt")


@pytest.fixture(scope="session")
def newest(wheel: Path, make_venv: Callable[..., Venv]) -> Venv:
    """dbt-core 1.12 with dbbtrace. One package that it requires, and uses only for an experiment, downloads its source
    while it is built: it is left out."""
    venv = make_venv(wheel, "dbt-duckdb", "dbt-core<1.12", "python-dotenv", "rapidfuzz", "sqlglot", "tabulate")
    venv.install("--no-deps", "dbt-core==1.12.6", "metricflow>=0.213,<1.0", "click>=8.3,<9")
    return venv


def test_the_newest_dbt_is_recorded_once_though_it_tells_its_nodes_itself(newest: Venv, tmp_path: Path) -> None:
    """With its own spans switched on, run_dbt's rows are still those of the artifact. Run by dbt's own runner, the same
    nodes have rows from dbt's spans, which recording the artifact does not double."""
    folder = made(tmp_path, EVERYTHING, SINCE_1_9)
    own_spans = {"DBT_ENGINE_SNOWFLAKE_PROJECTS_OTEL": "1"}
    python = str(newest.path / "bin" / "python")
    projects.job(folder, "build", "--threads", "4", code=1, python=python, **own_spans)
    live = {row["record_id"]: row for row in rows(folder / "rows.db")}
    assert recorded_again(folder, "target") == live
    (folder / "rows.db").unlink()
    projects.job(folder, "build", code=1, python=python, RUNNER="dbt", **own_spans)
    from_spans = by_node(rows(folder / "rows.db"))
    document = json.loads((folder / "target" / "run_results.json").read_text())
    words = {result["unique_id"]: result["status"] for result in document["results"]}
    assert {name: row["status"] for name, row in from_spans.items()} == words
    artifact = by_node(list(recorded_again(folder, "target").values()))
    assert {row["record_id"] for row in from_spans.values()} == {row["record_id"] for row in artifact.values()}
    for name, row in from_spans.items():
        for column in ("invocation_id", "item_name", "resource_type", "rows_affected", "orchestration_run_id"):
            assert row[column] == artifact[name][column], (name, column)


@pytest.fixture(scope="session")
def fusion(make_venv: Callable[..., Venv], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Fusion, and where it finds DuckDB's driver: in the Python package, which needs Python's own library."""
    duckdb = pytest.importorskip("_duckdb")
    library = Path(sysconfig.get_config_var("LIBDIR") or "") / str(sysconfig.get_config_var("LDLIBRARY"))
    if ".so" not in library.name or not library.exists():
        pytest.skip("this Python has no shared library, without which DuckDB's driver can't be loaded")
    drivers = tmp_path_factory.mktemp("drivers")
    (drivers / "duckdb.toml").write_text(
        'name = "DuckDB"\nversion = "1"\n[ADBC]\nversion = "1.1.0"\n'
        f'[Driver]\nentrypoint = "duckdb_adbc_init"\n[Driver.shared]\nlinux_amd64 = "{duckdb.__file__}"\n'
    )
    program = make_venv(f"dbt=={FUSION}").path / "bin" / "dbt"
    return {"DBT": str(program), "LD_PRELOAD": str(library), "ADBC_DRIVER_PATH": str(drivers)}


def recorded_again(folder: Path, what: str) -> dict[str, dict[str, Any]]:
    """The rows of what dbt has left, recorded into another warehouse, by record_id."""
    (folder / "other.db").unlink(missing_ok=True)
    projects.dbbtrace(
        folder, "--warehouse", f"sqlite:///{folder}/other.db", "record-dbt", what, "--run", RUN,
        "--pipeline-run-id", "0e4f1fb4-0000-4000-8000-000000000001",
    )  # fmt: skip
    return {row["record_id"]: row for row in rows(folder / "other.db")}


def test_the_oldest_dbt_is_watched_through_its_log(oldest: str, tmp_path: Path) -> None:
    """Its nodes have spans while it works, rows as in its artifact, and its hooks, which that lacks, their own."""
    folder = made(tmp_path, EVERYTHING)
    printed = projects.job(folder, "build", "--threads", "4", code=1, DBT=oldest)
    assert "Completed with" in printed
    live = {row["record_id"]: row for row in rows(folder / "rows.db")}
    artifact = recorded_again(folder, "target")
    assert {id_: row for id_, row in live.items() if id_ in artifact} == artifact
    hooks = {row["unique_id"]: row["status"] for id_, row in live.items() if id_ not in artifact}
    assert hooks == {f"operation.shop.shop-on-run-{edge}-0": "success" for edge in ("start", "end")}
    assert by_node(list(live.values())).keys() == projects.nodes(folder).keys()
    told = [span for span in projects.spans(folder) if span["name"] in ("dbt build", "model orders", "transformation")]
    assert [span["name"] for span in told] == ["model orders", "dbt build", "transformation"]  # as they ended
    assert told[0]["parent_id"] == told[1]["context"]["span_id"]
    assert told[1]["parent_id"] == told[2]["context"]["span_id"]


def test_what_an_earlier_child_left_is_refused(oldest: str, tmp_path: Path) -> None:
    """A dbt that can't parse writes nothing: the invocation has failed, and no old row comes twice."""
    folder = made(tmp_path, EVERYTHING)
    projects.job(folder, "run", "--select", "untold", code=1, DBT=oldest)
    before = rows(folder / "rows.db")
    made(folder, {"models/torn.sql": "select * from {{ ref('nowhere') }}"})
    projects.job(folder, "run", code=2, DBT=oldest)
    assert rows(folder / "rows.db") == before
    last = [span for span in projects.spans(folder) if span["name"] == "dbt run"][-1]
    assert "nowhere" in last["attributes"]["dbb.error.message"]
    projects.job(folder, "run", code=127, DBT="/no/such/dbt")
    last = [span for span in projects.spans(folder) if span["name"] == "dbt run"][-1]
    assert "/no/such/dbt is not a program that can be run" in last["attributes"]["dbb.error.message"]


def test_fusion_joins_the_trace_and_its_two_files_tell_the_same(fusion: dict[str, str], tmp_path: Path) -> None:
    """Live rows are those of its artifact; the telemetry gives the same records, those that the artifact lacks too."""
    folder = made(tmp_path, EVERYTHING, SINCE_1_9)
    projects.job(folder, "build", "--threads", "4", code=1, DBT_OTEL_FILE_NAME="otel.jsonl", **fusion)
    projects.job(folder, "run", "--select", "gate", **fusion)  # the same invocation id, another invocation
    live = {row["record_id"]: row for row in rows(folder / "rows.db")}
    assert {row["invocation_id"] for row in live.values()} == {RUN}
    assert [row["status"] for row in live.values() if row["item_name"] == "shared"] == ["no-op"], "it is ephemeral"
    executed = [row for row in live.values() if row["process_stage"] == "execute"]
    assert [row["status"] for row in executed if row["item_name"] == "gate"] == ["success", "success"]
    telemetry = recorded_again(folder, "logs/otel.jsonl")
    assert telemetry.keys() <= live.keys()
    of_build = {id_: row for id_, row in live.items() if id_ in telemetry}
    assert {row["unique_id"] for row in of_build.values()} >= {"model.shop.daily", "operation.shop.shop-on-run-end-0"}
    for id_, row in telemetry.items():
        same = {name for name, cell in row.items() if live[id_][name] == cell}
        told = UNTOLD | {"message", "error_message", "depends_on"}
        assert row.keys() - same <= told, (row["unique_id"], row.keys() - same)
        if row["process_started_at"] and live[id_]["process_started_at"]:
            assert row["process_started_at"][:16] == live[id_]["process_started_at"][:16]
    broken = by_node(list(of_build.values()))["model.shop.broken"]
    assert "no_such_column" in broken["message"]


def test_fusion_telemetry_is_imported_into_the_run_it_joined(fusion: dict[str, str], tmp_path: Path) -> None:
    """``dbbtrace import`` finds the run by itself; a file that joined none needs its name."""
    folder = made(tmp_path, EVERYTHING, SINCE_1_9)
    projects.job(folder, "build", "--select", "raw_orders", DBT_OTEL_FILE_NAME="joined.jsonl", **fusion)
    other = f"sqlite:///{folder}/other.db"
    printed = projects.dbbtrace(
        folder, "--warehouse", other, "import", "logs/joined.jsonl", DBBTRACE_ORCHESTRATION_RUN_ID=""
    )
    assert "dbt build: " in printed.stdout
    imported = {row["record_id"] for row in rows(folder / "other.db")}
    assert imported == {row["record_id"] for row in rows(folder / "rows.db")}
    lines = (folder / "logs" / "joined.jsonl").read_text().splitlines()
    alone = [{**json.loads(line), "parent_span_id": None} for line in lines]
    (folder / "alone.jsonl").write_text("".join(json.dumps(line) + "\n" for line in alone))
    refused = projects.dbbtrace(
        folder, "--warehouse", other, "import", "alone.jsonl", code=2, DBBTRACE_ORCHESTRATION_RUN_ID=""
    )
    assert "say which one, with --run ID" in refused.stderr


def test_a_fusion_that_can_not_start_says_why(fusion: dict[str, str], tmp_path: Path) -> None:
    """A target that does not exist: no rows, and the invocation has Fusion's message without its stack."""
    folder = made(tmp_path, EVERYTHING)
    projects.job(folder, "run", "--target", "nope", code=1, **fusion)
    [invocation] = [span for span in projects.spans(folder) if span["name"] == "dbt run"]
    assert invocation["attributes"]["dbb.error.message"] == "target 'nope' not found in profile 'shop'"
    assert not (folder / "rows.db").exists() or rows(folder / "rows.db") == []


def is_running(folder: Path, node: str) -> bool:
    """Whether Fusion's telemetry says that the node has started."""
    lines = (folder / "logs" / "otel.jsonl").read_text().splitlines(keepends=True)
    return any(f'"{node}"' in line and "NodeProcessed" in line and "SpanStart" in line for line in lines)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_fusion_that_is_killed_leaves_its_rows(
    fusion: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    """Amid a slow model: what ran has its row, the model is Interrupted, the invocation failed."""
    folder = made(tmp_path, SLOW)
    more = {"BEFORE": PID_TO_FILE, "DBT_OTEL_FILE_NAME": "otel.jsonl", **fusion}
    running = projects.started_job(folder, "build", "--threads", "2", **more)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if "model.shop.customers" in projects.nodes(folder) and is_running(folder, "model.shop.slow"):
            break
        time.sleep(0.05)
    os.kill(int((folder / "pid").read_text()), number)
    running.communicate(timeout=200)
    found = by_node(rows(folder / "rows.db"))
    words = {name: (row["status"], row["error_type"]) for name, row in found.items()}
    assert words["model.shop.orders"] == words["model.shop.customers"] == ("success", None)
    assert words["model.shop.slow"] == ("error", "Interrupted")
    [invocation] = [span for span in projects.spans(folder) if span["name"] == "dbt build"]
    assert invocation["status"]["status_code"] == "ERROR"
