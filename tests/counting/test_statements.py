"""What the warehouse is asked to do: statements a batch, transactions, and how SQLite finds what stands already."""

from __future__ import annotations

import sqlite3

import pytest
import sqlglot
from dbbtrace_exporters.warehouse.exporter import WarehouseSpanExporter

from dbbtrace.warehouse import open_warehouse
from dbbtrace.warehouse.dialects import BABELFISH, SQLITE, TSQL
from dbbtrace.warehouse.schema import DBT_NODES, TABLES
from dbbtrace.warehouse.sqlite_batches import ROWS
from dbbtrace.warehouse.statements import Found, Shape, insert
from tests.warehouse.spans import load, node, refresh
from tests.warehouse.sql_server import Server

BATCH = [
    made(span_id=100 * kind + number + 1) for kind, made in enumerate((load, node, refresh)) for number in range(50)
]
"""150 spans that give rows of all three tables."""


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
@pytest.mark.parametrize("facts", [False, True], ids=["live", "facts"])
@pytest.mark.parametrize("interrupted", [False, True], ids=["ended", "interrupted"])
def test_no_row_written_reads_the_whole_table(tmp_path, table, facts, interrupted):
    """Whatever is looked for before a row is written, an index finds it: cost must not grow with the table."""
    warehouse = open_warehouse("sqlite:///a.db")
    statement = insert(SQLITE, table, warehouse.shapes()[table.name], facts, interrupted)
    nothing = [None] * (len(statement.places) + len(statement.controls))
    with sqlite3.connect(":memory:") as connection:
        connection.execute("ATTACH ? AS meta", (str(tmp_path / "a.db"),))
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}", nothing)]
    assert not [step for step in plan if step.startswith("SCAN t")], plan


def test_a_batch_for_sql_server_is_one_statement_a_table(tmp_path, monkeypatch):
    """Every statement writes a file in a Fabric Warehouse; whatever is looked up, is looked up once a connection."""
    server = Server(tmp_path / "server.db")
    server.stand_in(monkeypatch)
    warehouse = open_warehouse("Server=dw;Database=dbb;UID=u;PWD=p")
    warehouse.migrate()
    exporter = WarehouseSpanExporter("Server=dw;Database=dbb;UID=u;PWD=p")
    exporter.deliver(BATCH)
    assert len(server.inserts()) == 3
    before = len(server.statements)
    exporter.deliver(BATCH)
    assert len(server.statements) - before == 3
    exporter.shutdown()


def test_a_batch_for_sqlite_is_one_transaction_a_table():
    """However many rows it has: a commit is what costs."""
    exporter = WarehouseSpanExporter("sqlite:///a.db")
    exporter.deliver(BATCH[:1])
    asked = []
    exporter.warehouse._connection.set_trace_callback(asked.append)
    exporter.deliver(BATCH)
    assert [sql.split()[0] for sql in asked].count("BEGIN") == 3
    assert [sql.split()[0] for sql in asked].count("COMMIT") == 3
    # Facts alone make it look for rows of others: once, not row by row.
    assert [sql for sql in asked if sql.split()[0] not in ("BEGIN", "INSERT", "COMMIT", "--")] == [
        SQLITE.without_record(DBT_NODES)
    ]
    exporter.shutdown()


@pytest.mark.parametrize("made", [load, node, refresh])
def test_rows_go_to_sqlite_many_a_step(made):
    """Each step gives the interpreter's lock away: beside a busy thread that costs more than the row."""
    exporter = WarehouseSpanExporter("sqlite:///a.db")
    exporter.deliver([made(span_id=1)])
    asked = []
    exporter.warehouse._connection.set_trace_callback(asked.append)
    exporter.deliver([made(span_id=number, IDENTITY=f"{number}") for number in range(2, 2 + 20 * ROWS)])
    rows = exporter.warehouse.query(f"SELECT COUNT(*) FROM meta.{TABLES[[load, node, refresh].index(made)].name}").rows
    steps = len([sql for sql in asked if sql.startswith("INSERT")])
    assert steps == (rows[0][0] - 1) // ROWS
    exporter.shutdown()


def test_looking_for_rows_of_others_reads_no_table(tmp_path):
    """An index tells at once, also in a table of millions of which none is another's."""
    open_warehouse("sqlite:///a.db").shapes()
    with sqlite3.connect(":memory:") as connection:
        connection.execute("ATTACH ? AS meta", (str(tmp_path / "a.db"),))
        for table in TABLES:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {SQLITE.without_record(table)}")]
            assert all("INDEX ix_" in step for step in plan), plan


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_babelfish_looks_for_each_row_by_itself(table):
    """Of NOT EXISTS its planner makes a join that reads the whole table; T-SQL's own makes one that asks the index."""
    shape = Shape(tuple((column.name, Found(column.name)) for column in table.columns))
    on_babelfish, on_sql_server = (insert(dialect, table, shape, True, True) for dialect in (BABELFISH, TSQL))
    assert "EXISTS" not in on_babelfish.sql
    looks = on_babelfish.sql.count("0 = (SELECT COUNT(*) FROM")
    assert looks == on_sql_server.sql.count("NOT EXISTS (SELECT 1 FROM") >= 2
    sqlglot.parse_one(on_babelfish.sql.replace("?", "@p"), dialect="tsql", error_level=sqlglot.ErrorLevel.RAISE)
