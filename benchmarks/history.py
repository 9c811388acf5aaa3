"""A warehouse with a history: runs of five data products, each with table loads, dbt nodes and model refreshes, and its
own record."""

from __future__ import annotations

from collections.abc import Iterator
from time import time_ns
from typing import Any
from uuid import UUID

from dbbtrace.model import attributes as key
from dbbtrace.model.identity import dbt_identity

__all__ = ["OPERATIONS", "write_history"]

_LOADS, _NODES, _REFRESHES = 100, 290, 10
OPERATIONS = _LOADS + _NODES + _REFRESHES
"""Per run."""
_EVERY = 3600 * 10**9


def write_history(file: str, runs: int, days: float | None = None) -> int:
    """Fill a new SQLite file with runs up to now: one per hour, or spread over so many days. Returns the number of
    operations."""
    from dbbtrace_exporters.warehouse.exporter import WarehouseSpanExporter

    exporter = WarehouseSpanExporter(f"sqlite:///{file}")
    every = _EVERY if days is None else int(days * 24 * _EVERY / runs)
    began = time_ns() - runs * every
    for number in range(runs):
        exporter.deliver(list(_run(number, began + number * every)))
    exporter.shutdown()
    return runs * OPERATIONS


def _run(number: int, began: int) -> Iterator[Any]:
    run_id = str(UUID(int=(number + 1) << 64 | 0x4000_8000_0000_0000_0000))
    fails = number % 7 == 3
    shared = {
        key.RUN_ID: run_id,
        key.DATA_PRODUCT: f"Group-Product{number % 5}",
        key.ENVIRONMENT: "PRD",
        key.PIPELINE_ID: str(UUID(int=number % 5 + 1)),
        key.PIPELINE_RUN_ID: str(UUID(int=number + 1)),
    }
    for table in range(_LOADS):
        failed = fails and table == 50
        yield _span(run_id, table, began + table * 10**9, {
            **shared,
            key.OPERATION: key.OPERATION_LOAD,
            key.TABLE_NAME: f"table_{table}",
            key.SCHEMA_NAME: "mdm",
            key.SOURCE_NAME: "MDS",
            key.STATUS: "Failed" if failed else "Succeeded",
            key.ROWS_WRITTEN: None if failed else 1000 * table,
            key.ERROR_TYPE: "TimeoutError" if failed else None,
            key.ERROR_MESSAGE: "the source did not answer" if failed else None,
        })  # fmt: skip
    for node in range(_NODES):
        upstream = fails and node >= 200
        at = began + (200 + node) * 10**9
        yield _span(run_id, 1000 + node, at, {
            **shared,
            key.OPERATION: key.OPERATION_DBT_NODE,
            key.DBT_UNIQUE_ID: f"model.shop.m_{node}",
            key.DBT_RESOURCE_TYPE: "model",
            key.DBT_INVOCATION_ID: str(UUID(int=number + 1)),
            key.IDENTITY: dbt_identity(str(UUID(int=number + 1)), f"model.shop.m_{node}"),
            key.STATUS: "skipped" if upstream and node > 200 else "error" if upstream else "success",
            key.DBT_DEPENDS_ON: (f"model.shop.m_{max(0, node - 1)}", f"source.shop.mds.table_{node % _LOADS}"),
            key.DBT_EXECUTION_TIME: 0.5 + node % 13,
            key.DBT_EXECUTE_STARTED_AT: at,
            key.DBT_EXECUTE_COMPLETED_AT: at + (node % 13 + number % 3) * 10**8,
        })  # fmt: skip
    for operation, span_id in ((key.OPERATION_JOB, 3000), (key.OPERATION_RUN, 3001)):
        yield _span(run_id, span_id, began, {
            **shared,
            key.OPERATION: operation,
            key.CICD_TASK_NAME: operation,
            key.STATUS: "Succeeded",
        }, lasts=700 * 10**9)  # fmt: skip
    for model in range(_REFRESHES):
        yield _span(run_id, 2000 + model, began + (600 + model) * 10**9, {
            **shared,
            key.OPERATION: key.OPERATION_REFRESH,
            key.MODEL_ID: str(UUID(int=model + 1)),
            key.MODEL_NAME: f"Model {model}",
            key.STATUS: "Completed",
        })  # fmt: skip


def _span(run_id: str, span_id: int, began: int, attributes: dict[str, Any], lasts: int = 2 * 10**9) -> Any:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext, TraceFlags

    return ReadableSpan(
        name=str(span_id),
        context=SpanContext(int(run_id.replace("-", ""), 16), span_id + 1, False, TraceFlags(1)),
        attributes={name: value for name, value in attributes.items() if value is not None},
        start_time=began,
        end_time=began + lasts,
    )
