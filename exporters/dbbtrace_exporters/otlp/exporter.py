"""Spans to any OTLP backend: HTTP with protobuf or JSON, or gRPC.

``deliver()`` makes one attempt and says truthfully what came of it; being patient is delivery's task. It never takes
partial success for success, and makes no spans about its own sending.
What encodes and what sends (protobuf, requests, grpc) is an extra, imported when the first span is sent.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from dbbtrace.diagnostics import warn_once
from dbbtrace.errors import ConfigurationError, DbbtraceError, RefusedError, TransientError
from dbbtrace.model.destinations import otlp_name
from dbbtrace.tracing.threads import unobserved
from dbbtrace_exporters.otlp.clean import clean
from dbbtrace_exporters.otlp.environment import target

__all__ = ["MAX_REQUEST_BYTES", "ForwardingSpanExporter"]

MAX_REQUEST_BYTES = 4_000_000
"""Bytes of a request before compression: below the 4 MiB that gRPC servers take unless told otherwise."""


class ForwardingSpanExporter(SpanExporter):
    """Send spans to an OTLP backend.

    Args:
        endpoint: base URL such as ``http://localhost:4318``, or for HTTP the full one ending in ``/v1/traces``;
            None: as OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT says.
        protocol: ``http/protobuf``, ``http/json`` or ``grpc``; None: as OTEL_EXPORTER_OTLP_PROTOCOL says.
        max_request_bytes: a batch beyond this size goes in several requests.

    Headers, time-out, compression and certificates are those of the OTEL_EXPORTER_OTLP_* variables.
    """

    def __init__(
        self, endpoint: str | None = None, *, protocol: str | None = None, max_request_bytes: int = MAX_REQUEST_BYTES
    ) -> None:
        self.endpoint, self.protocol = target(endpoint, protocol)
        self.destination = otlp_name(self.endpoint, self.protocol)
        """Where the spans go, without login and query: what a journal is addressed to."""
        self._max_request_bytes = max_request_bytes
        self._sender: Any = None
        self._one_at_a_time = threading.Lock()
        self._shut_down = False

    def deliver(self, spans: Sequence[ReadableSpan]) -> None:
        """Send the spans; returns when the backend has accepted every one.

        Raises:
            TransientError: no connection, no answer in time, 429, 5xx: later (``retry_after``).
            ConfigurationError: 401, 403, 404, a redirect, a certificate, a missing package: a person must act.
            RefusedError: the backend refuses what is in the batch, or part of it.
        """
        if not spans:
            return
        with self._one_at_a_time, unobserved():
            self._send([clean(span) for span in spans])

    def check(self) -> None:
        """Send a request without spans: whether the backend is there and lets us in. Raises what ``deliver()`` does."""
        with self._one_at_a_time, unobserved():
            self._send(())

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """For the stock processors: ``deliver()`` without exceptions; what goes wrong is logged once a kind."""
        try:
            self.deliver(spans)
        except Exception as error:
            kind = "shut down" if self._shut_down else type(error).__name__
            said = error if isinstance(error, DbbtraceError) else kind
            warn_once(f"otlp:{self.destination}:{kind}", "Spans are not forwarded: %s", said)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is kept here: True."""
        return True

    def shutdown(self) -> None:
        """Give up what is under way, at once, and close the connection."""
        self._shut_down = True
        if (sender := self._sender) is not None:
            sender.close()

    def _send(self, spans: Sequence[ReadableSpan]) -> None:
        """Send the spans in order; a batch that makes too long a request goes in halves."""
        sender = self._sender = self._sender or self._open()
        if self._shut_down:
            sender.close()
            raise TransientError(f"{self.destination}: the exporter is shut down")
        try:
            request = sender.encode(spans)
        except Exception as error:
            raise RefusedError(f"These spans can't be encoded: {type(error).__name__}: {error}") from error
        if (half := len(spans) // 2) and sender.size(request) > self._max_request_bytes:
            self._send(spans[:half])
            self._send(spans[half:])
            return
        try:
            sender.send(request)
        except (TransientError, ConfigurationError):  # begin anew: a lost channel would wait, a token may be another
            self._sender = None
            sender.close()
            raise

    def _open(self) -> Any:
        """An HttpSender or a GrpcSender: what turns spans into a request, tells its bytes, and sends it."""
        to = self.endpoint, self.destination
        try:
            if self.protocol == "grpc":
                from dbbtrace_exporters.otlp.grpc import GrpcSender

                return GrpcSender(*to)
            from dbbtrace_exporters.otlp.http import HttpSender

            if self.protocol == "http/json":
                from dbbtrace_exporters.otlp.json_encoder import encoder

                return HttpSender(*to, "application/json", encoder())
            from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

            return HttpSender(*to, "application/x-protobuf", lambda spans: encode_spans(spans).SerializeToString())
        except ImportError as error:
            extra = "otlp-json" if self.protocol == "http/json" else "otlp"
            raise ConfigurationError(
                f'Sending spans to {self.destination} needs {error.name}: pip install "dbbtrace[{extra}]"'
            ) from error
