"""One exporter, whoever wrote it: made when first needed, asked in its own way, its failures sorted into kinds.

Used in its destination's thread only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dbbtrace.delivery.source import Item
from dbbtrace.diagnostics import log
from dbbtrace.errors import DbbtraceError, TransientError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["Outlet", "UnexplainedError"]


class UnexplainedError(TransientError):
    """An exporter failed and did not say why: the backend's fault until shown to be a span's."""


class Outlet:
    """Where one destination's spans leave the process."""

    def __init__(self, name: str, make: Callable[[], SpanExporter]) -> None:
        self._name = name
        self._make = make
        self._exporter: SpanExporter | None = None

    def open_ahead(self) -> None:
        """Open it while nothing waits: an exporter with ``connect()`` is asked to connect. What goes wrong is said
        when something waits."""
        try:
            connect = getattr(self._made(), "connect", None)
            if connect is not None:
                connect()
        except Exception as error:
            log.debug("%s could not be opened ahead: %s", self._name, error)

    def send(self, items: Sequence[Item]) -> None:
        """Returns when all is stored.

        Raises:
            TransientError, ConfigurationError, RefusedError: as exporters of ours say.
            UnexplainedError: the exporter failed in another way, all that exporters of others can.
        """
        spans = [item.span for item in items]
        try:
            exporter = self._made()
            deliver = getattr(exporter, "deliver", None)
            if deliver is not None:
                deliver(spans)
                return
            result = exporter.export(spans)
        except DbbtraceError:
            raise
        except Exception as error:
            raise UnexplainedError(f"{type(error).__name__}: {error}") from error
        if result.name != "SUCCESS":
            raise UnexplainedError(f"{type(exporter).__name__}.export answered {result}")

    def shut_down(self) -> None:
        """Shut the exporter down; the next ``send`` makes another."""
        exporter, self._exporter = self._exporter, None
        if exporter is not None:
            try:
                exporter.shutdown()
            except Exception as error:
                log.debug("%s: shutdown failed: %s", self._name, error)

    def _made(self) -> SpanExporter:
        if self._exporter is None:
            self._exporter = self._make()
        return self._exporter
