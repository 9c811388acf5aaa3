"""A local HTTP server that behaves as Power BI's API does for refreshes, from responses in powerbi_responses/.

One model in one workspace. A refresh that is started is answered for by its details, one after the other; its history
holds so many entries and forgets the rest. A refresh begins when the clock says, and takes a minute of its own.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4

import pytest

from dbbtrace.demo.local_service import LocalService

__all__ = ["MODEL", "WORKSPACE", "PowerBiService", "power_bi", "response"]

RESPONSES = Path(__file__).parent / "powerbi_responses"
WORKSPACE, MODEL = "fdb91b8f-0a9b-44c1-b6c0-0cb185c6ebfb", "f7fc6510-e151-42a3-850b-d0805a391db0"
Answer = tuple[int, dict[str, str], Any]


def response(name: str, **values: str) -> dict[str, Any]:
    """A response by its file's name, with the values of its $NAMES."""
    text = (RESPONSES / f"{name}.json").read_text(encoding="utf-8")
    for key, value in {"WORKSPACE": WORKSPACE, "MODEL": MODEL, **values}.items():
        text = text.replace(f"${key}", value)
    found: dict[str, Any] = json.loads(text)
    return found


@dataclass
class Refresh:
    """One that was started."""

    request: str
    kind: str
    began: datetime
    coming: list[str]
    """Names of the responses that are to come; the last one stays."""

    @property
    def times(self) -> dict[str, str]:
        moments = {"START": self.began, "MIDDLE": self.began + timedelta(seconds=20),
                   "END": self.began + timedelta(seconds=60)}  # fmt: skip
        return {"REQUEST": self.request} | {
            name: f"{at:%Y-%m-%dT%H:%M:%S.%f}"[:-4]
            for name, at in moments.items()  # 2 digits, as the service writes
        }

    @property
    def is_over(self) -> bool:
        return len(self.coming) == 1 and self.entry["status"] != "Unknown"

    def step(self) -> dict[str, Any]:
        """The next response to a question for its details."""
        return response(self.coming.pop(0) if len(self.coming) > 1 else self.coming[0], **self.times)

    @property
    def entry(self) -> dict[str, Any]:
        """Its entry in the history."""
        body = response(self.coming[0], **self.times)["body"]
        shared = {name: body[name] for name in ("startTime", "endTime", "status", "extendedStatus") if name in body}
        shared |= {name: f"{value}Z" for name, value in shared.items() if name.endswith("Time")}
        return {"requestId": self.request, "id": 1781, "refreshType": self.kind, **shared}


@dataclass
class PowerBiService(LocalService):
    """The server; ``with`` starts and stops it."""

    outcome: tuple[str, ...] = ("details-not-started", "details-in-progress", "details-completed")
    """Responses to come of the next refresh that is started."""
    token: str | None = None
    """That it takes; None: any."""
    shared_capacity: bool = False
    """The workspace is on a shared capacity: no enhanced refresh."""
    names_standard: bool = True
    """A standard refresh that is started is named in the answer's headers."""
    remembers: int = 60
    """Entries that the history keeps."""
    faults: list[str] = field(default_factory=list)
    """Responses to the next requests, before any other is given."""
    lost: int = 0
    """So many refreshes that are started get no answer."""
    refreshes: list[Refresh] = field(default_factory=list)
    """Newest first."""
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    """Method, path and body of every request, in their order."""
    on_request: Callable[[str, str], object] | None = None
    """Called before a request is answered."""
    clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self.listen(_Handler)

    def begin(self, kind: str = "ViaEnhancedApi", *coming: str, ago: timedelta = timedelta()) -> Refresh:
        """A refresh begins."""
        refresh = Refresh(str(uuid4()), kind, self.clock() - ago, list(coming or self.outcome))
        self.refreshes.insert(0, refresh)
        return refresh

    def asked(self, method: str) -> list[str]:
        """Paths of the requests with this method."""
        return [path for each, path, _ in self.requests if each == method]

    def answer(self, method: str, target: str, body: Any, token: str) -> Answer | None:
        """Status, headers and JSON; None: the connection is lost."""
        if self.on_request is not None:
            self.on_request(method, target)
        with self._lock:
            path = unquote(urlsplit(target).path)
            self.requests.append((method, path, body))
            if self.faults:
                return _of(response(self.faults.pop(0)))
            if self.token is not None and token != f"Bearer {self.token}":
                return _of(response("token-expired"))
            words = path.removeprefix("/v1.0/myorg/").split("/")
            return self._route(method, words, parse_qs(urlsplit(target).query), body)

    def _route(self, method: str, words: list[str], query: dict[str, list[str]], body: Any) -> Answer | None:
        if words == ["groups"]:
            wanted = query["$filter"][0].removeprefix("name eq ").strip("'").replace("''", "'")
            found = response("workspaces")
            found["body"]["value"] = [each for each in found["body"]["value"] if each["name"] == wanted]
            return _of(found)
        if words[:2] != ["groups", WORKSPACE]:
            return _of(response("forbidden"))
        if words[2:] == ["datasets"]:
            return _of(response("models"))
        if words[2:4] != ["datasets", MODEL]:
            return _of(response("gone"))
        if len(words) == 4:
            return 200, {}, response("models")["body"]["value"][0]
        if len(words) == 6:
            return self._one(method, words[5])
        if method == "POST":
            return self._start(body or {})
        top = int((query.get("$top") or [str(self.remembers)])[0])
        return 200, {}, {"value": [each.entry for each in self.refreshes[: min(top, self.remembers)]]}

    def _one(self, method: str, request: str) -> Answer:
        found = next((each for each in self.refreshes[: self.remembers] if each.request == request), None)
        if found is None or found.kind != "ViaEnhancedApi":
            return _of(response("gone"))
        if method == "DELETE":
            found.coming = ["details-in-progress", "details-cancelled"]
            return 200, {}, None
        return _of(found.step())

    def _start(self, body: dict[str, Any]) -> Answer | None:
        enhanced = bool(body.keys() - {"notifyOption"})
        if enhanced and self.shared_capacity:
            return _of(response("shared-capacity"))
        if any(not each.is_over for each in self.refreshes):
            return _of(response("busy"))
        refresh = self.begin("ViaEnhancedApi" if enhanced else "ViaApi")
        if self.lost:
            self.lost -= 1
            return None
        status, headers, content = _of(response("accepted", **refresh.times))
        return status, headers if enhanced or self.names_standard else {}, content


def _of(found: dict[str, Any]) -> Answer:
    return found["status"], found.get("headers", {}), found.get("body")


class _Handler(BaseHTTPRequestHandler):
    service: PowerBiService
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"null")
        answer = self.service.answer(self.command, self.path, body, self.headers.get("Authorization") or "")
        if answer is None:
            self.close_connection = True
            self.connection.close()
            return
        status, headers, value = answer
        content = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def power_bi(monkeypatch: pytest.MonkeyPatch) -> Iterator[PowerBiService]:
    """The server; the settings name it."""
    with PowerBiService() as service:
        monkeypatch.setenv("DBBTRACE_POWER_BI_URL", service.url)
        yield service
