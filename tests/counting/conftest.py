"""A job with nothing behind it: what it costs is counted, never timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

import dbbtrace
from dbbtrace.delivery import Delivery
from dbbtrace.tracing import runtime

RUN = "0f8fad5b-d9cb-469f-a165-70867728950e"


class Discard(SpanExporter):
    """Takes spans and forgets them."""

    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.SUCCESS


@pytest.fixture
def one_load() -> Iterator[Callable[[], None]]:
    """Does one table load of twelve attributes, in a run whose journal is open already."""
    dbbtrace.configure(warehouse="none", exporters=[Discard()])

    def load() -> None:
        with dbbtrace.table_load(
            "Customer", schema="mdm", source="MDS", source_type="SQL", load_type="FULL", pipeline_id=RUN,
            pipeline_run_id=RUN,
        ) as handle:  # fmt: skip
            handle.rows_read = handle.rows_written = 1000
            handle.data_read = handle.data_written = 123_456
            handle.throughput = 78.125

    with dbbtrace.join_run(RUN, data_product="Group-FinancialStatements", environment="PRD", workspace_id=RUN):
        load()
        assert delivery().force_flush()
        yield load


def delivery() -> Delivery:
    """The delivery in force."""
    return runtime.current().delivery
