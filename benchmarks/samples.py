"""Samples for the measurements: an exporter that discards, finished table loads, and their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags

from dbbtrace.model import attributes as key
from dbbtrace.model.identity import root_span_id, trace_id_of

__all__ = ["PIPELINE", "PIPELINE_RUN", "PRODUCT", "RUN", "WORKSPACE", "Discard", "batches", "loads"]

RUN = "0f8fad5b-d9cb-469f-a165-70867728950e"
PRODUCT = "Group-FinancialStatements"
WORKSPACE = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
PIPELINE = "3f333df6-90a4-4fda-8dd3-9485d27cee36"
PIPELINE_RUN = "6ecd8c99-4036-403d-bf84-cf8400f67836"

_BEGAN = 1_764_000_000_000_000_000
_RESOURCE = Resource({"service.name": "bench"})
_SCOPE = InstrumentationScope("dbbtrace", "1")


class Discard(SpanExporter):
    """An exporter that discards all spans."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def loads(count: int, first: int = 0, run: str = RUN) -> Iterator[ReadableSpan]:
    """Finished table loads as read from the journal, with attributes as a plain dict, as many as in a real job."""
    trace_id = trace_id_of(run)
    parent = SpanContext(trace_id, root_span_id(trace_id), True, TraceFlags(1))
    for number in range(first, first + count):
        began = _BEGAN + number * 1_000_000
        yield ReadableSpan(
            name=f"load mdm.table_{number}",
            context=SpanContext(trace_id, number + 1, False, TraceFlags(1)),
            parent=parent,
            resource=_RESOURCE,
            attributes=_attributes(f"table_{number}", run, number),
            start_time=began,
            end_time=began + 1_500_000_000,
            instrumentation_scope=_SCOPE,
        )


def _attributes(table: str, run: str, number: int) -> dict[str, Any]:
    return {
        key.RUN_ID: run,
        key.DATA_PRODUCT: PRODUCT,
        key.ENVIRONMENT: "PRD",
        key.WORKSPACE_ID: WORKSPACE,
        key.WORKLOAD: "integration",
        key.PIPELINE_ID: PIPELINE,
        key.PIPELINE_RUN_ID: PIPELINE_RUN,
        key.CICD_PIPELINE_RUN_ID: run,
        key.CICD_PIPELINE_NAME: f"orchestration_pipeline_{PRODUCT}",
        key.OPERATION: key.OPERATION_LOAD,
        key.TABLE_NAME: table,
        key.SCHEMA_NAME: "mdm",
        key.SOURCE_NAME: "MDS",
        key.SOURCE_TYPE: "SQL",
        key.LOAD_TYPE: "FULL",
        key.CICD_TASK_NAME: f"mdm.{table}",
        key.DB_COLLECTION_NAME: table,
        key.DB_NAMESPACE: "mdm",
        key.ROWS_READ: number,
        key.ROWS_WRITTEN: number,
        key.DATA_READ: 120 * number,
        key.DATA_WRITTEN: 110 * number,
        key.THROUGHPUT: 78.125,
        key.STATUS: "Succeeded",
        key.CICD_TASK_RUN_RESULT: "success",
    }


def batches(items: list[Any], size: int = 1_000) -> list[list[Any]]:
    """The items in batches of delivery's size."""
    return [items[first : first + size] for first in range(0, len(items), size)]
