"""``verify``: what readers find in loaded tables, counted at the SQL endpoint, again once that was refreshed."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dbbtrace_exporters.warehouse.flatten import flatten

import dbbtrace
from dbbtrace.job.endpoint import Loaded, name_at_endpoint
from dbbtrace.testing import capture
from dbbtrace.warehouse.schema import VALIDATIONS
from tests.cli.support import assert_one_line, run
from tests.support.fabric import WORKSPACE, FabricService
from tests.verdict.situations import PRODUCT, RUN
from tests.warehouse.conftest import IN_TURN, LIVE, live_server
from tests.warehouse.sql_server import Server, fault

ENDPOINT = "5b218778-e7a5-4d73-8187-f10824047715"
LAKEHOUSE = {
    "id": "3546052c-ae64-4526-b1a8-52af7761426f",
    "displayName": "dbb_lakehouse",
    "type": "Lakehouse",
    "workspaceId": WORKSPACE,
    "properties": {"sqlEndpointProperties": {"id": ENDPOINT, "provisioningStatus": "Success"}},
}
LATE = "MDS__mdm_Customer"


class Stage:
    """A warehouse with the platform's table of validations, and a SQL endpoint, each a file."""

    def __init__(self, path: Path) -> None:
        self.warehouse, self.endpoint = path / "w.db", path / "lake.db"
        with dbbtrace.open_warehouse(f"sqlite:///{self.warehouse}") as opened:
            opened.migrate()
        columns = ", ".join(f'"{column.name}" {column.sql_type}' for column in VALIDATIONS.columns)
        self.sql(self.warehouse, f"CREATE TABLE {VALIDATIONS.name} ({columns})")
        sqlite3.connect(self.endpoint).close()

    @staticmethod
    def sql(path: Path, statement: str, *values: object) -> list[Any]:
        with sqlite3.connect(path) as file:
            return file.execute(statement, values).fetchall()

    def table(self, name: str, rows: int) -> None:
        self.sql(self.endpoint, f'CREATE TABLE IF NOT EXISTS "{name}" (id)')
        for row in range(rows):
            self.sql(self.endpoint, f'INSERT INTO "{name}" VALUES (?)', row)

    def validations(self) -> list[Any]:
        return self.sql(self.warehouse, f"SELECT * FROM {VALIDATIONS.name} ORDER BY timestamp")


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", f"sqlite:///{stage.warehouse}")
    monkeypatch.setenv("DBBTRACE_SQL_ENDPOINT", f"sqlite:///{stage.endpoint}")
    monkeypatch.setenv("DBBTRACE_ROWS_TIMEOUT", "30")
    yield stage
    dbbtrace.shutdown()


@pytest.fixture
def lakehouse(fabric: FabricService, monkeypatch: pytest.MonkeyPatch) -> FabricService:
    fabric.lakehouses.append(LAKEHOUSE)
    monkeypatch.setenv("DBBTRACE_LAKEHOUSE", "dbb_lakehouse")
    dbbtrace.configure(fabric_token="token")
    return fabric


def load(table: str, *, schema: str = "mdm", **more: Any) -> None:
    with dbbtrace.table_load(table, schema=schema, source="MDS", **more) as work:
        work.rows_written = 10


def refreshes(service: FabricService) -> list[str]:
    return [request for request in service.requests if request.startswith("POST")]


def test_a_late_table_is_counted_again(stage: Stage, lakehouse: FabricService) -> None:
    """The endpoint looks at its lakehouse once for all that looks empty; then the table is there."""
    stage.table(LATE, 0)
    stage.table("MDS__mdm_Vendor", 3)
    lakehouse.long_running = True

    def refresh(endpoint: str) -> list[dict[str, Any]]:
        stage.table(LATE, 7)
        return [{"tableName": LATE, "status": "Success"}]

    lakehouse.on_refresh = refresh
    with dbbtrace.orchestration_run(RUN, **PRODUCT, workspace_id=WORKSPACE):
        load("Customer")
        load("Vendor")
        found = dbbtrace.verify()
    assert [(each.table, each.name, each.rows, each.refreshed) for each in found] == [
        ("mdm.Customer", LATE, 7, True),
        ("mdm.Vendor", "MDS__mdm_Vendor", 3, False),
    ]
    assert refreshes(lakehouse) == [f"POST /v1/workspaces/{WORKSPACE}/sqlEndpoints/{ENDPOINT}/refreshMetadata"]
    assert [row[:5] for row in stage.validations()] == [
        (LATE, "MDS", "mdm.Customer", WORKSPACE, 7),
        ("MDS__mdm_Vendor", "MDS", "mdm.Vendor", WORKSPACE, 3),
    ]
    started = stage.sql(stage.warehouse, "SELECT table_name, process_started_at FROM monitoring_integration")
    assert [row[5] for row in stage.validations()] == [at for _, at in sorted(started)]
    assert dbbtrace.verdict(RUN).word == "Succeeded"


def test_a_table_that_stays_empty(stage: Stage, lakehouse: FabricService) -> None:
    """The run is Warned, by one reason; a later count that finds rows takes it back."""
    stage.table(LATE, 0)
    lakehouse.on_refresh = lambda endpoint: [
        {"tableName": LATE, "status": "Failure", "error": {"errorCode": "x", "message": "the log is torn"}}
    ]
    with dbbtrace.orchestration_run(RUN, **PRODUCT, workspace_id=WORKSPACE):
        load("Customer")
        [found] = dbbtrace.verify()
    assert found.is_empty
    said = dbbtrace.verdict(RUN)
    assert said.word == "Warned"
    [reason] = [each for each in said.reasons if each.verdict]
    assert (reason.kind, reason.name) == ("empty", "mdm.Customer")
    assert "the log is torn" in reason.text
    dbbtrace.shutdown()

    stage.table(LATE, 1)
    done = run("verify", RUN)
    assert (done.code, done.out) == (0, "mdm.Customer: 1 row\n")
    stage.table(LATE, 1)
    assert run("verify", RUN).out == "mdm.Customer: 2 rows\n"
    assert [row[4] for row in stage.validations()] == [0, 1, 2]
    assert dbbtrace.verdict(RUN).word == "Succeeded"


@pytest.mark.parametrize(
    ("status", "setting", "why"),
    [(403, "dbb_lakehouse", "Viewer role"), (None, "dbb_lakhouse", "did you mean dbb_lakehouse?")],
)
def test_an_endpoint_that_is_not_refreshed(
    stage: Stage, lakehouse: FabricService, monkeypatch: pytest.MonkeyPatch, status: int | None, setting: str, why: str
) -> None:
    """The count stands, and says so; the job goes on."""
    monkeypatch.setenv("DBBTRACE_LAKEHOUSE", setting)
    if status:
        lakehouse.gone["refreshMetadata"] = status
    stage.table(LATE, 0)
    with dbbtrace.orchestration_run(RUN, **PRODUCT, workspace_id=WORKSPACE):
        load("Customer")
        [found] = dbbtrace.verify("Customer")
    assert (found.rows, found.refreshed) == (0, False)
    assert why in (found.problem or "")
    assert any(why in each.text for each in dbbtrace.verdict(RUN).reasons)


def test_a_table_that_readers_do_not_find(stage: Stage) -> None:
    """Nobody knows whether it is empty: a warning, no validation, exit code 4; the mapping says its real name."""
    with dbbtrace.orchestration_run(RUN, **PRODUCT):
        load("Customer")
        [found] = dbbtrace.verify()
        assert found.rows is None
    said = dbbtrace.verdict(RUN)
    assert said.word == "Warned"
    assert "mdm.Customer could not be counted" in said.reasons[0].text
    assert stage.validations() == []
    dbbtrace.shutdown()
    assert run("verify", RUN).code == 4
    stage.table("Kunde", 4)
    names = json.dumps({"mds": "dbo.x", "MDM.customer": "meta.Kunde"})
    done = run_with({"DBBTRACE_LAKEHOUSE_TABLES": names}, "verify", RUN, "--json")
    assert [(each["name"], each["rows"]) for each in json.loads(done.out)] == [("meta.Kunde", 4)]
    assert dbbtrace.verdict(RUN).word == "Succeeded"


def run_with(variables: dict[str, str], *arguments: str) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        return run(*arguments)


def test_an_endpoint_that_can_not_be_opened(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job goes on; nothing is taken for good."""
    monkeypatch.setenv("DBBTRACE_SQL_ENDPOINT", f"sqlite:///{stage.endpoint}.none")
    with dbbtrace.orchestration_run(RUN, **PRODUCT):
        load("Customer")
        [found] = dbbtrace.verify()
    assert (found.rows, found.is_empty) == (None, False)
    assert "no such file" in (found.problem or "")
    assert dbbtrace.verdict(RUN).word == "Warned"
    dbbtrace.shutdown()
    done = run("verify", RUN)
    assert (done.code, "no such file" in done.out) == (4, True)


def test_a_t_sql_endpoint_lacks_the_table(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 4, as on SQLite; and the same if the server does not answer."""
    server = Server(tmp_path / "server.db")
    server.stand_in(monkeypatch)
    monkeypatch.setenv("DBBTRACE_SQL_ENDPOINT", "Server=dw;Database=dbb;UID=u;PWD=p")
    with dbbtrace.orchestration_run(RUN, **PRODUCT):
        load("Customer")
    dbbtrace.shutdown()
    done = run("verify", RUN, "--no-refresh")
    assert done.code == 4, done.err
    assert "not counted" in done.out
    server.connect_faults += [fault(18456, "Login failed for user 'u'.")]
    done = run("verify", RUN, "--no-refresh")
    assert done.code == 4, done.err
    assert "check the login" in done.out


@IN_TURN
@pytest.mark.skipif(not os.environ.get(LIVE), reason=f"{LIVE} holds no connection string")
def test_a_t_sql_server_counts(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table with rows, an empty one, and one that is not there."""
    monkeypatch.setenv("DBBTRACE_SQL_ENDPOINT", os.environ[LIVE])
    monkeypatch.setenv("DBBTRACE_LAKEHOUSE_TABLES", json.dumps({"*": "meta.counted_{table}"}))
    with live_server() as server:
        if not server.shapes():
            server.migrate()
        for table, rows in (("full", 3), ("bare", 0)):
            server.query(f"DROP TABLE IF EXISTS [meta].[counted_{table}]")
            server.query(f"CREATE TABLE [meta].[counted_{table}] ([id] int)")
            for row in range(rows):
                server.query(f"INSERT INTO [meta].[counted_{table}] VALUES (?)", (row,))
        with dbbtrace.orchestration_run(RUN, **PRODUCT):
            for table in ("full", "bare", "missing"):
                load(table)
            found = dbbtrace.verify()
        for table in ("full", "bare"):
            server.query(f"DROP TABLE [meta].[counted_{table}]")
    assert {each.table: each.rows for each in found} == {"mdm.full": 3, "mdm.bare": 0, "mdm.missing": None}
    assert "counted_missing" in next(each.problem or "" for each in found if each.rows is None)
    assert dbbtrace.verdict(RUN).word == "Warned"


def test_the_pattern_that_dbt_reads_by(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """One setting says it for both."""
    monkeypatch.setenv("DBBTRACE_TABLE_PATTERN", "meta.{schema}_{table}")
    stage.table("mdm_Customer", 2)
    with dbbtrace.orchestration_run(RUN, **PRODUCT):
        load("Customer")
        [found] = dbbtrace.verify()
    assert (found.name, found.rows) == ("meta.mdm_Customer", 2)


def test_a_load_that_failed_is_not_counted(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a table that was never loaded is refused by the command, with what there is."""
    with dbbtrace.orchestration_run(RUN, **PRODUCT):
        with pytest.raises(RuntimeError), dbbtrace.table_load("Customer", schema="mdm", source="MDS"):
            raise RuntimeError("it broke")
        load("Vendor")
        stage.table("MDS__mdm_Vendor", 1)
        assert [each.table for each in dbbtrace.verify()] == ["mdm.Vendor"]
    dbbtrace.shutdown()
    assert_one_line(run("verify", RUN, "--table", "mdm.Vendr"), "has loaded no table", "did you mean mdm.Vendor?")
    monkeypatch.delenv("DBBTRACE_ORCHESTRATION_RUN_ID", raising=False)
    assert_one_line(run("verify"), "DBBTRACE_ORCHESTRATION_RUN_ID")


def test_the_load_itself_may_count(stage: Stage) -> None:
    """``table_load(verify=...)`` gives the same rows; one that raises is a warning, and no matter of the job's."""
    with dbbtrace.orchestration_run(RUN, **PRODUCT):
        load("Customer", verify=lambda: 0)
        load("Vendor", verify=lambda: 1 // 0)
    assert [row[:5] for row in stage.validations()] == [(LATE, "MDS", "mdm.Customer", None, 0)]
    texts = [each.text for each in dbbtrace.verdict(RUN).reasons if each.verdict == "Warned"]
    assert len(texts) == 2
    assert any("mdm.Vendor could not be counted" in text and "ZeroDivisionError" in text for text in texts)


def test_a_count_is_written_once(stage: Stage) -> None:
    """Delivered again, by another process too, it is no second row."""
    with dbbtrace.orchestration_run(RUN, **PRODUCT):
        load("Customer", verify=lambda: 5)
    dbbtrace.shutdown()
    with capture() as captured, dbbtrace.orchestration_run("another", **PRODUCT):
        load("Customer", verify=lambda: 6)
    rows = [row for row in flatten(captured.parts, now=2**62).rows if row.table is VALIDATIONS]
    assert len(rows) == 1
    for _ in range(2):
        with dbbtrace.open_warehouse(f"sqlite:///{stage.warehouse}") as warehouse:
            warehouse.write([*rows, *rows])
    assert sorted(row[4] for row in stage.validations()) == [5, 6]


def test_a_table_of_validations_that_lacks_columns_stops_nothing(stage: Stage) -> None:
    """The run's own record has the count all the same."""
    stage.sql(stage.warehouse, f"DROP TABLE {VALIDATIONS.name}")
    stage.sql(stage.warehouse, f"CREATE TABLE {VALIDATIONS.name} (table_identifier)")
    with dbbtrace.orchestration_run(RUN, **PRODUCT):
        load("Customer", verify=lambda: 0)
    assert dbbtrace.verdict(RUN).word == "Warned"


@pytest.mark.parametrize(
    ("loaded", "names", "there"),
    [
        (Loaded("cdm_company", "dbo", "Dynamics"), {}, ("Dynamics__dbo_cdm_company",)),
        (Loaded("cdm_company", None, "Dynamics"), {}, ("Dynamics__cdm_company",)),
        (Loaded("orders"), {}, ("orders",)),
        (Loaded("a.b", "s", "X"), {"*": "lake.dbo.{source}_{table}"}, ("lake", "dbo", "X_a.b")),
        (Loaded("t", "s", "X"), {"*": "{table}", "x": "{schema}.{table}"}, ("s", "t")),
        (Loaded("t", "s", "X"), {"x": "{table}", "S.T": "{u}t"}, ("{u}t",)),
        (Loaded("{schema}", "s", "X"), {}, ("X__s_{schema}",)),
    ],
)
def test_what_a_table_is_called_there(loaded: Loaded, names: dict[str, str], there: tuple[str, ...]) -> None:
    """The table's own pattern before its source's, and that before the general one."""
    assert name_at_endpoint(loaded, names) == there
