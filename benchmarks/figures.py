"""Figures: what was measured, its goal, and whether the goal was reached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

__all__ = ["Effort", "Figure", "Goal", "Pair", "alternate", "at_least", "at_most", "compared", "missing"]

Pair = tuple[float, float]
"""Our value and the baseline's, measured one right after the other."""


@dataclass(frozen=True)
class Effort:
    """How much to measure, and where to put files."""

    quick: bool
    scratch: Path

    def size(self, full: int, quick: int) -> int:
        """The size or number of repeats for the effort."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Goal:
    """A goal."""

    limit: float
    most: bool

    def __str__(self) -> str:
        return f"{'≤' if self.most else '≥'} {self.limit:g}"

    def met_by(self, value: float) -> bool:
        """Whether the value, rounded as printed, reaches the goal."""
        return round(value, 2) <= self.limit if self.most else round(value, 2) >= self.limit


def at_most(limit: float) -> Goal:
    """No more than this."""
    return Goal(limit, most=True)


def at_least(limit: float) -> Goal:
    """No less than this."""
    return Goal(limit, most=False)


@dataclass(frozen=True)
class Figure:
    """One line of the table. The median of ``values`` is compared with the goal; the spread is of the middle half."""

    what: str
    against: str
    values: Sequence[float] = ()
    """One value for each repeat: ratios, or in ``unit``."""
    unit: str = "×"
    goal: Goal | None = None
    """None: for information only."""
    ours: float | None = None
    """Median of our values; ``baseline`` is the median of the baseline's."""
    baseline: float | None = None
    measured_in: str = ""
    note: str = ""
    """Why there is no value, or a note on how to read it."""
    details: dict[str, Any] = field(default_factory=dict)
    """Further values for the JSON."""

    @property
    def value(self) -> float | None:
        """The median."""
        return median(self.values) if self.values else None

    @property
    def spread(self) -> Pair | None:
        """First and third quartile; for fewer than four values, the smallest and the largest."""
        if not self.values:
            return None
        if len(self.values) < 4:
            return min(self.values), max(self.values)
        low, _, high = quantiles(self.values, n=4, method="inclusive")
        return low, high

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None without a goal or without a measurement."""
        value = self.value
        return None if self.goal is None or value is None else self.goal.met_by(value)


def compared(what: str, against: str, pairs: Sequence[Pair], goal: Goal | None, measured_in: str) -> Figure:
    """A ratio: our value divided by the baseline's, pair by pair, so that a slow machine affects both."""
    return Figure(
        what,
        against,
        [ours / baseline for ours, baseline in pairs],
        goal=goal,
        ours=median(ours for ours, _ in pairs),
        baseline=median(baseline for _, baseline in pairs),
        measured_in=measured_in,
    )


def missing(what: str, against: str, goal: Goal | None, why: str) -> Figure:
    """A line that could not be measured here."""
    return Figure(what, against, goal=goal, note=why)


def alternate(ours: Callable[[], float], baseline: Callable[[], float], repeats: int) -> Iterator[Pair]:
    """Measure both in turn, alternating which goes first. One warm-up round is not counted."""
    ours(), baseline()
    for number in range(repeats):
        if number % 2:
            theirs = baseline()
            yield ours(), theirs
        else:
            mine = ours()
            yield mine, baseline()
