"""The built wheel: what is in it, and that it works where nothing but it was installed."""

from __future__ import annotations

import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from zipfile import ZipFile

from tests.packaging.conftest import REPOSITORY, Venv

PACKAGES = {
    "dbbtrace": REPOSITORY / "dbbtrace",
    "dbbtrace_exporters": REPOSITORY / "exporters/dbbtrace_exporters",
}


def test_the_wheel_holds_both_packages_and_nothing_else(wheel: Path) -> None:
    """Every file of the two packages, py.typed and the demo's dbt project too, and no tests."""
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    sources = {
        f"{package}/{path.relative_to(folder)}"
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == sources
    assert {"dbbtrace/py.typed", "dbbtrace_exporters/py.typed"} <= names
    assert any(name.endswith("dbt_project.yml") for name in names)


def test_the_wheel_names_its_licence_and_entry_points(wheel: Path) -> None:
    """The licence's text is inside; the command and both exporters are found by name."""
    with ZipFile(wheel) as archive:
        [licence] = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
        assert b"Apache License" in archive.read(licence)
        [entry_points] = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        parser = ConfigParser()
        parser.read_string(archive.read(entry_points).decode())
    assert list(parser["console_scripts"]) == ["dbbtrace"]
    assert set(parser["opentelemetry_traces_exporter"]) == {"dbb_warehouse", "dbb_otlp"}


def test_exporters_is_no_package() -> None:
    """exporters/ is only a folder: with an __init__.py, an editable install and the wheel would differ."""
    assert not (REPOSITORY / "exporters" / "__init__.py").exists()


def test_the_core_brings_in_no_protobuf(plain: Venv) -> None:
    """protobuf 5 breaks the dbt 1.7 that lives beside us, so nothing of the core may depend on any."""
    installed = plain.versions()
    assert not {"protobuf", "grpcio", "dbt-core", "requests"} & set(installed)
    plain.run("python", "-m", "pip", "check")


def test_the_installed_command_says_its_version(plain: Venv, wheel: Path, tmp_path: Path) -> None:
    """``dbbtrace version`` runs from the wheel alone and says the wheel's version."""
    assert wheel.name.split("-")[1] in plain.run("dbbtrace", "version", cwd=tmp_path)


def test_a_job_runs_from_the_wheel_alone(plain: Venv, tmp_path: Path) -> None:
    """A job's rows of all three tables stand in the embedded warehouse, with no extra installed."""
    plain.run("python", Path(__file__).with_name("job.py"), cwd=tmp_path)


LEFT_OUT = (
    "click", "dbt", "duckdb", "google.protobuf", "grpc", "httpx", "msgspec", "mssql_python", "opentelemetry.exporter",
    "pydantic", "pyodbc", "requests", "rich", "sqlglot", "sqlite3", "starlette",
)  # fmt: skip


def _imported(code: str, cwd: Path) -> list[str]:
    """Modules of LEFT_OUT that the code imports, in an environment that has them all."""
    check = f"\nimport sys\nfor name in {LEFT_OUT!r}:\n    if name in sys.modules: print(name)"
    done = subprocess.run([sys.executable, "-c", code + check], cwd=cwd, text=True, capture_output=True, check=True)
    return done.stdout.split()


def test_importing_dbbtrace_is_lean(tmp_path: Path) -> None:
    """A job that imports dbbtrace waits for no driver, no web client, no schema library."""
    assert _imported("import dbbtrace", tmp_path) == []
