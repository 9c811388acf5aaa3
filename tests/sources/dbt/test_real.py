"""A real dbt, its command line run in a process of its own as jobs run it, then recorded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import dbbtrace
from dbbtrace.model import attributes as key
from dbbtrace.testing import capture
from tests.sources.dbt.support import RUN, load, nanos, nodes

pytest.importorskip("dbt.adapters.duckdb", reason="dbt-duckdb is not installed")
pytestmark = pytest.mark.xdist_group("dbt-real")
"""One worker builds the project, once."""

PROJECT = {
    "dbt_project.yml": """
        {name: shop, version: '1.0', profile: shop, model-paths: [models], seed-paths: [seeds], test-paths: [tests],
         on-run-start: ["create table if not exists main.audit (ran_at timestamp)"],
         models: {shop: {+tags: [Finance]}}, flags: {send_anonymous_usage_stats: false}}""",
    "profiles.yml": "{shop: {target: dev, outputs: {dev: {type: duckdb, path: shop.duckdb, threads: 2}}}}",
    "seeds/raw.csv": "id,amount\n1,10\n2,20\n2,30\n",
    "models/good.sql": "{{ config(materialized='table') }} select * from {{ ref('raw') }}",
    "models/doubted.sql": "select * from {{ ref('good') }}",
    "models/broken.sql": "{{ config(materialized='table') }} select 1 / 0 as a, no_such_column from {{ ref('raw') }}",
    "models/below.sql": "select * from {{ ref('broken') }}",
    "models/far_below.sql": "select * from {{ ref('below') }}",
    "models/schema.yml": "{version: 2, models: [{name: good, columns: [{name: id, data_tests: [unique, not_null]}]}]}",
    "tests/no_big.sql": "{{ config(severity='warn') }} select * from {{ ref('raw') }} where amount > 20",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    for name, text in PROJECT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def dbt(project: Path, *command: str) -> int:
    line = [sys.executable, "-m", "dbt.cli.main", *command, "--profiles-dir", ".", "--no-use-colors"]
    return subprocess.run(line, cwd=project, capture_output=True, timeout=200, check=False).returncode


@pytest.fixture(scope="module")
def built(project):
    """One build inside a run by the real clock; what was recorded of it, and right after it a parse error."""
    from time import time_ns

    with capture(clock=time_ns) as captured:
        with dbbtrace.orchestration_run(RUN, data_product="Finance", environment="tst"):
            with dbbtrace.transformation("+tag:Finance"):
                code = dbt(project, "build", "--select", "+tag:Finance", "--vars", '{"password": "hunter2"}')
                invocation = dbbtrace.record_dbt(project / "target")
    return code, invocation, captured, load(project / "target" / "run_results.json")


def test_a_failing_build_leaves_every_node(built):
    """Built, failed and skipped ones, hooks and tests, with the words and times of dbt."""
    code, invocation, captured, document = built
    assert code == 1
    spans = nodes(captured)
    words = {unique_id: span.attributes[key.STATUS] for unique_id, span in spans.items()}
    assert words == {result["unique_id"]: result["status"] for result in document["results"]}
    assert words["seed.shop.raw"] == words["model.shop.good"] == "success"
    assert words["model.shop.broken"] == "error"
    assert [words[f"model.shop.{name}"] for name in ("below", "far_below", "doubted")] == ["skipped"] * 3
    assert words["test.shop.no_big"] == "warn"
    assert words["operation.shop.shop-on-run-start-0"] == "success"
    assert invocation.failed == sum(word in ("error", "fail") for word in words.values()) == 2
    for result in document["results"]:
        for stage in result["timing"]:
            attribute = f"dbb.dbt.{stage['name']}.started_at"
            assert spans[result["unique_id"]].attributes[attribute] == nanos(stage["started_at"])


def test_each_failure_and_each_skip_says_why(built):
    """The database's message, and the failure above a skipped node."""
    spans = nodes(built[2])
    assert "no_such_column" in spans["model.shop.broken"].attributes[key.ERROR_MESSAGE]
    for name in ("below", "far_below"):
        message = spans[f"model.shop.{name}"].attributes[key.DBT_MESSAGE]
        assert message == "Skipped due to upstream failure: model.shop.broken (error)"
    assert "test.shop.unique_good_id" in spans["model.shop.doubted"].attributes[key.DBT_MESSAGE]
    assert list(spans["model.shop.doubted"].attributes[key.DBT_DEPENDS_ON]) == ["model.shop.good"]
    assert spans["model.shop.good"].attributes[key.DBT_MATERIALIZED] == "table"
    assert spans["model.shop.doubted"].attributes[key.DBT_MATERIALIZED] == "view"


def test_the_trace_holds_together(built):
    """Run, transformation, invocation, nodes, stages; dbt's times lie within the work that ran it."""
    _, _, captured, _ = built
    above, around = captured.named("dbt build"), captured.named("transformation")
    assert above.parent.span_id == around.context.span_id
    assert around.start_time <= above.start_time <= above.end_time <= around.end_time
    assert "hunter2" not in "".join(span.to_json() for span in captured.spans)


def test_a_dbt_that_fails_early_leaves_an_old_file_which_is_refused(built, project):
    """A parse error writes nothing: what stands there is of the run before."""
    from time import time_ns

    (project / "models" / "torn.sql").write_text("select * from {{ ref('nowhere') }}")
    try:
        with capture(strict=False, clock=time_ns) as captured:
            with dbbtrace.orchestration_run("another run"):
                assert dbt(project, "build") == 2
                invocation = dbbtrace.record_dbt(project / "target")
    finally:
        (project / "models" / "torn.sql").unlink()
    assert not invocation.recorded
    assert nodes(captured) == {}


def test_a_compile_overwrites_the_file_and_gives_no_rows(built, project, caplog):
    """The last command to write run_results.json was no build."""
    assert dbt(project, "compile", "--select", "good", "--target-path", "looked") == 0
    with capture() as captured:
        invocation = dbbtrace.record_dbt(project / "looked", run_id=RUN)
    assert invocation.command == "compile"
    assert captured.spans == []
    assert "dbt compile" in caplog.text


def test_a_retry_has_a_manifest_of_its_own(built, project, tmp_path):
    """The retried nodes come with the causes of their skips."""
    assert dbt(project, "retry") == 1
    with capture() as captured:
        invocation = dbbtrace.record_dbt(project / "target", run_id=RUN)
    assert invocation.command == "build"
    assert invocation.invocation_id != built[1].invocation_id
    message = nodes(captured)["model.shop.far_below"].attributes[key.DBT_MESSAGE]
    assert message == "Skipped due to upstream failure: model.shop.broken (error)"
    assert json.loads((project / "target" / "manifest.json").read_text())["metadata"]["invocation_id"]
