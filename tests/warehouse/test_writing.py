"""What is delivered twice is stored once, in every warehouse, with and without dbbtrace's columns."""

from __future__ import annotations

import pytest
from dbbtrace_exporters.warehouse.flatten import rows_of

from dbbtrace.errors import ConfigurationError
from dbbtrace.model import attributes as key
from dbbtrace.warehouse import Warehouse
from tests.warehouse.spans import RUN, load, node, refresh, skipped

LOADS = "SELECT table_name, status FROM meta.monitoring_integration ORDER BY table_name, status, timestamp"
NODES = (
    "SELECT item_name, process_stage, status FROM meta.monitoring_transformation_dbt"
    " ORDER BY item_name, process_stage, status"
)
REFRESHES = "SELECT semantic_model_id, status FROM meta.monitoring_semantic_model_refresh ORDER BY 1, 2"


def write(warehouse: Warehouse, *spans) -> int:
    """Write the spans' rows; answers how many were new."""
    return warehouse.write([row for span in spans for row in rows_of(span)])


def holds_other_scripts(warehouse: Warehouse) -> bool:
    if warehouse.name.startswith("sqlite"):
        return True
    collation = "SELECT CONVERT(varchar(128), DATABASEPROPERTYEX(DB_NAME(), 'Collation'))"
    return str(warehouse.query(collation).rows[0][0]).upper().endswith("_UTF8")


def answers(warehouse: Warehouse, sql: str) -> list[tuple]:
    return warehouse.query(sql).rows


ALL = (load(), load("Vendor", span_id=2), node(), skipped(), refresh())


def test_delivered_twice_is_stored_once(either):
    """In one batch, in another batch, on another connection."""
    assert write(either, *ALL, *ALL) == 6
    assert write(either, *ALL) == 0
    either.close()
    assert write(either, *reversed(ALL)) == 0
    assert answers(either, LOADS) == [("Customer", "Succeeded"), ("Vendor", "Succeeded")]
    assert answers(either, NODES) == [
        ("abc123", "execute", "skipped"),
        ("customers", "compile", "success"),
        ("customers", "execute", "success"),
    ]
    assert answers(either, REFRESHES) == [("9e2d1c3b-0000-4000-8000-00000000beef", "Completed")]


def test_one_statement_for_each_table(server, tmp_path):
    """However many rows: three tables, three statements with one parameter."""
    from dbbtrace.warehouse import open_warehouse

    warehouse = open_warehouse("Server=dw;Database=dbb;UID=u;PWD=p")
    warehouse.migrate()
    write(warehouse, *ALL, *(load(f"t{place}", span_id=100 + place) for place in range(500)))
    assert len(server.inserts()) == 3


def test_values_arrive_as_they_are(migrated):
    """Quotes, backslashes, control characters and, where the database's collation holds them, other scripts."""
    name = 'it\'s "quoted" \\ back\n\té' + (" λ 漢字 🎉" if holds_other_scripts(migrated) else "")
    write(migrated, load(name, ROWS_READ=2**63 - 1, THROUGHPUT=1234567890.12))
    [(table, count, throughput)] = migrated.query(
        "SELECT table_name, rows_read, throughput FROM meta.monitoring_integration"
    ).rows
    assert (table, count, float(throughput)) == (name, 2**63 - 1, 1234567890.12)


def test_of_one_record_the_first_stands(migrated):
    """In a batch as across batches."""
    write(migrated, load(IDENTITY="copy", ROWS_READ=1), load(IDENTITY="copy", ROWS_READ=2))
    write(migrated, load(IDENTITY="copy", ROWS_READ=3))
    assert answers(migrated, "SELECT rows_read FROM meta.monitoring_integration") == [(1,)]


# -- interrupted --------------------------------------------------------------------------------------------

INTERRUPTED = {"ERROR_TYPE": key.INTERRUPTED, "STATUS": None, "error": "the process ended"}


def test_an_interrupted_operation_has_its_row(migrated):
    """Once."""
    interrupted = (load(**INTERRUPTED), node(**INTERRUPTED), refresh(**INTERRUPTED))
    assert (write(migrated, *interrupted), write(migrated, *interrupted)) == (3, 0)
    assert answers(migrated, LOADS) == [("Customer", "Failed")]
    assert answers(migrated, NODES) == [("customers", "execute", "error")]
    assert answers(migrated, REFRESHES)[0][1] == "Unknown"


@pytest.mark.parametrize("ended", [load, node, refresh])
@pytest.mark.parametrize("together", [True, False], ids=["one batch", "two batches"])
def test_an_interrupted_row_yields_to_an_ended_one(migrated, ended, together):
    """It is not written where the operation's ended row stands, or comes with it."""
    if together:
        write(migrated, ended(**INTERRUPTED), ended())
    else:
        write(migrated, ended())
        assert write(migrated, ended(**INTERRUPTED)) == 0
    rows = answers(migrated, LOADS) + answers(migrated, NODES) + answers(migrated, REFRESHES)
    assert not {"Failed", "error", "Unknown"} & {row[-1] for row in rows}


@pytest.mark.parametrize("ended", [load, node, refresh])
def test_an_interrupted_row_keeps_no_ended_one_out(either, ended):
    """The process was silent, not dead: what ended is written beside it."""
    write(either, ended(**INTERRUPTED))
    assert write(either, ended()) >= 1
    rows = answers(either, LOADS) + answers(either, NODES) + answers(either, REFRESHES)
    assert {"Succeeded", "success", "Completed"} & {row[-1] for row in rows}


def test_an_interrupted_load_does_not_undo_a_success(either):
    """Failed is written only if no Succeeded row of that table stands in that run."""
    write(either, load(span_id=1))
    later = {"start": "2026-11-24T03:00:00Z", "end": "2026-11-24T03:00:09Z", "span_id": 2}
    assert write(either, load(**INTERRUPTED, **later)) == 0
    assert write(either, load("Vendor", **INTERRUPTED, **later)) == 1
    assert write(either, load(**INTERRUPTED, **later, RUN_ID="another run")) == 1


# -- beside hand-made writers -------------------------------------------------------------------------------


HAND_LOAD = {
    "table_name": "Customer", "schema_name": "mdm", "source_name": "MDS", "status": "Succeeded",
    "timestamp": "2026-11-24 02:15:08", "orchestration_run_id": RUN,
    "integration_pipeline_source_run_id": "0d0d0d0d-1111-2222-3333-444444444444",
}  # fmt: skip


def by_hand(warehouse: Warehouse, table: str, **values: object) -> None:
    """A row as the hand-made writers leave it."""
    marks = ", ".join("?" * len(values))
    warehouse.query(f"INSERT INTO meta.{table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))


def test_an_imported_load_is_not_written_beside_the_hand_made_row(migrated):
    """Rounded up where ours is floored; other status, second, run or table is another load."""
    by_hand(migrated, "monitoring_integration", **HAND_LOAD)
    assert write(migrated, load(IDENTITY="activity:1")) == 0
    assert write(migrated, load(IDENTITY="activity:2", STATUS="Failed")) == 1
    assert write(migrated, load(IDENTITY="activity:3", start="2026-11-24T02:15:10Z")) == 1
    assert write(migrated, load("Vendor", IDENTITY="activity:4")) == 1
    assert write(migrated, load(IDENTITY="activity:5", PIPELINE_RUN_ID="other")) == 1


def test_live_work_is_written_beside_a_hand_made_row(migrated):
    """It has no identity that would say it is the same."""
    by_hand(migrated, "monitoring_integration", **HAND_LOAD)
    assert write(migrated, load()) == 1


def test_dbt_nodes_beside_hand_made_rows_count(migrated):
    """What the hand-made writer exploded stands; the skipped node, which vanishes there, is added."""
    by_hand(
        migrated, "monitoring_transformation_dbt",
        item_name="customers", invocation_id="11111111-aaaa-bbbb-cccc-222222222222",
        status="success", process_stage="execute", relation_name='"dwh"."main"."customers"', environment="PRD",
        build_models="", orchestration_run_id=RUN,
    )  # fmt: skip
    assert write(migrated, node(), skipped()) == 2
    assert answers(migrated, NODES) == [
        ("abc123", "execute", "skipped"),
        ("customers", "compile", "success"),
        ("customers", "execute", "success"),
    ]


def test_a_refresh_beside_the_hand_made_row(migrated):
    """Model and start; a row that says it was still running keeps no ended one out."""
    values = {
        "semantic_model_id": "9e2d1c3b-0000-4000-8000-00000000beef",
        "process_started_at": "2026-11-24 02:15:07.987",
    }
    by_hand(migrated, "monitoring_semantic_model_refresh", **values, status="Unknown")
    assert write(migrated, refresh(IDENTITY="request:1")) == 1
    by_hand(migrated, "monitoring_semantic_model_refresh", **{**values, "semantic_model_id": "m2"}, status="Completed")
    assert write(migrated, refresh("m2", IDENTITY="request:2")) == 0


def test_versions_of_a_model_are_told_apart(hand_made):
    """The last segment of their ids is v2 for each; batches that come apart lose none of them."""
    v2 = [node(f"model.shop.{name}.v2", DBT_RELATION_NAME=f'"dwh"."main"."{name}_v2"') for name in ("a", "b")]
    assert [write(hand_made, one) for one in v2] == [2, 2]
    assert write(hand_made, *v2) == 0


def test_rows_of_one_natural_key_count(hand_made):
    """Two nodes that nothing tells apart are two rows, also when they come again."""
    twins = [node(f"test.shop.x{place}.same", DBT_RELATION_NAME=None) for place in (1, 2)]
    assert write(hand_made, *twins) == 4
    assert write(hand_made, *twins) == 0


# -- tables that differ -------------------------------------------------------------------------------------


def test_a_missing_table_stops_its_own_rows_alone(server):
    """The others are written; the error names the table and what to do."""
    from dbbtrace.warehouse import open_warehouse

    warehouse = open_warehouse("Server=dw;Database=dbb;UID=u;PWD=p")
    warehouse.migrate()
    server.sql("DROP TABLE meta.monitoring_semantic_model_refresh")
    warehouse.close()
    with pytest.raises(
        ConfigurationError, match=r"meta\.monitoring_semantic_model_refresh is missing.*dbbtrace migrate"
    ):
        write(warehouse, refresh(), load())
    assert answers(warehouse, LOADS) == [("Customer", "Succeeded")]


def test_a_column_spelled_otherwise_or_narrower_or_absent(server):
    """Names as the table spells them, text as its columns take it, columns it lacks left out."""
    from dbbtrace.warehouse import open_warehouse

    warehouse = open_warehouse("Server=dw;Database=dbb;UID=u;PWD=p")
    columns = (
        "[Table_Name] varchar(8) NOT NULL, [schema_name] varchar(255), [source_name] varchar(255),"
        " [status] varchar(255), [timestamp] datetime2(0), [orchestration_run_id] varchar(255),"
        " [integration_pipeline_source_run_id] varchar(255)"
    )
    server.sql(f"CREATE TABLE meta.monitoring_integration ({columns})")
    assert write(warehouse, load("Customers of the group")) == 1
    assert answers(warehouse, "SELECT Table_Name, status FROM meta.monitoring_integration") == [("Custo…", "Succeeded")]
    assert "[Table_Name]" in server.inserts()[0]
    assert "[duration]" not in server.inserts()[0]
    server.sql("ALTER TABLE meta.monitoring_integration DROP COLUMN source_name")
    warehouse.close()
    with pytest.raises(ConfigurationError, match="lacks source_name"):
        write(warehouse, load())


def test_a_column_that_holds_more_than_the_code_page_gets_it(server):
    """nvarchar, or UTF-8 where the database is not: such text must not pass through varchar. Elsewhere it is lost."""
    from dbbtrace.warehouse import open_warehouse

    server.collation = "SQL_Latin1_General_CP1_CI_AS"
    server.column_collations = {"source_name": "Latin1_General_100_BIN2_UTF8"}
    warehouse = open_warehouse("Server=dw;Database=dbb;UID=u;PWD=p")
    server.has_schema = True
    for statement in warehouse.migrate(dry_run=True):
        warehouse.query(statement.replace("[table_name] varchar(255)", "[table_name] nvarchar(255)"))
    assert write(warehouse, load("λ 漢字", SOURCE_NAME="漢", SCHEMA_NAME="é λ")) == 1
    names = "SELECT table_name, source_name, schema_name FROM meta.monitoring_integration"
    assert answers(warehouse, names) == [("λ 漢字", "漢", "é ?")]


def test_no_batch_is_wide_without_need(server):
    """Fabric and every database in UTF-8 get varchar: it holds all text, and compares by index."""
    from dbbtrace.warehouse import open_warehouse

    warehouse = open_warehouse("Server=dw;Database=dbb;UID=u;PWD=p")
    warehouse.migrate()
    write(warehouse, *ALL)
    assert not any("nvarchar" in sql for sql in server.inserts())


def test_columns_of_another_collation_are_compared_in_it(server):
    """Else the server can't resolve the conflict."""
    from dbbtrace.warehouse import open_warehouse

    server.column_collations = dict.fromkeys(
        ("record_id", "orchestration_run_id", "table_name"), "Latin1_General_100_BIN2_UTF8"
    )
    warehouse = open_warehouse("Server=dw;Database=dbb;UID=u;PWD=p")
    warehouse.migrate()
    facts = (load(IDENTITY="a"), load("Vendor", **INTERRUPTED))
    assert (write(warehouse, *facts), write(warehouse, *facts)) == (2, 0)
