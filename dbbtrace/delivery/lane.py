"""A destination, and what this process holds for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.delivery.backlog import Backlog, Memory
from dbbtrace.delivery.source import Source
from dbbtrace.delivery.worker import Worker
from dbbtrace.diagnostics import warn_once
from dbbtrace.journal.owner import Owner, this_process

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from dbbtrace.delivery.adoption import AdoptedSource

__all__ = ["Destination", "Lane"]


class Destination(NamedTuple):
    """Where spans go."""

    name: str
    """URL without secrets, absolute path. A journal is delivered to destinations of exactly its names."""
    make: Callable[[], SpanExporter]
    """Makes the exporter, in the destination's own thread; may raise ConfigurationError or TransientError."""
    rows: bool
    """The warehouse: ``flush()`` and the end of a run wait for it."""
    wants: Callable[[ReadableSpan], bool] | None = None
    """Which spans it gets; None: every span."""
    ahead: bool = False
    """Opening it takes long: ``Delivery.open_ahead()`` does it before the first span."""
    also: tuple[str, ...] = ()
    """Other names by which journals of jobs that are gone are delivered to it."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names by which journals are delivered to it."""
        return (self.name, *self.also)


class Lane:
    """A destination with what this process holds for it."""

    def __init__(self, destination: Destination, worker: Worker) -> None:
        self.destination = destination
        self.worker = worker
        self.memory = Memory()
        self.backlog: Backlog | None = None
        self.put = 0
        """Spans that were ever put in."""
        self.children: list[Source] = []
        """What child processes left, and deliveries of this process that were shut down: ``flush()`` waits for it."""

    def wants(self, span: ReadableSpan) -> bool:
        """Whether the span goes there; where that can't be told, it does."""
        wants = self.destination.wants
        if wants is None:
            return True
        try:
            return wants(span)
        except Exception as error:
            warn_once(f"wants:{self.destination.name}", "%s: could not filter: %r", self.destination.name, error)
            return True

    @property
    def keeps_up(self) -> bool:
        """Whether what waits is about to be delivered, from memory."""
        return self.worker.error is None and (self.backlog is None or not self.backlog.behind)

    @property
    def has_room(self) -> bool:
        """Whether another batch finds room in memory."""
        return self.backlog is None or self.backlog.has_room

    @property
    def left(self) -> int:
        """Spans of this process that are not settled."""
        return 0 if self.is_idle else max(1, self.put - self.worker.own_settled - self.memory.dropped)

    @property
    def lost(self) -> int:
        """Spans of this process that will not be stored: refused, or dropped for want of room."""
        return self.worker.own_refused + self.memory.dropped

    @property
    def is_idle(self) -> bool:
        """Whether nothing of this process waits or is on its way."""
        return self.backlog is None or self.backlog.is_idle

    def adopt(self, source: AdoptedSource) -> None:
        """Deliver what another process left; first, if that was a child of this one, or a delivery before this one."""
        owner = Owner.parse(source.journal.owner)
        if source.journal.parent == os.getpid() or (owner is not None and owner.process == this_process().process):
            self.worker.adopted.appendleft(source)
            self.children.append(source)
        else:
            self.worker.adopted.append(source)
        self.worker.start()
        self.worker.wake()

    def give_up(self) -> None:
        """The journal is no longer ours; what is in memory only still is."""
        if self.backlog is not None:
            self.backlog.give_up()
            self.put = self.worker.own_settled + self.memory.dropped + len(self.memory)
