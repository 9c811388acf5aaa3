"""What a job pays before its first span: modules, in a process that imports nothing else."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    "azure", "click", "dbt", "dbbtrace_exporters", "duckdb", "google", "grpc", "httpx", "jinja2", "msgspec",
    "mssql_python", "numpy", "pandas", "pydantic", "pyodbc", "requests", "rich", "sqlite3", "starlette", "uvicorn",
)  # fmt: skip
"""Packages that come only when they are used."""
SLOW = ("_hashlib", "bz2", "decimal", "lzma", "secrets", "shutil", "tomllib")
"""Parts of the standard library that take a millisecond or so and that no first span needs."""
FIRST_SPAN = """
import dbbtrace
with dbbtrace.join_run("0f8fad5b-d9cb-469f-a165-70867728950e"):
    with dbbtrace.table_load("Customer") as load:
        load.rows_written = 10
    """
REPORT = "import json, sys; print(json.dumps(sorted(sys.modules)))"


def modules(script: str) -> set[str]:
    """What the interpreter holds after the script, without what it held before."""
    plain, ours = (
        json.loads(subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout)
        for text in (f"import opentelemetry.sdk.trace\n{REPORT}", f"import opentelemetry.sdk.trace\n{script}{REPORT}")
    )
    return set(ours) - set(plain)


@pytest.mark.parametrize("script", ["import dbbtrace\n", FIRST_SPAN], ids=["import", "first span"])
def test_nothing_heavy_is_imported(script: str) -> None:
    """Neither drivers nor web clients nor the exporters: who writes no row needs no database."""
    assert not {name.partition(".")[0] for name in modules(script)} & set(HEAVY)


@pytest.mark.parametrize("script", ["import dbbtrace\n", FIRST_SPAN], ids=["import", "first span"])
def test_nothing_slow_of_the_standard_library_is_imported(script: str) -> None:
    """Each of these would be a part of every job's start."""
    assert not modules(script) & set(SLOW)


def test_few_modules_are_imported() -> None:
    """Beside opentelemetry.sdk.trace: some forty to import, as many again for a first span."""
    assert len(modules("import dbbtrace\n")) < 48
    assert len(modules(FIRST_SPAN)) < 85
