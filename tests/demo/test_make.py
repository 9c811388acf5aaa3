"""What ``make demo`` asks the warehouse: in SQL that each of them takes; what ``make test`` runs the tests with."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import sqlglot

from dbbtrace.warehouse import Warehouse, open_warehouse
from tests.warehouse.conftest import server  # noqa: F401 - a fixture
from tests.warehouse.sql_server import Server

ROOT = Path(__file__).parents[2]


@pytest.fixture
def queries(tmp_path: Path) -> list[str]:
    """The statements that ``make demo`` would run."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    installed = tmp_path / "installed"  # newer than pyproject.toml, so that nothing is to be installed first
    installed.touch()
    command = ["make", "-n", "-C", str(ROOT), "demo", "BIN=bin", f"STAMP={installed}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.findall(r'"(SELECT [^"]+)"', said)
    assert len(found) == 3
    return found


def test_the_queries_of_make_demo_are_t_sql(queries: list[str]) -> None:
    """SQL Server and Fabric know no LIMIT."""
    for query in queries:
        for dialect in ("tsql", "fabric", "sqlite"):
            sqlglot.parse_one(query, read=dialect, error_level=sqlglot.ErrorLevel.RAISE)
        assert " LIMIT " not in query
        assert " TOP " not in query


@pytest.mark.parametrize("kind", ["sqlite", "sql server"])
def test_the_queries_of_make_demo_are_answered(
    queries: list[str],
    kind: str,
    tmp_path: Path,
    server: Server,  # noqa: F811
) -> None:
    """By SQLite, and by a server that speaks T-SQL."""
    url = f"sqlite:///{tmp_path}/w.db" if kind == "sqlite" else "Server=dw;Database=dbb;UID=u;PWD=p"
    warehouse: Warehouse = open_warehouse(url)
    warehouse.migrate()
    for query in queries:
        assert warehouse.query(query).rows == []
    warehouse.close()


def test_make_test_lets_python_keep_what_it_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the shell forbids it: a program that compiles all its modules takes twice as long to start."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nenv\n")
    python.chmod(0o755)
    (tmp_path / "installed").touch()
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    command = ["make", "-s", "-C", str(ROOT), "test", f"BIN={tmp_path}", f"STAMP={tmp_path / 'installed'}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "PYTHONHASHSEED=7" in said
    assert not [line for line in said if line.startswith("PYTHONDONTWRITEBYTECODE")]
