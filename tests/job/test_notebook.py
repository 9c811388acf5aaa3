"""begin_run() in a real Jupyter kernel, whose cells may share a context or not."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.job.support import OTHER_RUN, PIPELINE, PIPELINE_RUN, RUN

manager = pytest.importorskip("jupyter_client.manager")
pytest.importorskip("ipykernel")


class Notebook:
    """Runs cells in a kernel; keeps what they print."""

    def __init__(self, directory: Path) -> None:
        self._manager = manager.KernelManager(kernel_name="python3")
        self._manager.start_kernel(cwd=str(directory))
        self.client: Any = self._manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.printed = ""

    def __call__(self, *cells: str) -> None:
        for cell in cells:
            reply = self.client.execute_interactive(cell, timeout=60, output_hook=self._take)["content"]
            assert reply["status"] == "ok", "\n".join(reply.get("traceback", []))

    def _take(self, message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream":
            self.printed += message["content"]["text"]

    def restart(self) -> None:
        """As the button does."""
        self._manager.restart_kernel(now=False)
        self.client.wait_for_ready(timeout=60)

    def close(self) -> None:
        self.client.stop_channels()
        self._manager.shutdown_kernel(now=True)


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Notebook]:
    notebook = Notebook(tmp_path)
    notebook(
        f"import os; os.environ.update(DBBTRACE_WAREHOUSE='sqlite:///{tmp_path}/w.db', DBBTRACE_ROWS_TIMEOUT='30')",
        PARAMETERS.format(run=RUN, pipeline=PIPELINE),
        BEGIN,
    )
    yield notebook
    notebook.close()


PARAMETERS = """
orchestration_run_id = ""
Orchestration_Run_Id = "{run}"
data_product = "Finance"
Pipeline_Run_Id = "{pipeline}"
"""
BEGIN = "import dbbtrace; dbbtrace.configure(); run = dbbtrace.begin_run(globals())"
LOAD = """
with dbbtrace.table_load("{table}") as load:
    load.rows_written = 1
"""
CHILD = """
import dbbtrace
with dbbtrace.join_run(), dbbtrace.table_load('child'): pass
"""


def rows(tmp_path: Path, columns: str) -> list[tuple]:
    with sqlite3.connect(tmp_path / "w.db") as connection:
        return connection.execute(f"SELECT {columns} FROM monitoring_integration ORDER BY table_name").fetchall()


WHERE = "table_name, orchestration_run_id, data_product, integration_pipeline_source_run_id, status"


def test_cells_share_the_run_whatever_their_contexts(notebook, tmp_path):
    """Plain cells, cells that await, threads, and cells run again; each row names run, product and pipeline."""
    notebook(
        LOAD.format(table="a plain"),
        "import asyncio\nawait asyncio.sleep(0)" + LOAD.format(table="b awaits"),
        f"stage = dbbtrace.integration(pipeline_run_id='{PIPELINE_RUN}').start()\nawait asyncio.sleep(0)",
        LOAD.format(table="c in a stage that an awaiting cell began"),
        "def load(table):" + LOAD.format(table="d thread").replace("\n", "\n    "),
        "from concurrent.futures import ThreadPoolExecutor\nlist(ThreadPoolExecutor().map(load, 'x'))",
        "stage.end()",
        BEGIN,
        LOAD.format(table="e after the stage"),
        "copy = dbbtrace.table_load('f across cells').start()",
        "copy.rows_written = 3",
        "copy.end(); await asyncio.sleep(0); run.end()",
    )
    in_stage = {"c in a stage that an awaiting cell began", "d thread"}
    for table, run, product, pipeline, status in rows(tmp_path, WHERE):
        assert (run, product, status) == (RUN, "Finance", "Succeeded")
        assert pipeline == (PIPELINE_RUN if table in in_stage else PIPELINE)
    assert [table[0] for table, *_ in rows(tmp_path, WHERE)] == list("abcdef")


def test_the_next_run_in_the_same_kernel_is_another(notebook, tmp_path):
    """A session that is used again, with the parameters injected anew; nobody ended the run before."""
    notebook(
        LOAD.format(table="a"),
        PARAMETERS.format(run=OTHER_RUN.upper(), pipeline=PIPELINE_RUN),
        BEGIN,
        LOAD.format(table="b"),
        "run.end()",
    )
    assert [row[1:4] for row in rows(tmp_path, WHERE)] == [
        (RUN, "Finance", PIPELINE),
        (OTHER_RUN, "Finance", PIPELINE_RUN),
    ]


def test_shell_cells_find_the_run(notebook, tmp_path):
    """%%bash and ! know the run and its trace; stdout is theirs alone."""
    notebook(
        "%%bash\necho run $DBBTRACE_ORCHESTRATION_RUN_ID $DBBTRACE_DATA_PRODUCT",
        "!echo trace $TRACEPARENT",
        f'%%bash\n{sys.executable} -c "{CHILD}"',
        "run.end()",
        '%%bash\necho after "[$DBBTRACE_ORCHESTRATION_RUN_ID]"',
    )
    lines = notebook.printed.split()
    assert lines[:4] == ["run", RUN, "Finance", "trace"]
    assert lines[4].split("-")[1] == RUN.replace("-", "")
    assert lines[5:] == ["after", "[]"]
    assert [row[1:3] for row in rows(tmp_path, WHERE)] == [(RUN, "Finance")]


def test_a_notebook_run_by_hand_stays_one_run_until_the_kernel_restarts(notebook, tmp_path):
    """Cells run again, in any order, share the made-up run; a restarted kernel has another."""
    by_hand = "run.end(); Orchestration_Run_Id = orchestration_run_id = ''"
    notebook(by_hand, BEGIN, LOAD.format(table="a"), BEGIN, LOAD.format(table="b"), "assert run.manual")
    notebook.restart()
    notebook(
        f"import os; os.environ.update(DBBTRACE_WAREHOUSE='sqlite:///{tmp_path}/w.db', DBBTRACE_ROWS_TIMEOUT='30')",
        BEGIN,
        LOAD.format(table="c"),
        "run.end(); assert dbbtrace.flush(30)",
    )
    found = rows(tmp_path, WHERE)
    assert [(table, product, status) for table, _, product, _, status in found] == [
        (table, None, "Succeeded") for table in "abc"
    ]
    assert found[0][1] == found[1][1] != found[2][1]
