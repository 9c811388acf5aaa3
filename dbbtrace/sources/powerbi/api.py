"""Power BI's API over HTTP: which models there are, and their refreshes. How a request is sent is in ``access.http``.

Starting and cancelling are the only requests that change anything. Nothing here waits for a refresh.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import UUID

from dbbtrace.access.credentials import POWER_BI, TokenSource, token_source
from dbbtrace.access.http import PATIENCE, Answer, Api, ForbiddenError, Host
from dbbtrace.errors import RefusedError, UsageError
from dbbtrace.model.identity import normalise_guid
from dbbtrace.tracing import runtime

__all__ = ["BusyError", "CapacityError", "Model", "PowerBi", "from_settings", "is_guid"]

_POWER_BI = Host(
    "Power BI", POWER_BI, "power_bi_url", "the Contributor role in the workspace, and Dataset.ReadWrite.All"
)
_BUSY = re.compile(r"another refresh|refresh.{0,40}(already|in progress)", re.I)
_CAPACITY = re.compile(r"shared capacit|dedicated capacit|premium|enhanced refresh|notifyOption", re.I)
"""What the service says of what a capacity lacks. Its exact words are not documented."""
_NEWEST = 60
"""Entries of the history that are read: about as many as the service keeps."""

Json = Mapping[str, Any]


class BusyError(RefusedError):
    """Another refresh of the model runs."""


class CapacityError(RefusedError):
    """The capacity of the workspace does not offer this: it needs Premium, Premium Per User, Embedded or Fabric."""


class Model(NamedTuple):
    """A semantic model."""

    workspace: str
    """Id of the workspace that it lives in."""
    id: str
    name: str | None
    """None: the identity may not read it."""


def from_settings(
    *, patience: float = PATIENCE, sleep: Callable[[float], None] = time.sleep, timeout: float | None = None
) -> PowerBi:
    """The API at the address and with the token that ``configure()`` was told of."""
    installed = runtime.installed()
    given = installed.fabric_token if installed is not None else None
    source = token_source(given, POWER_BI)
    return PowerBi(runtime.current_settings().power_bi_url, source, patience=patience, sleep=sleep, timeout=timeout)


class PowerBi:
    """The API.

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
        url: str,
        token: TokenSource,
        *,
        patience: float = PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
        timeout: float | None = None,
    ) -> None:
        limits = {} if timeout is None else {"timeout": timeout}
        self._api = Api(_POWER_BI, url, token, patience=patience, sleep=sleep, **limits)
        self._base = f"{self._api.url}/v1.0/myorg"
        self.sleep = sleep

    # -- names ------------------------------------------------------------------------------------------------

    def model(self, workspace: str, model: str) -> Model:
        """The model of that id or name, in the workspace of that id or name.

        Raises:
            UsageError: there is none, or more than one.
            DbbtraceError: the service can't be asked.
        """
        group = normalise_guid(workspace) if is_guid(workspace) else self._workspace(workspace)
        if is_guid(model):
            return Model(group, normalise_guid(model), self._name_of(group, model))
        listed = self._list(f"{self._base}/groups/{quote(group)}/datasets")
        return Model(
            group, _only([each for each in listed if each.get("name") == model], "semantic model", model), model
        )

    def _workspace(self, name: str) -> str:
        condition = "name eq '" + name.replace("'", "''") + "'"
        return _only(self._list(f"{self._base}/groups?$filter={quote(condition)}"), "workspace", name)

    def _name_of(self, group: str, model: str) -> str | None:
        try:
            found = self._api.ask("GET", f"{self._base}/groups/{quote(group)}/datasets/{quote(model)}").json()
        except ForbiddenError:  # refreshing is another right than reading
            return None
        name = found.get("name") if isinstance(found, Mapping) else None
        return name if isinstance(name, str) and name else None

    def _list(self, url: str) -> list[Json]:
        found = self._api.ask("GET", url).json()
        entries = found.get("value") if isinstance(found, Mapping) else None
        return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []

    # -- refreshes --------------------------------------------------------------------------------------------

    def start(self, model: Model, body: Json) -> str | None:
        """Start a refresh; its request id, if the answer names it.

        Raises:
            BusyError: another one runs.
            CapacityError: the capacity does not offer such a refresh.
            TransientError: the service can't answer; ``ambiguous`` where it may have started one.
            DbbtraceError: it refuses.
        """
        try:
            answer = self._api.ask("POST", self._refreshes(model), body, once=True)
        except (RefusedError, ForbiddenError) as error:
            said = str(error)
            if _CAPACITY.search(said):
                raise CapacityError(said) from None
            if _BUSY.search(said) or " 409 " in f"{said} ":
                raise BusyError(said) from None
            raise
        return _request_id(answer)

    def details(self, model: Model, request: str) -> Json:
        """What the service says of an enhanced refresh.

        Raises:
            GoneError: it knows of none such.
            DbbtraceError: it can't be asked.
        """
        found = self._api.ask("GET", f"{self._refreshes(model)}/{quote(request)}").json()
        if not isinstance(found, Mapping):
            raise RefusedError(f"the details of refresh {request} are not a JSON object")
        return found

    def history(self, model: Model) -> Sequence[Json]:
        """Its newest refreshes, newest first; the service keeps a few dozen."""
        return self._list(f"{self._refreshes(model)}?$top={_NEWEST}")

    def cancel(self, model: Model, request: str) -> None:
        """Ask the service to cancel an enhanced refresh.

        Raises:
            DbbtraceError: it does not.
        """
        self._api.ask("DELETE", f"{self._refreshes(model)}/{quote(request)}")

    def _refreshes(self, model: Model) -> str:
        return f"{self._base}/groups/{quote(model.workspace)}/datasets/{quote(model.id)}/refreshes"


def is_guid(text: str) -> bool:
    """Whether it is an id, and no name."""
    try:
        UUID(text.strip())
    except ValueError:
        return False
    return True


def _only(found: Sequence[Json], what: str, name: str) -> str:
    """The id of the one that was found."""
    ids = [str(each.get("id")) for each in found if each.get("id")]
    if len(ids) == 1:
        return normalise_guid(ids[0])
    if not ids:
        raise UsageError(f"there is no {what} {name!r} that this identity may see: check the name, or write its id")
    raise UsageError(f"{len(ids)} {what}s are called {name!r}: write the id of one: {', '.join(ids)}")


def _request_id(answer: Answer) -> str | None:
    """The request id, which is the last part of Location, or in a header of its own."""
    location = answer.headers.get("location", "").split("?")[0].rstrip("/").rpartition("/")[2]
    for text in (location, answer.headers.get("x-ms-request-id", ""), answer.headers.get("requestid", "")):
        if is_guid(text):
            return normalise_guid(text)
    return None
