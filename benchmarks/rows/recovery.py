"""Recovery of a dead process's journal, compared with reading its lines with json.loads.

The journal's owner is gone. recover() adopts the journal, turns its lines into spans, and hands them in batches to an
exporter that discards. The baseline reads the same file line by line and keeps nothing.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter

from benchmarks.figures import Effort, Figure, alternate, at_most, compared
from benchmarks.processes import fresh, peak_megabytes
from benchmarks.samples import Discard, loads

__all__ = ["measure"]

_DESTINATION = "bench:discard"


def measure(effort: Effort) -> Iterable[Figure]:
    """The figures."""
    count = effort.size(1_000_000, 100_000)
    original = effort.scratch / "original"
    fresh(leave_a_journal, effort.scratch, str(original), count)
    peaks = []

    def ours() -> float:
        copy = effort.scratch / "copy"
        shutil.copytree(original, copy, copy_function=os.link)
        seconds, megabytes = fresh(recovered, effort.scratch, str(copy), count)
        shutil.rmtree(copy)
        peaks.append(megabytes)
        return seconds

    times = list(alternate(ours, lambda: fresh(read, effort.scratch, str(original), count), effort.size(5, 3)))
    what = f"recovery of a journal of {count:,} spans"
    yield compared(f"{what}: time", "reading it line by line with json.loads", times, at_most(2.5), "s")
    yield Figure(f"{what}: peak memory", "-", peaks, "MB", at_most(150))


def leave_a_journal(directory: str, count: int) -> bool:
    """Write a journal like the one of a killed process."""
    from dbbtrace.journal.writer import Journal

    journal = Journal(directory, [(_DESTINATION, True)])
    for first in range(0, count, 1_000):
        journal.emit(list(loads(min(1_000, count - first), first)))
    return True


def recovered(directory: str, count: int) -> tuple[float, float]:
    """Seconds, and peak memory of the process."""
    from dbbtrace.delivery import Destination, recover

    destination = Destination(_DESTINATION, Discard, rows=True)
    began = perf_counter()
    done = recover(directory, lambda name: destination, timeout=-1)
    took = perf_counter() - began
    assert done.delivered == count, done
    return took, peak_megabytes()


def read(directory: str, count: int) -> float:
    """Seconds for json.loads of every line."""
    began = perf_counter()
    lines = 0
    for file in sorted(Path(directory).glob("*/*.jsonl")):
        with file.open("rb") as opened:
            for line in opened:
                json.loads(line)
                lines += 1
    assert lines > count
    return perf_counter() - began
