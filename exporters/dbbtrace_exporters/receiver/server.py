"""``dbbtrace serve``: the warehouse receiver, OTLP/HTTP in, rows out; for spans of a Collector or another language.

Listens on the loopback; any other address needs a bearer token. Keeps nothing on disk: the sender's queue does that.
Several receivers may serve one warehouse. gRPC senders go through a Collector.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from dbbtrace.diagnostics import log
from dbbtrace.errors import ConfigurationError, UsageError
from dbbtrace.settings import Settings, resolve
from dbbtrace_exporters.receiver.connections import BACKLOG, Connections, Listener
from dbbtrace_exporters.receiver.limits import Limits
from dbbtrace_exporters.receiver.log_limit import limited

__all__ = ["run_app", "serve"]

_MIN_TOKEN = 16
_READY_SECONDS = 5.0
"""How long /readyz goes by its last look: probes come often, and a warehouse is not to be kept awake by them."""
_TICK_SECONDS = 0.1
"""How often the loop looks for a stop, and at connections that are late."""
_GRACE_SECONDS = 40
"""Seconds that requests under way have when the receiver stops: body and commit, and some."""


def serve(
    http: str = "127.0.0.1:4318",
    *,
    warehouse: str | None = None,
    access_token: str | Callable[[], str] | None = None,
    token: str | None = None,
    certificate: str | os.PathLike[str] | None = None,
    key: str | os.PathLike[str] | None = None,
    started: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way and return.

    Args:
        http: address and port; port 0 takes a free one.
        warehouse: DBBTRACE_WAREHOUSE.
        access_token: as ``configure()`` takes it.
        token: DBBTRACE_RECEIVER_TOKEN; the bearer token that senders must show.
        certificate, key: DBBTRACE_RECEIVER_CERTIFICATE and _KEY; PEM files, for https.
        started: told the URL to send to, once it can be sent to.
        stop: set it to stop, where there are no signals (outside the main thread).

    Raises:
        UsageError: address, token or files make no sense; what is missing is named.
        ConfigurationError: the packages of the extra are missing.
    """
    settings = resolve(
        warehouse=warehouse,
        receiver_token=token,
        receiver_certificate=_path(certificate),
        receiver_key=_path(key),
    )
    if settings.warehouse is None or settings.warehouse.lower() == "none":
        raise UsageError("a receiver needs a warehouse: set DBBTRACE_WAREHOUSE, e.g. to mssql://server/database")
    tls = _tls(settings.receiver_certificate, settings.receiver_key)
    listener = _listen(http)
    with contextlib.closing(listener):
        url = _url(listener, tls)
        _check_token(settings.receiver_token, listener, tls)
        app = _app(settings, settings.warehouse, access_token)
        run_app(app, listener, tls, started=lambda: started(url) if started else None, stop=stop)


def _path(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else os.fspath(path)


def _tls(certificate: str | None, key: str | None) -> tuple[str, str] | None:
    """The files for https, once they have been tried."""
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise UsageError("for https name both DBBTRACE_RECEIVER_CERTIFICATE and DBBTRACE_RECEIVER_KEY")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"{certificate} and {key} are no certificate and its key: {error}") from error
    return certificate, key


def _listen(http: str) -> socket.socket:
    host, colon, port = http.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{http!r} is no address to listen on; write e.g. 127.0.0.1:4318, or 0.0.0.0:4318")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise UsageError(f"can't listen on {http}: {error.strerror or error}") from error


def _url(listener: socket.socket, tls: tuple[str, str] | None) -> str:
    host, port = listener.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/v1/traces"


def _check_token(token: str | None, listener: socket.socket, tls: tuple[str, str] | None) -> None:
    host = listener.getsockname()[0]
    loopback = ipaddress.ip_address(host.partition("%")[0]).is_loopback
    make_one = "python -c 'import secrets; print(secrets.token_urlsafe(32))' makes one"
    if token is None and not loopback:
        raise UsageError(f"on {host} anybody could write rows: set DBBTRACE_RECEIVER_TOKEN ({make_one})")
    if token is not None and (len(token) < _MIN_TOKEN or not token.isascii() or not token.isprintable()):
        raise UsageError(f"DBBTRACE_RECEIVER_TOKEN should be {_MIN_TOKEN} or more ASCII characters ({make_one})")
    if token is not None and not loopback and tls is None:
        log.warning(
            "the token crosses the network in clear: set DBBTRACE_RECEIVER_CERTIFICATE, or put TLS before %s", host
        )


def _app(settings: Settings, warehouse: str, access_token: str | Callable[[], str] | None) -> Any:
    from dbbtrace.warehouse import open_warehouse
    from dbbtrace_exporters.receiver.verdicts import Verdicts
    from dbbtrace_exporters.warehouse.exporter import WarehouseSpanExporter

    try:
        from dbbtrace_exporters.receiver.app import make_app
    except ImportError as error:
        raise _missing(error) from error
    gauges = Verdicts(lambda: open_warehouse(warehouse, access_token=access_token), settings)
    exporter = WarehouseSpanExporter(warehouse, access_token=access_token)
    probe = open_warehouse(warehouse, access_token=access_token)

    def stop() -> None:
        exporter.shutdown()
        probe.close()

    return make_app(
        exporter.deliver, token=settings.receiver_token, ready=_Readiness(probe), gauges=gauges, on_stop=stop
    )


def _missing(error: ImportError) -> ConfigurationError:
    return ConfigurationError(f'dbbtrace serve needs {error.name}: pip install "dbbtrace[receiver]"')


class _Readiness:
    """Whether the warehouse answers and has its tables; asked on a connection of its own, which is closed again."""

    def __init__(self, warehouse: Any) -> None:
        self._warehouse = warehouse
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._error: Exception | None = None

    def __call__(self) -> None:
        with self._lock:
            if time.monotonic() - self._asked_at > _READY_SECONDS:
                self._error = self._ask()
                self._asked_at = time.monotonic()
            if self._error is not None:
                raise self._error

    def _ask(self) -> Exception | None:
        from dbbtrace.errors import DbbtraceError
        from dbbtrace.warehouse.schema import TABLES

        try:
            missing = sorted({table.name for table in TABLES} - set(self._warehouse.columns()))
        except DbbtraceError as error:
            return error
        finally:
            self._warehouse.close()
        return ConfigurationError(f"missing tables: {', '.join(missing)}; run `dbbtrace migrate`") if missing else None


def run_app(
    app: Any,
    listener: socket.socket,
    tls: tuple[str, str] | None = None,
    *,
    limits: Limits | None = None,
    started: Callable[[], None] = lambda: None,
    stop: threading.Event | None = None,
) -> None:
    """Serve an application of ``make_app`` on a listening socket until a signal or ``stop``.

    Args:
        tls: PEM files of a certificate and its key.
        limits: what to take of connections.
    """
    limits = limits or Limits()
    connections = Connections(limits)
    server = _server(connections.watched(app), limits, tls)
    with limited() as log_limit, _signals_caught(), Listener(listener, connections) as counted:

        def tick() -> None:
            connections.close_late_ones()
            log_limit.tell()

        asyncio.run(_run(server, counted, tick, started, stop))


def _server(app: Any, limits: Limits, tls: tuple[str, str] | None) -> Any:
    try:
        import uvicorn
    except ImportError as error:
        raise _missing(error) from error
    certificate, key = tls or (None, None)
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # a request is known by the address of its connection
            backlog=BACKLOG,
            timeout_keep_alive=limits.keep_alive_seconds,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
    )


async def _run(
    server: Any,
    listener: socket.socket,
    tick: Callable[[], None],
    started: Callable[[], None],
    stop: threading.Event | None,
) -> None:
    """Run the server to its end; say when it takes requests, and end it when ``stop`` is set."""
    serving = asyncio.ensure_future(server.serve([listener]))
    told = False
    while not serving.done():
        await asyncio.wait([serving], timeout=_TICK_SECONDS)
        if server.started and not told:
            told = True
            started()
        if stop is not None and stop.is_set():
            server.should_exit = True
        tick()
    await serving


@contextlib.contextmanager
def _signals_caught() -> Iterator[None]:
    """uvicorn raises the signal that ended it again, once it has ended: here that ends nothing any more."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
