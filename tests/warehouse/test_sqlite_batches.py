"""Many rows in one step of SQLite: what stands afterwards is what executemany leaves."""

from __future__ import annotations

import re
import sqlite3
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbbtrace.errors import RefusedError
from dbbtrace.warehouse import open_warehouse, sqlite_batches
from dbbtrace.warehouse.schema import LOADS, TABLES, Row
from dbbtrace.warehouse.sqlite_batches import ROWS, Values, insert_many

VALUES = Values(5, "INSERT OR ROLLBACK INTO t (id, a, b, c, d) VALUES", " ON CONFLICT (id) DO NOTHING")
FEW = st.sampled_from([None, "", "1", 1, 1.0, True, 0.0, -0.0, "x", "é", "\U0001f389", 2**62])


@given(
    st.tuples(FEW, FEW, FEW, FEW),
    st.sets(st.integers(0, 3)),
    st.lists(st.tuples(st.integers(0, 120), FEW, FEW, FEW, FEW), min_size=1, max_size=3 * ROWS),
)
def test_rows_are_as_executemany_leaves_them(common, shared, rows):
    """Whichever columns all rows share, whatever stands in them; of one id the first stands, and is counted once."""
    rows = [(id_, *[common[place] if place in shared else own[place] for place in range(4)]) for id_, *own in rows]
    ours, theirs = (sqlite3.connect(":memory:", isolation_level=None) for _ in range(2))
    for connection in (ours, theirs):
        connection.execute("CREATE TABLE t (id bigint PRIMARY KEY, a, b varchar(9), c bigint, d float)")
    count = theirs.executemany(str(VALUES), rows).rowcount
    assert insert_many(ours, VALUES, rows) == count
    look = "SELECT id, a, typeof(a), b, typeof(b), c, typeof(c), d, typeof(d), 1 / a FROM t ORDER BY rowid"
    assert list(map(repr, ours.execute(look))) == list(map(repr, theirs.execute(look)))
    assert insert_many(ours, VALUES, rows) == 0
    ours.close()
    theirs.close()


def test_sqlite3_has_no_reason_to_warn():
    """Python 3.12.0 to 3.12.3 takes a number for a name, and says that this will be refused."""
    with sqlite3.connect(":memory:") as connection, warnings.catch_warnings():
        warnings.simplefilter("error")
        connection.execute("CREATE TABLE t (id bigint PRIMARY KEY, a, b, c, d)")
        rows = [(number, "x", "y", number, None) for number in range(ROWS + 1)]
        assert insert_many(connection, VALUES, rows) == len(rows)


def test_nothing_is_numbered_where_nothing_may_be_shared(monkeypatch):
    """So they get many rows a step all the same."""
    monkeypatch.setattr(sqlite_batches, "_SHARES", False)
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE t (id bigint PRIMARY KEY, a, b, c, d)")
        rows = [(number, "x", "y", number, None) for number in range(ROWS + 1)]
        assert insert_many(connection, VALUES, rows) == len(rows)
        assert connection.execute("SELECT * FROM t").fetchall() == rows
    assert sqlite_batches._statement(VALUES, ()).count("?,") == ROWS * 4
    assert not re.search(r"[?][0-9]", sqlite_batches._statement(VALUES, ()))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_no_step_has_more_parameters_than_old_sqlite_takes(table):
    """999, before 3.32."""
    assert ROWS * len(table.columns) <= 999


@pytest.mark.parametrize("wrong", [0, 7, ROWS - 1, ROWS, 2 * ROWS + 1, 2 * ROWS + 5])
def test_a_row_that_is_refused_stops_no_other(tmp_path, wrong):
    """Wherever it stands: in a full step, or among those that are left over."""
    rows = [_row(number, bad=number == wrong) for number in range(2 * ROWS + 6)]
    warehouse = open_warehouse("sqlite:///a.db")
    with pytest.raises(RefusedError, match=f"^1 row refused.*{wrong:032x}"):
        warehouse.write(rows)
    assert warehouse.query("SELECT COUNT(*) FROM meta.monitoring_integration").rows == [(len(rows) - 1,)]
    warehouse.close()


def _row(number: int, *, bad: bool) -> Row:
    values = dict.fromkeys(LOADS.position)
    values |= {
        "table_name": "t",
        "rows_read": 2**63 if bad else 1,
        "orchestration_run_id": "run",
        "record_id": f"{number:032x}",
    }
    return Row(LOADS, tuple(values.values()), f"{number:032x}")
