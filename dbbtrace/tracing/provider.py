"""The private TracerProvider: always on, dropping nothing, with ids that can be given.

Monitoring is not sampled, so the sampler, limits and OTEL_SDK_DISABLED of the environment don't reach it. Serves as
the global provider where none is set (``stand_in``), so that spans of other instrumentation join the trace. The
private names of OpenTelemetry that this uses, and what happens without them: docs/decisions.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from threading import Lock
from time import time_ns
from typing import Protocol

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import (
    EventBase,
    ReadableSpan,
    Span,
    SpanLimits,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
)
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    Link,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
)
from opentelemetry.util.types import Attributes, AttributeValue

from dbbtrace.model import identity
from dbbtrace.model.masking import masked_attributes, masked_input
from dbbtrace.tracing.masking import masked_span, masked_status
from dbbtrace.tracing.stand_in import StandIn
from dbbtrace.version import __version__

__all__ = ["Foreign", "Ids", "LiveSpan", "Provider", "clock", "now", "set_clock"]

clock: Callable[[], int] = time_ns
"""Nanoseconds since the Unix epoch; ``dbbtrace.testing`` puts its own here."""

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNLIMITED = SpanLimits(
    max_attributes=SpanLimits.UNSET,
    max_events=SpanLimits.UNSET,
    max_links=SpanLimits.UNSET,
    max_span_attributes=SpanLimits.UNSET,
    max_event_attributes=SpanLimits.UNSET,
    max_link_attributes=SpanLimits.UNSET,
    max_attribute_length=SpanLimits.UNSET,
    max_span_attribute_length=SpanLimits.UNSET,
)


def now() -> int:
    """Nanoseconds since the Unix epoch, by the clock in force."""
    return clock()


def set_clock(replacement: Callable[[], int] | None) -> None:
    """Replace the clock; None puts the real one back."""
    global clock
    clock = replacement or time_ns


class Ids(IdGenerator):
    """Ids from the system's randomness: the SDK's own generator uses the global ``random``, and a job that seeds it
    repeats its ids."""

    def __init__(self) -> None:
        self.new_span_id: Callable[[], int] = identity.new_span_id
        self.new_trace_id: Callable[[], int] = identity.new_trace_id

    def generate_trace_id(self) -> int:
        """128 random bits."""
        return self.new_trace_id()

    def generate_span_id(self) -> int:
        """64 random bits."""
        return self.new_span_id()

    def is_trace_id_random(self) -> bool:
        """False: a trace id is the run's GUID, of which some bits are fixed."""
        return False


class Foreign(Protocol):
    """Knows what spans of other instrumentation tell."""

    def started(self, span: Span) -> None:
        """A span started."""

    def ended(self, span: ReadableSpan) -> ReadableSpan:
        """The span as it is recorded."""


class _Switch(SynchronousMultiSpanProcessor):
    """Hands spans to the processor in force, and each end to the processor that saw the start; then to those that
    others have added to the provider.

    ``configure()`` may be called again while spans are open; no journal may be left with a start that never ends.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.target: SpanProcessor | None = None
        self._foreign: dict[str, Callable[[], Foreign]] = {}
        """Instrumentation scope → who knows what its spans tell."""
        self._has_others = False
        self._saw: dict[int, tuple[SpanProcessor, bool]] = {}
        """Span id → who saw its start, and whether the span is ours. The SDK hands another object to ``on_end`` than to
        ``on_start``."""

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        super().add_span_processor(span_processor)
        self._has_others = True

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        target = self.target
        if target is not None and not sys.is_finalizing():  # a thread that was stopped may hold a lock
            is_ours = hasattr(span, "checked")  # a LiveSpan: isinstance() asks its abstract class first
            self._saw[span.context[1]] = target, is_ours
            if not is_ours:
                _mask_at_start(span)
                if (foreign := self._foreign_of(span)) is not None:
                    foreign.started(span)
            target.on_start(span, parent_context)
        if self._has_others:
            super().on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        target, is_ours = self._saw.pop(span.context[1], (self.target, False))
        if target is not None and not sys.is_finalizing():
            target.on_end(span if is_ours else self._as_recorded(masked_span(span)))
        if self._has_others:
            super().on_end(span)

    def _as_recorded(self, span: ReadableSpan) -> ReadableSpan:
        foreign = self._foreign_of(span)
        return foreign.ended(span) if foreign is not None else span

    def _foreign_of(self, span: ReadableSpan) -> Foreign | None:
        scope = span.instrumentation_scope
        made = self._foreign.get(scope.name) if scope is not None else None
        return made() if made is not None else None

    def understand(self, scope: str, make: Callable[[], Foreign]) -> None:
        """See ``Provider.understand``."""
        self._foreign[scope] = cache(make)

    def has_open_spans_of(self, processor: SpanProcessor) -> bool:
        return any(target is processor for target, _ in list(self._saw.values()))

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        flushed = self.target is None or self.target.force_flush(timeout_millis)
        return super().force_flush(timeout_millis) and flushed


def _mask_at_start(span: Span) -> None:
    """Mask what the journal is about to hold of a span of other instrumentation."""
    attributes = span.attributes or {}
    texts = masked_attributes(attributes)
    if texts is not attributes:
        span.set_attributes(texts)


class LiveSpan(Span):
    """An SDK span that we start ourselves: no sampler is asked, ids may be given, and attributes that need no cleaning
    are not cleaned, which is half of what a span costs.

    What spans have in common their class holds, as the SDK made it for one of them (``kind_of``); and few spans have
    events or links, so their lists, most of a span's memory, are made when there is one.
    """

    checked = True
    """Whether every attribute is text, a truth value, an integer of 64 bits or a finite number, checked where it was
    written: nothing is left to clean, nor to look for before it is journalled."""

    def kind_of(self) -> type[LiveSpan]:
        """A class of spans that have everything in common with this one, which never started, but for what is a span's
        own. Common to all, it takes no room in each."""
        common = {name: value for name, value in vars(self).items() if name not in _OWN}
        return type("LiveSpan", (LiveSpan,), common)

    @classmethod
    def begun(
        cls, name: str, context: SpanContext, parent: SpanContext | None, links: Sequence[Link], start: int
    ) -> LiveSpan:
        """A span of such a class. The SDK's own constructor takes more than twice as long."""
        span = object.__new__(cls)
        span.__dict__ = {
            "_name": name,
            "_context": context,
            "_parent": parent,
            "_start_time": start,
            "_lock": Lock(),
            "_attributes": BoundedAttributes(immutable=False),
            "_events": (),
            "_links": span._new_links(links) if links else (),
        }
        return span

    def _readable_span(self) -> ReadableSpan:
        """What has ended: this one, which nothing changes any more. The SDK makes a copy."""
        return self

    def put(self, values: Mapping[str, object], *, checked: bool = False) -> None:
        """Set those of the attributes that have changed.

        Args:
            checked: see ``checked`` of the span.
        """
        held = getattr(self._attributes, "_dict", None)
        if type(held) is dict:
            if self._end_time is None and (checked or _are_plain(values)):
                self.checked &= checked
                held.update(values)
                return
            values = {name: value for name, value in values.items() if held.get(name) is not value}
        self.set_attributes(values)  # type: ignore[arg-type]

    def take_back(self, name: str, instead: AttributeValue | None) -> None:
        """Set an attribute back to what it would have been, None: to nothing. OpenTelemetry's API can't."""
        if instead is not None:
            self.set_attribute(name, instead)
        elif self._end_time is None:
            with suppress(KeyError, TypeError):
                del self._attributes[name]  # type: ignore[union-attr]

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        self.checked = False
        super().set_attributes(attributes)

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        self.checked = False
        super().set_attribute(key, value)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        if isinstance(status, Status):
            super().set_status(masked_status(status), description)
        else:
            super().set_status(status, masked_input(description) if description else description)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        super().add_event(name, masked_attributes(attributes) if attributes else attributes, timestamp)

    def _add_event(self, event: EventBase) -> None:
        with self._lock:
            if isinstance(self._events, tuple):
                self._events = self._new_events()  # type: ignore[no-untyped-call]
        super()._add_event(event)

    def _add_link(self, link: Link) -> None:
        with self._lock:
            if isinstance(self._links, tuple):
                self._links = self._new_links(())
        super()._add_link(link)


_COPIED = frozenset({
    "_name", "_context", "_kind", "_instrumentation_info", "_instrumentation_scope", "_parent", "_start_time",
    "_end_time", "_attributes", "_events", "_links", "_resource", "_status", "_sampler", "_trace_config",
    "_record_exception", "_set_status_on_exception", "_span_processor", "_limits", "_lock", "_record_end_metrics",
})  # fmt: skip
"""What spans of the SDK hold, 1.27 to 1.45, of which ``begun`` knows what is a span's own."""
_OWN = frozenset({"_name", "_context", "_parent", "_start_time", "_lock", "_attributes", "_events", "_links"})
"""Of them, a span's own."""
_MAKERS = ("_add_event", "_add_link", "_new_events", "_new_links")
"""Methods of the SDK's by which events and links come into being when there is one."""


def _is_known(span: LiveSpan) -> bool:
    """Whether others may share what the span has in common with them. An SDK that is not known yet may hold what two
    spans must not share, or make its lists elsewhere: its spans it makes itself."""
    return _OWN <= vars(span).keys() <= _COPIED and all(hasattr(Span, name) for name in _MAKERS)


_PLAIN = frozenset({str, bool, int, float})


def _are_plain(attributes: Mapping[str, object]) -> bool:
    """Whether the SDK would take the attributes as they are."""
    return _PLAIN.issuperset(map(type, attributes.values())) and "" not in attributes


class Provider:
    """The provider with what hangs on it: ids, tracer and the processor in force."""

    def __init__(self, service_name: str) -> None:
        self.service_name = service_name
        self.ids = Ids()
        self.resource = Resource.create({"service.name": service_name})
        self._switch = _Switch()
        self.sdk = StandIn(
            sampler=ALWAYS_ON,
            resource=self.resource,
            shutdown_on_exit=False,
            id_generator=self.ids,
            span_limits=_UNLIMITED,
            active_span_processor=self._switch,
        )
        # OTEL_SDK_DISABLED stops forwarding, never rows; the SDK offers no public switch for one provider.
        self.sdk._disabled = False
        self._scope = InstrumentationScope("dbbtrace", __version__)
        template = self._new_span("", INVALID_SPAN_CONTEXT, None, ())
        self._kind_of_span = template.kind_of() if _is_known(template) else None

    def _new_span(self, name: str, context: SpanContext, parent: SpanContext | None, links: Sequence[Link]) -> LiveSpan:
        return LiveSpan(
            name=name,
            context=context,
            parent=parent,
            sampler=ALWAYS_ON,
            resource=self.resource,
            links=links,
            span_processor=self._switch,
            limits=_UNLIMITED,
            instrumentation_scope=self._scope,
        )

    def understand(self, scope: str, make: Callable[[], Foreign]) -> None:
        """Record spans of this instrumentation scope as somebody tells them, who is made with the first."""
        self._switch.understand(scope, make)

    @property
    def processor(self) -> SpanProcessor | None:
        """Where spans go."""
        return self._switch.target

    @processor.setter
    def processor(self, target: SpanProcessor | None) -> None:
        self._switch.target = target

    def has_open_spans_of(self, processor: SpanProcessor) -> bool:
        """Whether spans that started there still run."""
        return self._switch.has_open_spans_of(processor)

    def become_global(self) -> bool:
        """Serve other instrumentation too, where the host has set no TracerProvider of its own."""
        return self.sdk.become_global()

    def start_span(
        self,
        name: str,
        context: Context,
        attributes: dict[str, object],
        *,
        start: int,
        checked: bool = False,
        parent: SpanContext | None = None,
        trace_id: int | None = None,
        span_id: int | None = None,
        links: Sequence[Link] = (),
    ) -> LiveSpan:
        """A started span, child of the context's current span; ids given where they are not random.

        Args:
            checked: see ``LiveSpan.put``.
            parent: that span's, where the caller knows it.
        """
        parent = parent or get_current_span(context).get_span_context()
        flags, state = _SAMPLED, None
        if parent.is_valid:
            trace_id, flags, state = parent[0], parent[3], parent[4]
            if flags != _SAMPLED:
                flags = TraceFlags(flags | _SAMPLED)
        else:
            parent = None
        own = SpanContext(trace_id or self.ids.new_trace_id(), span_id or self.ids.new_span_id(), False, flags, state)
        if self._kind_of_span is None:
            span = self._new_span(name, own, parent, links)
            span.put(attributes, checked=checked)
            span.start(start, context)
            return span
        span = self._kind_of_span.begun(name, own, parent, links, start)
        span.put(attributes, checked=checked)
        self._switch.on_start(span, context)
        return span
