"""The tables are the platform's, column for column; dbbtrace's additions come after them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import groupby

import pytest
import sqlglot
from dbbtrace_exporters.warehouse.flatten import rows_of

from dbbtrace.model import attributes as key
from dbbtrace.warehouse.dialects import FABRIC, SQLITE, TSQL
from dbbtrace.warehouse.schema import DBT_NODES, LOADS, REFRESHES, TABLES
from tests.warehouse.spans import load, node, refresh

PLATFORM = {
    LOADS: """
        table_name varchar(255) NOT NULL, schema_name varchar(255), source_name varchar(255), source_type varchar(255),
        load_type varchar(255), workspace varchar(255), status varchar(255), timestamp datetime2(0), duration bigint,
        throughput decimal(18,2), data_read bigint, data_written bigint, rows_read bigint, rows_written bigint,
        data_product varchar(255), orchestration_run_id varchar(255), integration_pipeline_source_run_id varchar(255),
        integration_pipeline_id varchar(255)""",
    DBT_NODES: """
        item_name varchar(255) NOT NULL, invocation_id varchar(255) NOT NULL, status varchar(50),
        thread_id varchar(100), execution_time float, failures varchar(8000), compiled bit,
        relation_name varchar(500), adapter_message varchar(8000), rows_affected bigint, process_stage varchar(100),
        process_started_at datetime2(6), process_completed_at datetime2(6), duration bigint,
        generated_at datetime2(6), environment varchar(8000) NOT NULL, build_models varchar(8000) NOT NULL,
        orchestration_run_id varchar(255), data_product varchar(255), transformation_pipeline_run_id varchar(255),
        workspace_id varchar(255), transformation_pipeline_id varchar(255)""",
    REFRESHES: """
        workspace_id varchar(100), semantic_model_id varchar(100), data_product varchar(100),
        orchestration_run_id varchar(100), process_started_at datetime2(3), process_completed_at datetime2(3),
        duration bigint, status varchar(50), data_product_refresh_pipeline_run_id varchar(255),
        data_product_refresh_pipeline_id varchar(255), semantic_model_name varchar(100)""",
}
COMMON = ["record_id", "trace_id", "span_id", "error_type", "error_message"]
ADDED = {
    LOADS: [*COMMON, "environment", "process_started_at", "process_completed_at"],
    DBT_NODES: [*COMMON, "unique_id", "resource_type", "message", "depends_on", "materialized"],
    REFRESHES: [*COMMON, "environment", "depends_on"],
}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_platforms_columns_come_first(table):
    """Exact names, types, nullability and order."""
    stated = [
        f"{column.name} {column.sql_type}{'' if column.nullable else ' NOT NULL'}"
        for column in table.columns
        if not column.added
    ]
    assert stated == [" ".join(part.split()) for part in re.split(r",(?!2\))", PLATFORM[table])]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_additions_come_after_and_take_null(table):
    """So that a table without them, and a writer who knows none of them, go on working."""
    assert [column.name for column in table.columns if column.added] == ADDED[table]
    assert all(column.nullable for column in table.columns if column.added)
    assert [added for added, _ in groupby(column.added for column in table.columns)] == [False, True]


def test_every_column_has_a_source():
    """An attribute that is documented, or a value that flattening derives."""
    attributes = {value for name, value in vars(key).items() if name.isupper() and isinstance(value, str)}
    for table in TABLES:
        for column in table.columns:
            assert ("." in column.source) == (column.source in attributes), column.name


@pytest.mark.parametrize("operation", [load, node, refresh])
def test_a_full_span_fills_every_column(operation):
    """None is forgotten: what the span tells stands in the row."""
    span = operation(
        ERROR_TYPE="E", ERROR_MESSAGE="m", THROUGHPUT=1.5, DBT_FAILURES=1, DBT_ROWS_AFFECTED=5, STATUS="Failed"
    )
    for row in rows_of(span):
        assert None not in row.values


@pytest.mark.parametrize("dialect", [TSQL, FABRIC], ids=lambda dialect: dialect.name)
def test_ddl_is_t_sql_that_fabric_takes(dialect):
    """No nvarchar, datetime or DEFAULT; parsed as both dialects."""
    for table in TABLES:
        for sql in (dialect.create_table(table), dialect.add_column(table, table.columns[-1])):
            for spoken in ("tsql", "fabric"):
                sqlglot.parse_one(sql, dialect=spoken, error_level=sqlglot.ErrorLevel.RAISE)
            assert not {"nvarchar", "datetime ", "datetimeoffset", "default", "primary"} & set(sql.lower().split())


def test_identifiers_are_quoted_in_every_dialect():
    """A name is a name, whatever stands in it."""
    assert SQLITE.quote('a"b') == '"a""b"'
    assert TSQL.quote("a]b") == "[a]]b]"


def test_no_driver_is_imported_before_it_is_used():
    """The warehouse, the exporter and an opened SQLite file that nobody asked yet: no driver, nothing heavy."""
    script = (
        "import sys, json, dbbtrace_exporters.warehouse.exporter as w; w.WarehouseSpanExporter('sqlite:///never.db');"
        "print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"sqlite3", "pyodbc", "azure", "msgspec", "requests", "grpc", "rich", "click"} & set(
        json.loads(done.stdout)
    )
