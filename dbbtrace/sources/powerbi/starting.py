"""Start a refresh, and know which one it is.

The service names an enhanced refresh in its answer. A standard one it may not name, and an answer may be lost: then it
is the refresh that the history did not have before, if there is only one. Nothing is started twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from dbbtrace.errors import DbbtraceError, TransientError, UsageError
from dbbtrace.model.statuses import is_running
from dbbtrace.model.times import NANOS, to_unix_nanos
from dbbtrace.sources.fabric.fields import Fields, folded
from dbbtrace.sources.powerbi.api import BusyError, Model, PowerBi
from dbbtrace.sources.powerbi.details import request_id_of
from dbbtrace.tracing.provider import now

__all__ = ["Started", "UnnamedError", "start"]

LOOKS = 6
"""How often the history is read for a refresh that it should have by then."""
_PAUSE = 5.0
"""Seconds between two looks."""
_TRIES = 3
"""How often a refresh is started whose answer is lost, where none began."""
_SKEW = 120 * NANOS
"""How far the service's clock may be behind ours."""


class UnnamedError(TransientError):
    """A refresh may have been started, and nothing tells which one it is."""


class Started(NamedTuple):
    """A refresh that was started."""

    request: str
    is_enhanced: bool
    is_named: bool
    """By the service; otherwise it is the only one that began since."""


def start(api: PowerBi, model: Model, body: Mapping[str, Any], *, is_enhanced: bool) -> Started:
    """Start a refresh.

    Raises:
        UnnamedError: nothing tells which one it is.
        DbbtraceError: none was started: see ``PowerBi.start``.
    """
    before = _Before(api, model, "viaenhancedapi" if is_enhanced else "viaapi")
    lost: TransientError | None = None
    for _ in range(_TRIES):
        try:
            request = api.start(model, body)
        except TransientError as error:
            if not error.ambiguous:
                raise
            lost, request = error, None
        except BusyError as error:
            if lost is None:
                raise BusyError(f"{_running(api, model)} runs, so the service refused this one: {error}") from None
            if (found := before.find(None)) is None:
                break
            return Started(found, is_enhanced, False)  # the one that we started, and that was not named
        if request is not None and is_enhanced:
            return Started(request, True, True)
        if (found := before.find(request)) is not None:
            return Started(found, is_enhanced, found == request)
        if lost is None:
            break
    raise UnnamedError(f"{lost or 'the service took the request'}; its history shows no refresh that began since")


class _Before:
    """The history as it was before a refresh is started.

    Args:
        kind: refreshType of the one that is started, in lower case.
    """

    def __init__(self, api: PowerBi, model: Model, kind: str) -> None:
        self._api, self._model, self._kind = api, model, kind
        self._known = set(_requests(api.history(model)))
        self._since = now() - _SKEW

    def find(self, request: str | None) -> str | None:
        """This refresh, once the history has it; else the only one that it did not have; None: there is none.

        Raises:
            UnnamedError: there are several.
        """
        new: list[str] = []
        for look in range(LOOKS):
            if look:
                self._api.sleep(_PAUSE)
            entries = _requests(self._api.history(self._model))
            if request in entries:
                return request
            new = [each for each, entry in entries.items() if each not in self._known and self._fits(entry)]
            if new and request is None:
                break
        if len(new) > 1:
            raise UnnamedError(f"{len(new)} refreshes of the model began at the same time: {', '.join(new)}")
        return new[0] if new else None

    def _fits(self, entry: Fields) -> bool:
        return folded(entry.text("refreshType") or "") == self._kind and self._began_since(entry)

    def _began_since(self, entry: Fields) -> bool:
        with suppress(ValueError, TypeError, OverflowError):
            return to_unix_nanos(entry.get("startTime")) >= self._since
        return False


def _requests(history: Any) -> dict[str, Fields]:
    """Request id → entry, of those that have one."""
    found = {}
    for entry in map(Fields, history):
        with suppress(UsageError):
            request = request_id_of(entry)
            if request is not None:
                found[request] = entry
    return found


def _running(api: PowerBi, model: Model) -> str:
    """The refresh of the model that runs, as far as the history tells."""
    with suppress(DbbtraceError):
        for request, entry in _requests(api.history(model)).items():
            if is_running(entry.text("status") or "") and entry.get("endTime") is None:
                return f"the refresh {request} of the model"
    return "another refresh of the model"
