"""What an OTLP backend answered, as the three errors that delivery knows: later, a person must act, refused.

After the OTLP specification, with one difference: it wants every failure but a few thrown away. Here only what says
"this payload" is a refusal; what says "this address" or "this login" waits for a person, and the rest is tried again.
A redirect is never followed, since it would carry the headers, secrets among them, to somewhere else.
Pure: no network, no clock but for dates in Retry-After.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson

from dbbtrace.errors import ConfigurationError, DbbtraceError, LoginError, RefusedError, TransientError
from dbbtrace.model.masking import masked
from dbbtrace.model.times import retry_after_seconds

__all__ = ["MAX_ANSWER_BYTES", "grpc_error", "http_error", "no_answer", "rejected", "transport_error", "unreadable"]

MAX_ANSWER_BYTES = 1 << 20
"""Bytes of an answer that are read, packed and unpacked. OTLP's answers have a few hundred."""

_KINDS: dict[int | str, type[DbbtraceError]] = {
    **dict.fromkeys((400, 413, 422, "INVALID_ARGUMENT"), RefusedError),
    **dict.fromkeys((401, 407, "UNAUTHENTICATED"), LoginError),
    **dict.fromkeys((408, 425, 429), TransientError),
    **dict.fromkeys((501, 505, 511), ConfigurationError),
    **dict.fromkeys(("PERMISSION_DENIED", "UNIMPLEMENTED", "NOT_FOUND", "FAILED_PRECONDITION"), ConfigurationError),
}
"""HTTP status or gRPC code → error. Another 5xx or code is for later, another 4xx for a person."""
_HEADERS, _ENDPOINT = "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_ENDPOINT"
_TLS = "OTEL_EXPORTER_OTLP_CERTIFICATE, and http:// or https://"
_CHECKS = dict.fromkeys((401, 403), f"{_HEADERS} and the rights of its token") | {407: "the login of the proxy"}
"""HTTP status → what a person must look at; otherwise the address."""
_TLS_FAULTS = ("certificate", "ssl_error", "handshake", "wrong_version")
_TOO_LARGE = ("larger than max", "exceeds maximum", "too large", "message length")


def http_error(status: int, headers: Mapping[str, str], body: bytes | None, destination: str) -> DbbtraceError | None:
    """The error that an HTTP answer means; None: all spans were accepted.

    Upper and lower case are the same to its headers. The body is None where it could not be read: too long, or packed
    in a way that was not asked for.
    """
    content_type = headers.get("content-type", "").lower()
    if 200 <= status < 300:
        if body is None:
            return unreadable(destination)
        if "text/html" in content_type:
            return ConfigurationError(f"{destination} answered with a web page: this is no OTLP endpoint")
        return rejected(*_partial_success(body, content_type), destination)
    if 300 <= status < 400:
        to = masked(headers.get("location", "elsewhere").partition("?")[0])
        said = f"{destination} answered {status}, a redirect to {to}, which is not followed"
        return ConfigurationError(f"{said}: name that address in {_ENDPOINT} if it is the right one")
    kind = _KINDS.get(status) or (TransientError if status >= 500 else ConfigurationError)
    said = f"{destination} answered {status}{_quoted(_message(body or b'', content_type))}"
    check = _CHECKS.get(status, f"{_ENDPOINT} and its path")
    return _error(kind, said, check, retry_after_seconds(headers.get("retry-after")))


def grpc_error(code: str, details: str, retry_after: float | None, destination: str) -> DbbtraceError:
    """The error that a gRPC status means; ``code`` is its name, e.g. UNAVAILABLE."""
    kind, check, lower = _KINDS.get(code, TransientError), f"{_ENDPOINT} and {_HEADERS}", details.lower()
    if code in ("RESOURCE_EXHAUSTED", "OUT_OF_RANGE") and any(word in lower for word in _TOO_LARGE):
        kind = RefusedError
    elif code == "INTERNAL" and "invalid metadata" in lower:
        kind, check = ConfigurationError, _HEADERS
    elif code == "UNAVAILABLE" and any(word in lower for word in _TLS_FAULTS):
        kind, check = ConfigurationError, _TLS
    said = f"{destination} answered {code}{_quoted(details)}"
    return _error(kind, said, check, retry_after, ambiguous=code in ("DEADLINE_EXCEEDED", "CANCELLED"))


def transport_error(error: BaseException, destination: str) -> DbbtraceError:
    """The error that a failed HTTP exchange means: there was no answer at all."""
    from requests import exceptions as failures
    from urllib3.exceptions import HTTPError, NewConnectionError, ReadTimeoutError

    if isinstance(error, failures.InvalidHeader):  # its text holds the value
        return ConfigurationError(f"{_HEADERS} holds a header that can't be sent")
    if isinstance(error, (failures.InvalidURL, failures.InvalidSchema, failures.MissingSchema)):
        return ConfigurationError(f"{destination} is no URL to send to: begin it with http:// or https://")
    if isinstance(error, failures.ConnectTimeout):
        return TransientError(f"{destination}: no connection in time")
    if isinstance(error, (failures.Timeout, TimeoutError, ReadTimeoutError)):
        return no_answer(destination)
    said = f"{destination}: {_innermost(error)}"
    if isinstance(error, failures.SSLError) and any(word in said.lower() for word in _TLS_FAULTS):
        return _error(ConfigurationError, said, _TLS)
    if isinstance(error, failures.ProxyError) and "407" in str(error):
        return _error(LoginError, said, _CHECKS[407])
    if isinstance(error, (failures.RequestException, HTTPError)):  # the latter while the answer was read
        reason = getattr(error.args[0], "reason", None) if error.args else None
        return TransientError(said, ambiguous=not isinstance(reason, NewConnectionError))
    return _error(ConfigurationError, said, "the OTEL_EXPORTER_OTLP_* variables")


def rejected(spans: int, message: str, destination: str) -> RefusedError | None:
    """A success that names rejected spans is a refusal: which ones, only halving the batch can tell."""
    return RefusedError(f"{destination} rejected {spans} of the spans{_quoted(message)}") if spans > 0 else None


def unreadable(destination: str) -> ConfigurationError:
    """The answer is longer than MAX_ANSWER_BYTES, or packed in a way that was not asked for: spans may be rejected."""
    return ConfigurationError(f"{destination} gave an answer that can't be read: this is no OTLP endpoint")


def no_answer(destination: str) -> TransientError:
    """The time-out passed, or we were shut down, while the backend had the request."""
    return TransientError(f"{destination}: no answer in time (OTEL_EXPORTER_OTLP_TIMEOUT)", ambiguous=True)


def _error(
    kind: type[DbbtraceError], said: str, check: str, retry_after: float | None = None, *, ambiguous: bool = False
) -> DbbtraceError:
    if kind is TransientError:
        return TransientError(said, retry_after=retry_after, ambiguous=ambiguous)
    return kind(said if kind is RefusedError else f"{said}: check {check}")


def _partial_success(body: bytes, content_type: str) -> tuple[int, str]:
    """How many spans a 2xx answer rejects, and why; 0 where the body says nothing that OTLP knows."""
    with suppress(Exception):
        if "json" in content_type:
            found = orjson.loads(body)["partialSuccess"]
            return int(found.get("rejectedSpans", 0)), str(found.get("errorMessage", ""))
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

        success = ExportTraceServiceResponse.FromString(body).partial_success
        return success.rejected_spans, success.error_message
    return 0, ""


def _message(body: bytes, content_type: str) -> str:
    """What an error says to a person: text as it is, google.rpc.Status by its message."""
    with suppress(Exception):
        if "json" in content_type:
            return str(orjson.loads(body)["message"])
        if "protobuf" in content_type:
            from google.rpc.status_pb2 import Status

            return str(Status.FromString(body).message)
    return "" if "protobuf" in content_type else body[:1000].decode("utf-8", "replace")


def _quoted(text: Any) -> str:
    """What a backend says, short enough for one log line and without secrets."""
    words = masked(" ".join(str(text).split()))
    return f": {words[:200]}{'...' if len(words) > 200 else ''}" if words else ""


def _innermost(error: BaseException) -> str:
    """The fault at the bottom, e.g. ``[Errno 111] Connection refused``; the outer texts hold URLs with queries."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return masked(f"{type(error).__name__}: {error}".rstrip(": "))
