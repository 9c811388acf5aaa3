"""What has to be done again so that everything is as if all had gone well. Pure.

A thing is affected if it is not fine, if something that it is made of is affected, or if it was made before that was.
A view that is fine is not made again: it shows what is below it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from dbbtrace.graph.walks import Graph

__all__ = ["Made", "to_do"]

_SLACK = timedelta(seconds=1)
"""Other writers store whole seconds."""


@dataclass(frozen=True)
class Made:
    """The last outcome of a load, a node of dbt's or a refresh."""

    fine: bool
    parents: tuple[str, ...] = ()
    is_view: bool = False
    """It shows what it is made of, and holds nothing itself."""
    began: datetime | None = None
    ended: datetime | None = None


def to_do(made: Mapping[str, Made]) -> list[str]:
    """The names of what is to be done again, each after all that it is made of.

    Args:
        made: by name. What is only named as a parent is taken to be fine.
    """
    affected: dict[str, bool] = {}
    since: dict[str, datetime | None] = {}
    """How new what each holds or shows is."""
    found = []
    for name in _in_order(made):
        one = made[name]
        parents = [parent for parent in one.parents if parent in made]
        newest = _newest(since[parent] for parent in parents)
        affected[name] = not one.fine or any(affected[parent] for parent in parents)
        if one.is_view:
            since[name] = _newest([one.ended or one.began, newest])
        else:
            since[name] = one.ended or one.began
            affected[name] |= newest is not None and one.began is not None and newest - one.began > _SLACK
        if affected[name] and not (one.is_view and one.fine):
            found.append(name)
    return found


def _newest(moments: Iterable[datetime | None]) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)


def _in_order(made: Mapping[str, Made]) -> list[str]:
    """All names, each after all that it is made of; a circle, which no dbt project has, is cut somewhere."""
    graph = Graph({name: one.parents for name, one in made.items()})
    missing = {name: sum(parent in made for parent in dict.fromkeys(one.parents)) for name, one in made.items()}
    ready = [name for name, count in missing.items() if count == 0]
    found: list[str] = []
    while ready:
        name = ready.pop(0)
        found.append(name)
        for child in graph.children[name]:
            missing[child] -= 1
            if missing[child] == 0:
                ready.append(child)
    return found
