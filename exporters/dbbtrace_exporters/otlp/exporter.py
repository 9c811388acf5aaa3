"""Spans to any OTLP backend, through the stock OTLP exporters: HTTP with protobuf, or gRPC.

``deliver()`` makes one attempt and tells truthfully what came of it; patience is delivery's. It never follows a
redirect, never takes partial success for success, and never sends its own spans about sending.
The exporters (and with them protobuf, requests and grpc) are an extra, imported when the first span is sent.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from dbbtrace.diagnostics import warn_once
from dbbtrace.errors import DbbtraceError, TransientError
from dbbtrace.model.destinations import otlp_name
from dbbtrace.settings import resolve
from dbbtrace_exporters.otlp.clean import clean, requests_of
from dbbtrace_exporters.otlp.wires import GrpcWire, HttpWire, Wire

__all__ = ["MAX_REQUEST_BYTES", "ForwardingSpanExporter"]

MAX_REQUEST_BYTES = 4_000_000
"""Bytes of a request before compression: below the 4 MiB that gRPC servers take unless told otherwise."""

_DEFAULT_URLS = {"http/protobuf": "http://localhost:4318/v1/traces", "grpc": "http://localhost:4317"}
_WIRES: dict[str, type[Wire]] = {"http/protobuf": HttpWire, "grpc": GrpcWire}


class ForwardingSpanExporter(SpanExporter):
    """Send spans to an OTLP backend.

    Args:
        endpoint: base URL such as ``http://localhost:4318``, or for HTTP the full one ending in ``/v1/traces``;
            None: as OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT says.
        protocol: ``http/protobuf`` or ``grpc``; None: as OTEL_EXPORTER_OTLP_PROTOCOL says.
        max_request_bytes: a batch beyond this size goes in several requests.

    Headers, time-out, compression and certificates are those of the OTEL_EXPORTER_OTLP_* variables.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        protocol: str | None = None,
        max_request_bytes: int = MAX_REQUEST_BYTES,
    ) -> None:
        self.endpoint, self.protocol = _target(endpoint, protocol)
        self.destination = otlp_name(self.endpoint, self.protocol)
        """Where the spans go, without login and query: what a journal is addressed to."""
        self._max_request_bytes = max_request_bytes
        self._wire = _WIRES[self.protocol](self.endpoint, self.destination)
        self._one_at_a_time = threading.Lock()
        self._shut_down = False

    def deliver(self, spans: Sequence[ReadableSpan]) -> None:
        """Send the spans; returns when the backend has accepted every one.

        Raises:
            TransientError: no connection, no answer in time, 429, 5xx: later (``retry_after``).
            ConfigurationError: 401, 403, 404, a redirect, a certificate, a missing package: a person must act.
            RefusedError: the backend refuses what is in the batch, or part of it.
        """
        with self._one_at_a_time, _unobserved():
            for request in requests_of([clean(span) for span in spans], self._max_request_bytes):
                if self._shut_down:
                    raise TransientError(f"{self.destination}: the exporter is shut down")
                self._wire.send(request)

    def check(self) -> None:
        """Send a request without spans: whether the backend is there and lets us in.

        Raises:
            TransientError, ConfigurationError, RefusedError: as ``deliver()`` would.
        """
        with self._one_at_a_time, _unobserved():
            self._wire.send(())

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """For the stock processors: ``deliver()`` without exceptions; what goes wrong is logged once a kind."""
        if self._shut_down:
            warn_once(
                f"otlp:{self.destination}:shut down", "%s: already shut down, spans are dropped", self.destination
            )
            return SpanExportResult.FAILURE
        try:
            self.deliver(spans)
        except DbbtraceError as error:
            warn_once(f"otlp:{self.destination}:{type(error).__name__}", "Spans are not forwarded: %s", error)
            return SpanExportResult.FAILURE
        except Exception as error:
            warn_once(f"otlp:{self.destination}:fault", "Spans are not forwarded: %s", type(error).__name__)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is kept here: True."""
        return True

    def shutdown(self) -> None:
        """Give up what is under way, at once, and close the connection."""
        self._shut_down = True
        self._wire.close()


def _target(endpoint: str | None, protocol: str | None) -> tuple[str, str]:
    """The URL to send to, whole, and the protocol."""
    settings = resolve(otlp_protocol=protocol)
    if endpoint is not None and endpoint not in (settings.otlp_endpoint, settings.otlp_url):
        settings = resolve(otlp_protocol=protocol, otlp_endpoint=endpoint)
    return settings.otlp_url or _DEFAULT_URLS[settings.otlp_protocol], settings.otlp_protocol


@contextmanager
def _unobserved() -> Iterator[None]:
    """No spans about the sending of spans, where requests, urllib3 or grpc are instrumented."""
    context = otel_context.get_current()
    for name in ("_SUPPRESS_INSTRUMENTATION_KEY", "_SUPPRESS_HTTP_INSTRUMENTATION_KEY"):
        context = otel_context.set_value(getattr(otel_context, name, name), True, context)
    token = otel_context.attach(context)
    try:
        yield
    finally:
        otel_context.detach(token)
