"""Fabric's API over HTTP: a ``Service``. Uses httpx, imported only when needed.

A service that throttles (429), is down (5xx, a lost connection) or takes its time (202) gets patience; a token that
expires on the way is replaced once. The token goes to the configured address alone: a page or an operation that the
answer places elsewhere is refused. Reads only.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from dbbtrace.access.credentials import FABRIC, TokenSource, token_of, token_source
from dbbtrace.errors import ConfigurationError, DbbtraceError, RefusedError, TransientError, UsageError
from dbbtrace.model.identity import normalise_guid
from dbbtrace.sources.fabric.service import ForbiddenError, GoneError, Json
from dbbtrace.tracing import runtime

if TYPE_CHECKING:
    import httpx

__all__ = ["FabricApi", "from_settings"]

_TIMEOUT = 60.0
"""Seconds that one request may take to connect, and between two parts of its answer."""
_PATIENCE = 300.0
"""Seconds that a service gets that can't answer, in all for one question."""
_LONGEST_WAIT = 60.0
_LARGEST = 256 << 20
"""Bytes of an answer that are read at most."""
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
_LOCAL = ("localhost", "127.0.0.1", "::1")


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
        patience: float = _PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL):
            raise UsageError(f"fabric_url = {url}: write https://...; an access token is not sent over anything else")
        self._url = url.rstrip("/")
        self._token = token
        self._bearer: str | None = None
        self._patience = patience
        self._sleep = sleep
        self._client = _client()

    # -- questions --------------------------------------------------------------------------------------------

    def activity_runs(self, workspace: str, run_id: str) -> Sequence[Json]:
        path = f"/v1/workspaces/{quote(workspace)}/datapipelines/pipelineruns/{quote(run_id)}/queryactivityruns"
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
        path = f"/v1/workspaces/{quote(workspace)}/items/{quote(item)}/jobs/instances/{quote(run_id)}"
        answer = self._ask("GET", self._url + path)
        return answer if isinstance(answer, Mapping) else {}

    def pipelines(self, workspace: str) -> Mapping[str, str]:
        path = f"/v1/workspaces/{quote(workspace)}/items?type=DataPipeline"
        items = [item for page in self._pages("GET", path) for item in page]
        return {str(item.get("displayName")): normalise_guid(str(item.get("id"))) for item in items}

    def jobs(self, workspace: str, item: str) -> Sequence[Json]:
        path = f"/v1/workspaces/{quote(workspace)}/items/{quote(item)}/jobs/instances"
        return [job for page in self._pages("GET", path) for job in page]

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
                url = self._own(following)
            else:
                url = f"{self._url}{path}{'&' if '?' in path else '?'}continuationToken={quote(token, safe='')}"

    def _own(self, url: str) -> str:
        """The address, which must be the API's own: the token goes nowhere else."""
        theirs, ours = urlsplit(url), urlsplit(self._url)
        if (theirs.scheme, theirs.netloc.lower()) != (ours.scheme, ours.netloc.lower()):
            raise RefusedError(f"the answer leads to another host ({theirs.hostname}), which gets no access token")
        return url

    # -- one question -----------------------------------------------------------------------------------------

    def _ask(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON of the answer.

        Raises:
            DbbtraceError: there is none.
        """
        waited, attempt, renewed = 0.0, 0, False
        while True:
            status, headers, content = self._send(method, url, body)
            if status == 401 and not renewed:
                self._bearer, renewed = None, True
                continue
            if status == 202:
                if headers.get("location"):
                    method, url, body = "GET", self._own(headers["location"]), None
            elif 200 <= status < 300:
                operation = _operation(content)
                if operation is None:
                    return _decoded(content, url)
                if operation == "succeeded":
                    url = f"{url.rstrip('/')}/result"
                    continue
            elif status not in (0, 408, 429) and status < 500:
                raise _refusal(status, content, url)
            attempt += 1
            wait = _wanted(headers)
            wait = min(_LONGEST_WAIT, 2.0 ** min(attempt - 1, 6)) if wait is None else wait
            if waited + wait > self._patience:
                raise TransientError(
                    f"Fabric does not answer {urlsplit(url).path}: {_reason(status, content)}", retry_after=wait
                )
            self._sleep(wait)
            waited += max(wait, 0.05)  # a service that asks for no wait gets no endless patience either

    def _send(self, method: str, url: str, body: Mapping[str, Any] | None) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and content; status 0 and the error's text where nothing came."""
        import httpx

        if self._bearer is None:
            self._bearer = token_of(self._token, FABRIC)
        headers = {"Authorization": f"Bearer {self._bearer}"}
        try:
            with self._client.stream(method, url, json=body, headers=headers) as answer:
                content = bytearray()
                for part in answer.iter_bytes():
                    content += part
                    if len(content) > _LARGEST:
                        raise RefusedError(f"the answer of {urlsplit(url).path} is larger than {_LARGEST >> 20} MiB")
                return (
                    answer.status_code,
                    {name.lower(): value for name, value in answer.headers.items()},
                    bytes(content),
                )
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return 0, {}, f"{type(error).__name__}: {error}".encode("utf-8", "replace")


def _client() -> httpx.Client:
    try:
        import httpx
    except ImportError:
        raise ConfigurationError("Fabric's API needs httpx: pip install 'dbbtrace[fabric]'") from None
    return httpx.Client(timeout=_TIMEOUT, follow_redirects=False)


def _decoded(content: bytes, url: str) -> Any:
    try:
        return json.loads(content) if content.strip() else {}
    except ValueError:
        raise RefusedError(f"the answer of {urlsplit(url).path} is not JSON") from None


def _operation(content: bytes) -> str | None:
    """The state of a long-running operation, in lower case; None: the content is an answer."""
    if b"percentComplete" not in content and b"createdTimeUtc" not in content:
        return None
    try:
        status = json.loads(content).get("status")
    except (ValueError, AttributeError):
        return None
    return str(status).lower() if str(status).lower() in ("notstarted", "running", "succeeded") else None


def _wanted(headers: Mapping[str, str]) -> float | None:
    """Seconds that the service asks us to wait; None where it does not say."""
    text = headers.get("retry-after", "").strip()
    if text.isdecimal():
        return min(float(text), 86400.0)
    if text:
        from datetime import datetime, timezone
        from email.utils import parsedate_to_datetime

        try:
            at = parsedate_to_datetime(text)
            return max(0.0, (at - datetime.now(timezone.utc)).total_seconds())
        except (ValueError, TypeError):
            pass
    return None


def _refusal(status: int, content: bytes, url: str) -> DbbtraceError:
    message = f"{urlsplit(url).path}: {_reason(status, content)}"
    if status == 401:
        return ConfigurationError(f"{message}; Fabric does not take the access token: log in, or pass fabric_token=")
    if status == 403:
        return ForbiddenError(f"{message}; the identity may not see it: it needs the Viewer role in the workspace")
    if status == 404:
        return GoneError(message)
    return RefusedError(message)


def _reason(status: int, content: bytes) -> str:
    """What the service says of an error: {errorCode, message}, bare or as ``error``."""
    text = content[:2000].decode("utf-8", "replace").strip()
    if status == 0:
        return text
    try:
        said = json.loads(content)
        said = said.get("error", said) if isinstance(said, dict) else {}
        text = ": ".join(str(said[name]) for name in ("errorCode", "code", "message") if said.get(name)) or text
    except (ValueError, AttributeError):
        pass
    return f"{status} {text[:500]}".strip()
