"""Answers for a history of 500 runs with 200,000 operations, compared with the bare SQL.

Ours is a whole process of `dbbtrace show`, `failures` or `slowest`, and of `dbbtrace report`, which makes the overview
page; there the runs are spread over a year. A constant allows for the interpreter, imports and the page. The baseline
runs the same statements with sqlite3 in this process and fetches the rows.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.figures import Effort, Figure, alternate, at_most, missing
from benchmarks.history import write_history
from benchmarks.processes import clean_environment, fresh

__all__ = ["measure"]

_SHARE = 1.3
_TERMINAL, _PAGE = 0.3, 1.0
"""Seconds."""
_OVERVIEW = ["report", "--since", "365d", "-o", "overview.html"]
_COMMANDS = (
    ["show", "last"],
    ["failures"],
    ["failures", "--since", "90d", "--all"],
    ["slowest"],
    ["slowest", "last"],
    ["slowest", "--since", "90d"],
)


def measure(effort: Effort) -> Iterable[Figure]:
    """The figures."""
    runs = effort.size(500, 50)
    file = effort.scratch / "history.db"
    operations = fresh(write_history, effort.scratch, str(file), runs)
    for command in _COMMANDS[:: effort.size(1, 2)]:
        yield _figure(effort, file, operations, command)
    file = effort.scratch / "year.db"
    operations = fresh(write_history, effort.scratch, str(file), runs, 365)
    yield _figure(effort, file, operations, _OVERVIEW, _PAGE)


def _figure(effort: Effort, file: Path, operations: int, command: list[str], constant: float = _TERMINAL) -> Figure:
    what = f"dbbtrace {' '.join(command)}, {operations:,} operations, over ({_SHARE} × the SQL + {constant} s)"
    against, goal = "the bare SQL", at_most(1)
    asked = fresh(statements, effort.scratch, f"sqlite:///{file}", command)
    if asked is None:
        return missing(what, against, goal, "there is no such command yet")
    pairs = list(alternate(lambda: _run(file, command), lambda: _bare(file, asked), effort.size(9, 3)))
    return Figure(
        what,
        against,
        [ours / (_SHARE * bare + constant) for ours, bare in pairs],
        goal=goal,
        ours=median(ours for ours, _ in pairs),
        baseline=median(bare for _, bare in pairs),
        measured_in="s",
    )


def statements(warehouse: str, command: list[str]) -> list[tuple[str, list[Any]]] | None:
    """The statements and values that a command sends; None if the command does not exist."""
    import click

    from dbbtrace.cli.commands import dbbtrace
    from dbbtrace.warehouse import Warehouse

    if command[0] not in dbbtrace.commands:
        return None
    asked: list[tuple[str, list[Any]]] = []
    query = Warehouse.query

    def noted(self: Warehouse, sql: str, parameters: Any = ()) -> Any:
        asked.append((sql, list(parameters)))
        return query(self, sql, parameters)

    Warehouse.query = noted  # type: ignore[method-assign]
    try:
        dbbtrace.main(["--warehouse", warehouse, *command], standalone_mode=False)
    except click.UsageError:
        return None
    return asked


def _run(file: Path, command: list[str]) -> float:
    began = perf_counter()
    subprocess.run(
        [str(Path(sys.executable).with_name("dbbtrace")), "--warehouse", f"sqlite:///{file}", *command],
        cwd=file.parent,
        env=clean_environment(file.parent),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return perf_counter() - began


def _bare(file: Path, asked: list[tuple[str, list[Any]]]) -> float:
    began = perf_counter()
    connection = sqlite3.connect(":memory:")
    connection.execute("ATTACH ? AS meta", (os.fspath(file),))
    for sql, parameters in asked:
        connection.execute(sql, parameters).fetchall()
    connection.close()
    return perf_counter() - began
