"""Runs jobs whose file operations fail, and counts what became of their rows. Prints one JSON object a case.

``python -m tests.faults.run SCENARIO KIND ERRNO COUNT [NUMBERS]``: each case is a job in a process of its own, forked
from this one. A journal whose owner was killed lies beside it. After the job a second process repairs: ``recover``
without faults. Then each load must have exactly one row.

- ``job``: the operations of a running job fail, the warehouse being locked for a part of it.
- ``segments``: likewise, in many small segments that are read back.
- ``recover``: those of the process that recovers, once the job was killed.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import pkgutil
import shutil
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dbbtrace
from tests.faults.injector import Injector

RUN, EARLIER = "0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7"
LOADS = 24
_SPREAD = (1, 2, 3, 5, 8, 13, 21, 34, 60)
"""Which operation of a kind is the first to fail, where not every one is tried."""


class Place:
    """Where the jobs of one call run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal, self.warehouse, self.told = folder / "journal", folder / "rows.db", folder / "told.json"
        self._killed = folder / "killed"

    def configure(self, kind: str = "") -> None:
        os.environ["DBBTRACE_JOURNAL_FSYNC"] = str(kind == "sync").lower()
        dbbtrace.configure(warehouse=f"sqlite:///{self.warehouse}", journal_dir=self.journal, rows_timeout=2)

    def prepare(self) -> None:
        """Make what each case begins with: a warehouse with its tables, and the journal of a killed job."""
        in_child(self._make_warehouse)
        with sqlite3.connect(self.warehouse, isolation_level=None) as lock:
            lock.execute("BEGIN IMMEDIATE")
            in_child(self._be_killed)
            lock.execute("ROLLBACK")
        lock.close()
        self.journal.rename(self._killed)
        self.warehouse.rename(self.folder / "empty.db")

    def begin(self) -> None:
        """As ``prepare`` left it."""
        shutil.rmtree(self.journal, ignore_errors=True)
        for file in self.folder.glob("rows.db*"):
            file.unlink()
        shutil.copytree(self._killed, self.journal)
        shutil.copy(self.folder / "empty.db", self.warehouse)
        self.told.unlink(missing_ok=True)

    def rows(self, run: str) -> list[str]:
        """Names of the tables that the run has rows of."""
        with sqlite3.connect(self.warehouse) as connection:
            found = connection.execute(
                "SELECT table_name FROM monitoring_integration WHERE orchestration_run_id = ?", (run,)
            ).fetchall()
        connection.close()
        return [name for (name,) in found]

    def _make_warehouse(self) -> None:
        self.configure()
        with dbbtrace.orchestration_run("made", data_product="Shop"):
            with dbbtrace.table_load("made"):
                pass
        dbbtrace.shutdown(30)
        with sqlite3.connect(self.warehouse) as connection:
            connection.execute("DELETE FROM monitoring_integration")
        connection.close()

    def _be_killed(self) -> None:
        self.configure()
        with dbbtrace.orchestration_run(EARLIER, data_product="Shop"):
            for number in range(LOADS):
                with dbbtrace.table_load(f"earlier {number}"):
                    pass
            os.kill(os.getpid(), signal.SIGKILL)


def in_child(work: Callable[[], None]) -> int:
    """Do the work in a forked process, which then ends as a program does; its exit code, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            import atexit

            atexit._run_exitfuncs()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def job(place: Place, injector: Injector) -> None:
    """Loads while operations fail; notes when ``flush()`` said True although a row was missing."""
    injector.install()
    lied: list[str] = []
    ended = 0

    def flush(when: str) -> None:
        if dbbtrace.flush(5) and len(set(place.rows(RUN))) < ended:
            lied.append(f"{when}: {ended} ended, {len(set(place.rows(RUN)))} in the table")

    place.configure(injector.kind)
    lock = sqlite3.connect(place.warehouse, isolation_level=None)
    with dbbtrace.orchestration_run(RUN, data_product="Shop"), dbbtrace.integration():
        for number in range(LOADS):
            if number == LOADS // 3:
                flush("before the lock")
                lock.execute("BEGIN IMMEDIATE")
            if number == 2 * LOADS // 3:
                lock.execute("ROLLBACK")
                flush("after the lock")
            with dbbtrace.table_load(f"load {number}") as load:
                load.rows_written = number
            ended += 1
        flush("at the end")
    dbbtrace.shutdown(2)
    place.told.write_text(json.dumps({"lied": lied, "failed": injector.failed, "seen": injector.seen}))


def segments(place: Place, injector: Injector) -> None:
    """The same in many small segments, of which more waits than memory holds."""
    from dbbtrace.delivery import own_log, processor

    processor.Delivery.__init__.__kwdefaults__["segment_bytes"] = 4_000  # type: ignore[index]
    own_log.CACHED = 4
    job(place, injector)


def recover(place: Place, injector: Injector) -> None:
    """Recover while operations fail."""
    injector.install()
    place.configure()
    try:
        dbbtrace.recover()
    except dbbtrace.DbbtraceError as error:
        print(f"recover: {error}", file=sys.stderr)
    dbbtrace.shutdown(2)
    place.told.write_text(json.dumps({"lied": [], "failed": injector.failed, "seen": injector.seen}))


SCENARIOS = {"job": job, "segments": segments, "recover": recover}


def repair(place: Place) -> None:
    """Recover when nothing fails any more."""
    place.configure()
    dbbtrace.recover()
    dbbtrace.flush(30)
    dbbtrace.shutdown(5)


def case(place: Place, scenario: str, injector: Injector) -> dict[str, Any]:
    """One case, and what became of its rows."""
    place.begin()
    code = in_child(lambda: SCENARIOS[scenario](place, injector))
    told = json.loads(place.told.read_text()) if place.told.exists() else {"lied": [], "failed": 0, "seen": {}}
    repaired = in_child(lambda: repair(place))
    wanted = {EARLIER: "earlier"} if scenario == "recover" else {RUN: "load", EARLIER: "earlier"}
    lost, doubled = [], []
    for run, name in wanted.items():
        rows = place.rows(run)
        lost += [f"{name} {number}" for number in range(LOADS) if f"{name} {number}" not in rows]
        doubled += sorted({row for row in rows if rows.count(row) > 1})
    return {"code": code, "repaired": repaired, "lost": lost, "doubled": doubled, **told}


def cases(place: Place, scenario: str, kind: str, number: int, count: int, firsts: str) -> Iterator[dict[str, Any]]:
    """The cases, the first of them without a fault: it counts the operations there are."""
    place.prepare()
    clean = case(place, scenario, Injector(place.journal, kind, number, 0, 0))
    yield {"first": 0, **clean}
    there = clean["seen"].get(kind, 0)
    wanted = range(1, there + 1) if firsts == "all" else [first for first in _SPREAD if first <= there]
    for first in wanted:
        yield {"first": first, **case(place, scenario, Injector(place.journal, kind, number, first, count))}


def import_all() -> None:
    """What each job would import by itself, once: it is forked from here."""
    from dbbtrace_exporters import warehouse as exporter

    from dbbtrace import delivery, journal, operate, warehouse

    for package in (delivery, journal, operate, warehouse, exporter):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def main(folder: str, scenario: str, kind: str, error: str, count: str, firsts: str = "some") -> None:
    """Run and print."""
    import_all()
    for found in cases(Place(Path(folder)), scenario, kind, getattr(errno, error), int(count), firsts):
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
