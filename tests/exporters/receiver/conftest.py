"""Receivers in this process, spans as senders write them, and plain HTTP to send them."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from dbbtrace_exporters.receiver.app import make_app
from dbbtrace_exporters.receiver.server import run_app, serve
from opentelemetry.sdk.trace import ReadableSpan

RUN = "11111111-2222-3333-4444-555555555555"


def load(number: int = 1, table: str = "Customer", **attributes: Any) -> dict[str, Any]:
    """A table load as OTLP JSON; ``number`` is its span id. An attribute of None is left out."""
    held = {
        "dbb.operation": "table_load",
        "dbb.orchestration.run_id": RUN,
        "dbb.table.name": table,
        "dbb.schema.name": "mdm",
        "dbb.source.name": "MDS",
    } | attributes
    return {
        "traceId": RUN.replace("-", ""),
        "spanId": f"{number:016x}",
        "name": f"load {table}",
        "kind": 1,
        "startTimeUnixNano": "1764000000000000000",
        "endTimeUnixNano": "1764000005000000000",
        "attributes": [{"key": k, "value": {"stringValue": v}} for k, v in held.items() if v is not None],
    }


def body_of(*spans: dict[str, Any]) -> bytes:
    """The spans as the body of a request, in JSON."""
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}).encode()


@dataclass
class Answered:
    """What a receiver answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def rejected(self) -> int:
        """Spans that partial_success says were rejected."""
        return int(self.json.get("partialSuccess", {}).get("rejectedSpans", 0))


def call(url: str, body: bytes | None = None, method: str | None = None, **headers: str) -> Answered:
    """One HTTP request; header names with underscores for dashes. JSON unless told otherwise."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    names = {name.replace("_", "-").title(): value for name, value in headers.items()}
    if body is not None:
        names = {"Content-Type": "application/json"} | names
    connection.request(method or ("GET" if body is None else "POST"), parts.path, body, names)
    response = connection.getresponse()
    answered = Answered(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    connection.close()
    return answered


def call_all(calls: Sequence[Callable[[], Answered]]) -> list[Answered | None]:
    """Make the calls at the same time."""
    results: list[Answered | None] = [None] * len(calls)

    def make(place: int) -> None:
        results[place] = calls[place]()

    threads = [threading.Thread(target=make, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@dataclass
class Store:
    """A store that notes its commits, waits at a gate, and fails when told to."""

    commits: list[list[str]] = field(default_factory=list)
    """Names of the spans of each commit that succeeded."""
    tries: int = 0
    entered: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=threading.Event)
    fail: Callable[[Sequence[ReadableSpan]], Exception | None] = lambda spans: None

    def __post_init__(self) -> None:
        self.gate.set()

    def __call__(self, spans: Sequence[ReadableSpan]) -> None:
        self.tries += 1
        self.entered.set()
        assert self.gate.wait(60)
        if (error := self.fail(spans)) is not None:
            raise error
        self.commits.append([span.name for span in spans])


@pytest.fixture
def store() -> Store:
    """Where the receiver of ``running`` stores."""
    return Store()


@pytest.fixture
def running(store: Store) -> Iterator[Callable[..., str]]:
    """Start a receiver in front of ``store``; answers its base URL. Stopped with the test."""
    stops: list[tuple[threading.Event, threading.Thread]] = []

    def start(**options: Any) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        stop, up = threading.Event(), threading.Event()
        app = make_app(store, **options)
        start.commits.append(app.state.commit)  # type: ignore[attr-defined]
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with_limits = {"started": up.set, "stop": stop, "limits": options.get("limits")}
        thread = threading.Thread(target=run_app, args=(app, listener), kwargs=with_limits)
        thread.start()
        stops.append((stop, thread))
        assert up.wait(20)
        return base

    def stop_all() -> None:
        store.gate.set()
        for stop, thread in stops:
            stop.set()
            thread.join(60)

    start.commits = []  # type: ignore[attr-defined]
    start.stop = stop_all  # type: ignore[attr-defined]
    yield start
    stop_all()


@pytest.fixture
def serving() -> Iterator[Callable[..., str]]:
    """Start ``serve()`` in a thread; answers its base URL. Stopped with the test."""
    stops: list[tuple[threading.Event, threading.Thread]] = []

    def start(**options: Any) -> str:
        urls: list[str] = []
        stop, up = threading.Event(), threading.Event()

        def started(url: str) -> None:
            urls.append(url)
            up.set()

        options = {"http": "127.0.0.1:0", "started": started, "stop": stop} | options
        thread = threading.Thread(target=serve, kwargs=options)
        thread.start()
        stops.append((stop, thread))
        assert up.wait(20)
        return urls[0].removesuffix("/v1/traces")

    yield start
    for stop, thread in stops:
        stop.set()
        thread.join(60)
