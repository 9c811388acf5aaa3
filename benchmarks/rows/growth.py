"""The 1,000,000th load against the 1,000th, in time and in memory: nothing grows with what is behind a job.

Two processes write rows to SQLite; one has done many loads before, the other 1,000. Then each does a few more in turn,
timed from the first to the moment when all its rows stand. Memory is what the process holds then.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter

from benchmarks.figures import Effort, Figure, Goal, Pair, alternate, compared
from benchmarks.processes import clean_environment
from benchmarks.samples import PRODUCT, RUN

__all__ = ["measure", "obey"]

_FLAT = Goal(1.15, most=True)


def measure(effort: Effort) -> Iterable[Figure]:
    """The figures."""
    for many in (10_000, 100_000) if effort.quick else (10_000, 100_000, 1_000_000):
        with _Job(effort.scratch, 1_000) as young, _Job(effort.scratch, many) as old:
            times = list(alternate(old.more, young.more, effort.size(15, 7)))
            memory: list[Pair] = [(old.megabytes, young.megabytes)]
        what, against = f"cost per load after {many:,} loads", "after 1,000 loads"
        yield compared(f"{what}: time", against, times, _FLAT, "µs")
        yield compared(f"{what}: memory", against, memory, _FLAT, "MB")


class _Job:
    """A process that does loads when it is told to."""

    def __init__(self, scratch: Path, before: int) -> None:
        directory = Path(tempfile.mkdtemp(dir=scratch))
        self.megabytes = 0.0
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import obey; obey()"],
            cwd=directory,
            env=clean_environment(directory),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._do(before)

    def more(self) -> float:
        """A few more loads; microseconds each."""
        return self._do(2_000)

    def _do(self, count: int) -> float:
        to, of = self._process.stdin, self._process.stdout
        assert to
        assert of
        print(count, file=to, flush=True)
        microseconds, self.megabytes = map(float, of.readline().split())
        return microseconds

    def __enter__(self) -> _Job:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def obey() -> None:
    """The process: a line says how many loads to do; answers microseconds a load, and megabytes."""
    import dbbtrace

    done = 0
    with dbbtrace.orchestration_run(RUN, data_product=PRODUCT):
        for line in sys.stdin:
            began = perf_counter()
            for number in range(done, done := done + int(line)):
                with dbbtrace.table_load(f"table_{number}", schema="mdm", source="MDS") as load:
                    load.rows_written = number
            dbbtrace.flush(-1)
            print(1e6 * (perf_counter() - began) / int(line), _megabytes(), flush=True)


def _megabytes() -> float:
    """What the process holds now."""
    import psutil

    return psutil.Process(os.getpid()).memory_info().rss / 1e6
