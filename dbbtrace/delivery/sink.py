"""One exporter, whoever wrote it: made when first needed, asked in its own way, its failures sorted into kinds.

What it refuses for good is set aside.

Used in its destination's thread only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.delivery.backoff import UnexplainedError
from dbbtrace.delivery.queue import Entry
from dbbtrace.diagnostics import log, warn_once
from dbbtrace.errors import ConfigurationError, RefusedError, TransientError, UsageError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from dbbtrace.delivery.batch import Outcome

__all__ = ["Destination", "SetAside", "Sink"]

SetAside = Callable[[Sequence[tuple[ReadableSpan, str]]], None]
"""Keeps spans that were refused, each with the reason; raises OSError where it can't."""


class Destination:
    """Where spans go.

    Args:
        name: URL without secrets, absolute path. A journal is delivered to destinations of exactly its names.
        make: makes the exporter, in the destination's own thread; may raise ConfigurationError or TransientError.
        rows: the warehouse: ``flush()`` and the end of a run wait for it.
        wants: which spans it gets; None: every span.
        ahead: opening it takes long: ``Delivery.open_ahead()`` does it before the first span.
        also: other names by which journals of jobs that are gone are delivered to it.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], SpanExporter],
        rows: bool,
        wants: Callable[[ReadableSpan], bool] | None = None,
        ahead: bool = False,
        also: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.make = make
        self.rows = rows
        self.wants = wants
        self.ahead = ahead
        self.also = also

    def named(self, name: str) -> Destination:
        """The same under another name."""
        return Destination(name, self.make, self.rows, self.wants, self.ahead, self.also)

    @property
    def names(self) -> tuple[str, ...]:
        """All names by which journals are delivered to it."""
        return (self.name, *self.also)

    def takes(self, span: ReadableSpan) -> bool:
        """Whether the span goes there; where that can't be told, it does."""
        if self.wants is None:
            return True
        try:
            return self.wants(span)
        except Exception as error:
            warn_once(f"wants:{self.name}", "%s: could not filter: %r", self.name, error)
            return True


class Sink:
    """Where one destination's spans leave the process."""

    def __init__(self, destination: Destination, set_aside: SetAside) -> None:
        self._set_aside = set_aside
        self._name = destination.name
        self._make = destination.make
        self._exporter: SpanExporter | None = None

    def open_ahead(self) -> None:
        """Open it while nothing waits: an exporter with ``connect()`` is asked to connect. What goes wrong is said
        when something waits."""
        try:
            connect = getattr(self._made(), "connect", None)
            if connect is not None:
                connect()
        except BaseException as error:
            log.debug("%s could not be opened ahead: %s", self._name, error)

    def deliver(self, entries: Sequence[Entry], *, suspect: bool) -> Outcome[Entry]:
        """Send a batch, in parts where it must be, and set aside what is refused; see ``settle``."""
        from dbbtrace.delivery.batch import settle

        outcome = settle(self.send, entries, suspect=suspect)
        try:
            if outcome.refused:
                self._set_aside([(entry.span, reason) for entry, reason in outcome.refused])
        except OSError as error:  # nowhere to put it: better tried again than lost
            outcome.left += [entry for entry, _ in outcome.refused]
            outcome.refused = []
            outcome.error = outcome.error or TransientError(f"the dead-letter file can't be written: {error}")
        return outcome

    def send(self, entries: Sequence[Entry]) -> None:
        """Returns when all is stored.

        Raises:
            TransientError, ConfigurationError, RefusedError: as exporters of ours say.
            UnexplainedError: the exporter failed in another way, all that exporters of others can.
        """
        spans = [entry.span for entry in entries]
        try:
            exporter = self._made()
            deliver = getattr(exporter, "deliver", None)
            if deliver is not None:
                deliver(spans)
                return
            answer = exporter.export(spans)
            succeeded = getattr(answer, "name", None) == "SUCCESS"
        except (TransientError, ConfigurationError, RefusedError):
            raise
        except UsageError as error:  # it was given what makes no sense: an address, a path
            raise ConfigurationError(str(error)) from error
        except BaseException as error:  # whatever its class: a client that calls sys.exit() ends no delivery
            raise UnexplainedError(f"{type(error).__name__}: {error}") from error
        if not succeeded:
            raise UnexplainedError(f"{type(exporter).__name__}.export answered {answer}")

    def shut_down(self) -> None:
        """Shut the exporter down; the next ``send`` makes another."""
        exporter, self._exporter = self._exporter, None
        if exporter is not None:
            try:
                exporter.shutdown()
            except BaseException as error:
                log.debug("%s: shutdown failed: %s", self._name, error)

    def _made(self) -> SpanExporter:
        if self._exporter is None:
            self._exporter = self._make()
        return self._exporter
