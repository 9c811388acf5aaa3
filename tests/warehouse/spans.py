"""Finished spans, as the tests of the warehouse need them."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from dbbtrace.model import attributes as key
from dbbtrace.model.identity import trace_id_of
from dbbtrace.model.times import to_unix_nanos

RUN = "6f1c1e0a-54c8-4b0e-9d5c-2f7a9d3a1b77"
START = "2026-11-24T02:15:07.987654Z"
END = "2026-11-24T02:15:19.500000Z"

_RESOURCE = Resource.get_empty()
_RUN = {
    key.RUN_ID: RUN,
    key.DATA_PRODUCT: "Group-FinancialStatements",
    key.ENVIRONMENT: "prd",
    key.WORKSPACE_ID: "A2B0C6F2-9E5B-4C7B-8B9C-0D4C7A1E2F30",
    key.PIPELINE_ID: "0c0c0c0c-1111-2222-3333-444444444444",
    key.PIPELINE_RUN_ID: "0D0D0D0D-1111-2222-3333-444444444444",
}


def span(
    attributes: dict[str, Any],
    *,
    start: str = START,
    end: str = END,
    span_id: int = 0xABC,
    error: str | None = None,
    **more: Any,
) -> ReadableSpan:
    """A span with these attributes; ``more`` replaces those named by a constant of ``dbbtrace.model.attributes``."""
    merged = {**attributes, **{getattr(key, name): value for name, value in more.items()}}
    return ReadableSpan(
        "work",
        context=SpanContext(trace_id_of(RUN), span_id, False, TraceFlags(1)),
        resource=_RESOURCE,
        attributes={name: value for name, value in merged.items() if value is not None},
        status=Status(StatusCode.ERROR, error) if error else Status(),
        start_time=to_unix_nanos(start),
        end_time=to_unix_nanos(end),
    )


def load(table: str = "Customer", **more: Any) -> ReadableSpan:
    """A table load that succeeded."""
    attributes = {
        **_RUN,
        key.OPERATION: key.OPERATION_LOAD,
        key.TABLE_NAME: table,
        key.SCHEMA_NAME: "mdm",
        key.SOURCE_NAME: "MDS",
        key.SOURCE_TYPE: "SQL",
        key.LOAD_TYPE: "incremental",
        key.ROWS_READ: 10,
        key.ROWS_WRITTEN: 9,
        key.DATA_READ: 23_572,
        key.DATA_WRITTEN: 11_786,
    }
    return span(attributes, **more)


def node(unique_id: str = "model.shop.customers", **more: Any) -> ReadableSpan:
    """A dbt node that was compiled and executed, as an artifact tells of it."""
    attributes = {
        **_RUN,
        key.OPERATION: key.OPERATION_DBT_NODE,
        key.IDENTITY: f"dbt:inv:{unique_id}",
        key.DBT_UNIQUE_ID: unique_id,
        key.DBT_RESOURCE_TYPE: unique_id.split(".")[0],
        key.DBT_INVOCATION_ID: "11111111-AAAA-bbbb-cccc-222222222222",
        key.STATUS: "success",
        key.DBT_THREAD_ID: "Thread-1 (worker)",
        key.DBT_EXECUTION_TIME: 4.25,
        key.DBT_COMPILED: True,
        key.DBT_RELATION_NAME: f'"dwh"."main"."{unique_id.rsplit(".", 1)[-1]}"',
        key.DBT_ADAPTER_MESSAGE: "OK",
        key.DBT_MESSAGE: "OK",
        key.DBT_ROWS_AFFECTED: -1,
        key.DBT_DEPENDS_ON: ("source.shop.mds.customer", "model.shop.base"),
        key.DBT_MATERIALIZED: "table",
        key.DBT_GENERATED_AT: "2026-11-24T02:20:00.123456Z",
        key.DBT_SELECT: "+tag:Group-FinancialStatements",
        key.DBT_COMPILE_STARTED_AT: "2026-11-24T02:15:08.000001Z",
        key.DBT_COMPILE_COMPLETED_AT: "2026-11-24T02:15:08.500000Z",
        key.DBT_EXECUTE_STARTED_AT: "2026-11-24T02:15:08.500001Z",
        key.DBT_EXECUTE_COMPLETED_AT: "2026-11-24T02:15:12.250000Z",
    }
    return span(attributes, **more)


def skipped(unique_id: str = "test.shop.unique_customers.abc123", **more: Any) -> ReadableSpan:
    """A dbt node that never ran."""
    never = dict.fromkeys(
        ("DBT_COMPILE_STARTED_AT", "DBT_COMPILE_COMPLETED_AT", "DBT_EXECUTE_STARTED_AT", "DBT_EXECUTE_COMPLETED_AT")
    )
    return node(unique_id, **{**never, "STATUS": "skipped", "DBT_COMPILED": False, **more})


def refresh(model: str = "9E2D1C3B-0000-4000-8000-00000000BEEF", **more: Any) -> ReadableSpan:
    """A model refresh that completed."""
    attributes = {
        **_RUN,
        key.OPERATION: key.OPERATION_REFRESH,
        key.MODEL_ID: model,
        key.MODEL_NAME: "Finance",
        key.MODEL_READS: ("model.shop.customers",),
        key.STATUS: "Completed",
    }
    return span(attributes, **more)
