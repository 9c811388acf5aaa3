"""``migrate`` makes what is missing and touches nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dbbtrace_exporters.warehouse.flatten import rows_of

from dbbtrace.warehouse import Warehouse, open_warehouse
from dbbtrace.warehouse.schema import ALL_TABLES, TABLES
from tests.warehouse.spans import load, node, refresh


def test_everything_is_made_once(warehouse):
    """Tables with all their columns in order; the second time there is nothing to do."""
    done = warehouse.migrate()
    assert [line for line in done if line.startswith("created table")] == [
        f"created table meta.{table.name}" for table in ALL_TABLES
    ]
    assert warehouse.migrate() == []
    assert warehouse.columns() == {
        table.name: frozenset(column.name for column in table.columns) for table in ALL_TABLES
    }


def test_an_index_where_the_database_enforces_it(warehouse):
    """SQLite and SQL Server; on Fabric none."""
    indexes = [line for line in warehouse.migrate() if "index" in line]
    assert len(indexes) == {"sqlite": 14, "tsql": 4, "babelfish": 4, "fabric": 0}[warehouse.dialect.name]


def test_a_dry_run_is_the_sql_alone(warehouse):
    """It changes nothing, and running it is what migrate would have done."""
    sql = warehouse.migrate(dry_run=True)
    assert warehouse.migrate(dry_run=True) == sql
    assert all(re.match(r"CREATE (SCHEMA|TABLE|(UNIQUE )?INDEX) ", statement) for statement in sql)
    assert len(warehouse.migrate()) == len(sql)


def test_a_dry_run_makes_no_file(tmp_path):
    """Not even its directory."""
    assert open_warehouse("sqlite:///sub/a.db").migrate(dry_run=True)
    assert list(tmp_path.iterdir()) == []


def test_columns_are_added_to_tables_that_stand(hand_made):
    """Rows of before stay as they are; rows of after fill the new columns."""
    rows = [row for span in (load(), node(), refresh()) for row in rows_of(span)]
    hand_made.write(rows)
    done = hand_made.migrate()
    added = [line for line in done if line.startswith("added column")]
    assert len(added) == sum(column.added for table in TABLES for column in table.columns)
    assert "added column meta.monitoring_integration.record_id varchar(32)" in added
    hand_made.write(list(rows_of(load("Vendor"))))
    assert hand_made.query(
        "SELECT table_name, environment FROM meta.monitoring_integration ORDER BY table_name"
    ).rows == [("Customer", None), ("Vendor", "PRD")]
    assert hand_made.migrate() == []


def test_nothing_is_dropped_or_altered(hand_made):
    """Additive statements alone, whatever stands."""
    for statement in hand_made.migrate(dry_run=True):
        assert re.match(r"ALTER TABLE \S+ ADD \S+ \S+ NULL$|CREATE (UNIQUE )?INDEX ", statement), statement


def test_the_schema_is_made_where_it_is_missing(server):
    """And only there."""
    warehouse = open_warehouse("Server=dw;Database=dbb;UID=u;PWD=p")
    assert warehouse.migrate(dry_run=True)[0] == "CREATE SCHEMA [meta]"
    server.has_schema = True
    assert warehouse.migrate(dry_run=True)[0].startswith("CREATE TABLE [meta].[monitoring_integration]")


def test_writing_does_no_ddl(server):
    """A missing table is a person's matter, at deploy time."""
    warehouse = open_warehouse("Server=dw;Database=dbb;UID=u;PWD=p")
    with pytest.raises(Exception, match="dbbtrace migrate"):
        warehouse.write(rows_of(load()))
    assert not [sql for sql, _ in server.statements if re.match("CREATE|ALTER", sql)]


def test_an_index_by_another_name_will_do(server):
    """Somebody made it by hand, or the server named it otherwise: what counts is that record_id is unique."""
    warehouse = open_warehouse("Server=dw;Database=dbb;UID=u;PWD=p")
    warehouse.migrate()
    server.sql("DROP INDEX meta.ux_monitoring_integration_record_id")
    server.sql("CREATE UNIQUE INDEX meta.by_hand ON monitoring_integration (orchestration_run_id, record_id)")
    assert warehouse.migrate() == []


def test_babelfish_is_told_by_its_property(server):
    """It says of itself that it is a SQL Server, of whatever edition."""
    server.edition, server.babelfish = 2, 1
    assert open_warehouse("Server=x;Database=d;UID=u;PWD=p").dialect.name == "babelfish"


@pytest.mark.parametrize(
    ("address", "edition", "dialect"),
    [
        ("Server=x.datawarehouse.fabric.microsoft.com;Database=d;UID=u;PWD=p", 3, "fabric"),
        ("Server=tcp:x.database.windows.net,1433;Database=d;UID=u;PWD=p", 5, "tsql"),
        ("Server=x;Database=d;UID=u;PWD=p", 11, "fabric"),
        ("Server=x.database.fabric.microsoft.com;Database=d;UID=u;PWD=p", 12, "tsql"),
    ],
)
def test_fabric_is_told_by_name_or_by_edition(server, address, edition, dialect):
    """A SQL database in Fabric is none of it."""
    server.edition = edition
    assert open_warehouse(address).dialect.name == dialect


def test_the_index_of_sqlite_lives_in_the_file(tmp_path):
    """Its statement names the table without schema: the file must open on its own."""
    warehouse: Warehouse = open_warehouse(f"sqlite:///{tmp_path}/a.db")
    warehouse.migrate()
    assert Path(f"{tmp_path}/a.db").exists()
    assert warehouse.query("SELECT COUNT(*) FROM meta.sqlite_master WHERE type = 'index'").rows == [(14,)]
