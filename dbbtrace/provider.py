"""The private TracerProvider: always on, dropping nothing, with ids that can be given.

Monitoring is not sampled, so the sampler, limits and OTEL_SDK_DISABLED of the environment don't reach it. Becomes
the global provider only where none is set, so that spans of other instrumentation join the trace.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import time_ns

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, SpanKind

from dbbtrace import identity
from dbbtrace.version import __version__

__all__ = ["Ids", "Provider", "clock", "now", "set_clock"]

clock: Callable[[], int] = time_ns
"""Nanoseconds since the Unix epoch; ``dbbtrace.testing`` puts its own here."""

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
    """Ids from ``secrets``, unless the next span's were given.

    The SDK asks its generator for ids and takes none from callers; ``give`` hands them over on this thread.
    """

    def __init__(self) -> None:
        self._given = threading.local()
        self.new_span_id: Callable[[], int] = identity.new_span_id
        self.new_trace_id: Callable[[], int] = identity.new_trace_id

    def give(self, *, trace_id: int | None, span_id: int | None) -> None:
        """Ids for the next span started on this thread; None: a random one."""
        self._given.trace_id = trace_id
        self._given.span_id = span_id

    def generate_trace_id(self) -> int:
        """The trace id given, once; otherwise 128 random bits."""
        given = getattr(self._given, "trace_id", None)
        self._given.trace_id = None
        return given or self.new_trace_id()

    def generate_span_id(self) -> int:
        """The span id given, once; otherwise 64 random bits."""
        given = getattr(self._given, "span_id", None)
        self._given.span_id = None
        return given or self.new_span_id()

    def is_trace_id_random(self) -> bool:
        """False: a trace id is the run's GUID, of which some bits are fixed."""
        return False


class _Switch(SpanProcessor):
    """Hands spans to the processor in force, and each end to the processor that saw the start.

    ``configure()`` may be called again while spans are open; no journal may be left with a start that never ends.
    """

    def __init__(self) -> None:
        self.target: SpanProcessor | None = None

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        target = self.target
        if target is not None:
            span._dbbtrace_target = target  # type: ignore[attr-defined]
            target.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        target = getattr(span, "_dbbtrace_target", None) or self.target
        if target is not None:
            target.on_end(span)

    def shutdown(self) -> None:
        """Nothing: delivery has an exit of its own, which keeps its deadline."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self.target is None or self.target.force_flush(timeout_millis)


class Provider:
    """The provider with what hangs on it: ids, tracer and the processor in force."""

    def __init__(self, service_name: str) -> None:
        self.service_name = service_name
        self.ids = Ids()
        self.resource = Resource.create({"service.name": service_name})
        self._switch = _Switch()
        self.sdk = TracerProvider(
            sampler=ALWAYS_ON,
            resource=self.resource,
            shutdown_on_exit=False,
            id_generator=self.ids,
            span_limits=_UNLIMITED,
        )
        # OTEL_SDK_DISABLED stops forwarding, never rows; the SDK offers no public switch for one provider.
        self.sdk._disabled = False
        self.sdk.add_span_processor(self._switch)
        self._tracer = self.sdk.get_tracer("dbbtrace", __version__)

    @property
    def processor(self) -> SpanProcessor | None:
        """Where spans go."""
        return self._switch.target

    @processor.setter
    def processor(self, target: SpanProcessor | None) -> None:
        self._switch.target = target

    def become_global(self) -> bool:
        """Serve other instrumentation too, where no TracerProvider is set; never replaces one."""
        if trace._TRACER_PROVIDER is None and not _named_by_environment():
            trace.set_tracer_provider(self.sdk)
        return trace._TRACER_PROVIDER is self.sdk

    def start_span(
        self,
        name: str,
        context: Context,
        attributes: dict[str, object],
        *,
        start: int,
        trace_id: int | None = None,
        span_id: int | None = None,
        links: Sequence[Link] = (),
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> Span:
        """A started SDK span, child of the context's current span; ids given where they are not random."""
        self.ids.give(trace_id=trace_id, span_id=span_id)
        try:
            span = self._tracer.start_span(name, context, kind, attributes, links, start)  # type: ignore[arg-type]
        finally:
            self.ids.give(trace_id=None, span_id=None)
        assert isinstance(span, Span)  # the sampler is always on
        return span


def _named_by_environment() -> bool:
    """Whether OTEL_PYTHON_TRACER_PROVIDER names the provider that the API is to load at first use."""
    from os import environ

    return bool(environ.get("OTEL_PYTHON_TRACER_PROVIDER", "").strip())
