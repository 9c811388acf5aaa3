"""Spans, exporters and clocks for the tests of the delivery."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, Status, TraceFlags, Tracer

from dbbtrace.delivery import Delivery, Destination
from dbbtrace.diagnostics import log
from dbbtrace.journal.writer import Journal
from dbbtrace.model import attributes as key

RESOURCE = Resource.get_empty()


def finished(number: int, name: str = "", **attributes: Any) -> ReadableSpan:
    """A finished span, told apart by its number."""
    return ReadableSpan(
        name or f"span {number}",
        context=SpanContext(0xABCDEF, number + 1, False, TraceFlags(1)),
        resource=RESOURCE,
        attributes=attributes,
        status=Status(),
        start_time=1_000_000_000 + number,
        end_time=2_000_000_000 + number,
    )


def load(number: int) -> ReadableSpan:
    """A finished span that gives a row."""
    return finished(number, **{key.OPERATION: key.OPERATION_LOAD, key.TABLE_NAME: f"table {number}"})


class Backend(SpanExporter):
    """An exporter in memory that does what it is told.

    Args:
        faults: what the first calls raise, in turn; None: that call succeeds.
        poison: what the span raises that is refused, each time.
    """

    def __init__(
        self,
        *faults: Exception | None,
        poison: Callable[[ReadableSpan], Exception | None] = lambda span: None,
    ) -> None:
        self.faults = list(faults)
        self.poison = poison
        self.calls: list[int] = []
        """Number of spans in each call."""
        self.stored: list[ReadableSpan] = []
        self.down: Exception | None = None
        """What every call raises, for as long as it is set."""
        self.called = threading.Event()
        self.is_shut_down = False

    @property
    def names(self) -> list[str]:
        """Names of the spans that were stored."""
        return [span.name for span in self.stored]

    def deliver(self, spans: Sequence[ReadableSpan]) -> None:
        """As the delivery calls exporters of ours."""
        self.calls.append(len(spans))
        self.called.set()
        fault = self.down or (self.faults.pop(0) if self.faults else None)
        if fault is not None:
            raise fault
        for span in spans:
            if refusal := self.poison(span):
                raise refusal
        self.stored += spans

    def shutdown(self) -> None:
        self.is_shut_down = True


class Foreign(Backend):
    """An exporter of somebody else's: it only says SUCCESS or FAILURE, or raises what it likes."""

    deliver = None  # type: ignore[assignment]

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            Backend.deliver(self, spans)
        except ArithmeticError:
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS


def to(backend: SpanExporter, name: str = "memory://a", *, rows: bool = True, **options: Any) -> Destination:
    """A destination that leads to the exporter."""
    return Destination(name, lambda: backend, rows, **options)


def tracer_of(delivery: Delivery) -> Tracer:
    """A tracer whose spans go through the delivery."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(delivery)
    return provider.get_tracer("tests")


def left_behind(
    root: Path,
    spans: Iterable[ReadableSpan] = (),
    *,
    running: Iterable[ReadableSpan] = (),
    names: Iterable[str] = ("memory://a",),
    rows: bool = True,
    segment_bytes: int = 16 * 1024 * 1024,
) -> Path:
    """The journal that a process left which died with these spans ended and those running."""
    journal = Journal(str(root), [(name, rows) for name in names], segment_bytes=segment_bytes)
    for span in running:
        journal.start(span)
    for span in spans:
        journal.start(span)
        journal.end(span)
    journal.close()
    return orphaned(Path(journal.path))


def orphaned(path: Path) -> Path:
    """The journal as if its owner had died: named after a process of this machine that no longer is."""
    parts = path.name.split(".")
    parts[3:5] = ["4194305", "1"]  # a pid beyond what Linux gives
    gone = path.with_name(".".join(parts))
    path.rename(gone)
    return gone


__all__ = [
    "RESOURCE",
    "Backend",
    "Foreign",
    "finished",
    "left_behind",
    "load",
    "log",
    "orphaned",
    "to",
    "tracer_of",
]
