"""The watermark, beside the platform's own query on the same rows."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from dbbtrace.answers.watermark import NEVER, watermark
from dbbtrace.cli.commands import dbbtrace
from dbbtrace.errors import ConfigurationError
from dbbtrace.graph import Table
from dbbtrace.warehouse import Warehouse
from tests.gate.support import NOW, load, opened, part, run_id

PLATFORM = """
SELECT MAX("timestamp") FROM monitoring_integration
WHERE table_name = ? AND schema_name = ? AND source_name = ? AND status = 'Succeeded'
"""
"""The platform's query, in SQLite's spelling."""


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    with opened(tmp_path) as found:
        yield found


def of_the_platform(folder: Path, table: Table) -> str:
    """As the platform formats it: yyyy-MM-dd HH:mm:ss.fff."""
    with sqlite3.connect(folder / "rows.db") as file:
        [(found,)] = file.execute(PLATFORM, (table.table, table.schema, table.source))
    return f"{found}.000" if found is not None else NEVER


def test_it_is_the_answer_of_the_platforms_own_query(warehouse: Warehouse, tmp_path: Path) -> None:
    """For any loads: other words, other letters, other systems, other products."""
    chance = random.Random(20261128)
    names = [
        ("MDS", "mdm", "Customer"),
        ("MDS", "mdm", "customer"),
        ("ERP", "mdm", "Customer"),
        ("MDS", "dbo", "Company"),
    ]
    words = ("Succeeded", "Failed", "succeeded", "Success")
    rows = []
    for number in range(120):
        at = NOW - timedelta(seconds=chance.randrange(10**6))
        product = chance.choice(["Finance", None])
        name, word = chance.choice(names), chance.choice(words)
        rows.append(load(name, at, word, run=run_id(number), product=product))
    warehouse.write(rows)
    for name in [*names, ("MDS", "mdm", "Nothing")]:
        assert watermark(warehouse, Table(*name)).value == of_the_platform(tmp_path, Table(*name))


CUSTOMER = Table("MDS", "mdm", "Customer")


def test_what_the_number_leaves_unsaid_is_said(warehouse: Warehouse) -> None:
    """Never loaded, never with success, loaded under other letters, loaded in full, and empty."""
    assert (watermark(warehouse, CUSTOMER).state, watermark(warehouse, CUSTOMER).note) == (
        "never loaded",
        "no load of it is recorded",
    )
    warehouse.write([load(("MDS", "MDM", "CUSTOMER"), NOW)])
    assert watermark(warehouse, CUSTOMER).note == "there is MDS MDM.CUSTOMER: names are compared letter by letter"
    assert watermark(warehouse, Table("", "", "Customer")).note == (
        "no load of it is recorded; there is MDS MDM.CUSTOMER: source and schema are compared too"
    )
    warehouse.write([load(CUSTOMER, NOW, "Success")])
    assert watermark(warehouse, CUSTOMER).value == NEVER
    warehouse.write([load(CUSTOMER, NOW + timedelta(minutes=1), load_type="INCREMENTAL")])
    found = watermark(warehouse, CUSTOMER)
    assert (found.state, found.note, found.value) == ("incremental", None, "2026-11-25 09:01:00.000")
    warehouse.write([load(CUSTOMER, NOW + timedelta(minutes=2), load_type="FULL")])
    assert watermark(warehouse, CUSTOMER).note == "its last load was FULL"
    assert watermark(warehouse, CUSTOMER, "full").value == NEVER
    found_empty = part("finding", NOW + timedelta(minutes=5), name="mdm.Customer", status="Warned", error_type="empty",
                       expected_by="verify", error_message="it is empty")  # fmt: skip
    warehouse.write([found_empty])
    found = watermark(warehouse, CUSTOMER)
    assert (found.state, found.value) == ("empty", "2026-11-25 09:02:00.000")


def test_the_command_prints_the_value_and_nothing_else_on_stdout(warehouse: Warehouse, tmp_path: Path) -> None:
    """For scripts; in another form where one is asked for."""
    warehouse.write([load(CUSTOMER, NOW)])
    words = ["--warehouse", f"sqlite:///{tmp_path}/rows.db", "watermark", "--source", "MDS", "--schema", "mdm"]
    done = CliRunner().invoke(dbbtrace, [*words, "--table", "Customer"])
    assert (done.exit_code, done.stdout) == (0, "2026-11-25 09:00:00.000\n")
    done = CliRunner().invoke(dbbtrace, [*words, "--table", "Customer", "--format", "%Y/%m/%d"])
    assert done.stdout == "2026/11/25\n"
    done = CliRunner().invoke(dbbtrace, [*words, "--table", "Nothing"])
    assert (done.exit_code, done.stdout) == (0, f"{NEVER}\n")
    assert "never loaded" in done.stderr


def test_a_warehouse_that_cannot_be_asked_is_never_read_as_never_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It raises in Python, and the command prints nothing."""
    import dbbtrace as front_door

    (tmp_path / "rows.db").write_bytes(b"this is no database" * 100)
    url = f"sqlite:///{tmp_path}/rows.db"
    done = CliRunner().invoke(dbbtrace, ["--warehouse", url, "watermark", "--table", "Customer"])
    assert (done.exit_code, done.stdout) == (4, "")
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", url)
    with pytest.raises(ConfigurationError):
        front_door.watermark("Customer", schema="mdm", source="MDS")
