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
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import requests
from opentelemetry.sdk.trace import ReadableSpan
from requests.adapters import HTTPAdapter

from dbbtrace.version import __version__
from dbbtrace_exporters.otlp import environment
from dbbtrace_exporters.otlp.answers import MAX_ANSWER_BYTES, http_error, no_answer, transport_error

__all__ = ["HttpSender"]

_PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


class HttpSender:
    """A connection to one backend. Not for several threads at once, except ``close()``."""

    size = staticmethod(len)

    def __init__(
        self, endpoint: str, destination: str, content_type: str, encode: Callable[[Sequence[ReadableSpan]], bytes]
    ) -> None:
        self._endpoint, self._destination, self.encode = endpoint, destination, encode
        settings = environment.Environment()
        self._timeout, self._pack = settings.timeout, _PACKERS.get(settings.compression, bytes)
        self._adapter = _Adapter(pool_maxsize=1)
        self._session = session = environment.provided("HTTP", requests.Session) or requests.Session()
        for prefix in ("http://", "https://"):
            if type(session.get_adapter(prefix)) is HTTPAdapter:  # a provider's own kind of adapter stays
                session.mount(prefix, self._adapter)
        session.hooks["response"].append(self._read)
        headers = {
            "Content-Type": content_type,
            "User-Agent": f"dbbtrace/{__version__}",
            "Accept-Encoding": "identity",  # an answer is short
            **({"Content-Encoding": settings.compression} if settings.compression in _PACKERS else {}),
            **settings.headers,
        }
        certificate, key = settings.client_certificate, settings.client_key
        self._options: dict[str, Any] = {
            "headers": headers,
            "timeout": (min(environment.CONNECT_TIMEOUT, settings.timeout), settings.timeout),
            "allow_redirects": False,
            "stream": True,
            "verify": settings.certificate or session.verify,  # a path said here beats REQUESTS_CA_BUNDLE
            "cert": (certificate, key) if key else certificate,
        }
        self._body: bytes | None = None
        self._outcome: SimpleQueue[requests.Response | Exception | None] = SimpleQueue()
        """Of the request under way; None: it was given up."""

    def send(self, body: bytes) -> None:
        """Send the body; returns when the backend has accepted it all.

        Raises:
            TransientError, ConfigurationError, RefusedError: as the answer says, or because there was none.
        """
        run = contextvars.copy_context().run
        try:  # in a thread, since neither name resolution nor an answer that trickles heeds the time-outs of a socket
            threading.Thread(target=run, args=(self._post, body), name="dbbtrace-otlp", daemon=True).start()
        except RuntimeError:  # the interpreter is on its way out and starts no threads any more
            self._post(body)
        answer = None
        with suppress(Empty):
            answer = self._outcome.get(timeout=self._timeout)
        if answer is None:
            self.close()
            raise no_answer(self._destination)
        if isinstance(answer, Exception):
            raise transport_error(answer, self._destination) from answer
        if fault := http_error(answer.status_code, answer.headers, self._body, self._destination):
            raise fault

    def close(self) -> None:
        """Give up the request under way and close the connection."""
        self._outcome.put(None)
        self._adapter.cut()
        self._session.close()

    def _post(self, body: bytes) -> None:
        try:
            self._outcome.put(self._session.post(self._endpoint, data=self._pack(body), **self._options))
        except Exception as error:
            self._outcome.put(error.with_traceback(None))

    def _read(self, response: requests.Response, **_: Any) -> None:
        """Called before requests reads a redirect's body whole. None: it is too long, or packed as nobody asked for."""
        self._body = None
        packed = response.headers.get("Content-Encoding", "identity").lower()
        with response, suppress(zlib.error):
            body = response.raw.read(MAX_ANSWER_BYTES + 1, decode_content=False)
            if body and packed in _PACKERS:
                body = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, MAX_ANSWER_BYTES + 1)
            if len(body) <= MAX_ANSWER_BYTES and (not body or packed in ("identity", *_PACKERS)):
                self._body = body


class _Adapter(HTTPAdapter):
    """requests' adapter, which knows its newest connection and can cut it from another thread.

    Closing a session leaves alone what is in use, and a time-out starts again with each byte.
    """

    connection: Any = None
    is_cut = False

    def cut(self) -> None:
        """Cut the connection; a later one is closed as soon as it is up."""
        self.is_cut = True
        if (held := getattr(self.connection, "sock", None)) is not None:
            with suppress(OSError, AttributeError):  # closed already; TLS within TLS has no shutdown()
                held.shutdown(socket.SHUT_RDWR)

    def cert_verify(self, conn: Any, *arguments: Any) -> None:
        """Called by each version of requests with the pool that it is about to use, whose connections become ours."""
        super().cert_verify(conn, *arguments)
        kind = conn.ConnectionCls
        if not issubclass(kind, _Connection):
            conn.ConnectionCls = type(kind.__name__, (_Connection, kind), {"adapter": self})


class _Connection:
    """What an adapter's connections do beside what urllib3 has them do."""

    adapter: _Adapter

    def connect(self) -> None:
        self.adapter.connection = self
        super().connect()  # type: ignore[misc]
        if self.adapter.is_cut:
            self.close()  # type: ignore[attr-defined]
            raise OSError("given up")
