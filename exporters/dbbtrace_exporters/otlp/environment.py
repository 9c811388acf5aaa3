"""The standard variables of OTLP, read in one place: OTEL_EXPORTER_OTLP_TRACES_*, otherwise OTEL_EXPORTER_OTLP_*.

Endpoint and protocol are settings of dbbtrace too, so ``dbbtrace.settings`` reads those. An empty variable counts as
not set. A value that makes no sense is an error that names the variable and the fix, never a header or a key.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from dbbtrace.diagnostics import warn_once
from dbbtrace.errors import ConfigurationError, UsageError
from dbbtrace.settings import read

__all__ = ["CONNECT_TIMEOUT", "LONGEST_TIMEOUT", "Environment", "provided", "target"]

CONNECT_TIMEOUT = 5.0
"""Seconds for a connection to come up. A backend that is there answers sooner; delivery tries again later."""
LONGEST_TIMEOUT = 60.0
"""Seconds that one attempt may last. The specification counts OTEL_EXPORTER_OTLP_TIMEOUT in milliseconds, the Python
exporters in seconds, and 10000 of those would be three hours."""


class Environment:
    """What the variables say when it is made.

    Raises:
        ConfigurationError: a value makes no sense, or names a file that can't be read.
    """

    def __init__(self) -> None:
        self.headers: Mapping[str, str] = _parsed("HEADERS", _headers)
        """Names in lower case."""
        self.timeout: float = _parsed("TIMEOUT", _seconds, "write a number of seconds, e.g. 10")
        self.compression: str = _parsed("COMPRESSION", _compression, "write gzip, deflate or none")
        """``none``, ``gzip`` or ``deflate``."""
        self.certificate: str | None = _parsed("CERTIFICATE", _file)
        """Path of the certificates (PEM) that vouch for the backend."""
        self.client_certificate: str | None = _parsed("CLIENT_CERTIFICATE", _file)
        self.client_key: str | None = _parsed("CLIENT_KEY", _file)
        self.insecure: bool = _parsed("INSECURE", lambda text: text.lower() == "true")
        """gRPC without TLS, where the endpoint has neither http:// nor https://."""
        if self.client_key and not self.client_certificate:
            raise ConfigurationError("OTEL_EXPORTER_OTLP_CLIENT_KEY needs OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")


def target(endpoint: str | None, protocol: str | None) -> tuple[str, str]:
    """The URL to send to, whole, and the protocol; None: as the settings say. Raises UsageError if they are asked and
    make no sense; a fault in what nobody asks for stops no span."""
    settings, faults = read(otlp_protocol=protocol)
    given = endpoint is not None and protocol is not None
    if wrong := [fault for fault in faults if not given or fault.startswith("argument ")]:
        raise UsageError("; ".join(wrong))
    if endpoint is not None and endpoint not in (settings.otlp_endpoint, settings.otlp_url):
        settings, _ = read(otlp_protocol=protocol, otlp_endpoint=endpoint)
    default = "http://localhost:4317" if settings.otlp_protocol == "grpc" else "http://localhost:4318/v1/traces"
    return settings.otlp_url or default, settings.otlp_protocol


def provided(transport: str, kind: type) -> Any:
    """What the credential provider for ``HTTP`` or ``GRPC`` makes; None where no provider is named.

    Raises:
        ConfigurationError: it is not installed, or makes something else than this kind of object.
    """
    variable, name = _variable(f"OTEL_PYTHON_EXPORTER_OTLP_{transport}_{{}}CREDENTIAL_PROVIDER")
    if not name:
        return None
    from importlib.metadata import entry_points

    try:
        (provider,) = entry_points(group="opentelemetry_otlp_credential_provider", name=name)
    except ValueError:
        raise ConfigurationError(f"{variable}: no OTLP credential provider {name!r} is installed") from None
    try:
        made = provider.load()()
    except Exception as error:  # its text may hold the credential
        raise ConfigurationError(f"{variable}: the provider {name!r} failed with {type(error).__name__}") from error
    if not isinstance(made, kind):
        raise ConfigurationError(f"{variable}: {name!r} made a {type(made).__name__}, a {kind.__name__} is needed")
    return made


def _variable(pattern: str) -> tuple[str, str]:
    """The variable that counts, and its value: the one for traces, otherwise the general one; '' where none is set."""
    for name in (pattern.format("TRACES_"), pattern.format("")):
        if value := os.environ.get(name, "").strip():
            return name, value
    return name, ""


def _parsed(name: str, parse: Callable[[str], Any], fix: str = "") -> Any:
    variable, text = _variable(f"OTEL_EXPORTER_OTLP_{{}}{name}")
    try:
        return parse(text)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{variable} = {text}: {fix or getattr(error, 'strerror', error)}") from None


def _headers(text: str) -> dict[str, str]:
    headers = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        name, equals, value = pair.partition("=")
        if equals and name.strip():
            headers[unquote(name).strip().lower()] = unquote(value).strip()
        else:  # not shown: it may be part of a token
            warn_once("otlp:headers", "OTEL_EXPORTER_OTLP_HEADERS: write name=value,name=value; a part is left out")
    return headers


def _seconds(text: str) -> float:
    seconds = float(text or 10)
    return seconds if 0 < seconds < LONGEST_TIMEOUT else LONGEST_TIMEOUT  # 0 means no limit


def _compression(text: str) -> str:
    if text.lower() not in ("", "none", "gzip", "deflate"):
        raise ValueError
    return text.lower() or "none"


def _file(path: str) -> str | None:
    if path:
        open(path, "rb").close()
    return path or None
