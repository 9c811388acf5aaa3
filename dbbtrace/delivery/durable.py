"""The delivery for anyone who uses OpenTelemetry: one exporter, whichever, with a journal in front of it."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from dbbtrace.delivery.processor import Delivery
from dbbtrace.delivery.sink import Destination
from dbbtrace.model.destinations import exporter_name

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["DurableSpanProcessor"]


class DurableSpanProcessor(Delivery):
    """Puts a journal in front of any exporter: what ended is delivered, whatever happens to backend or process.

    Args:
        exporter: any SpanExporter.
        journal_dir: directory of the journals.
        name: what the journal calls the exporter; the next process must name it the same to deliver the rest.
        fsync: survive power loss too, at the price of a disk flush for every span.
        exit_timeout: seconds that the end of the process waits for what is not delivered; the rest stays in the
            journal.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        journal_dir: str | os.PathLike[str],
        *,
        name: str | None = None,
        fsync: bool = False,
        exit_timeout: float = 2.0,
    ) -> None:
        destination = Destination(name or exporter_name(exporter), partial(_itself, exporter), rows=True)
        super().__init__([destination], journal_dir=journal_dir, fsync=fsync, exit_timeout=exit_timeout)


def _itself(exporter: SpanExporter) -> SpanExporter:
    return exporter
