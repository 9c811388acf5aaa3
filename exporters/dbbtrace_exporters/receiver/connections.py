"""How many connections the receiver holds, and how long it waits on one.

Connections that do nothing must not lock out senders that have something to say. So where too many are open, the one
that has kept the receiver waiting the longest is closed for each new one; one whose sender waits for its answer is
never closed. Counted is where a connection is accepted, so that one which never finishes its TLS handshake counts
too. Knows sockets and ASGI; nothing of the server between them, but that it calls ``accept()`` (asyncio's selector
loop does).
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from weakref import ref

from dbbtrace.diagnostics import log
from dbbtrace_exporters.receiver.limits import Limits

__all__ = ["BACKLOG", "Connections", "Listener"]

BACKLOG = 128
"""Connections that may wait to be accepted: asyncio accepts as many at a stroke before it does anything else."""
_DESCRIPTORS_OF_OTHERS = 2 * BACKLOG
"""Open files that are no connections of ours: the warehouse's, and those that are just being accepted or closed."""

_Address = tuple[Any, ...]


@dataclass
class _Connection:
    socket: ref[socket.socket]
    since: float
    """When the present wait for its sender began."""
    patience: float
    """Seconds that this wait may take; infinite while a request is under way, which has limits of its own."""


class Connections:
    """The connections that are open."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._max = min(limits.max_connections, _descriptors())
        self._waiting: dict[_Address, _Connection] = {}
        """Those whose sender has the next word, the longest wait first."""
        self._answering: dict[_Address, _Connection] = {}
        """Those whose sender waits for its answer."""
        self._lock = threading.Lock()

    def opened(self, connection: socket.socket, address: _Address) -> bool:
        """One was accepted; False: there is no room for it."""
        key = address[:2]
        with self._lock:
            if len(self._waiting) + len(self._answering) >= self._max and not self._close_the_oldest():
                log.warning("a connection was refused: too many senders wait for an answer (%d)", len(self._answering))
                return False
            gone = ref(connection, lambda _: self._closed(key))
            self._waiting[key] = _Connection(gone, time.monotonic(), self._limits.head_seconds)
            return True

    def _closed(self, key: _Address) -> None:
        for connections in (self._waiting, self._answering):
            if (known := connections.get(key)) is not None and known.socket() is None:
                connections.pop(key, None)

    def make_room(self) -> None:
        """No more files can be opened: close the connection that has waited the longest."""
        with self._lock:
            self._close_the_oldest()

    def _close_the_oldest(self) -> bool:
        for key in self._waiting:
            log.warning("a connection was closed for a new one: %d are open", self._max)
            self._close(key)
            return True
        return False

    def _close(self, key: _Address) -> None:
        """End it as if its sender had: the server that owns it reads the end and closes it."""
        connection = self._waiting.pop(key).socket()
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close_late_ones(self) -> None:
        """Close those that have kept us waiting too long. To be called every now and then."""
        now = time.monotonic()
        with self._lock:
            for key in [key for key, one in list(self._waiting.items()) if now > one.since + one.patience]:
                self._close(key)

    def watched(self, app: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """The ASGI application; its requests tell which connections are at work."""

        async def call(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[..., Awaitable[None]]) -> None:
            key = tuple(scope.get("client") or ()) if scope["type"] == "http" else ()
            if not key:
                await app(scope, receive, send)
                return

            async def received() -> Any:
                message = await receive()
                if not message.get("more_body", False):
                    self._move(key, self._waiting, self._answering, float("inf"))
                return message

            self._move(key, self._waiting, self._waiting, float("inf"))
            try:
                await app(scope, received, send)
            finally:
                patience = self._limits.keep_alive_seconds + self._limits.head_seconds
                self._move(key, self._answering, self._waiting, patience)
                self._move(key, self._waiting, self._waiting, patience)

        return call

    def _move(
        self,
        key: _Address,
        before: dict[_Address, _Connection],
        after: dict[_Address, _Connection],
        patience: float,
    ) -> None:
        with self._lock:
            connection = before.pop(key, None)
            if connection is not None:
                connection.since, connection.patience = time.monotonic(), patience
                after[key] = connection


class Listener(socket.socket):
    """A listening socket whose connections are counted; takes the place of the one it is made of."""

    def __init__(self, listening: socket.socket, connections: Connections) -> None:
        super().__init__(listening.family, listening.type, listening.proto, fileno=listening.detach())
        self._connections = connections

    def accept(self) -> tuple[socket.socket, Any]:
        """As any listener's; a connection for which there is no room is closed, as if its sender had given up."""
        try:
            connection, address = super().accept()
        except BlockingIOError:
            raise
        except OSError:  # too many open files, mostly
            self._connections.make_room()
            raise
        if not self._connections.opened(connection, address):
            connection.close()
            raise ConnectionAbortedError
        return connection, address


def _descriptors() -> int:
    """How many of the files that this process may open can be connections."""
    try:
        import resource
    except ImportError:  # Windows
        return 10_000
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(most - _DESCRIPTORS_OF_OTHERS, most // 2) if most != resource.RLIM_INFINITY else 10_000
