"""A local HTTP server that answers as Fabric's API does, from saved responses: for the demo, and for tests.

It plays the run: its clock stands at the run's start and moves on each time the orchestration's job instance is asked
for. What has not started yet is not listed, what has not ended is InProgress. It pages, throttles, fails, lets tokens
expire and answers 202 where it is told to.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dbbtrace.demo.local_service import LocalService

__all__ = ["RESPONSES", "FabricService", "load_responses"]

RESPONSES = Path(__file__).parent / "fabric_responses"
RUN, WORKSPACE = "10000000-7d3f-4b6a-9f10-2a6d5b1c8e47", "6f0a1c3e-1111-4a6b-9f10-2a6d5b1c8e47"
"""The orchestration run of the saved responses, and its workspace."""
Answer = tuple[int, dict[str, str], Any]
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?=\.\d{7})")


def load_responses(folder: Path = RESPONSES, *, run_id: str = RUN, ends_at: datetime | None = None) -> list[Any]:
    """The saved documents, as of another run.

    Args:
        run_id: the orchestration run's id in them.
        ends_at: when the run ended in them; default: as it was saved.
    """
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.json"))]
    if ends_at is not None:
        last = max(_moment(found) for text in texts for found in _TIME.findall(text))
        shift = ends_at.astimezone(timezone.utc).replace(microsecond=0) - last
        texts = [_TIME.sub(lambda found: _text(_moment(found[0]) + shift), text) for text in texts]
    return [json.loads(text.replace(RUN, run_id)) for text in texts]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text[:19]).replace(tzinfo=timezone.utc)


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


class FabricService(LocalService):
    """The server; ``with`` starts and stops it.

    Args:
        documents: what it answers: lists of activity runs, job instances, pipelines.
        step: seconds by which its clock moves on each time a job instance is asked for; None: the run has ended.
        page_size: entries of a page.
        token: that it takes; None: any.
    """

    def __init__(
        self, documents: list[Any], *, step: float | None = None, page_size: int = 1000, token: str | None = None
    ) -> None:
        self.activities: dict[str, list[dict[str, Any]]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.pipelines: list[dict[str, Any]] = []
        for document in documents:
            for entry in document["value"] if isinstance(document, dict) and "value" in document else [document]:
                if "activityRunId" in entry:
                    self.activities.setdefault(entry["pipelineRunId"], []).append(entry)
                elif "jobType" in entry:
                    self.jobs[entry["id"]] = entry
                else:
                    self.pipelines.append(entry)
        self.step = step
        self.page_size = page_size
        self.token = token
        self.faults: list[tuple[int, dict[str, str]]] = []
        """Status and headers of the next answers, before any other is given."""
        self.gone: dict[str, int] = {}
        """Part of a path → status of whatever has it in its path: 403, 404."""
        self.long_running = False
        """Lists of activity runs and refreshes are answered as long-running operations: 202, Location, Retry-After."""
        self.lakehouses: list[dict[str, Any]] = []
        """Lakehouses of every workspace, as the API lists them."""
        self.on_refresh: Callable[[str], list[dict[str, Any]]] = lambda endpoint: []
        """Called with the id of a SQL endpoint that is refreshed; gives how that went for each table."""
        self.requests: list[str] = []
        """Method and path of every request, in their order."""
        self.authorizations: list[str] = []
        self.on_page: Any = None
        """Called with the run's id and the page's number before a page of activity runs is given."""
        self._clock = min(
            (_moment(job["startTimeUtc"]) for job in self.jobs.values()), default=datetime.now(timezone.utc)
        )
        self._operations: dict[str, Any] = {}
        self._lock = threading.Lock()
        self.listen(_Handler)

    # -- answers ----------------------------------------------------------------------------------------------

    def answer(self, method: str, target: str, body: dict[str, Any], token: str) -> Answer:
        """Status, headers and JSON."""
        with self._lock:
            self.requests.append(f"{method} {target}")
            self.authorizations.append(token)
            if self.faults:
                status, headers = self.faults.pop(0)
                return status, headers, _error(status)
            if self.token is not None and token != f"Bearer {self.token}":
                return 401, {}, _error(401)
            path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
            for part, status in self.gone.items():
                if part in path:
                    return status, {}, _error(status)
            return self._route(path.strip("/").split("/"), query, body)

    def _route(self, path: list[str], query: dict[str, list[str]], body: dict[str, Any]) -> Answer:
        continued = int((query.get("continuationToken") or [body.get("continuationToken") or "0"])[0])
        if path[1] == "operations":
            return self._operation(path)
        if path[3] == "datapipelines":
            if not {"lastUpdatedAfter", "lastUpdatedBefore"} <= body.keys():
                return 400, {}, _error(400)
            return self._activity_runs(path[5].lower(), continued)
        if path[3] == "lakehouses":
            return 200, {}, self._page(self.lakehouses, continued, f"/{'/'.join(path)}?")
        if path[3] == "sqlEndpoints":
            return self._in_time({"value": self.on_refresh(path[4].lower())})
        if len(path) == 4:
            found = [each for each in self.pipelines if each.get("workspaceId") in (None, path[2].lower())]
            return 200, {}, self._page(found, continued, f"/{'/'.join(path)}?type=DataPipeline")
        if len(path) == 8:
            job = self._of_clock_job(path[7].lower())
            return (200, {}, job) if job and job["itemId"] == path[4].lower() else (404, {}, _error(404))
        jobs = [self._of_clock_job(each["id"]) for each in self.jobs.values() if each["itemId"] == path[4].lower()]
        return 200, {}, self._page(jobs, continued, f"/{'/'.join(path)}?")

    def _activity_runs(self, run_id: str, start: int) -> Answer:
        if run_id not in self.activities:
            return 404, {}, _error(404)
        if self.on_page is not None:
            self.on_page(run_id, start // self.page_size)
        listed = list(self._of_clock(self.activities[run_id]))
        answer: Any = self._page(listed, start, "")
        answer.pop("continuationUri", None)
        return self._in_time(answer)

    def _in_time(self, answer: Any) -> Answer:
        """The answer, or where it will be."""
        if self.long_running:
            name = f"{len(self._operations):08x}"
            self._operations[name] = [answer, 2]
            headers = {"Location": f"{self.url}/v1/operations/{name}", "Retry-After": "0", "x-ms-operation-id": name}
            return 202, headers, None
        return 200, {}, answer

    def _operation(self, path: list[str]) -> Answer:
        operation = self._operations[path[2]]
        if len(path) == 4:
            return 200, {}, operation[0]
        operation[1] -= 1
        state = "Running" if operation[1] > 0 else "Succeeded"
        return (
            200,
            {"Retry-After": "0"},
            {"status": state, "createdTimeUtc": "2026-11-24T07:00:00", "percentComplete": 50},
        )

    def _page(self, entries: list[Any], start: int, path: str) -> dict[str, Any]:
        end = start + self.page_size
        page: dict[str, Any] = {"value": entries[start:end], "continuationToken": None, "continuationUri": None}
        if end < len(entries):
            page["continuationToken"] = str(end)
            page["continuationUri"] = f"{self.url}{path}{'' if path.endswith('?') else '&'}continuationToken={end}"
        return page

    # -- the run as it goes on --------------------------------------------------------------------------------

    def _of_clock_job(self, run_id: str) -> dict[str, Any] | None:
        job = self.jobs.get(run_id)
        if job is None or self.step is None:
            return job
        self._clock += timedelta(seconds=self.step)
        if _moment(job["endTimeUtc"]) <= self._clock:
            return job
        return {**job, "status": "InProgress", "endTimeUtc": None, "failureReason": None}

    def _of_clock(self, activities: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for activity in activities:
            if self.step is None or _moment(activity["activityRunEnd"]) <= self._clock:
                yield activity
            elif _moment(activity["activityRunStart"]) <= self._clock:
                output = activity["output"] if activity["activityType"] == "InvokePipeline" else {}
                yield {**activity, "status": "InProgress", "activityRunEnd": None, "durationInMs": None,
                       "output": output, "error": {"errorCode": "", "message": ""}}  # fmt: skip

    @contextmanager
    def held(self) -> Iterator[None]:
        """While the block runs, nothing is answered: the documents may be changed."""
        with self._lock:
            yield


def _error(status: int) -> dict[str, Any]:
    codes = {400: "InvalidInput", 401: "TokenExpired", 403: "InsufficientPrivileges", 404: "EntityNotFound",
             429: "RequestBlocked"}  # fmt: skip
    code = codes.get(status, "InternalError")
    return {"requestId": "00000000-0000-0000-0000-000000000000", "errorCode": code, "message": f"{code} ({status})"}


class _Handler(BaseHTTPRequestHandler):
    service: FabricService
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(json.loads(content or b"{}"))

    def _answer(self, body: dict[str, Any]) -> None:
        status, headers, value = self.service.answer(
            self.command, self.path, body, self.headers.get("Authorization") or ""
        )
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
