"""Send bytes over HTTP: one attempt a request, within one deadline, its answer read to a limit.

The bytes come from any encoder: nothing here knows what is in them. A redirect is never followed. When a request is
given up its connection is cut, so that its thread ends, whatever the backend goes on sending.
"""

from __future__ import annotations

import contextvars
import gzip
import socket
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from functools import partial
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from dbbtrace.version import __version__
from dbbtrace_exporters.otlp import environment
from dbbtrace_exporters.otlp.answers import MAX_ANSWER_BYTES, http_error, no_answer, transport_error

__all__ = ["HttpSender"]

_PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


class HttpSender:
    """A connection to one backend. Not for several threads at once, except ``close()``."""

    def __init__(self, endpoint: str, destination: str, content_type: str) -> None:
        self._endpoint, self._destination = endpoint, destination
        self._environment = settings = environment.read()
        self._pack = _PACKERS.get(settings.compression)
        self._headers = {
            "Content-Type": content_type,
            "User-Agent": f"dbbtrace/{__version__}",
            "Accept-Encoding": "identity",  # an answer is short
            **({"Content-Encoding": settings.compression} if self._pack else {}),
            **settings.headers,
        }
        self._adapter = _Adapter()
        self._session = _session(self._adapter)
        self._pending: Future[Any] | None = None
        self._closed = False

    def send(self, body: bytes) -> None:
        """Send the body; returns when the backend has accepted it all.

        Raises:
            TransientError, ConfigurationError, RefusedError: as the answer says, or because there was none.
        """
        outcome = self._pending = _in_thread(partial(self._exchange, body))
        try:
            if self._closed:
                raise CancelledError
            status, headers, answer = outcome.result(self._environment.timeout)
        except (CancelledError, FutureTimeoutError):
            self.close()
            raise no_answer(self._destination) from None
        except Exception as error:
            raise transport_error(error, self._destination) from error
        finally:
            self._pending = None
        if fault := http_error(status, headers, answer, self._destination):
            raise fault

    def close(self) -> None:
        """Give up the request under way and close the connection."""
        self._closed = True
        if (pending := self._pending) is not None:
            pending.cancel()
        self._adapter.cut()
        self._session.close()

    def _exchange(self, body: bytes) -> tuple[int, dict[str, str], bytes | None]:
        settings, session = self._environment, self._session
        certificate, key = settings.client_certificate, settings.client_key
        answers: list[bytes | None] = []

        def read(response: requests.Response, **_: Any) -> None:
            answers.append(_body(response))  # here, before requests reads the body of a redirect whole

        response = session.request(
            "POST",
            self._endpoint,
            data=self._pack(body) if self._pack else body,
            headers=self._headers,
            timeout=(min(environment.CONNECT_TIMEOUT, settings.timeout), settings.timeout),
            allow_redirects=False,
            stream=True,
            verify=settings.certificate or session.verify,  # a path said here beats REQUESTS_CA_BUNDLE
            cert=(certificate, key) if certificate and key else certificate,
            hooks={"response": [*session.hooks.get("response", ()), read]},
        )
        return response.status_code, {name.lower(): value for name, value in response.headers.items()}, answers[-1]


def _session(adapter: HTTPAdapter) -> requests.Session:
    """A session of our own, or the credential provider's; one with adapters of its own keeps them."""
    session: requests.Session = environment.provided("HTTP", requests.Session) or requests.Session()
    for prefix in ("http://", "https://"):
        if type(session.get_adapter(prefix)) is HTTPAdapter:
            session.mount(prefix, adapter)
    return session


class _Adapter(HTTPAdapter):
    """requests' adapter, which knows its newest connection and can cut it from another thread.

    Closing a session leaves alone what is in use, and a time-out starts again with each byte.
    """

    def __init__(self) -> None:
        self._connection: Any = None
        self._is_cut = False
        super().__init__(pool_maxsize=1)

    def cut(self) -> None:
        """Cut the connection; a later one is closed as soon as it is up."""
        self._is_cut = True
        if (held := getattr(self._connection, "sock", None)) is not None:
            with suppress(OSError, AttributeError):  # closed already; TLS within TLS has no shutdown()
                held.shutdown(socket.SHUT_RDWR)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self._watch(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **options)
        if not known:
            self._watch(manager)
        return manager

    def _watch(self, manager: Any) -> None:
        manager.pool_classes_by_scheme = {
            scheme: type(pool.__name__, (pool,), {"ConnectionCls": self._watched(pool.ConnectionCls)})
            for scheme, pool in manager.pool_classes_by_scheme.items()
        }

    def _watched(self, kind: Any) -> Any:
        adapter = self

        class Connection(kind):  # type: ignore[misc]
            def connect(self) -> None:
                adapter._connection = self
                super().connect()
                if adapter._is_cut:
                    self.close()
                    raise OSError("given up")

        return Connection


def _body(response: requests.Response) -> bytes | None:
    """The body of an answer; None where it is too long, or packed in a way that was not asked for."""
    try:
        body = response.raw.read(MAX_ANSWER_BYTES + 1, decode_content=False)
    finally:
        response.close()
    packed = response.headers.get("Content-Encoding", "identity").lower()
    if body and packed != "identity":
        body = _unpacked(body) if packed in ("gzip", "deflate") else None
    return body if body is not None and len(body) <= MAX_ANSWER_BYTES else None


def _unpacked(body: bytes) -> bytes | None:
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, MAX_ANSWER_BYTES + 1)
    except zlib.error:
        return None


def _in_thread(call: Callable[[], Any]) -> Future[Any]:
    """The call's outcome, from a thread of its own: only so can a caller leave a connection that hangs.

    Neither name resolution nor an answer that trickles heeds the time-outs of a socket.
    """
    outcome: Future[Any] = Future()
    context = contextvars.copy_context()

    def work() -> None:
        with suppress(InvalidStateError):  # given up meanwhile
            try:
                result = context.run(call)
            except BaseException as error:
                outcome.set_exception(error.with_traceback(None))
            else:
                outcome.set_result(result)

    try:
        threading.Thread(target=work, name="dbbtrace-otlp", daemon=True).start()
    except RuntimeError:  # the interpreter is on its way out and starts no threads any more
        work()
    return outcome
