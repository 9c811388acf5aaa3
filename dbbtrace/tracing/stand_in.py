"""A TracerProvider that serves as the global one only until the host sets its own.

OpenTelemetry's ``set_tracer_provider`` can be called once: had dbbtrace called it, a host that sets up its telemetry in
a later notebook cell would be refused. So the place is taken without that call, and whoever got a tracer meanwhile
gets the host's spans from it once there is a host's provider.
"""

from __future__ import annotations

from collections.abc import Callable
from os import environ
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import ProxyTracerProvider, Span, Tracer

__all__ = ["StandIn"]


class StandIn(TracerProvider):
    """An SDK provider whose tracers step aside for a provider that takes its place."""

    _served = False
    """Whether it is, or was, the global provider."""

    def become_global(self) -> bool:
        """Take the global place if it is free, or held by another stand-in; whether this one has it then."""
        if _named_by_environment():
            return False
        holder = trace.get_tracer_provider()
        if holder is not self and isinstance(holder, (ProxyTracerProvider, StandIn)):
            # set_tracer_provider() would do this too, and refuse the next: the host's.
            trace._TRACER_PROVIDER = self
            if trace.get_tracer_provider() is not self:  # an API that keeps it elsewhere
                trace.set_tracer_provider(self)
            self._served = True
        return trace.get_tracer_provider() is self

    def get_tracer(self, *args: Any, **kwargs: Any) -> Tracer:
        tracer = super().get_tracer(*args, **kwargs)
        if "start_span" not in vars(tracer):  # the SDK may hand out one tracer twice
            starter = _Starter(self, tracer.start_span, args, kwargs)
            tracer.start_span = starter  # type: ignore[method-assign]
        return tracer

    def successor(self) -> trace.TracerProvider | None:
        """Who has taken the global place since; None: nobody."""
        holder = trace.get_tracer_provider() if self._served else self
        return None if holder is self else holder


class _Starter:
    """A tracer's ``start_span``, which the SDK's ``start_as_current_span`` calls too."""

    def __init__(
        self, provider: StandIn, own: Callable[..., Span], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._provider, self._own, self._args, self._kwargs = provider, own, args, kwargs
        self._others: tuple[trace.TracerProvider, Tracer] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Span:
        successor = self._provider.successor()
        if successor is None:
            return self._own(*args, **kwargs)
        if self._others is None or self._others[0] is not successor:
            self._others = successor, successor.get_tracer(*self._args, **self._kwargs)
        return self._others[1].start_span(*args, **kwargs)


def _named_by_environment() -> bool:
    """Whether OTEL_PYTHON_TRACER_PROVIDER names the provider that the API is to load at first use."""
    return bool(environ.get("OTEL_PYTHON_TRACER_PROVIDER", "").strip())
