"""A real Jupyter kernel: cells run again, the kernel restarted, the kernel killed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.delivery.test_backends import wait_until

manager = pytest.importorskip("jupyter_client.manager")
pytest.importorskip("ipykernel")

RUN = "3f6b1a7e-1c7d-4f8b-9a53-6f0b7c1d2e3f"
CONFIGURE = """
import dbbtrace
dbbtrace.configure(warehouse={warehouse!r}, journal_dir={journals!r}, rows_timeout={timeout})
run = dbbtrace.begin_run({{"orchestration_run_id": {run!r}, "data_product": "Shop"}})
"""
COPY = """
import time
with dbbtrace.table_load("{table}", schema="mdm", source="MDS"):
    print("copying", flush=True)
    time.sleep(600)
"""
LOAD = """
with dbbtrace.table_load("{table}", schema="mdm", source="MDS") as load:
    load.rows_written = 1
"""


class Kernel:
    """A kernel, and the cells that are run in it."""

    def __init__(self, directory: Path) -> None:
        self._manager = manager.KernelManager(kernel_name="python3")
        self._manager.start_kernel(cwd=str(directory))
        self.client: Any = self._manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, cell: str) -> None:
        """Run a cell to its end."""
        reply = self.client.execute_interactive(cell, timeout=60, output_hook=lambda message: None)
        content = reply["content"]
        assert content["status"] == "ok", "\n".join(content.get("traceback", []))

    def begin(self, cell: str) -> None:
        """Begin to run a cell that doesn't end, and wait until it says something."""
        self.client.execute(cell, stop_on_error=False)
        while True:
            message = self.client.get_iopub_msg(timeout=60)
            if message["msg_type"] == "stream":
                return

    def restart(self, *, now: bool) -> None:
        """As the button does: the kernel is asked to end, or killed, and started again."""
        if now:
            self._manager.provisioner.process.kill()  # restart_kernel would interrupt it first
        self._manager.restart_kernel(now=now)
        self.client.wait_for_ready(timeout=60)

    def interrupt(self) -> None:
        """The stop button."""
        self._manager.interrupt_kernel()

    def close(self) -> None:
        self.client.stop_channels()
        self._manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path)
    yield kernel
    kernel.close()


@pytest.fixture
def configure(tmp_path: Path) -> str:
    return CONFIGURE.format(
        warehouse=f"sqlite:///{tmp_path}/rows.db", journals=str(tmp_path / "journals"), timeout=20, run=RUN
    )


def rows(tmp_path: Path) -> list[tuple[str, str, str | None]]:
    """Table, status and error of the rows that stand."""
    connection = sqlite3.connect(tmp_path / "rows.db")
    try:
        return sorted(
            connection.execute("SELECT table_name, status, error_type FROM monitoring_integration").fetchall()
        )
    finally:
        connection.close()


def test_a_notebook_whose_kernel_is_restarted_and_killed_loses_nothing(
    kernel: Kernel, configure: str, tmp_path: Path
) -> None:
    """Cells run again configure once; restarting gives up what ran; killing too; every row stands once."""
    kernel.run(configure)
    kernel.run(LOAD.format(table="First"))
    kernel.run(configure)
    kernel.run(LOAD.format(table="Second") + "assert dbbtrace.flush()")
    assert rows(tmp_path) == [("First", "Succeeded", None), ("Second", "Succeeded", None)]

    kernel.run(LOAD.format(table="Third"))
    kernel.restart(now=False)
    kernel.run(configure)
    kernel.run(LOAD.format(table="Fourth"))
    kernel.begin(COPY.format(table="Fifth"))
    kernel.restart(now=True)
    kernel.run(configure)
    kernel.run(LOAD.format(table="Sixth") + "run.end()\nassert dbbtrace.flush()")
    assert ("Sixth", "Succeeded", None) in rows(tmp_path)
    wait_until(lambda: len(rows(tmp_path)) == 6)  # what the dead kernel left, the new one delivers in the background
    assert rows(tmp_path) == [
        ("Fifth", "Failed", "Interrupted"),
        *((table, "Succeeded", None) for table in ("First", "Fourth", "Second", "Sixth", "Third")),
    ]


def test_an_interrupted_cell_ends_its_load_as_failed(kernel: Kernel, configure: str, tmp_path: Path) -> None:
    """The stop button is a KeyboardInterrupt: the load failed, and the kernel goes on."""
    kernel.run(configure)
    kernel.begin(COPY.format(table="Customer"))
    kernel.interrupt()
    kernel.client.get_shell_msg(timeout=60)
    kernel.run("assert dbbtrace.flush(20)")
    assert rows(tmp_path) == [("Customer", "Failed", "KeyboardInterrupt")]
