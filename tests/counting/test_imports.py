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
    """Beside opentelemetry.sdk.trace: some forty to import, half as many again for a first span."""
    assert len(modules("import dbbtrace\n")) < 47
    assert len(modules(FIRST_SPAN)) < 78


IN_A_RUN = """
import dbbtrace
run = dbbtrace.join_run("0f8fad5b-d9cb-469f-a165-70867728950e").start()
with dbbtrace.table_load("Customer") as load:
    load.rows_written = 10
"""
WATCHED = """
import collections, dataclasses, json, os, re, sys, typing

MADE = {"_process_class": "dataclass", "namedtuple": "NamedTuple", "_compile": "pattern"}
STANDARD = {module.__file__ for module in (collections, dataclasses, re, typing)}
made = []

def watch(frame, event, argument):
    if event == "call" and frame.f_code.co_name in MADE and frame.f_code.co_filename in STANDARD:
        caller = frame
        while caller.f_code.co_filename in STANDARD:
            caller = caller.f_back
        folder, name = os.path.split(caller.f_code.co_filename)
        if f"{os.sep}dbbtrace{os.sep}" in folder + os.sep:
            made.append((MADE[frame.f_code.co_name], os.path.basename(folder), name))

sys.setprofile(watch)
SCRIPT
sys.setprofile(None)
print(json.dumps(made))
"""
"""Prints what ``dbbtrace`` has the standard library make: a dataclass or a NamedTuple out of text, or a pattern."""


def test_no_class_or_pattern_is_made_by_the_standard_library() -> None:
    """Each would take half a millisecond. The journal's owner alone is a NamedTuple, and a pattern cleans the machine's
    name."""
    script = WATCHED.replace("SCRIPT", IN_A_RUN)
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    made = json.loads(answer.stdout)
    assert made == [["NamedTuple", "journal", "owner.py"], ["pattern", "journal", "owner.py"]]
