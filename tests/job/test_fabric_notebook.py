"""A Fabric notebook, with a stand-in for its utilities, in a real Jupyter kernel: it knows where it is by itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import dbbtrace
from dbbtrace.access import notebook as fabric_notebook
from dbbtrace.settings import read
from tests.job.support import OTHER_RUN, RUN
from tests.job.test_notebook import LOAD, Notebook

WORKSPACE = "6f0a1c3e-1111-4a6b-9f10-2a6d5b1c8e47"
SERVER = "abc123.datawarehouse.fabric.microsoft.com"
UTILITIES = """
class runtime:
    context = {"currentNotebookName": "transform", "currentWorkspaceId": "%s", "defaultLakehouseName": None}

class credentials:
    @staticmethod
    def getToken(audience):
        return "token for " + audience
"""
FIRST = """
import dbbtrace.access.notebook
dbbtrace.access.notebook.LAKEHOUSE = {mount!r}
"""


class Api:
    """Fabric's API, which knows the workspace's warehouses."""

    def __init__(self) -> None:
        self.warehouses = [{"displayName": "dbb_warehouse", "properties": {"connectionString": SERVER}}]
        self.asked: list[tuple[str, str | None]] = []
        self.status = 200
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                import json

                api.asked.append((self.path, self.headers.get("Authorization")))
                page = int(self.path.rpartition("=")[2] or 0) if "continuationToken" in self.path else 0
                token = str(page + 1) if page + 1 < len(api.warehouses) else None
                answer = {"value": api.warehouses[page : page + 1], "continuationToken": token}
                content = json.dumps(answer).encode()
                self.send_response(api.status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()
    thread = threading.Thread(target=api.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield api
    api.server.shutdown()
    api.server.server_close()
    thread.join()


@pytest.fixture
def in_fabric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: Api) -> Path:
    """This process is a Fabric notebook's; the place of its lakehouse mount."""
    (tmp_path / "utils").mkdir()
    (tmp_path / "utils" / "notebookutils.py").write_text(UTILITIES % WORKSPACE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "utils"))
    monkeypatch.delitem(__import__("sys").modules, "notebookutils", raising=False)
    monkeypatch.setattr(fabric_notebook, "_found", {})
    monkeypatch.setattr(fabric_notebook, "_context", {})
    monkeypatch.setattr(fabric_notebook, "LAKEHOUSE", str(tmp_path / "mount"))
    monkeypatch.setenv("DBBTRACE_FABRIC_URL", api.url)
    for name in ("DBBTRACE_WAREHOUSE", "DBBTRACE_WORKSPACE_ID", "DBBTRACE_JOURNAL_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "mount"


def test_the_notebook_knows_where_it_is(in_fabric: Path, api: Api) -> None:
    """Workspace, warehouse and the place of the journal's copy, each said to be the notebook's; asked for once."""
    (in_fabric / "Files").mkdir(parents=True)
    for _ in range(3):
        settings, faults = read()
    assert not faults
    assert settings.workspace_id == WORKSPACE
    assert settings.warehouse == f"mssql://{SERVER}/dbb_warehouse"
    assert settings.journal_mirror == f"{in_fabric}/Files/dbbtrace/journal"
    assert {settings.sources[name] for name in ("workspace_id", "warehouse", "journal_mirror")} == {"the notebook"}
    assert api.asked == [(f"/v1/workspaces/{WORKSPACE}/warehouses", "Bearer token for pbi")]


def test_what_is_set_comes_first(in_fabric: Path, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """And then nobody is asked."""
    (in_fabric / "Files/dbbtrace").mkdir(parents=True)
    (in_fabric / "Files/dbbtrace/config.toml").write_text('warehouse = "mssql://ours/dbb"\n', encoding="utf-8")
    monkeypatch.setenv("DBBTRACE_WORKSPACE_ID", "11111111-1111-4a6b-9f10-2a6d5b1c8e47")
    settings, _ = read(journal_mirror="/elsewhere")
    assert (settings.warehouse, settings.journal_mirror) == ("mssql://ours/dbb", "/elsewhere")
    assert settings.workspace_id == "11111111-1111-4a6b-9f10-2a6d5b1c8e47"
    assert not api.asked


def test_a_file_that_cannot_be_read_may_name_the_warehouse(in_fabric: Path, api: Api) -> None:
    """So no other takes its place."""
    (in_fabric / "Files/dbbtrace").mkdir(parents=True)
    (in_fabric / "Files/dbbtrace/config.toml").write_text("warehouse = ", encoding="utf-8")
    settings, faults = read()
    assert faults
    assert settings.warehouse is None
    assert not api.asked


@pytest.mark.parametrize(
    ("names", "status", "warehouse", "said"),
    [
        (["finance", "DBB_Warehouse"], 200, f"mssql://{SERVER}/DBB_Warehouse", ""),
        (["my warehouse"], 200, f"mssql://{SERVER}/my%20warehouse", ""),
        (["finance", "sales"], 200, None, "finance, sales"),
        ([], 200, None, ""),
        (["dbb_warehouse"], 403, None, "403"),
    ],
)
def test_which_warehouse_it_is(
    in_fabric: Path,
    api: Api,
    caplog: pytest.LogCaptureFixture,
    names: list[str],
    status: int,
    warehouse: str | None,
    said: str,
) -> None:
    """The platform's, or the only one; of several a person must name one. What the API does not say is said once."""
    api.warehouses = [{"displayName": name, "properties": {"connectionString": SERVER}} for name in names]
    api.status = status
    assert [read()[0].warehouse for _ in range(2)] == [warehouse] * 2
    assert len(caplog.records) == bool(said)
    assert said in caplog.text
    assert "token for" not in caplog.text


def test_a_kernel_with_nothing_set(tmp_path: Path, in_fabric: Path, api: Api) -> None:
    """The job runs, its rows wait for that warehouse, and the journal's copy is on the mount."""
    (in_fabric / "Files").mkdir(parents=True)
    api.warehouses[0]["properties"] = {"connectionString": "127.0.0.1:1"}  # where nothing listens
    notebook = Notebook(tmp_path)
    try:
        notebook(
            f"import sys, os; sys.path.insert(0, {str(tmp_path / 'utils')!r});"
            f"os.environ.update(DBBTRACE_FABRIC_URL={api.url!r}, DBBTRACE_JOURNAL_DIR={str(tmp_path / 'j')!r});"
            "os.environ.pop('DBBTRACE_WAREHOUSE', None)",
            FIRST.format(mount=str(in_fabric)),
            "import dbbtrace; dbbtrace.configure()",
            f"run = dbbtrace.begin_run({{'orchestration_run_id': {RUN!r}}})",
            LOAD.format(table="Customer"),
            "from dbbtrace.tracing import runtime; s = runtime.current_settings(); print(s.warehouse, s.workspace_id)",
        )
        assert f"mssql://127.0.0.1:1/dbb_warehouse {WORKSPACE}" in notebook.printed
        copies = "\n".join(path.read_text() for path in (in_fabric / "Files/dbbtrace/journal").rglob("*.jsonl*"))
        for _ in range(100):
            if "Customer" in copies:
                break
            notebook("import time; time.sleep(0.2)")
            found = [path for path in (in_fabric / "Files/dbbtrace/journal").rglob("*") if path.is_file()]
            copies = "\n".join(path.read_text(errors="replace") for path in found)
        assert '"transform"' in copies, "the job has the notebook's name"
        assert "Customer" in copies
    finally:
        notebook.close()


# -- the run as an object -----------------------------------------------------------------------------------------


class Shown(Notebook):
    """A notebook that keeps what its cells show."""

    html = ""

    def _take(self, message: dict[str, Any]) -> None:
        super()._take(message)
        if message["msg_type"] == "execute_result":
            self.html = message["content"]["data"].get("text/html", "")


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Shown]:
    notebook = Shown(tmp_path)
    notebook(
        f"import os; os.environ.update(DBBTRACE_WAREHOUSE='sqlite:///{tmp_path}/w.db', DBBTRACE_ROWS_TIMEOUT='30')",
        "import dbbtrace; dbbtrace.configure(jaeger_url='http://localhost:16686')",
    )
    yield notebook
    notebook.close()


def test_a_run_shows_itself(shown: Shown) -> None:
    """Which run, of what, where rows go, the verdict so far, where to look; and its page."""
    shown(f"run = dbbtrace.begin_run(run_id={RUN!r}, data_product='<Finance>')", "run")
    assert "no such file" in shown.html
    shown(LOAD.format(table="a"), "assert dbbtrace.flush(30)", "run")
    assert RUN in shown.html
    assert "&lt;Finance&gt;" in shown.html
    assert "w.db" in shown.html
    assert "Running" in shown.html
    assert f'href="http://localhost:16686/trace/{RUN.replace("-", "")}"' in shown.html
    shown("run.report()")
    assert "<iframe" in shown.html
    assert RUN in shown.html
    shown("run.end()", "run")
    assert RUN in shown.html


def test_a_run_that_has_not_begun_and_one_whose_warehouse_is_away(shown: Shown) -> None:
    """Nothing is raised; it says what it knows."""
    shown("dbbtrace.join_run()")
    assert "not started" in shown.html
    shown("dbbtrace.configure(warehouse='mssql://127.0.0.1:1/x', access_token='t')", "dbbtrace.begin_run()")
    assert "by hand" in shown.html
    assert "not known" in shown.html


def test_a_load_after_the_end(shown: Shown) -> None:
    """It says so, and belongs to the run that has ended: no run by hand becomes the newest one."""
    shown(
        "import logging; logging.basicConfig()",
        f"run = dbbtrace.begin_run(run_id={RUN!r}, data_product='Finance')",
        LOAD.format(table="a"),
        "run.end()",
        LOAD.format(table="b"),
        LOAD.format(table="c"),
        "assert dbbtrace.flush(30)",
    )
    assert shown.printed.count("has ended (run.end())") == 1
    shown(
        "print(dbbtrace.query('SELECT table_name, orchestration_run_id, data_product FROM meta.monitoring_integration"
        " ORDER BY 1', into='rows'))",
    )
    assert shown.printed.count(f"'orchestration_run_id': '{RUN}', 'data_product': 'Finance'") == 3


def test_a_run_by_hand_keeps_out_of_the_gate_after_its_end(shown: Shown) -> None:
    """A load after its end has no data product either."""
    shown(
        "run = dbbtrace.begin_run(data_product='Finance'); run.end()",
        LOAD.format(table="b"),
        "assert dbbtrace.flush(30)",
        "sql = 'SELECT orchestration_run_id, data_product FROM meta.monitoring_integration'",
        "print(dbbtrace.query(sql, into='rows'), run.run_id)",
    )
    assert "'data_product': None" in shown.printed
    [said, run_id] = shown.printed.strip().splitlines()[-1].rsplit(maxsplit=1)
    assert run_id in said


# -- parameters ---------------------------------------------------------------------------------------------------


def test_join_run_takes_the_platforms_parameters() -> None:
    """In any spelling; others are ignored, what is named beside them wins."""
    parameters = {"Orchestration_Run_Id": RUN.upper(), "Data_Product": "Finance", "table_name": "Customer", "n": 3}
    with dbbtrace.join_run(**parameters) as run:
        assert run.run_id == RUN
        assert run._place is not None
        assert run._place.scope.data_product == "Finance"
    with dbbtrace.join_run(OTHER_RUN, **parameters) as run:
        assert run.run_id == OTHER_RUN


def test_a_slip_of_the_pen_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """A name that is almost one of them."""
    with dbbtrace.join_run(RUN, data_prodcut="Finance"):
        pass
    assert "data_prodcut is ignored: is dataproduct meant?" in caplog.text
