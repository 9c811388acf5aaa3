"""The wheel beside what users have: dbt 1.7 as in Fabric, the oldest OpenTelemetry we support."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.programs import Programs, eventually
from tests.packaging.conftest import REPOSITORY, Venv

DBT_PROJECT = {
    "dbt_project.yml": "{name: shop, version: '1.0', profile: shop, model-paths: [models]}",
    "profiles.yml": "shop: {target: dev, outputs: {dev: {type: duckdb, path: shop.duckdb}}}",
    "models/customers.sql": "select 1 as id union all select 2",
    "models/schema.yml": "models: [{name: customers, columns: [{name: id, tests: [unique]}]}]",
}
RUN = "8f14e45f-ceea-467f-a0e6-1b2c3d4e5f60"


@pytest.fixture(scope="session")
def beside_dbt(make_venv: Callable[..., Venv]) -> Venv:
    """dbt as Fabric's environments have it, before dbbtrace is installed."""
    return make_venv("dbt-core~=1.7.0", "dbt-duckdb~=1.7.0", newest_python=(3, 12))


def write_project(folder: Path) -> None:
    """A dbt project of one model and one test."""
    for name, text in DBT_PROJECT.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def test_the_wheel_leaves_dbt_1_7_working(beside_dbt: Venv, wheel: Path, tmp_path: Path) -> None:
    """Installed beside dbt-core 1.7, the wheel changes nothing of dbt's: it parses, builds, is recorded."""
    write_project(tmp_path)
    before = beside_dbt.versions()

    beside_dbt.install(wheel)

    after = beside_dbt.versions()
    assert {name: after[name] for name in before} == before
    assert before["dbt-core"].startswith("1.7.")
    assert int(before["protobuf"].split(".")[0]) < 5
    beside_dbt.run("dbt", "parse", "--profiles-dir", ".", cwd=tmp_path)
    beside_dbt.run("dbt", "build", "--profiles-dir", ".", cwd=tmp_path)
    beside_dbt.run("dbbtrace", "record-dbt", "target", "--run", RUN, "--environment", "TST", cwd=tmp_path)
    executed = "SELECT status FROM meta.monitoring_transformation_dbt WHERE process_stage = 'execute'"
    rows = beside_dbt.run("dbbtrace", "query", executed, "--format", "json", cwd=tmp_path)
    assert [row["status"] for row in json.loads(rows)] == ["success", "pass"]


COLLECTOR = """\
receivers:
  otlp:
    protocols:
      http: {endpoint: "${env:OTELCOL_HTTP}"}
exporters:
  file: {path: "${env:OTELCOL_FILE}"}
extensions:
  health_check: {endpoint: "${env:OTELCOL_HEALTH}"}
service:
  extensions: [health_check]
  pipelines:
    traces: {receivers: [otlp], exporters: [file]}
  telemetry:
    metrics: {level: none}
"""


def test_spans_go_to_a_collector_as_json_beside_dbt_1_7(
    beside_dbt: Venv, wheel: Path, programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside dbt-core 1.7 the wheel alone forwards with http/json: dbt has requests, and protobuf is not needed."""
    config, file = tmp_path / "collector.yaml", tmp_path / "spans.jsonl"
    config.write_text(COLLECTOR)
    collector = programs.collector(config, OTELCOL_FILE=str(file))
    write_project(tmp_path)
    beside_dbt.install(wheel)
    beside_dbt.run("dbt", "build", "--profiles-dir", ".", cwd=tmp_path)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.http)
    monkeypatch.setenv("DBBTRACE_JOURNAL_DIR", str(tmp_path / "journal"))

    beside_dbt.run("dbbtrace", "record-dbt", "target", "--run", RUN, "--environment", "TST", cwd=tmp_path)
    beside_dbt.run("dbbtrace", "flush", cwd=tmp_path)
    eventually(lambda: file.exists() and file.stat().st_size)
    assert collector.stop() == 0

    spans = [span for line in file.read_text().splitlines() for span in spans_of(json.loads(line))]
    assert {span["traceId"] for span in spans} == {RUN.replace("-", "")}
    nodes = [span["name"] for span in spans if value_of(span, "dbb.operation") == "dbt_node"]
    assert len(nodes) == 2
    versions = beside_dbt.versions()
    assert int(versions["protobuf"].split(".")[0]) < 5
    assert not {"opentelemetry-proto", "opentelemetry-exporter-otlp-proto-common", "grpcio"} & set(versions)


def spans_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The spans of a line that the Collector wrote."""
    scopes = [scope for resource in document["resourceSpans"] for scope in resource["scopeSpans"]]
    return [span for scope in scopes for span in scope["spans"]]


def value_of(span: dict[str, Any], key: str) -> str | None:
    """The text of an attribute."""
    found = [pair["value"].get("stringValue") for pair in span.get("attributes", ()) if pair["key"] == key]
    return found[0] if found else None


@pytest.fixture(scope="session")
def oldest(wheel: Path, make_venv: Callable[..., Venv]) -> Venv:
    """The oldest OpenTelemetry that we support, with what the core's tests need."""
    return make_venv(
        f"{wheel}[mssql,otlp,pages]",
        *(f"opentelemetry-{name}==1.27.0" for name in ("api", "sdk", "exporter-otlp")),
        *("opentelemetry-distro==0.48b0", "setuptools<81"),  # which needs pkg_resources
        *("hypothesis", "ipykernel", "jupyter-client", "numpy", "pandas", "psutil", "pytest", "pytest-timeout"),
        "sqlglot",
    )


def test_a_job_runs_with_the_oldest_opentelemetry(oldest: Venv, tmp_path: Path) -> None:
    """With OpenTelemetry 1.27, as Fabric's Python notebooks have it, a job's rows stand."""
    assert "opentelemetry 1.27.0" in oldest.run("python", Path(__file__).with_name("job.py"), cwd=tmp_path)


CORE_TESTS = ("tests/delivery", "tests/job", "tests/journey", "tests/warehouse", "tests/exporters/otlp")
"""Folders and files of tests/ that run against the oldest OpenTelemetry too."""


def test_the_core_tests_pass_with_the_oldest_opentelemetry(oldest: Venv, tmp_path: Path) -> None:
    """Our own tests of spans, delivery and exporters pass against the wheel and OpenTelemetry 1.27."""
    shutil.copytree(REPOSITORY / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / "collector-config", tmp_path / "collector-config")
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    # the stock JSON encoder asks for a newer SDK
    without = ("-k", "not stock_encoder")
    oldest.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *without, *CORE_TESTS, cwd=tmp_path)
