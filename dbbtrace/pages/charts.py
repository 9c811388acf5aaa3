"""Small charts: runs by day, values over time, the critical path. Only where marks lie; templates draw them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from math import floor, log10

from dbbtrace.answers.critical import PathStep
from dbbtrace.answers.readable import bytes_of, counted, duration_of

__all__ = ["Bar", "Bars", "Chart", "Dot", "Mark", "days_chart", "dots_chart", "path_strip"]

STATUSES = ("Succeeded", "Warned", "Skipped", "Unknown", "Failed")
"""From the bottom of the bar to the top."""
_LEFT, _BOTTOM, _TOP = 46, 20, 8


@dataclass(frozen=True)
class Bar:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True)
class Bars:
    """Rectangles with one title."""

    title: str
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Mark:
    """A dot as it is drawn."""

    x: float
    y: float
    kind: str
    title: str


@dataclass
class Chart:
    """A chart as it is drawn."""

    width: int
    height: int
    label: str
    kind: str = ""
    stretched: bool = False
    left: int = _LEFT
    lines: list[tuple[float, str]] = field(default_factory=list)
    """Height and label of each line across."""
    level: tuple[float, str] | None = None
    """Height and title of the median."""
    bars: list[Bars] = field(default_factory=list)
    dots: list[Mark] = field(default_factory=list)
    ticks: list[tuple[float, str, str]] = field(default_factory=list)
    """Place, text and anchor of each label below."""


@dataclass(frozen=True)
class Dot:
    """One run in a chart of values."""

    at: datetime
    value: float
    status: str
    said: str


def days_chart(days: Mapping[date, Mapping[str, int]], *, narrow: bool = False) -> Chart:
    """A bar for each day, with one colour per status. ``narrow`` is for a phone, where the text would be too small."""
    width, height = (340, 170) if narrow else (960, 180)
    first, last = min(days), max(days)
    span = (last - first).days + 1
    top, step = _ceiling(max(sum(day.values()) for day in days.values()), whole=True)
    chart = Chart(width, height, f"Runs by day from {first} to {last}", "narrow" if narrow else "broad")
    chart.lines = _lines(top, step, height, lambda value: f"{value:g}")
    wide = (width - _LEFT) / span
    for day in sorted(days):
        x, below, bars = _LEFT + (day - first).days * wide, 0, []
        for status in STATUSES:
            count = days[day].get(status, 0)
            if count:
                y = _y(below + count, top, height)
                tall = _y(below, top, height) - y
                bars.append(Bar(_n(x + wide * 0.1), _n(y), _n(wide * 0.8), _n(tall), status))
                below += count
        said = ", ".join(f"{count} {status.lower()}" for status in STATUSES if (count := days[day].get(status, 0)))
        chart.bars.append(Bars(f"{day}: {said}", bars))
    for day in _days(first, last, width // 90):
        chart.ticks.append((_n(_LEFT + ((day - first).days + 0.5) * wide), f"{day:%d %b}", "middle"))
    return chart


def dots_chart(
    dots: Sequence[Dot],
    usual: float | None,
    *,
    label: str | None = None,
    unit: str = "seconds",
    width: int = 360,
    height: int = 150,
) -> Chart:
    """A dot for each run: when it started, its value, how it ended. A line marks the median.

    Args:
        dots: at least one.
        usual: the median.
        label: what the chart shows, for screen readers.
        unit: ``seconds``, ``bytes`` or ``rows``.
        width, height: in the chart's own units.
    """
    first, last = min(dot.at for dot in dots), max(dot.at for dot in dots)
    span = max((last - first).total_seconds(), 1.0)
    text = _TEXTS[unit]
    top, step = _ceiling(max(dot.value for dot in dots), whole=unit != "seconds", times=unit == "seconds")
    chart = Chart(width, height, label or f"Durations of {counted(len(dots), 'run')}")
    chart.lines = _lines(top, step, height, text)
    if usual is not None:
        chart.level = (_n(_y(usual, top, height)), f"median {duration_of(usual) if unit == 'seconds' else text(usual)}")
    for dot in dots:
        x = _LEFT + 6 + (dot.at - first).total_seconds() / span * (width - _LEFT - 12)
        chart.dots.append(Mark(_n(x), _n(_y(dot.value, top, height)), dot.status, dot.said))
    chart.ticks.append((_LEFT, f"{first:%d %b}", "start"))
    if last - first > timedelta(days=1):
        chart.ticks.append((width, f"{last:%d %b}", "end"))
    return chart


def path_strip(path: Sequence[PathStep], *, width: int = 1000, height: int = 22) -> Chart:
    """The path as one strip: each step as wide as its duration, with gaps for waits."""
    whole = sum(step.waited + step.seconds for step in path) or 1.0
    chart = Chart(width, height, "The critical path, each step as wide as it took", "strip", stretched=True)
    x = 0.0
    for place, step in enumerate(path):
        x += step.waited / whole * width
        wide = step.seconds / whole * width
        kind = "Failed" if step.operation.status == "Failed" else "even" if place % 2 else "odd"
        bar = Bar(_n(x), 0, _n(max(wide, 0.5)), height, kind)
        chart.bars.append(Bars(f"{step.operation.label}: {duration_of(step.seconds)}", [bar]))
        x += wide
    return chart


def _lines(top: float, step: float, height: int, text: Callable[[float], str]) -> list[tuple[float, str]]:
    found, value = [], 0.0
    while value <= top * 1.0001:
        found.append((_n(_y(value, top, height)), text(value)))
        value += step
    return found


def _y(value: float, top: float, height: int) -> float:
    return height - _BOTTOM - value / top * (height - _BOTTOM - _TOP)


def _ceiling(most: float, *, whole: bool, times: bool = False) -> tuple[float, float]:
    """A round number above the largest value, and the step between lines, for about four lines."""
    most = max(most, 1e-3)
    size = 10.0 ** floor(log10(most / 4))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor * 4 >= most)
    if times and most > 60:  # minutes and hours have their own steps
        step = next((s for s in (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400) if s * 4 >= most), step)
    step = max(round(step), 1) if whole else step
    lines = max(int(-(-most // step)), 1)
    return step * lines, step


def _short(seconds: float) -> str:
    """A tick's label."""
    if seconds >= 3600:
        return f"{seconds / 3600:g} h"
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def _many(value: float) -> str:
    """A number in few letters."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


_TEXTS: Mapping[str, Callable[[float], str]] = {
    "seconds": _short,
    "rows": _many,
    "bytes": lambda value: bytes_of(round(value)),
}


def _days(first: date, last: date, most: int) -> list[date]:
    """At most this many days, evenly spaced."""
    span = (last - first).days + 1
    every = max(-(-span // most), 1)
    return [first + timedelta(days=place) for place in range(0, span, every)]


def _n(value: float) -> float:
    return round(value, 1)
