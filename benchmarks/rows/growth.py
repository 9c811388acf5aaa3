"""The 1,000,000th load compared with one of the first, in time and memory: cost must not grow with the number of loads.

Two processes write rows to SQLite. One has done many loads before, the other a few. Then each does some more in turn,
timed from the first load until all its rows are written. Memory is measured at that moment. A run loads the same 100
tables as the one before, and its end is held against the newest 30 runs: the process with few loads has had those too.
One run with all loads is measured as well. There each row goes to a random place in a growing index, because record ids
are hashes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from uuid import UUID

from benchmarks.figures import Effort, Figure, Goal, Pair, alternate, compared
from benchmarks.processes import clean_environment
from benchmarks.samples import PRODUCT, RUN

__all__ = ["measure", "obey"]

_FLAT = Goal(1.15, most=True)
_A_RUN = 100
_FEW = 4_000
_RUN = UUID(RUN).int


def measure(effort: Effort) -> Iterable[Figure]:
    """The figures."""
    for many in (10_000, 50_000) if effort.quick else (10_000, 100_000, 1_000_000):
        yield from _figures(effort, many, _A_RUN)
    yield from _figures(effort, effort.size(1_000_000, 50_000), sys.maxsize)


def _figures(effort: Effort, many: int, a_run: int) -> Iterable[Figure]:
    with _Job(effort.scratch, _FEW, a_run) as young, _Job(effort.scratch, many, a_run) as old:
        times = list(alternate(old.more, young.more, effort.size(15, 7)))
        memory: list[Pair] = [(old.megabytes, young.megabytes)]
    what = f"cost per load after {many:,} loads{' in one run' if a_run > many else ''}"
    yield compared(f"{what}: time", f"after {_FEW:,} loads", times, _FLAT, "µs")
    yield compared(f"{what}: memory", f"after {_FEW:,} loads", memory, _FLAT, "MB")


class _Job:
    """A process that does loads on command."""

    def __init__(self, scratch: Path, before: int, a_run: int) -> None:
        directory = Path(tempfile.mkdtemp(dir=scratch))
        self.megabytes = 0.0
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import obey; obey({a_run})"],
            cwd=directory,
            env=clean_environment(directory),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._do(before)

    def more(self) -> float:
        """Do a few more loads; returns microseconds per load."""
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


def obey(a_run: int) -> None:
    """The process: reads how many loads to do, line by line, and prints microseconds per load and megabytes."""
    import dbbtrace

    done = 0
    run = dbbtrace.orchestration_run(RUN, data_product=PRODUCT).start()
    for line in sys.stdin:
        began = perf_counter()
        for number in range(done, done := done + int(line)):
            if number % a_run == 0:
                run.end()
                run = dbbtrace.orchestration_run(str(UUID(int=_RUN + number)), data_product=PRODUCT).start()
            with dbbtrace.table_load(f"table_{number % a_run}", schema="mdm", source="MDS") as load:
                load.rows_written = number
        dbbtrace.flush(-1)
        print(1e6 * (perf_counter() - began) / int(line), _megabytes(), flush=True)


def _megabytes() -> float:
    """Memory of the process now."""
    import psutil

    return psutil.Process(os.getpid()).memory_info().rss / 1e6
