"""Figures: what was measured, what it is held against, and whether that was reached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

__all__ = ["Effort", "Figure", "Goal", "Pair", "alternate", "at_least", "at_most", "compared", "missing"]

Pair = tuple[float, float]
"""Ours and the baseline's, measured one right after the other."""


@dataclass(frozen=True)
class Effort:
    """How much is to be measured, and where files may be left."""

    quick: bool
    scratch: Path

    def size(self, full: int, quick: int) -> int:
        """The one of the two that fits the effort: of a size, or a number of repeats."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Goal:
    """What is to be reached."""

    limit: float
    most: bool

    def __str__(self) -> str:
        return f"{'≤' if self.most else '≥'} {self.limit:g}"

    def met_by(self, value: float) -> bool:
        """Whether the value, as precisely as it is printed, reaches the goal."""
        return round(value, 2) <= self.limit if self.most else round(value, 2) >= self.limit


def at_most(limit: float) -> Goal:
    """No more than this."""
    return Goal(limit, most=True)


def at_least(limit: float) -> Goal:
    """No less than this."""
    return Goal(limit, most=False)


@dataclass(frozen=True)
class Figure:
    """One line of the table. Judged is the median of ``values``; the spread is that of their middle half."""

    what: str
    against: str
    values: Sequence[float] = ()
    """One for each repeat: ratios, or what ``unit`` says."""
    unit: str = "×"
    goal: Goal | None = None
    """None: for information."""
    ours: float | None = None
    """Median of what the ratio was made from; ``baseline`` likewise."""
    baseline: float | None = None
    measured_in: str = ""
    note: str = ""
    """Why there is no value, or what must be known to read it."""
    details: dict[str, Any] = field(default_factory=dict)
    """More, for the JSON."""

    @property
    def value(self) -> float | None:
        """The median."""
        return median(self.values) if self.values else None

    @property
    def spread(self) -> Pair | None:
        """First and third quartile; of fewer than four values the ends."""
        if not self.values:
            return None
        if len(self.values) < 4:
            return min(self.values), max(self.values)
        low, _, high = quantiles(self.values, n=4, method="inclusive")
        return low, high

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None where there is no goal, or nothing was measured."""
        value = self.value
        return None if self.goal is None or value is None else self.goal.met_by(value)


def compared(what: str, against: str, pairs: Sequence[Pair], goal: Goal | None, measured_in: str) -> Figure:
    """A ratio: ours over the baseline's, pair by pair, so that what slows the machine slows both."""
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
    """Measure both in turn, the one that goes first changing; one round before that is not counted."""
    ours(), baseline()
    for number in range(repeats):
        if number % 2:
            theirs = baseline()
            yield ours(), theirs
        else:
            mine = ours()
            yield mine, baseline()
