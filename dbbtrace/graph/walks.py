"""Names, what each selects from, and the walks up and down. Pure; knows nothing of outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TypeVar

__all__ = ["Graph", "is_test"]

Cause = TypeVar("Cause")


class Graph:
    """What selects from what.

    Args:
        parents: name → the names that it selects from. Names that are only named as a parent belong to the graph, too.
    """

    def __init__(self, parents: Mapping[str, Iterable[str]]) -> None:
        self.parents: dict[str, tuple[str, ...]] = {name: tuple(above) for name, above in parents.items()}
        for above in list(self.parents.values()):
            for name in above:
                self.parents.setdefault(name, ())

    @cached_property
    def children(self) -> dict[str, list[str]]:
        """Name → the names that select from it."""
        found: dict[str, list[str]] = {name: [] for name in self.parents}
        for name, above in self.parents.items():
            for parent in dict.fromkeys(above):
                found[parent].append(name)
        return found

    def above(self, names: Iterable[str], through: Callable[[str], bool] | None = None) -> list[str]:
        """What these names are made of, nearest first, each once; see ``below``."""
        return _walked(self.parents, names, through)

    def below(self, names: Iterable[str], through: Callable[[str], bool] | None = None) -> list[str]:
        """What is made of these names, nearest first, each once; without the names themselves.

        Args:
            through: False for a name that is left out, together with what only it leads to.
        """
        return _walked(self.children, names, through)

    def held_back_by(self, failed: str) -> list[str]:
        """What does not start in a ``dbt build`` once this node failed, as far as it is next to it.

        Its children; of a test the children of what it tests, of a unit test what it tests, before which it runs.
        """
        found = list(self.children.get(failed, ()))
        tested = self.parents.get(failed, ()) if is_test(failed) else ()
        if failed.startswith("unit_test."):
            return [*found, *tested]
        return [*found, *(child for each in tested for child in self.children[each] if child != failed)]

    def spread(self, seeds: Iterable[tuple[Cause, str]], through: Callable[[str], bool]) -> dict[str, Cause]:
        """Hand causes down, breadth first: name → the nearest cause above it, that which came first among equals.

        Args:
            seeds: a cause, and a name that it reaches.
            through: False for a name that no cause reaches or passes.
        """
        found: dict[str, Cause] = {}
        level = list(seeds)
        while level:
            following = []
            for cause, name in level:
                if name not in found and through(name):
                    found[name] = cause
                    following += [(cause, child) for child in self.children.get(name, ())]
            level = following
        return found


def is_test(name: str) -> bool:
    """Whether the unique_id is of a test of dbt's."""
    return name.startswith(("test.", "unit_test."))


def _walked(
    edges: Mapping[str, Iterable[str]], names: Iterable[str], through: Callable[[str], bool] | None
) -> list[str]:
    start = list(names)
    seen = set(start)
    found: list[str] = []
    level = start
    while level:
        following: list[str] = []
        for name in level:
            for each in edges.get(name, ()):
                if each not in seen and (through is None or through(each)):
                    seen.add(each)
                    following.append(each)
        found += following
        level = following
    return found
