"""The wheel beside what users have: dbt 1.7 as in Fabric, the oldest OpenTelemetry we support."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

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


def test_the_wheel_leaves_dbt_1_7_working(beside_dbt: Venv, wheel: Path, tmp_path: Path) -> None:
    """Installed beside dbt-core 1.7, the wheel changes nothing of dbt's: it parses, builds, is recorded."""
    for name, text in DBT_PROJECT.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
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


@pytest.fixture(scope="session")
def oldest(wheel: Path, make_venv: Callable[..., Venv]) -> Venv:
    """The oldest OpenTelemetry that we support, with what the core's tests need."""
    return make_venv(
        f"{wheel}[otlp]",
        *(f"opentelemetry-{name}==1.27.0" for name in ("api", "sdk", "exporter-otlp")),
        *("opentelemetry-distro==0.48b0", "setuptools<81"),  # which needs pkg_resources
        *("hypothesis", "ipykernel", "jupyter-client", "numpy", "psutil", "pytest", "pytest-timeout", "sqlglot"),
    )


def test_a_job_runs_with_the_oldest_opentelemetry(oldest: Venv, tmp_path: Path) -> None:
    """With OpenTelemetry 1.27, as Fabric's Python notebooks have it, a job's rows stand."""
    assert "opentelemetry 1.27.0" in oldest.run("python", Path(__file__).with_name("job.py"), cwd=tmp_path)


CORE_TESTS = ("tests/delivery", "tests/job", "tests/journey", "tests/otlp", "tests/warehouse")
"""Folders and files of tests/ that run against the oldest OpenTelemetry too."""


def test_the_core_tests_pass_with_the_oldest_opentelemetry(oldest: Venv, tmp_path: Path) -> None:
    """Our own tests of spans, delivery and exporters pass against the wheel and OpenTelemetry 1.27."""
    shutil.copytree(REPOSITORY / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    oldest.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *CORE_TESTS, cwd=tmp_path)
