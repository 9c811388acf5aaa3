"""WarehouseSpanExporter: finished spans → rows of the three ``meta`` tables, once only.

Found by OpenTelemetry as ``dbb_warehouse``. ``deliver()`` raises typed errors and leaves patience to dbbtrace's
delivery; ``export()``, for the stock processors, has patience of its own, with a limit, and never raises. Never does
DDL, except that the embedded SQLite file is created on first use.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from time import monotonic, time_ns

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from dbbtrace.diagnostics import log, warn_once
from dbbtrace.errors import DbbtraceError, TransientError, UsageError
from dbbtrace.model.parts import lacking
from dbbtrace.tracing.masking import masked_span
from dbbtrace.tracing.threads import unobserved
from dbbtrace.warehouse import Warehouse, open_warehouse
from dbbtrace.warehouse.schema import Row
from dbbtrace_exporters.warehouse.flatten import flatten

__all__ = ["WarehouseSpanExporter"]

_FIRST_PAUSE = 1.0
"""Seconds before the second attempt; each next pause is twice as long."""
_PATIENCE = 120.0
"""Seconds that export() goes on trying; a Fabric Warehouse that sleeps takes 60 to 90 to answer first."""
_jitter = random.Random()
"""Our own: a job that seeds the global one must get the numbers it expects."""


class WarehouseSpanExporter(SpanExporter):
    """Write the rows of finished spans to the warehouse.

    Args:
        url: ``sqlite:///file.db``, ``mssql://server/database`` or an ODBC connection string; None: as
            DBBTRACE_WAREHOUSE says.
        access_token: for T-SQL, a token or what gives a fresh one.

    Raises:
        UsageError: no warehouse is named, or its URL makes no sense.
        ConfigurationError: nothing is installed that could give the access token it needs.
    """

    def __init__(self, url: str | None = None, *, access_token: str | Callable[[], str] | None = None) -> None:
        self._warehouse = open_warehouse(url if url is not None else _named(), access_token=access_token)
        self.destination = self._warehouse.name
        """Where the rows go, without secrets: what a journal is addressed to."""
        self.passed_by = 0
        """Spans that claim an operation but lack what its row needs."""
        self._stopped = threading.Event()

    @property
    def warehouse(self) -> Warehouse:
        """The warehouse; connects when first used."""
        return self._warehouse

    def connect(self) -> None:
        """Connect and look at the tables, ahead of the first rows: a Fabric Warehouse may take a minute to wake.

        Raises:
            TransientError, ConfigurationError: as ``deliver()`` would.
        """
        with unobserved():
            self._warehouse.columns()

    def deliver(self, spans: Sequence[ReadableSpan]) -> None:
        """Store the rows of the spans; returns when every row is written. Doing it again is harmless.

        Raises:
            TransientError: later; ``ambiguous`` when a connection was lost during a write.
            ConfigurationError: a person must act; nothing was refused.
            RefusedError: rows that the database will never take are among them; all others are written.
        """
        rows = self._rows(spans)
        if rows:
            with unobserved():
                self._warehouse.write(rows)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """For the stock processors: ``deliver()`` with retries and without exceptions."""
        if self._stopped.is_set():
            warn_once(
                f"warehouse:{self.destination}:shut down", "%s: already shut down, rows are lost", self.destination
            )
            return SpanExportResult.FAILURE
        try:
            self._patiently([masked_span(span) for span in spans])
        except DbbtraceError as error:
            log.error("the rows of %s are not in %s: %s", _spans(spans), self.destination, error)
            return SpanExportResult.FAILURE
        except Exception as error:
            log.error("the rows of %s are not in %s: %r", _spans(spans), self.destination, error)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def _patiently(self, spans: Sequence[ReadableSpan]) -> None:
        deadline = monotonic() + _PATIENCE
        pause = _FIRST_PAUSE
        while (wait := self._attempt(spans, pause, deadline)) is not None:
            self._stopped.wait(wait)
            pause *= 2

    def _attempt(self, spans: Sequence[ReadableSpan], pause: float, deadline: float) -> float | None:
        """Deliver; None when the rows are written, else the seconds to wait before the next attempt."""
        try:
            self.deliver(spans)
        except TransientError as error:
            wait = pause * _jitter.uniform(0.8, 1.2) if error.retry_after is None else error.retry_after
            if self._stopped.is_set() or monotonic() + wait > deadline:
                raise
            return wait
        return None

    def _rows(self, spans: Sequence[ReadableSpan]) -> list[Row]:
        flat = flatten(spans, now=time_ns())
        for span in flat.misdated:
            warn_once(
                f"warehouse:misdated:{span.name}",
                "span %r says that it started before 1990 or in the future; its row shows the span's own start, or now",
                span.name,
            )
        for span in flat.lacking:
            self.passed_by += 1
            missing = lacking(span.attributes or {})
            warn_once(
                f"warehouse:lacks:{missing}",
                "span %r claims an operation but gives no row: it lacks %s",
                span.name,
                ", ".join(missing),
            )
        return flat.rows

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is kept here: True."""
        return True

    def shutdown(self) -> None:
        """Stop waiting between attempts, and close the connection."""
        self._stopped.set()
        self._warehouse.close()


def _spans(spans: Sequence[ReadableSpan]) -> str:
    return "1 span" if len(spans) == 1 else f"{len(spans)} spans"


def _named() -> str:
    from dbbtrace.settings import resolve

    url = resolve().warehouse
    if url is None:
        raise UsageError("no warehouse is named: set DBBTRACE_WAREHOUSE, e.g. to mssql://server/database")
    return url
