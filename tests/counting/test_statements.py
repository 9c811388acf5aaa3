"""What the warehouse is asked to do: statements a batch, transactions, and how SQLite finds what stands already."""

from __future__ import annotations

import sqlite3

import pytest

from dbbtrace.warehouse import open_warehouse
from dbbtrace.warehouse.dialects import SQLITE
from dbbtrace.warehouse.schema import TABLES
from dbbtrace.warehouse.statements import insert


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
