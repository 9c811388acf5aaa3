"""Send requests over gRPC, through the generated TraceService stub: one attempt a request, within one deadline.

gRPC holds to the deadline itself, name resolution and answers that trickle included, so no thread is needed.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from dbbtrace.errors import ConfigurationError
from dbbtrace.version import __version__
from dbbtrace_exporters.otlp import environment
from dbbtrace_exporters.otlp.answers import MAX_ANSWER_BYTES, grpc_error, no_answer, rejected, unreadable

__all__ = ["GrpcSender"]

_COMPRESSIONS = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
    ("grpc.primary_user_agent", f"dbbtrace/{__version__}"),
)


class GrpcSender:
    """A channel to one backend. Not for several threads at once, except ``close()``."""

    encode = staticmethod(encode_spans)
    size = staticmethod(ExportTraceServiceRequest.ByteSize)

    def __init__(self, endpoint: str, destination: str) -> None:
        self._destination = destination
        settings = environment.Environment()
        self._packs = settings.compression != "none"
        self._metadata, self._timeout = tuple(settings.headers.items()), settings.timeout
        self._channel = _channel(endpoint, settings)
        self._export = TraceServiceStub(self._channel).Export  # type: ignore[no-untyped-call]
        self._closed = False

    def send(self, request: ExportTraceServiceRequest) -> None:
        """Send the request; returns when the backend has accepted it all.

        Raises:
            TransientError, ConfigurationError, RefusedError: as the answer says, or because there was none.
        """
        try:
            answer = self._export(request, metadata=self._metadata, timeout=self._timeout)
        except grpc.RpcError as error:
            details = error.details() or ""
            if f"vs. {MAX_ANSWER_BYTES})" in details or ("Decompressed" in details and not self._packs):
                raise unreadable(self._destination) from None  # our limit, not the backend's
            raise grpc_error(error.code().name, details, _retry_delay(error), self._destination) from None
        except Exception as error:  # its text may hold the headers
            if self._closed:
                raise no_answer(self._destination) from None
            raise ConfigurationError(
                f"OTEL_EXPORTER_OTLP_HEADERS holds metadata that gRPC can't send ({type(error).__name__})"
            ) from None
        success = answer.partial_success
        if fault := rejected(success.rejected_spans, success.error_message, self._destination):
            raise fault

    def close(self) -> None:
        """Give up the request under way and close the channel."""
        self._closed = True
        self._channel.close()


def _channel(endpoint: str, settings: environment.Environment) -> Any:
    """A channel with TLS, unless the endpoint begins with http://, or has no scheme and INSECURE says so."""
    scheme, separator, _ = endpoint.partition("://")
    address = urlsplit(endpoint).netloc.rpartition("@")[2] or endpoint  # a bare host:port, unix:///path
    compression = _COMPRESSIONS.get(settings.compression)
    if scheme.lower() == "http" or (settings.insecure and not (separator and scheme.lower() == "https")):
        return grpc.insecure_channel(address, options=_OPTIONS, compression=compression)
    files = settings.certificate, settings.client_key or settings.client_certificate, settings.client_certificate
    credentials = environment.provided("GRPC", grpc.ChannelCredentials) or grpc.ssl_channel_credentials(
        *(Path(file).read_bytes() if file else None for file in files)
    )
    return grpc.secure_channel(address, credentials, options=_OPTIONS, compression=compression)


def _retry_delay(error: Any) -> float | None:
    """Seconds of the RetryInfo in a gRPC error, which comes in either of two trailers."""
    from google.rpc.error_details_pb2 import RetryInfo
    from google.rpc.status_pb2 import Status

    trailers = dict(error.trailing_metadata() or ())
    raw, status = (trailers.get(f"{name}-bin", b"") for name in ("google.rpc.retryinfo", "grpc-status-details"))
    with suppress(Exception):
        retry = RetryInfo.FromString(raw)
        if raw or any(each.Unpack(retry) for each in Status.FromString(status).details):
            return float(retry.retry_delay.ToNanoseconds() / 1e9)
    return None
