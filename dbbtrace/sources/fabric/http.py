"""Fabric's API over HTTP: a ``Service``. Reads, but that it has a SQL endpoint look at its lakehouse again.

An operation that takes its time (202) gets patience as a service that can't answer does; a page or an operation that
the answer places elsewhere is refused. How one request is sent is in ``access.http``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from dbbtrace.access.credentials import FABRIC, TokenSource, token_source
from dbbtrace.access.http import PATIENCE, Api, GoneError, Host
from dbbtrace.errors import RefusedError
from dbbtrace.model.identity import normalise_guid
from dbbtrace.sources.fabric.service import Json
from dbbtrace.tracing import runtime

__all__ = ["FabricApi", "from_settings"]

_FABRIC = Host("Fabric", FABRIC, "fabric_url", "the Viewer role in the workspace")
_MOST_PAGES = 10_000
_READS_AGAIN = 3
"""How often a list is read that changed between two of its pages."""
_SINCE, _UNTIL = "2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z"
"""The interval that queryactivityruns requires: no activity run is outside."""
_ACTIVITY_RUNS = {
    "filters": [],
    "orderBy": [{"orderBy": "ActivityRunStart", "order": "ASC"}],
    "lastUpdatedAfter": _SINCE,
    "lastUpdatedBefore": _UNTIL,
}


def from_settings() -> FabricApi:
    """The API at the address and with the token that ``configure()`` was told of."""
    installed = runtime.installed()
    given = installed.fabric_token if installed is not None else None
    return FabricApi(runtime.current_settings().fabric_url, token_source(given, FABRIC))


class FabricApi:
    """The API.

    Args:
        url: its address; https, or http on this machine.
        token: gives a new access token.
        patience: seconds for a service that can't answer.
        sleep: waits; for tests.

    Raises:
        UsageError: the address makes no sense.
        ConfigurationError: httpx is not installed.
    """

    def __init__(
        self,
        url: str,
        token: TokenSource,
        *,
        patience: float = PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api = Api(_FABRIC, url, token, patience=patience, sleep=sleep)
        self._url = self._api.url

    # -- questions --------------------------------------------------------------------------------------------

    def activity_runs(self, workspace: str, run_id: str) -> Sequence[Json]:
        path = f"/v1/workspaces/{_part(workspace)}/datapipelines/pipelineruns/{_part(run_id)}/queryactivityruns"
        found: list[Json] = []
        for _ in range(_READS_AGAIN):
            pages = list(self._pages("POST", path, _ACTIVITY_RUNS))
            found = [entry for page in pages for entry in page]
            ids = [str(entry.get("activityRunId")) for entry in found]
            if len(set(ids)) == len(ids):
                break  # nothing came twice, so nothing moved from one page to another while they were read
        return found

    def job(self, workspace: str, item: str, run_id: str) -> Json:
        if not item:
            raise GoneError(f"the pipeline of run {run_id} is not known, so its job instance can't be asked for")
        path = f"/v1/workspaces/{_part(workspace)}/items/{_part(item)}/jobs/instances/{_part(run_id)}"
        answer = self._ask("GET", self._url + path)
        return answer if isinstance(answer, Mapping) else {}

    def pipelines(self, workspace: str) -> Mapping[str, str]:
        path = f"/v1/workspaces/{_part(workspace)}/items?type=DataPipeline"
        items = [item for page in self._pages("GET", path) for item in page]
        return {str(item.get("displayName")): normalise_guid(str(item.get("id"))) for item in items}

    def jobs(self, workspace: str, item: str) -> Sequence[Json]:
        path = f"/v1/workspaces/{_part(workspace)}/items/{_part(item)}/jobs/instances"
        return [job for page in self._pages("GET", path) for job in page]

    # -- the SQL endpoint ---------------------------------------------------------------------------------------

    def sql_endpoints(self, workspace: str) -> Mapping[str, str]:
        """Name and id of each lakehouse, in lower case → the id of its SQL endpoint."""
        found = {}
        pages = self._pages("GET", f"/v1/workspaces/{_part(workspace)}/lakehouses")
        for lakehouse in (one for page in pages for one in page):
            properties = lakehouse.get("properties")
            endpoint = properties.get("sqlEndpointProperties") if isinstance(properties, Mapping) else None
            if isinstance(endpoint, Mapping) and endpoint.get("id"):
                for name in (lakehouse.get("displayName"), lakehouse.get("id")):
                    found[str(name).lower()] = normalise_guid(str(endpoint["id"]))
        return found

    def refresh_endpoint(self, workspace: str, endpoint: str) -> Sequence[Json]:
        """Have a SQL endpoint look at its lakehouse again, and wait until it has; says of each table how that went:
        ``tableName``, ``status`` (Success, Failure, NotRun), ``error``."""
        path = f"/v1/workspaces/{_part(workspace)}/sqlEndpoints/{_part(endpoint)}/refreshMetadata"
        answer = self._ask("POST", self._url + path, {})
        tables = answer.get("value") if isinstance(answer, Mapping) else answer  # bare, before it was settled
        return [each for each in tables if isinstance(each, Mapping)] if isinstance(tables, list) else []

    # -- pages ------------------------------------------------------------------------------------------------

    def _pages(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Iterator[list[Json]]:
        """The pages of a list, which is bare or has a continuationToken, or a continuationUri."""
        url, seen = self._url + path, set[str]()
        for _ in range(_MOST_PAGES):
            answer = self._ask(method, url, body)
            entries = answer.get("value") if isinstance(answer, Mapping) else answer
            yield [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
            token = str(answer.get("continuationToken") or "") if isinstance(answer, Mapping) else ""
            if not token or token in seen:
                return
            seen.add(token)
            following = answer.get("continuationUri")
            if body is not None:
                body = {**body, "continuationToken": token}
            elif following:
                url = self._api.own(following)
            else:
                url = f"{self._url}{path}{'&' if '?' in path else '?'}continuationToken={quote(token, safe='')}"

    # -- one question -----------------------------------------------------------------------------------------

    def _ask(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON of the answer.

        Raises:
            DbbtraceError: there is none.
        """
        patience = self._api.patience()
        while True:
            answer = self._api.ask(method, url, body, patience=patience)
            if answer.status == 202:
                if answer.headers.get("location"):
                    method, url, body = "GET", self._api.own(answer.headers["location"]), None
            else:
                operation = _operation(answer.content)
                if operation is None:
                    return answer.json()
                if operation == "failed":
                    raise RefusedError(f"{answer.path}: {answer.reason()}")
                if operation == "succeeded":
                    url = f"{url.rstrip('/')}/result"
                    continue
            patience.wait(_FABRIC, answer)


def _operation(content: bytes) -> str | None:
    """The state of a long-running operation, in lower case; None: the content is an answer."""
    if b"percentComplete" not in content and b"createdTimeUtc" not in content:
        return None
    try:
        status = json.loads(content).get("status")
    except (ValueError, AttributeError):
        return None
    return str(status).lower() if str(status).lower() in ("notstarted", "running", "succeeded", "failed") else None


def _part(text: str) -> str:
    """The text as one part of a path, whatever an output held in place of an id."""
    return quote(text, safe="")
