"""Follow one refresh, by its request id, until it has ended. Never another one, however new."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from dbbtrace.access.http import GoneError
from dbbtrace.errors import RefusedError, UsageError
from dbbtrace.sources.fabric.fields import Fields, folded
from dbbtrace.sources.powerbi.api import Model, PowerBi
from dbbtrace.sources.powerbi.details import Details, read_details, request_id_of
from dbbtrace.tracing.provider import now

__all__ = ["Follower", "look"]

_LOOKS = 6
"""How often in a row the service may know nothing of a refresh, or say of it what makes no sense."""


def look(api: PowerBi, model: Model, request: str) -> Details:
    """What the service says of the refresh: its details, and where there are none its entry in the history.

    Raises:
        GoneError: the service does not know it, or not any more.
        UsageError: what it says makes no sense.
        DbbtraceError: the service can't be asked.
    """
    try:
        return read_details(api.details(model, request), now=now())._replace(request=request)
    except (GoneError, RefusedError):  # of a standard refresh there are no details
        for entry in api.history(model):
            with suppress(UsageError):
                if request_id_of(Fields(entry)) == request:
                    return read_details(entry, now=now())
    raise GoneError(f"the service does not know the refresh {request}, or not any more: it forgets after a few dozen")


class Follower:
    """Follows a refresh.

    Args:
        poll: seconds between two looks.
        tell: called with what each look gave.
    """

    def __init__(
        self, api: PowerBi, model: Model, request: str, *, poll: float, tell: Callable[[Details], object]
    ) -> None:
        self._api, self._model, self._request = api, model, request
        self._poll = poll
        self._tell = tell
        self._began: dict[tuple[str, str | None], int] = {}
        self.seen: dict[tuple[str, str | None], tuple[int, int]] = {}
        """Table and partition → when it was seen to begin and to end."""

    def until_over(self, looks: int | None = None) -> Details:
        """What the service says once it has ended.

        Args:
            looks: most looks; None: as many as it takes.

        Raises:
            GoneError, UsageError, DbbtraceError: see ``look``; a few times in a row.
            TimeoutError: it has not ended after so many looks.
        """
        odd, looked = 0, 0
        while looks is None or looked < looks:
            if looked:
                self._api.sleep(self._poll)
            looked += 1
            try:
                found = look(self._api, self._model, self._request)
            except (GoneError, UsageError):
                odd += 1
                if odd >= _LOOKS:
                    raise
                continue
            odd = 0
            self._watch(found)
            self._tell(found)
            if found.is_over:
                return found
        raise TimeoutError(f"the refresh {self._request} has not ended")

    def _watch(self, found: Details) -> None:
        """Note when its parts begin and end: the service gives no times for them."""
        clock = now()
        first = found.start or clock
        last = found.end or clock
        for part in found.parts:
            name, word = (part.table, part.partition), folded(part.status or "")
            if word not in ("notstarted", ""):
                self._began.setdefault(name, min(max(clock, first), last))
            if word not in ("notstarted", "inprogress", "unknown", "") and name not in self.seen:
                ended = min(max(clock, first), last)
                self.seen[name] = (min(self._began[name], ended), ended)
