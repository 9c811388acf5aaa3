"""One table load, journalled and safe from SIGKILL, compared with the same span in the plain SDK.

Both spans have the same 25 attributes (12 from the author, the others for run, product and pipeline) and go to an
exporter that discards them. The plain one goes through a BatchSpanProcessor. The job's own thread is timed. Background
threads slow it down as they would in a real job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

import dbbtrace
from benchmarks.figures import Effort, Figure, Pair, alternate, at_most, compared
from benchmarks.processes import fresh
from benchmarks.samples import PIPELINE, PIPELINE_RUN, PRODUCT, RUN, WORKSPACE, Discard

__all__ = ["measure", "one_load"]

_COUNT = 3_000
"""Loads timed together. It is enough to keep the background threads of both busy."""


def measure(effort: Effort) -> Iterable[Figure]:
    """The figures."""
    plain = "the same span in the SDK, BatchSpanProcessor"
    repeats = effort.size(40, 10)
    pairs = fresh(discarded, effort.scratch, repeats)
    yield compared("one table load, journalled", plain, pairs, at_most(1.2), "µs")
    pairs = fresh(written, effort.scratch, repeats)
    yield compared("the same, while its row is written to SQLite", plain, pairs, at_most(1.6), "µs")


def discarded(repeats: int) -> list[Pair]:
    """Microseconds per load: ours with an exporter that discards, and the plain SDK."""
    return _pairs(repeats, warehouse="none", exporters=[Discard()])


def written(repeats: int) -> list[Pair]:
    """The same, but ours writes rows."""
    return _pairs(repeats)


def one_load() -> Any:
    """A load as a job author writes it; returns the ended handle."""
    with dbbtrace.table_load(
        "Customer",
        schema="mdm",
        source="MDS",
        source_type="SQL",
        load_type="FULL",
        pipeline_id=PIPELINE,
        pipeline_run_id=PIPELINE_RUN,
    ) as load:
        load.rows_read = 1000
        load.rows_written = 1000
        load.data_read = 123_456
        load.data_written = 123_000
        load.throughput = 78.125
    return load


def _pairs(repeats: int, **configuration: Any) -> list[Pair]:
    from dbbtrace.tracing import runtime

    dbbtrace.configure(**configuration)
    with dbbtrace.orchestration_run(RUN, data_product=PRODUCT, environment="PRD", workspace_id=WORKSPACE):
        plain_load, plain_flush = _plain()
        delivery = runtime.current().delivery
        return list(
            alternate(
                lambda: _timed(one_load, delivery.force_flush),
                lambda: _timed(plain_load, plain_flush),
                repeats,
            )
        )


def _timed(load: Callable[[], object], flush: Callable[[], object]) -> float:
    began = perf_counter()
    for _ in range(_COUNT):
        load()
    took = perf_counter() - began
    flush()  # otherwise this one's remaining work would slow down the other
    return took / _COUNT * 1e6


def _plain() -> tuple[Callable[[], object], Callable[[], object]]:
    """The same span as in ``one_load``: the same attributes at its start, then the others one by one."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    with dbbtrace.table_load(
        "Customer",
        schema="mdm",
        source="MDS",
        source_type="SQL",
        load_type="FULL",
        pipeline_id=PIPELINE,
        pipeline_run_id=PIPELINE_RUN,
    ) as load:
        at_start = dict(load.span.attributes)
    whole = dict(one_load().span.attributes)
    later = {name: value for name, value in whole.items() if name not in at_start}
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Discard()))
    tracer = provider.get_tracer("job")

    def plain_load() -> None:
        with tracer.start_as_current_span("load mdm.Customer", attributes=at_start) as span:
            for name, value in later.items():
                span.set_attribute(name, value)

    return plain_load, provider.force_flush
