"""The tables of schema ``meta``: each column's name, type, length and order, and where its value comes from.

This is the one place that defines them. Every dialect's DDL, the flattening and the reading are derived from it. The
platform's own columns come first and stay unchanged. The columns that dbbtrace adds come after them, are nullable, and
may be missing on a table that it did not create. Light to import; imports no driver.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, Final, NamedTuple

from dbbtrace.model import attributes as key

__all__ = [
    "ALL_TABLES",
    "DBT_NODES",
    "LOADS",
    "PARTS",
    "RECORD",
    "REFRESHES",
    "SCHEMA",
    "TABLES",
    "TABLE_OF_OPERATION",
    "VALIDATIONS",
    "WRITTEN",
    "Column",
    "Form",
    "Kind",
    "NaturalKey",
    "Row",
    "Table",
]

SCHEMA: Final = "meta"
RECORD: Final = ("orchestration_run_id", "record_id")
"""Columns that identify a row. Together they are unique, if the database enforces it."""


class Kind(Enum):
    """SQL types that the tables use."""

    TEXT = "varchar"
    """``size``: UTF-8 bytes."""
    BIGINT = "bigint"
    DECIMAL = "decimal"
    """decimal(18,2)."""
    FLOAT = "float"
    BIT = "bit"
    TIME = "datetime2"
    """UTC; ``size``: fraction digits."""


class Form(Enum):
    """The form of a text in its column."""

    AS_IS = "as is"
    GUID = "guid"
    """A GUID in lower case, because readers join by equality; any other text unchanged."""
    UPPER = "upper"
    LIST = "list"
    """A JSON array of strings."""


@dataclass(frozen=True, eq=False)
class Column:
    """One column."""

    name: str
    kind: Kind
    size: int
    source: str
    """Key of the span attribute it comes from; a name without a dot is a value that ``flatten`` derives."""
    form: Form = Form.AS_IS
    missing: str | None = None
    """What is stored for an unknown value; not None exactly where the column is NOT NULL."""
    added: bool = False
    """Whether dbbtrace added it. It may then be missing on a table that dbbtrace did not create."""

    @property
    def nullable(self) -> bool:
        """Whether the column accepts NULL."""
        return self.missing is None

    @property
    def sql_type(self) -> str:
        """The type in T-SQL, e.g. ``varchar(255)``. SQLite uses the same text."""
        if self.kind is Kind.DECIMAL:
            return "decimal(18,2)"
        return f"{self.kind.value}({self.size})" if self.kind in (Kind.TEXT, Kind.TIME) else self.kind.value


@dataclass(frozen=True)
class NaturalKey:
    """What identifies a row without a record_id: see ``statements``."""

    texts: tuple[str, ...]
    """Columns that must be equal; NULL and '' are the same."""
    moment: str | None
    """Column whose times must be within one second, because other writers round and dbbtrace rounds down."""
    status: str = "status"
    """Must be equal too, except for an interrupted row, which yields to an ended row of any status. '': the table has
    none, and the times must be equal to the last digit."""


@dataclass(frozen=True, eq=False)
class Table:
    """One table of schema ``meta``."""

    name: str
    operation: str
    """The dbb.operation of the spans that give its rows."""
    columns: tuple[Column, ...]
    natural_key: NaturalKey

    @cached_property
    def position(self) -> dict[str, int]:
        """Column name → its index in a row."""
        return {column.name: place for place, column in enumerate(self.columns)}


class Row(NamedTuple):
    """One row, ready to bind."""

    table: Table
    values: tuple[Any, ...]
    """One value for every column of the table, in its order."""
    record_id: str
    fact: bool = False
    """Whether the operation has its own identity, so that another writer may have stored it already."""
    ended_id: str | None = None
    """Only on an interrupted row: the record_id that its operation would have had if it had ended."""


def _text(name: str, size: int, source: str, form: Form = Form.AS_IS, missing: str | None = None) -> Column:
    return Column(name, Kind.TEXT, size, source, form, missing)


def _guid(name: str, size: int, source: str, missing: str | None = None) -> Column:
    return Column(name, Kind.TEXT, size, source, Form.GUID, missing)


def _count(name: str, source: str) -> Column:
    return Column(name, Kind.BIGINT, 0, source)


def _time(name: str, digits: int, source: str) -> Column:
    return Column(name, Kind.TIME, digits, source)


def _added(*columns: Column) -> tuple[Column, ...]:
    return tuple(Column(c.name, c.kind, c.size, c.source, c.form, c.missing, added=True) for c in columns)


_TRACKING = (
    _text("record_id", 32, "record_id"),
    _text("trace_id", 32, "trace_id"),
    _text("span_id", 16, "span_id"),
    _text("error_type", 255, key.ERROR_TYPE),
    _text("error_message", 8000, "error_message"),
)

LOADS: Final = Table(
    "monitoring_integration",
    key.OPERATION_LOAD,
    (
        _text("table_name", 255, key.TABLE_NAME, missing="?"),
        _text("schema_name", 255, key.SCHEMA_NAME),
        _text("source_name", 255, key.SOURCE_NAME),
        _text("source_type", 255, key.SOURCE_TYPE),
        _text("load_type", 255, key.LOAD_TYPE, Form.UPPER),
        _guid("workspace", 255, key.WORKSPACE_ID),
        _text("status", 255, "status"),
        _time("timestamp", 0, "started_at"),
        _count("duration", "seconds"),
        Column("throughput", Kind.DECIMAL, 0, "throughput"),
        _count("data_read", key.DATA_READ),
        _count("data_written", key.DATA_WRITTEN),
        _count("rows_read", key.ROWS_READ),
        _count("rows_written", key.ROWS_WRITTEN),
        _text("data_product", 255, "data_product"),
        _guid("orchestration_run_id", 255, "run_id"),
        _guid("integration_pipeline_source_run_id", 255, key.PIPELINE_RUN_ID),
        _guid("integration_pipeline_id", 255, key.PIPELINE_ID),
        *_added(
            *_TRACKING,
            _text("environment", 255, key.ENVIRONMENT, Form.UPPER),
            _time("process_started_at", 6, "started_at"),
            _time("process_completed_at", 6, "ended_at"),
        ),
    ),
    NaturalKey(
        (
            "orchestration_run_id",
            "integration_pipeline_source_run_id",
            "source_name",
            "schema_name",
            "table_name",
        ),
        "timestamp",
    ),
)

DBT_NODES: Final = Table(
    "monitoring_transformation_dbt",
    key.OPERATION_DBT_NODE,
    (
        _text("item_name", 255, "item_name", missing="?"),
        _guid("invocation_id", 255, "invocation_id", missing="?"),
        _text("status", 50, "status"),
        _text("thread_id", 100, key.DBT_THREAD_ID),
        Column("execution_time", Kind.FLOAT, 0, key.DBT_EXECUTION_TIME),
        _text("failures", 8000, key.DBT_FAILURES),
        Column("compiled", Kind.BIT, 0, key.DBT_COMPILED),
        _text("relation_name", 500, key.DBT_RELATION_NAME),
        _text("adapter_message", 8000, key.DBT_ADAPTER_MESSAGE),
        _count("rows_affected", "rows_affected"),
        _text("process_stage", 100, "stage"),
        _time("process_started_at", 6, "started_at"),
        _time("process_completed_at", 6, "ended_at"),
        _count("duration", "seconds"),
        _time("generated_at", 6, key.DBT_GENERATED_AT),
        _text("environment", 8000, key.ENVIRONMENT, Form.UPPER, missing="UNKNOWN"),
        _text("build_models", 8000, key.DBT_SELECT, missing=""),
        _guid("orchestration_run_id", 255, "run_id"),
        _text("data_product", 255, "data_product"),
        _guid("transformation_pipeline_run_id", 255, key.PIPELINE_RUN_ID),
        _guid("workspace_id", 255, key.WORKSPACE_ID),
        _guid("transformation_pipeline_id", 255, key.PIPELINE_ID),
        *_added(
            *_TRACKING,
            _text("unique_id", 1000, key.DBT_UNIQUE_ID),
            _text("resource_type", 100, key.DBT_RESOURCE_TYPE),
            _text("message", 8000, key.DBT_MESSAGE),
            _text("depends_on", 8000, key.DBT_DEPENDS_ON, Form.LIST),
            _text("materialized", 100, key.DBT_MATERIALIZED),
        ),
    ),
    # relation_name: the last segment of a unique_id is `v2` for every versioned model.
    NaturalKey(("invocation_id", "item_name", "process_stage", "relation_name"), None),
)

REFRESHES: Final = Table(
    "monitoring_semantic_model_refresh",
    key.OPERATION_REFRESH,
    (
        _guid("workspace_id", 100, key.WORKSPACE_ID),
        _guid("semantic_model_id", 100, key.MODEL_ID),
        _text("data_product", 100, "data_product"),
        _guid("orchestration_run_id", 100, "run_id"),
        _time("process_started_at", 3, "started_at"),
        _time("process_completed_at", 3, "ended_at"),
        _count("duration", "seconds"),
        _text("status", 50, "status"),
        _guid("data_product_refresh_pipeline_run_id", 255, key.PIPELINE_RUN_ID),
        _guid("data_product_refresh_pipeline_id", 255, key.PIPELINE_ID),
        _text("semantic_model_name", 100, key.MODEL_NAME),
        *_added(
            *_TRACKING,
            _text("environment", 255, key.ENVIRONMENT, Form.UPPER),
            _text("depends_on", 8000, key.MODEL_READS, Form.LIST),
        ),
    ),
    NaturalKey(("semantic_model_id",), "process_started_at"),
)

PARTS: Final = Table(
    "monitoring_run_part",
    "",  # of many operations: see ``dbbtrace.model.parts``
    (
        _text("record_id", 32, "record_id"),
        _guid("orchestration_run_id", 255, "run_id"),
        _text("data_product", 255, "data_product"),
        _text("environment", 255, key.ENVIRONMENT, Form.UPPER),
        _guid("workspace_id", 255, key.WORKSPACE_ID),
        _text("part", 50, "part", missing="?"),
        _text("name", 1000, "name"),
        _text("workload", 50, key.WORKLOAD),
        _text("status", 50, "status"),
        _time("process_started_at", 6, "started_at"),
        _time("process_completed_at", 6, "ended_at"),
        _count("duration", "seconds"),
        _text("error_type", 255, key.ERROR_TYPE),
        _text("error_message", 8000, "error_message"),
        _guid("pipeline_id", 255, key.PIPELINE_ID),
        _guid("pipeline_run_id", 255, key.PIPELINE_RUN_ID),
        _count("attempt", key.ATTEMPT),
        _count("loads", key.PART_LOADS),
        _count("nodes", key.PART_NODES),
        _count("refreshes", key.PART_REFRESHES),
        _count("dropped", key.PART_DROPPED),
        _text("expected_by", 255, key.EXPECTED_BY),
        _guid("repairs", 255, key.REPAIRS),
        _text("job_invoke_type", 50, key.JOB_INVOKE_TYPE),
        _time("job_scheduled_at", 6, key.JOB_SCHEDULED_AT),
        _text("detail", 8000, "detail"),
        _text("parent_span_id", 16, "parent_span_id"),
        _text("trace_id", 32, "trace_id"),
        _text("span_id", 16, "span_id"),
    ),
    NaturalKey(("part", "name"), "process_started_at"),
)
"""The run's own record: ours alone, so that a warehouse may lack it."""

VALIDATIONS: Final = Table(
    "monitoring_integration_validation",
    "",  # of findings that counted a table's rows
    (
        _text("table_identifier", 500, key.COUNTED_AS),
        _text("source_name", 500, key.SOURCE_NAME),
        _text("schema_table_name", 500, key.CICD_TASK_NAME),
        _guid("workspace", 500, key.WORKSPACE_ID),
        _count("row_count", key.COUNTED_ROWS),
        _time("latest_ingestion_timestamp", 6, key.LOADED_AT),
        _time("timestamp", 6, "started_at"),
    ),
    NaturalKey(("table_identifier",), "timestamp", status=""),
)
"""How many rows readers found in a table. The platform's, and written to only where it is: nothing here creates it."""

TABLES: Final = (LOADS, DBT_NODES, REFRESHES)
"""The platform's three."""
ALL_TABLES: Final = (*TABLES, PARTS)
"""Those that ``migrate`` creates."""
WRITTEN: Final = (*ALL_TABLES, VALIDATIONS)
TABLE_OF_OPERATION: Final = {table.operation: table for table in TABLES}
