"""Microsoft's APIs over HTTP, with an access token: Fabric's and Power BI's. Uses httpx, imported only when needed.

A service that throttles (429), is down (5xx) or does not answer gets patience; a token that expires on the way is
replaced once for each question. The token goes to the configured address alone. What an answer means is for the caller
to know: a 202 is an answer here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from dbbtrace.access.credentials import Audience, TokenSource, token_of
from dbbtrace.errors import ConfigurationError, DbbtraceError, RefusedError, TerminalError, TransientError, UsageError
from dbbtrace.model.times import retry_after_seconds

if TYPE_CHECKING:
    import httpx

__all__ = ["PATIENCE", "Answer", "Api", "ForbiddenError", "GoneError", "Host", "Patience", "ThrottledError"]

PATIENCE = 300.0
"""Seconds that a service gets that can't answer, in all for one question."""
_TIMEOUT = 60.0
"""Seconds that one request may take to connect, and between two parts of its answer."""
_LONGEST_WAIT = 60.0
_LARGEST = 256 << 20
"""Bytes of an answer that are read at most."""
_LOCAL = ("localhost", "127.0.0.1", "::1")
_NOT_SENT, _LOST = -1, 0
"""In place of a status: the request did not reach the service; or it may have, and no answer came back."""


class ForbiddenError(TerminalError):
    """We may not see it (403)."""


class GoneError(TerminalError):
    """There is no such thing, or not any more (404)."""


class ThrottledError(TransientError):
    """The service wants fewer requests (429), for longer than we have patience."""


class Host(NamedTuple):
    """Whose API it is."""

    name: str
    """As messages say it."""
    audience: Audience
    """Whom a token is for."""
    setting: str
    """Setting that holds its address."""
    needs: str
    """What an identity needs that may not see something."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    content: bytes
    path: str

    def json(self) -> Any:
        """The content; an empty object where there is none.

        Raises:
            RefusedError: it is not JSON.
        """
        try:
            return json.loads(self.content) if self.content.strip() else {}
        except ValueError:
            raise RefusedError(f"the answer of {self.path} is not JSON") from None

    def reason(self) -> str:
        """What the service says of an error: {errorCode, message}, bare or as ``error``."""
        text = self.content[:2000].decode("utf-8", "replace").strip()
        if self.status <= 0:
            return text
        try:
            said = json.loads(self.content)
            said = said.get("error", said) if isinstance(said, dict) else {}
            text = ": ".join(str(said[name]) for name in ("errorCode", "code", "message") if said.get(name)) or text
        except (ValueError, AttributeError):
            pass
        return f"{self.status} {text[:500]}".strip()


class Patience:
    """How long a service may still take that can't answer.

    Args:
        seconds: in all.
        sleep: waits.
    """

    def __init__(self, seconds: float, sleep: Callable[[float], None]) -> None:
        self._left = seconds
        self._sleep = sleep
        self._attempt = 0

    def wait(self, host: Host, answer: Answer) -> None:
        """Wait before the next attempt: as long as the service asks for, else twice as long as the last time.

        Raises:
            TransientError: there is no patience left.
        """
        wanted = retry_after_seconds(answer.headers.get("retry-after"))
        seconds = min(_LONGEST_WAIT, 2.0 ** min(self._attempt, 6)) if wanted is None else wanted
        self._attempt += 1
        if seconds > self._left:
            kind = ThrottledError if answer.status == 429 else TransientError
            raise kind(f"{host.name} does not answer {answer.path}: {answer.reason()}", retry_after=seconds)
        self._sleep(seconds)
        self._left -= max(seconds, 0.05)  # a service that asks for no wait gets no endless patience either


class Api:
    """One service's API.

    Args:
        url: its address; https, or http on this machine.
        token: gives a new access token.
        patience: seconds for a service that can't answer.
        sleep: waits; for tests.
        timeout: seconds that one request may take to connect, and between two parts of its answer.

    Raises:
        UsageError: the address makes no sense.
        ConfigurationError: httpx is not installed.
    """

    def __init__(
        self,
        host: Host,
        url: str,
        token: TokenSource,
        *,
        patience: float = PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
        timeout: float = _TIMEOUT,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL):
            raise UsageError(
                f"{host.setting} = {url}: write https://...; an access token is not sent over anything else"
            )
        self.host = host
        self.url = url.rstrip("/")
        self._token = token
        self._bearer: str | None = None
        self._seconds = patience
        self._sleep = sleep
        self._client = _client(host, timeout)

    def patience(self) -> Patience:
        """As much as one question gets."""
        return Patience(self._seconds, self._sleep)

    def own(self, url: str) -> str:
        """The address, which must be the API's own: the token goes nowhere else.

        Raises:
            RefusedError: it is not.
        """
        theirs, ours = urlsplit(url), urlsplit(self.url)
        if (theirs.scheme, theirs.netloc.lower()) != (ours.scheme, ours.netloc.lower()):
            raise RefusedError(f"the answer leads to another host ({theirs.hostname}), which gets no access token")
        return url

    def ask(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | None = None,
        *,
        patience: Patience | None = None,
        once: bool = False,
    ) -> Answer:
        """The answer, whose status is 2xx.

        Args:
            patience: what other requests of the same question have left of it.
            once: the request changes something: it is not sent again where it may have arrived.

        Raises:
            DbbtraceError: there is none. A TransientError is ``ambiguous`` where the request may have done its work.
        """
        patience, renewed = patience or self.patience(), False
        while True:
            answer = self._send(method, url, body)
            if not renewed and _token_expired(answer):
                self._bearer, renewed = None, True
                continue
            if 200 <= answer.status < 300:
                return answer
            if answer.status not in (_NOT_SENT, _LOST, 408, 429) and answer.status < 500:
                raise _refusal(self.host, answer)
            if once and answer.status not in (_NOT_SENT, 429, 503):
                raise TransientError(
                    f"{self.host.name} does not answer {answer.path}: {answer.reason()}", ambiguous=True
                )
            patience.wait(self.host, answer)

    def _send(self, method: str, url: str, body: Mapping[str, Any] | None) -> Answer:
        """The answer; of status _NOT_SENT or _LOST and the error's text where nothing came."""
        import httpx

        path = urlsplit(url).path
        if self._bearer is None:
            self._bearer = token_of(self._token, self.host.audience)
        headers = {"Authorization": f"Bearer {self._bearer}"}
        try:
            with self._client.stream(method, url, json=body, headers=headers) as answer:
                content = bytearray()
                for part in answer.iter_bytes():
                    content += part
                    if len(content) > _LARGEST:
                        raise RefusedError(f"the answer of {path} is larger than {_LARGEST >> 20} MiB")
                received = {name.lower(): value for name, value in answer.headers.items()}
                return Answer(answer.status_code, received, bytes(content), path)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            unsent = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL))
            text = f"{type(error).__name__}: {error}".encode("utf-8", "replace")
            return Answer(_NOT_SENT if unsent else _LOST, {}, text, path)


def _client(host: Host, timeout: float) -> httpx.Client:
    try:
        import httpx
    except ImportError:
        name = host.audience.name
        raise ConfigurationError(f"{name} needs httpx: pip install 'dbbtrace[fabric]'") from None
    return httpx.Client(timeout=timeout, follow_redirects=False)


def _token_expired(answer: Answer) -> bool:
    """Power BI says it with a 403."""
    return answer.status == 401 or (answer.status == 403 and b"TokenExpired" in answer.content)


def _refusal(host: Host, answer: Answer) -> DbbtraceError:
    message = f"{answer.path}: {answer.reason()}"
    if _token_expired(answer):
        return ConfigurationError(
            f"{message}; {host.name} does not take the access token: log in, or pass {host.audience.argument}"
        )
    if answer.status == 403:
        return ForbiddenError(f"{message}; the identity may not see it: it needs {host.needs}")
    if answer.status == 404:
        return GoneError(message)
    return RefusedError(message)
