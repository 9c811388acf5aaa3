"""What things show, found by playing the history forward: the opposite of how ``answers.inputs`` finds it.

Each event is played when it happens. A build takes what its inputs show when it begins, and shows it from its end on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

Contents = dict[str, datetime | None]
"""Table → end of the load that is shown; a name of what is unknown → None."""


@dataclass(frozen=True)
class Event:
    """Something that was loaded or built."""

    name: str
    started_at: datetime
    ended_at: datetime
    succeeded: bool = True


class World:
    """Things, and what they show.

    Args:
        parents: thing → what it reads; a thing without an entry is loaded.
        views: things that hold no data.
    """

    def __init__(self, parents: Mapping[str, Sequence[str]], views: set[str]) -> None:
        self._parents = parents
        self._views = views
        self._shows: dict[str, Contents] = {}

    def shows(self, name: str) -> Contents:
        """What the thing shows now."""
        if name in self._views:
            return self._together(self._parents[name])
        return self._shows.get(name, {name: None})

    def _together(self, names: Sequence[str]) -> Contents:
        found: Contents = {}
        for name in names:
            for table, end in self.shows(name).items():
                before = found.get(table, end)
                found[table] = None if end is None or before is None else min(end, before)
        return found

    def play(self, events: Sequence[Event], until: datetime) -> None:
        """Let all this happen. What ends at a time has ended before anything begins at that time."""
        moments = [(event.ended_at, 0, event.started_at, number) for number, event in enumerate(events)]
        moments += [(event.started_at, 1, event.started_at, number) for number, event in enumerate(events)]
        taken: dict[int, Contents] = {}
        for at, begins, _, number in sorted(moments):
            event = events[number]
            if at > until or not event.succeeded:
                continue
            if begins:
                reads = self._parents.get(event.name)
                taken[number] = self._together(reads) if reads is not None else {event.name: event.ended_at}
            else:
                self._shows[event.name] = taken[number]
