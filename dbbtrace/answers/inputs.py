"""Which load everything shows: through loads, builds and refreshes, whichever run they were in. Pure.

A table shows its last load that had succeeded. What dbt stores shows what its inputs showed when its last build that
succeeded began; a view shows what its inputs show. An import model shows them as of the start of its refresh. Where
several ways lead to one table, the oldest load counts. What nobody can tell is an input without a load.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from dbbtrace.model.times import moved

__all__ = ["Input", "Inputs", "Step", "Walk", "Work", "is_behind"]

_SLACK = timedelta(seconds=1)
"""Other writers store whole seconds: what ended so shortly after something began had ended before it."""


class Work(NamedTuple):
    """A load, build or refresh that succeeded."""

    ended_at: datetime
    started_at: datetime
    run_id: str = ""


class Step(NamedTuple):
    """One thing on the way from a table up."""

    name: str
    work: Work | None
    """When it took over what is below it; None: it shows that as it is."""


class Input(NamedTuple):
    """A table, or what nobody knows more about, with the load of it that is shown."""

    name: str
    work: Work | None
    """None: nobody knows of a load, or of a build."""
    way: tuple[Step, ...]
    """From what was asked for, down to the thing right above the table."""


Inputs = Mapping[str, Input]


class Walk:
    """What things show.

    Args:
        parents: thing → what it reads; a name that is not among them is a leaf.
        is_stored: whether the thing holds data of its own, from builds.
        is_open: whether it reads more than is known.
        history: leaf or stored thing → its works by end, oldest first.
        constants: things that hold no loaded data: seeds.
    """

    def __init__(
        self,
        parents: Mapping[str, Sequence[str]],
        is_stored: Callable[[str], bool],
        history: Mapping[str, Sequence[Work]],
        *,
        is_open: Callable[[str], bool] = lambda name: False,
        constants: Callable[[str], bool] = lambda name: False,
    ) -> None:
        self._parents = parents
        self._is_stored = is_stored
        self._is_open = is_open
        self._history = history
        self._constants = constants
        self._known: dict[tuple[str, datetime], Inputs] = {}
        self.missing: set[str] = set()
        """Names of which a work was looked for and none was found."""

    def last(self, name: str, at: datetime) -> Work | None:
        """The last work of the thing that had ended by then."""
        works = self._history.get(name, ())
        place = bisect_right(works, moved(at, _SLACK), key=lambda work: work.ended_at)
        found = works[place - 1] if place else None
        # Not what began after it: within the slack, what is below is never younger than what is above.
        while found is not None and found.started_at > at:
            place -= 1
            found = works[place - 1] if place else None
        if found is None:
            self.missing.add(name)
        return found

    def inputs(self, name: str, at: datetime) -> Inputs:
        """Table → the load of it that the thing shows at that time."""
        waiting, entered = [(name, at)], set[tuple[str, datetime]]()
        while waiting:
            state = waiting[-1]
            below = [] if state in self._known else self._below(*state)
            unknown = [one for one in below if one not in self._known and one not in entered]
            if state not in self._known and state not in entered and unknown:
                entered.add(state)
                waiting += unknown
                continue
            waiting.pop()
            if state not in self._known:
                self._known[state] = self._merged(*state, below)
        return self._known[name, at]

    def _below(self, name: str, at: datetime) -> list[tuple[str, datetime]]:
        """What it shows, and as of when."""
        if name not in self._parents or self._constants(name):
            return []
        if self._is_stored(name):
            work = self.last(name, at)
            if work is None:
                return []
            at = work.started_at
        return [(parent, at) for parent in self._parents[name]]

    def _merged(self, name: str, at: datetime, below: Sequence[tuple[str, datetime]]) -> Inputs:
        if self._constants(name):
            return {}
        is_leaf, is_stored = name not in self._parents, self._is_stored(name)
        work = self.last(name, at) if is_leaf or is_stored else None
        if is_leaf or (is_stored and work is None):
            return {name: Input(name, work, ())}
        found: dict[str, Input] = {name: Input(name, None, ())} if self._is_open(name) else {}
        step = Step(name, work)
        for state in below:
            for table, one in self._known.get(state, {}).items():
                if table not in found or is_behind(one, found[table]):
                    found[table] = one._replace(way=(step, *one.way))
        return found


def is_behind(one: Input, other: Input) -> bool:
    """Whether the first is an older load; none is older than any."""
    if one.work is None or other.work is None:
        return one.work is None and other.work is not None
    return one.work.ended_at < other.work.ended_at
