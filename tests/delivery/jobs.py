"""Jobs that the tests run in processes of their own, to kill them; each is a function, called with its arguments."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUN = "5b0f3a52-7a53-4f2e-9d5a-0c2f6f1e8a11"


def command(job: str, *arguments: object) -> list[str]:
    """The command line that calls the function of that name with these arguments, as text."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.delivery import jobs; jobs.{job}(*sys.argv[1:])"
    return [sys.executable, "-c", code, *map(str, arguments)]


def run(job: str, *arguments: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a job to its end."""
    return subprocess.run(command(job, *arguments), capture_output=True, text=True, check=False, timeout=timeout)


def _note(ledger: int, word: str, table: str) -> None:
    os.write(ledger, f"{word} {table}\n".encode())


def _load_until_killed(warehouse: str, journal_dir: str, ledger_path: str, worker: str) -> None:
    """Load one table after the other, and keep a ledger of what was announced, had started, had ended."""
    import dbbtrace

    ledger = os.open(ledger_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    dbbtrace.configure(warehouse=warehouse, journal_dir=journal_dir, rows_timeout=0)
    with dbbtrace.join_run(RUN, data_product="Shop", environment="TST"):
        number = 0
        while True:
            table = f"{worker}_{number}"
            _note(ledger, "announced", table)
            with dbbtrace.table_load(table, schema="mdm", source="MDS", load_type="FULL") as load:
                _note(ledger, "started", table)
                load.rows_written = number
                if number % 4 == 0:
                    time.sleep(0.005)
            _note(ledger, "ended", table)
            if number % 50 == 49:
                dbbtrace.flush(0.2)
            number += 1


def kill_many(warehouse: str, journal_dir: str, ledger_path: str, kills: str, seed: str) -> None:
    """Start processes that load tables, always a few at once, and kill each at a random moment."""
    import dbbtrace.delivery  # noqa: F401 - imported once; the processes are forked

    dice = random.Random(int(seed))
    alive: list[tuple[float, int]] = []
    for number in range(int(kills)):
        pid = os.fork()
        if not pid:
            try:
                _load_until_killed(warehouse, journal_dir, ledger_path, f"w{number}")
            finally:
                os._exit(1)
        alive.append((time.monotonic() + dice.uniform(0.0, 0.3), pid))
        while len(alive) >= 3 or (alive and number == int(kills) - 1):
            due, victim = min(alive)
            time.sleep(max(0.0, due - time.monotonic()))
            os.kill(victim, signal.SIGKILL)
            _, status = os.waitpid(victim, 0)
            if not os.WIFSIGNALED(status):
                raise SystemExit(f"a job ended by itself: {status}")
            alive.remove((due, victim))
