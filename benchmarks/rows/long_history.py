"""Questions about one run: how much longer they take when the history has 2,000,000 operations instead of 200,000.

Processor time of a whole process, so that whatever else runs hardly matters. The long history is the short one again
and again, each copy some weeks older, because writing it span by span would take an hour.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from shutil import copyfile
from statistics import median

from benchmarks.figures import Effort, Figure, alternate, at_most
from benchmarks.history import write_history
from benchmarks.processes import clean_environment, fresh

__all__ = ["measure"]

_COMMANDS = (["runs"], ["show", "last"], ["check", "last"], ["failures", "last"])
_TIMES = ("timestamp", "process_started_at", "process_completed_at", "generated_at")
_TABLES = (
    "monitoring_integration",
    "monitoring_transformation_dbt",
    "monitoring_semantic_model_refresh",
    "monitoring_run_part",
)


def measure(effort: Effort) -> Iterable[Figure]:
    """The figures."""
    runs = effort.size(500, 250)
    short, long = effort.scratch / "short.db", effort.scratch / "long.db"
    operations = fresh(write_history, effort.scratch, str(short), runs)
    copyfile(short, long)
    _lengthen(long, runs, 9)
    for command in _COMMANDS:
        pairs = list(alternate(partial(_run, long, command), partial(_run, short, command), effort.size(9, 3)))
        yield Figure(
            f"dbbtrace {' '.join(command)} with {10 * operations:,} operations in the history",
            f"with {operations:,}",
            [of_long / of_short for of_long, of_short in pairs],
            goal=at_most(1.25),
            ours=median(of_long for of_long, _ in pairs),
            baseline=median(of_short for _, of_short in pairs),
            measured_in="s",
        )


def _lengthen(file: Path, runs: int, copies: int) -> None:
    """Put copies of all rows before them in time."""
    with sqlite3.connect(file) as connection:
        for table in _TABLES:
            columns = [str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")]
            for copy in range(1, copies + 1):
                values = [_copied(column, copy, copy * runs) for column in columns]
                names = ", ".join(f'"{column}"' for column in columns)
                last = f"SELECT MAX(rowid) FROM {table}"
                first = f"({last}) / {copy}"
                connection.execute(
                    f"INSERT INTO {table} ({names}) SELECT {', '.join(values)} FROM {table} WHERE rowid <= {first}"
                )


def _copied(column: str, copy: int, hours: int) -> str:
    if column in _TIMES:
        return f"STRFTIME('%Y-%m-%d %H:%M:%f', \"{column}\", '-{hours} hours')"
    if column in ("orchestration_run_id", "record_id"):
        return f"'{copy:08x}' || SUBSTR(\"{column}\", 9)"
    return f'"{column}"'


def _run(file: Path, command: list[str]) -> float:
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [str(Path(sys.executable).with_name("dbbtrace")), "--warehouse", f"sqlite:///{file}", *command],
        env=clean_environment(file.parent),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
