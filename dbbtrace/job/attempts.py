"""Trying a table load several times: ``for attempt in load.attempts(3): with attempt: ...``.

Each attempt is a child span of the load, which stays one row. ``TableLoad`` decides the load's outcome.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Protocol

from dbbtrace.diagnostics import log
from dbbtrace.job.handle import Handle
from dbbtrace.job.rows import limit_rows
from dbbtrace.job.scope import Place, Scope
from dbbtrace.job.values import checked, count, number
from dbbtrace.model import attributes as key

__all__ = ["Attempt", "Attempts"]


class Load(Protocol):
    """The load that is tried."""

    _name: str
    _place: Place | None
    _attempt: Attempt | None
    """The last attempt made, if any."""


class Attempt(Handle):
    """One try of a load."""

    operation = key.OPERATION_ATTEMPT

    def __init__(self, load: Load, number_: int, *, last: bool) -> None:
        super().__init__(f"attempt {number_}", {key.ATTEMPT: number_})
        self._load = load
        self._number = number_
        self._last = last
        self._made = self._succeeded = False
        self._gave_up: tuple[str, str] | None = None
        """Type and message of a failure of which the job saw nothing."""

    @property
    def number(self) -> int:
        """From 1."""
        return self._number

    @property
    def last(self) -> bool:
        """Whether no other follows."""
        return self._last

    @property
    def succeeded(self) -> bool:
        """Whether its block was entered, and has ended well."""
        return self._succeeded

    def _conclude(self) -> None:
        super()._conclude()
        limit_rows(self)

    def _enclosing(self) -> Scope:
        place = self._load._place
        return place.scope if place is not None else super()._enclosing()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return self._settle(error)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return self._settle(error)

    def _settle(self, error: BaseException | None) -> bool:
        """End the attempt; True, which swallows the exception, where another attempt follows."""
        self._finish(error)
        swallowed = isinstance(error, Exception) and not self._last
        self._made, self._load._attempt = True, self
        self._succeeded = error is None and not self.failed
        if self._failed is not None and (error is None or swallowed):
            self._gave_up = self._failed
        if swallowed:
            log.warning("%s, %s: %s; it is tried again", self._load._name, self._name, ": ".join(self._failed or ()))
        return swallowed


class Attempts:
    """The attempts of a load, until one succeeds: for ``for`` and ``async for``."""

    def __init__(self, load: Load, limit: object, delay: object) -> None:
        self._load = load
        self._limit = checked("limit", count, limit) or 1
        self._delay = checked("delay", number, delay) or 0.0

    def __iter__(self) -> Iterator[Attempt]:
        for attempt in self._all():
            yield attempt
            if self._ends_with(attempt):
                return
            time.sleep(self._delay)

    async def __aiter__(self) -> AsyncIterator[Attempt]:
        import asyncio

        for attempt in self._all():
            yield attempt
            if self._ends_with(attempt):
                return
            await asyncio.sleep(self._delay)

    def _all(self) -> Iterator[Attempt]:
        for number_ in range(1, self._limit + 1):
            yield Attempt(self._load, number_, last=number_ == self._limit)

    def _ends_with(self, attempt: Attempt) -> bool:
        """Whether the loop ends here, once the job is done with the attempt."""
        if attempt.last and not attempt._made and self._load._attempt is None:
            self._load._attempt = attempt
            attempt._gave_up = ("Failed", "no attempt was made")
        return attempt.succeeded or attempt.last
