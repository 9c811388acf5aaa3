"""A SQL Server for the tests that write to one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.warehouse.sql_server import Server


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A SQL Server, reached through what ``import pyodbc`` gives."""
    server = Server(tmp_path / "server.db")
    server.stand_in(monkeypatch)
    return server
