"""The delivery in front of the real warehouse exporter: T-SQL through a pyodbc that raises what the real one does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dbbtrace_exporters.warehouse.exporter import WarehouseSpanExporter

from dbbtrace.delivery import Delivery, Destination, dead_letters, waiting
from dbbtrace.warehouse import open_warehouse
from tests.warehouse.spans import load
from tests.warehouse.sql_server import Server, fault

DW = "Server=dw;Database=dbb;UID=u;PWD=p"
RETRIABLE = [926, 4060, 4221, 615, 40197, 40501, 40613, 49918, 49919, 49920, 10928, 10929, 10053, 10054, 10060,
             1205, 1222, 3961, 24556, 24706, 24804, 6005]  # fmt: skip
STATES = ["08S01", "08001", "08003", "08007", "HYT00", "40001"]
FOR_A_PERSON = [18456, 229, 262, 208]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A SQL Server with the tables, reached through what ``import pyodbc`` gives."""
    server = Server(tmp_path / "server.db")
    server.stand_in(monkeypatch)
    warehouse = open_warehouse(DW)
    warehouse.migrate()
    warehouse.close()
    return server


@pytest.fixture
def delivery(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Delivery]:
    """A delivery to it, whose pauses a test can afford."""
    monkeypatch.setattr("dbbtrace.delivery.backoff._FIRST_PAUSE", 0.01)
    delivery = Delivery([destination()], journal_dir=tmp_path / "journals")
    yield delivery
    delivery.shutdown(0)


def destination() -> Destination:
    return Destination("mssql://dw/dbb", lambda: WarehouseSpanExporter(DW), rows=True)


def stored(server: Server) -> list[str]:
    """The tables whose loads stand."""
    return [name for (name,) in server.sql("SELECT table_name FROM meta.monitoring_integration ORDER BY table_name")]


@pytest.mark.parametrize("after", [False, True], ids=["not carried out", "carried out, answer lost"])
@pytest.mark.parametrize("native", RETRIABLE)
def test_every_passing_error_ends_with_each_row_once(
    server: Server, delivery: Delivery, native: int, after: bool
) -> None:
    """Wherever it strikes, before or after the commit: tried again until the rows stand, and they stand once."""
    server.fail("INSERT", fault(native), after=after)
    delivery.emit([load("A"), load("B", span_id=2)])
    assert delivery.flush(20)
    assert stored(server) == ["A", "B"]
    assert list(dead_letters(str(delivery._options.journal_dir))) == []


@pytest.mark.parametrize("state", STATES)
def test_a_warehouse_that_sleeps_or_drops_connections_is_waited_for(
    server: Server, delivery: Delivery, state: str
) -> None:
    """Errors at connecting and during the statement, one after the other."""
    server.connect_faults = [fault(0, state=state) for _ in range(3)]
    server.fail("INSERT", fault(0, state=state), after=True)
    delivery.emit([load("A")])
    assert delivery.flush(20)
    assert stored(server) == ["A"]


@pytest.mark.parametrize("native", FOR_A_PERSON)
def test_what_needs_a_person_sets_nothing_aside(
    server: Server, delivery: Delivery, native: int, tmp_path: Path
) -> None:
    """Wrong login, missing right, missing table: the rows wait, and stand once the fault is mended."""
    if native == 18456:
        server.connect_faults = [fault(native)] * 10
    else:
        for _ in range(10):
            server.fail("INSERT", fault(native))
    delivery.emit([load("A"), load("B", span_id=2)])
    assert not delivery.flush(20)
    assert stored(server) == []
    assert list(dead_letters(tmp_path / "journals")) == []
    delivery.shutdown(0)
    server.connect_faults, server.faults = [], []
    mended = Delivery([destination()], journal_dir=tmp_path / "journals")
    assert mended.flush(20)
    assert stored(server) == ["A", "B"]
    mended.shutdown()
    assert list(waiting(tmp_path / "journals")) == []


def test_a_row_that_is_refused_leaves_the_others_standing(server: Server, delivery: Delivery, tmp_path: Path) -> None:
    """One value the server can't take, among a thousand rows: that row is set aside, with what the server said."""
    server.poison = "POISON"
    delivery.emit([load("POISON" if number == 377 else f"t{number}", span_id=number + 1) for number in range(1_000)])
    assert not delivery.flush(60)
    assert len(stored(server)) == 999
    (letter,) = dead_letters(tmp_path / "journals")
    assert (letter.span.attributes or {})["dbb.table.name"] == "POISON"
    assert "8114" in letter.reason or "converting" in letter.reason


def test_rows_that_waited_for_a_warehouse_to_be_named_go_out_with_the_next_job(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Fabric nothing is assumed: what was recorded before goes to the warehouse that is named then. A file that
    somebody tries out does not get it."""
    import dbbtrace

    monkeypatch.setattr("dbbtrace.settings.in_fabric", lambda: True)
    for name in ("DBBTRACE_WAREHOUSE", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    journals = tmp_path / "journals"
    try:
        for warehouse, table in ((None, "A"), (f"sqlite:///{tmp_path}/tried.db", "B"), (DW, "C")):
            dbbtrace.configure(warehouse=warehouse, journal_dir=journals, rows_timeout=0 if warehouse is None else 10)
            with dbbtrace.join_run("0f8fad5b-d9cb-469f-a165-70867728950e"), dbbtrace.table_load(table):
                pass
            dbbtrace.shutdown(0 if warehouse is None else 10)
        assert list(waiting(journals)) == []
    finally:
        dbbtrace.shutdown(0)
    assert stored(server) == ["A", "C"]
