"""The two wires, HTTP and gRPC: the stock OTLP exporter, held at the one place where it meets the network.

The stock exporters read the OTEL_EXPORTER_OTLP_* variables, encode and send; but they hide what came of it: they
retry for up to a minute, take redirects and partial success for success, and answer no more than FAILURE.
So each wire stands between the exporter and its connection. It makes one attempt, keeps the answer for itself, and
tells the exporter in any case that all is well, which ends its part. This works alike from 1.27 to the newest,
which share nothing else: the session argument (HTTP) and the client's ``Export`` (gRPC) are all that is relied on.
"""

from __future__ import annotations

import contextvars
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from functools import partial
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.errors import ConfigurationError, DbbtraceError, RefusedError, TransientError
from dbbtrace.settings import masked
from dbbtrace_exporters.otlp.answers import (
    grpc_error,
    http_error,
    no_answer,
    partial_success_error,
    transport_error,
)

__all__ = ["GrpcWire", "HttpWire", "Wire"]

CONNECT_TIMEOUT = 5.0
"""Seconds for a connection to come up: who is there answers sooner, and the rest is for delivery's patience."""
LONGEST_TIMEOUT = 60.0
"""Seconds that one attempt may last: the specification counts OTEL_EXPORTER_OTLP_TIMEOUT in milliseconds, the Python
exporters in seconds, and 10000 of those would be three hours."""

_PIP = 'pip install "dbbtrace[otlp]"'
_CREDENTIAL_PROVIDERS = (
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER",
)


class Wire(ABC):
    """One attempt at a time to send one request. Not for several threads at once, except ``close()``."""

    def __init__(self, endpoint: str, destination: str) -> None:
        self.endpoint, self.destination = endpoint, destination
        self._stock: Any = None
        self._error: DbbtraceError | None = None
        self._sent = False
        self._pending: Any = None
        self._closed = False

    def send(self, spans: Sequence[ReadableSpan]) -> None:
        """Send these spans in one request.

        Raises:
            TransientError, ConfigurationError, RefusedError: as ``ForwardingSpanExporter.deliver`` does.
        """
        stock = self._stock = self._stock or self._made()
        self._sent, self._error = False, None
        fault: Exception | None = None
        try:
            stock.export(spans)
        except Exception as error:
            fault = error
        if not self._sent:
            raise RefusedError(f"The OTLP exporter could not encode these spans: {fault or 'see its log'}") from fault
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Give up what is under way and close the connection."""
        self._closed = True
        if self._pending is not None:
            self._pending.cancel()
        self._drop()

    def _drop(self) -> None:
        stock, self._stock = self._stock, None
        if stock is not None:
            stock.shutdown()

    def _made(self) -> Any:
        try:
            try:
                return self._make()
            except RuntimeError:  # perhaps the interpreter is on its way out
                with _without_pools():
                    return self._make()
        except ImportError as error:
            raise ConfigurationError(f"Sending spans to {self.destination} needs {error.name}: {_PIP}") from error
        except DbbtraceError:
            raise
        except Exception as error:
            raise ConfigurationError(
                "The OTLP exporter can't be made from the OTEL_EXPORTER_OTLP_* variables: "
                f"{type(error).__name__}: {masked(str(error))}"
            ) from error

    @abstractmethod
    def _make(self) -> Any:
        """The stock exporter, with this wire in it."""

    def _wait(self, pending: Any, timeout: float) -> Any:
        self._pending = pending
        if self._closed:
            pending.cancel()
        try:
            return pending.result(timeout)
        finally:
            self._pending = None
            del pending  # with the traceback it would be a cycle, which keeps a gRPC channel that lost its server


class HttpWire(Wire):
    """OTLP/HTTP with protobuf."""

    _session: Any
    _request: Callable[..., Any]

    def _make(self) -> Any:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        session = _session()
        self._session, self._request = session, session.request
        session.request = self._attempt
        return OTLPSpanExporter(endpoint=self.endpoint, session=session)

    def _attempt(self, method: str, url: str, *, timeout: float | None = None, **options: Any) -> Any:
        """In place of ``session.request``: one attempt, whose answer stays here."""
        from requests import Response

        self._sent = True
        total = min(timeout or LONGEST_TIMEOUT, LONGEST_TIMEOUT)
        options |= {"allow_redirects": False, "timeout": (min(CONNECT_TIMEOUT, total), total)}
        options.setdefault("verify", self._session.verify)  # said with the request, it beats REQUESTS_CA_BUNDLE
        try:
            response = self._wait(_in_thread(partial(self._request, method, url, **options)), total)
            self._error = self._judge(response)
        except (CancelledError, FutureTimeoutError):
            self._error = no_answer(self.destination)
        except Exception as error:
            self._error = transport_error(error, self.destination)
        all_is_well = Response()
        all_is_well.status_code = 200
        return all_is_well

    def _judge(self, response: Any) -> DbbtraceError | None:
        headers = {name.lower(): value for name, value in response.headers.items()}
        error = http_error(response.status_code, headers, _readable(response, headers), self.destination)
        if error is not None:
            return error
        success = _partial_success(response.content, headers.get("content-type", ""))
        return _rejection(success, self.destination) if success else None


class GrpcWire(Wire):
    """OTLP/gRPC."""

    _export: Any = None

    def _make(self) -> Any:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        stock = OTLPSpanExporter(endpoint=self.endpoint)
        self._export = getattr(stock._client, "Export", None)
        if self._export is None:
            raise ConfigurationError(
                "This version of opentelemetry-exporter-otlp-proto-grpc is unknown to dbbtrace: "
                f"send with OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or {_PIP} --upgrade"
            )
        stock._client = _Client(self._attempt)  # type: ignore[assignment]
        return stock

    def send(self, spans: Sequence[ReadableSpan]) -> None:
        try:
            super().send(spans)
        except TransientError:
            self._drop()  # a channel that lost its server waits up to two minutes before it tries again
            raise

    def _drop(self) -> None:
        self._export = None  # the last reference to the channel, where the stock exporter does not close it
        super()._drop()

    def _attempt(self, request: Any, metadata: Any = None, timeout: float | None = None) -> Any:
        """In place of the stub's ``Export``: one attempt, whose answer stays here."""
        import grpc

        self._sent = True
        total = min(timeout or LONGEST_TIMEOUT, LONGEST_TIMEOUT)
        try:
            call = partial(self._export, request, metadata=metadata, timeout=total)
            answer = self._wait(_in_thread(call), total + 1)
        except (CancelledError, FutureTimeoutError):
            self._error = no_answer(self.destination)
        except grpc.RpcError as error:
            self._error = grpc_error(error.code().name, error.details() or "", _retry_delay(error), self.destination)
        except Exception:  # its text may hold the headers
            self._error = ConfigurationError("OTEL_EXPORTER_OTLP_HEADERS holds metadata that can't be sent by gRPC")
        else:
            self._error = _rejection(answer.partial_success, self.destination)
        return None


class _Client:
    """Stands for the stub in the stock exporter."""

    def __init__(self, export: Callable[..., Any]) -> None:
        self.Export = export


def _session() -> Any:
    """A plain session, or the one of the credential provider that the stock exporter would take."""
    import requests

    name = next(filter(None, map(os.environ.get, _CREDENTIAL_PROVIDERS)), None)
    if name is None:
        return requests.Session()
    from importlib.metadata import entry_points

    found = list(entry_points(group="opentelemetry_otlp_credential_provider", name=name))
    if not found:
        raise ConfigurationError(f"No OTLP credential provider {name!r} is installed")
    return found[0].load()()


@contextmanager
def _without_pools() -> Iterator[None]:
    """Import the gRPC exporter while the interpreter exits, when a short job sends its first spans.

    It imports the SDK's logs, which at import ask a thread pool for a resource, and no pool works any more by then.
    """
    from opentelemetry.sdk import resources

    ask = resources.get_aggregated_resources

    def known(_: Any, initial_resource: resources.Resource | None = None, timeout: int = 5) -> resources.Resource:
        return initial_resource or resources.Resource.get_empty()

    resources.get_aggregated_resources = known  # type: ignore[assignment]
    try:
        yield
    finally:
        resources.get_aggregated_resources = ask


def _in_thread(call: Callable[[], Any]) -> Future[Any]:
    """The call's outcome, from a thread of its own: only so can a caller leave a connection that hangs.

    Neither name resolution nor an answer that trickles heeds the time-outs of a socket.
    """
    outcome: Future[Any] = Future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            result = context.run(call)
        except BaseException as error:
            _settle(outcome.set_exception, error.with_traceback(None))
        else:
            _settle(outcome.set_result, result)

    try:
        threading.Thread(target=work, name="dbbtrace-otlp", daemon=True).start()
    except RuntimeError:  # the interpreter is on its way out and starts no threads any more
        work()
    return outcome


def _settle(how: Callable[[Any], None], value: Any) -> None:
    try:
        how(value)
    except InvalidStateError:
        pass  # given up meanwhile


def _readable(response: Any, headers: dict[str, str]) -> str:
    """What the body says to a person: text as it is, protobuf's google.rpc.Status by its message."""
    if "protobuf" not in headers.get("content-type", ""):
        return response.content[:1000].decode("utf-8", "replace") if response.status_code >= 300 else ""
    from google.rpc.status_pb2 import Status

    try:
        return str(Status.FromString(response.content).message)
    except Exception:
        return ""


def _partial_success(body: bytes, content_type: str) -> Any:
    """The partial_success of a 2xx answer; None where the body says nothing that OTLP knows."""
    from google.protobuf import json_format
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        if "json" in content_type:
            text = body.decode("utf-8", "replace")
            response = json_format.Parse(text, ExportTraceServiceResponse(), ignore_unknown_fields=True)
        else:
            response = ExportTraceServiceResponse.FromString(body)
    except Exception:
        return None
    return response.partial_success


def _rejection(success: Any, destination: str) -> DbbtraceError | None:
    if success.rejected_spans > 0:
        return partial_success_error(success.rejected_spans, success.error_message, destination)
    return None


def _retry_delay(error: Any) -> float | None:
    """Seconds of the RetryInfo in a gRPC error, which comes in either of two trailers."""
    from google.rpc.error_details_pb2 import RetryInfo
    from google.rpc.status_pb2 import Status

    retry = RetryInfo()
    trailers = dict(error.trailing_metadata() or ())
    try:
        if raw := trailers.get("google.rpc.retryinfo-bin"):
            retry.ParseFromString(raw)
            return float(retry.retry_delay.ToNanoseconds() / 1e9)
        for detail in Status.FromString(trailers.get("grpc-status-details-bin", b"")).details:
            if detail.Unpack(retry):
                return float(retry.retry_delay.ToNanoseconds() / 1e9)
    except Exception:
        return None
    return None
