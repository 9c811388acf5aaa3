"""Random graphs for tests, and the slow walk that answers are compared with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hypothesis import strategies as st


@st.composite
def parents(draw: st.DrawFn, most: int = 12) -> dict[str, list[str]]:
    """Nodes n0, n1, ... each of which selects from some that come before it."""
    count = draw(st.integers(1, most))
    found: dict[str, list[str]] = {}
    for number in range(count):
        before = list(found)
        found[f"n{number}"] = draw(st.lists(st.sampled_from(before), unique=True, max_size=3)) if before else []
    return found


def reached(edges: Mapping[str, Iterable[str]], start: Iterable[str]) -> set[str]:
    """Everything that edges lead to, by adding until nothing is added any more."""
    found: set[str] = set()
    waiting = set(start)
    while True:
        more = {other for name in found | waiting for other in edges.get(name, ())} - found
        if not more:
            return found
        found |= more


def turned(edges: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """The same edges the other way round."""
    found: dict[str, set[str]] = {name: set() for name in edges}
    for name, others in edges.items():
        for other in others:
            found.setdefault(other, set()).add(name)
    return found
