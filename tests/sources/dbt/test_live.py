"""dbt as it happens: real builds in a process of their own, watched node by node."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.sources.dbt import projects
from tests.sources.dbt.projects import EVERYTHING, RUN, SINCE_1_9, SOURCES, by_node, made, rows

pytestmark = pytest.mark.xdist_group("dbt-live")
"""A build takes long: one worker runs all that look at it."""
pytest.importorskip("dbt.adapters.duckdb", reason="dbt-duckdb is not installed")

INSIDE = """
from dbt.task.run import ModelRunner
execute = ModelRunner.execute
def watched(self, model, manifest):
    with dbbtrace.step(f"inside {model.name}"):
        return execute(self, model, manifest)
ModelRunner.execute = watched
"""
"""Work of the job's own in the threads where dbt runs models."""
HIDE_THE_ARTIFACT = """
from dbbtrace.sources.dbt import outcome
def hidden(*arguments):
    raise dbbtrace.UsageError("hidden")
outcome.find_results = hidden
"""
BREAK_THE_CALLBACK = """
from dbbtrace.sources.dbt.live import Watch
def broken(*arguments, **options):
    raise RuntimeError("a fault of ours")
Watch.node_started = Watch.node_ended = broken
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A build of every kind of node, some of which fail, on four threads."""
    folder = made(tmp_path_factory.mktemp("live"), EVERYTHING, SINCE_1_9)
    projects.job(folder, "build", "--threads", "4", "--vars", '{"password": "hunter2"}', code=1, BEFORE=INSIDE)
    return folder


def test_rows_are_those_of_the_artifact_cell_by_cell(built):
    """Recorded once more from the artifact into another warehouse, every cell is the same."""
    other = f"sqlite:///{built}/other.db"
    projects.dbbtrace(
        built, "--warehouse", other, "record-dbt", "target", "--run", RUN,
        "--pipeline-run-id", "0e4f1fb4-0000-4000-8000-000000000001",
    )  # fmt: skip
    live, artifact = ({(row["record_id"]): row for row in rows(built / name)} for name in ("rows.db", "other.db"))
    assert live == artifact
    document = json.loads((built / "target" / "run_results.json").read_text())
    statuses = {unique_id: row["status"] for unique_id, row in by_node(list(live.values())).items()}
    assert statuses == {result["unique_id"]: result["status"] for result in document["results"]}
    assert {"success", "error", "fail", "warn", "pass", "skipped", "partial success"} == set(statuses.values())


def test_each_node_has_one_span_that_its_rows_name(built):
    """The spans that went to other backends have the ids that rows name, and dbt's words, messages and links."""
    found = projects.nodes(built)
    executed = by_node(rows(built / "rows.db"))
    assert {name: span["context"]["span_id"].removeprefix("0x") for name, span in found.items()} == {
        name: row["span_id"] for name, row in executed.items()
    }
    for name, span in found.items():
        assert span["attributes"].get("dbb.status") == executed[name]["status"]
        assert (
            span["attributes"].get("dbb.dbt.message") == executed[name]["message"]
            or executed[name]["status"] == "skipped"
        )
    linked = {link["attributes"]["upstream.name"] for link in found["model.shop.counted"]["links"]}
    assert linked == {"model.shop.orders"}  # through an ephemeral model, which has no span
    [to_seed] = found["model.shop.orders"]["links"]
    assert to_seed["context"]["span_id"] == found["seed.shop.raw_orders"]["context"]["span_id"]


def test_spans_hang_together(built):
    """Invocation under transformation, nodes under it, stages, batches and the work of the job under their nodes."""
    found = projects.spans(built)
    by_id = {span["context"]["span_id"]: span for span in found}
    above = {span["context"]["span_id"]: by_id.get(span["parent_id"]) for span in found}
    [invocation] = [span for span in found if span["attributes"].get("dbb.operation") == "dbt_invocation"]
    assert above[invocation["context"]["span_id"]]["name"] == "transformation"
    for span in projects.nodes(built).values():
        assert above[span["context"]["span_id"]] is invocation
        assert invocation["start_time"] < span["start_time"] <= span["end_time"] <= invocation["end_time"]
    own = [span for span in found if span["name"].startswith("inside ")]
    assert "inside orders" in {span["name"] for span in own}
    for span in own:
        name = span["name"].removeprefix("inside ")
        around = above[span["context"]["span_id"]]["name"]
        assert around == "batch" or around.endswith(f" {name}")
    batches = [span for span in found if span["name"] == "batch"]
    assert {above[span["context"]["span_id"]]["name"] for span in batches} == {"model daily"}
    assert {span["status"]["status_code"] for span in batches} == {"ERROR", "UNSET"}
    assert "batch 2026-11-20 of main.daily" in {span["attributes"]["dbb.dbt.batch"] for span in batches}
    stages = [span for span in found if span["name"] == "execute"]
    assert {above[span["context"]["span_id"]]["attributes"]["dbb.operation"] for span in stages} == {"dbt_node"}


def test_the_invocation_says_how_dbt_ended(built):
    """In error, with the nodes that failed; no value of a variable is anywhere."""
    [invocation] = [span for span in projects.spans(built) if span["name"] == "dbt build"]
    assert invocation["status"]["status_code"] == "ERROR"
    assert "nodes failed" in invocation["attributes"]["dbb.error.message"]
    assert invocation["attributes"]["dbb.dbt.nodes"] == len(projects.nodes(built))
    assert "hunter2" not in (built / "spans.jsonl").read_text()


def test_rows_from_events_alone_are_the_same(tmp_path):
    """Without its artifact a build gives the same rows, but for the time when that was written."""
    folder = made(tmp_path, EVERYTHING, SINCE_1_9)
    projects.job(folder, "build", "--threads", "4", code=1, BEFORE=HIDE_THE_ARTIFACT)
    projects.dbbtrace(
        folder, "--warehouse", f"sqlite:///{folder}/other.db", "record-dbt", "target", "--run", RUN,
        "--pipeline-run-id", "0e4f1fb4-0000-4000-8000-000000000001",
    )  # fmt: skip
    events, artifact = ({row["record_id"]: row for row in rows(folder / name)} for name in ("rows.db", "other.db"))
    for row in [*events.values(), *artifact.values()]:
        del row["generated_at"]
    assert events == artifact


def test_no_fault_of_ours_reaches_dbt(tmp_path):
    """With every call about a node broken, dbt builds as it would, and the rows come from the artifact."""
    folder = made(tmp_path, EVERYTHING)
    projects.job(folder, "build", code=1, BEFORE=BREAK_THE_CALLBACK)
    document = json.loads((folder / "target" / "run_results.json").read_text())
    words = {result["unique_id"]: result["status"] for result in document["results"]}
    assert words["model.shop.orders"] == "success"
    assert {name: row["status"] for name, row in by_node(rows(folder / "rows.db")).items()} == words


def test_freshness_has_age_and_status(tmp_path):
    """Fresh, stale and missing sources; the missing one, which sources.json lacks, as dbt's events tell it."""
    folder = made(tmp_path, SOURCES)
    projects.job(folder, "seed")
    (folder / "spans.jsonl").unlink()
    projects.job(folder, "source", "freshness", code=1)
    found = projects.nodes(folder)
    words = {name: span["attributes"]["dbb.status"] for name, span in found.items() if name.startswith("source.")}
    assert words == {
        "source.shop.raw.fresh": "pass",
        "source.shop.raw.stale": "error",
        "source.shop.raw.missing": "runtime error",
    }
    stale = found["source.shop.raw.stale"]["attributes"]
    assert stale["dbb.dbt.age"] > 5 * 86400
    assert stale["dbb.dbt.max_loaded_at"] == 1_795_305_600 * 10**9  # 2026-11-22
    executed = by_node([row for row in rows(folder / "rows.db") if row["item_name"] in ("fresh", "stale", "missing")])
    assert {name: row["status"] for name, row in executed.items()} == words
    assert "last loaded 2026-11-22" in executed["source.shop.raw.stale"]["message"]
