"""Every kind of warehouse, for the tests that must hold for each of them."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dbbtrace.warehouse import Warehouse, open_warehouse
from dbbtrace.warehouse.schema import ALL_TABLES, TABLES
from dbbtrace.warehouse.views import VIEWS
from tests.warehouse.sql_server import Server

LIVE = "DBBTRACE_TEST_MSSQL"
IN_TURN = pytest.mark.xdist_group("live server")
"""The tests that use the live server's one schema meta: they run one after another, beside all others."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A SQL Server, reached through what ``import pyodbc`` gives."""
    server = Server(tmp_path / "server.db")
    server.stand_in(monkeypatch)
    return server


@pytest.fixture(params=["sqlite", "sql-server", "fabric", pytest.param("live", marks=IN_TURN)])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    """A warehouse without tables."""
    if request.param == "sqlite":
        opened = open_warehouse(f"sqlite:///{tmp_path}/warehouse.db")
    elif request.param == "live":
        if not os.environ.get(LIVE):
            pytest.skip(f"{LIVE} holds no connection string of a server to test against")
        with live_server() as opened:
            _drop_tables(opened)
            yield opened
        return
    else:
        server = request.getfixturevalue("server")
        server.edition = 11 if request.param == "fabric" else 3
        opened = open_warehouse("Server=dw;Database=dbb;UID=u;PWD=p")
    yield opened
    opened.close()


@contextmanager
def live_server() -> Iterator[Warehouse]:
    """The live server, for one test at a time on this machine, however many run in parallel."""
    with open(Path(tempfile.gettempdir(), "dbbtrace-live-server.lock"), "w") as lock:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        opened = open_warehouse(os.environ[LIVE])
        try:
            yield opened
        finally:
            opened.close()


def _drop_tables(warehouse: Warehouse) -> None:
    for view in reversed(VIEWS):
        warehouse.query(f"DROP VIEW IF EXISTS [meta].[{view}]")
    for table in ALL_TABLES:
        warehouse.query(f"DROP TABLE IF EXISTS [meta].[{table.name}]")


@pytest.fixture
def migrated(warehouse: Warehouse) -> Warehouse:
    """A warehouse with the tables as dbbtrace makes them."""
    warehouse.migrate()
    return warehouse


@pytest.fixture
def hand_made(warehouse: Warehouse) -> Warehouse:
    """A warehouse whose tables have the platform's own columns alone."""
    _make_by_hand(warehouse)
    return warehouse


@pytest.fixture(params=["own tables", "hand-made tables"])
def either(request: pytest.FixtureRequest, warehouse: Warehouse) -> Warehouse:
    """A warehouse with the tables of one sort or the other."""
    if request.param == "own tables":
        warehouse.migrate()
    else:
        _make_by_hand(warehouse)
    return warehouse


def _make_by_hand(warehouse: Warehouse) -> None:
    for statement in warehouse.migrate(dry_run=True):
        if "INDEX" not in statement:
            make(warehouse, _without_additions(statement))
    warehouse.close()


def _without_additions(statement: str) -> str:
    table = next((table for table in TABLES if f"{table.name}" in statement), None)
    if table is None:
        return statement
    added = {column.name for column in table.columns if column.added}
    lines = statement.splitlines()
    kept = [line for line in lines[1:-1] if line.split()[0].strip('"[]') not in added]
    return "\n".join([lines[0], *kept]).rstrip(",") + "\n)"


def make(warehouse: Warehouse, statement: str) -> None:
    """Run DDL as somebody else would, before dbbtrace ever wrote here."""
    if not warehouse.name.startswith("sqlite"):
        warehouse.query(statement)
        return
    import sqlite3

    with sqlite3.connect(":memory:", isolation_level=None) as connection:
        connection.execute("ATTACH ? AS meta", (warehouse.name.removeprefix("sqlite:///"),))
        connection.execute(statement)
