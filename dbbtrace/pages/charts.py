"""Small charts as SVG: runs by day, durations over time. They need no scripts, and each mark has a title. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import floor, log10

from dbbtrace.answers.critical import PathStep
from dbbtrace.answers.readable import duration_of
from dbbtrace.pages.html import Html, h

__all__ = ["Dot", "days_chart", "dots_chart", "path_strip"]

STATUSES = ("Succeeded", "Warned", "Skipped", "Unknown", "Failed")
"""From the bottom of the bar to the top."""
_LEFT, _BOTTOM, _TOP = 46, 20, 8


@dataclass(frozen=True)
class Dot:
    """One run in a chart of durations."""

    at: datetime
    seconds: float
    status: str
    said: str


def days_chart(days: Mapping[date, Mapping[str, int]], *, narrow: bool = False) -> Html:
    """A bar for each day, with one colour per status. ``narrow`` is for a phone, where the text would be too small."""
    width, height = (340, 170) if narrow else (960, 180)
    first, last = min(days), max(days)
    span = (last - first).days + 1
    most = max(sum(day.values()) for day in days.values())
    top, step = _ceiling(most, whole=True)
    marks = list(_lines(top, step, width, height, lambda value: f"{value:g}"))
    wide = (width - _LEFT) / span
    for day in sorted(days):
        x, below = _LEFT + (day - first).days * wide, 0
        parts = []
        for status in STATUSES:
            count = days[day].get(status, 0)
            if count:
                y, tall = _y(below + count, top, height), _y(below, top, height) - _y(below + count, top, height)
                parts.append(
                    h(
                        "rect",
                        x=_n(x + wide * 0.1),
                        y=_n(y),
                        width=_n(wide * 0.8),
                        height=_n(tall),
                        class_=f"fill-{status}",
                    )
                )
                below += count
        said = ", ".join(f"{count} {status.lower()}" for status in STATUSES if (count := days[day].get(status, 0)))
        marks.append(h("g", h("title", f"{day}: {said}"), parts))
    for day in _days(first, last, width // 90):
        x = _LEFT + ((day - first).days + 0.5) * wide
        marks.append(h("text", f"{day:%d %b}", x=_n(x), y=height - 5, text_anchor="middle"))
    return _svg(marks, width, height, f"Runs by day from {first} to {last}", "narrow" if narrow else "broad")


def dots_chart(dots: Sequence[Dot], usual: float | None, *, width: int = 360, height: int = 150) -> Html:
    """A dot for each run: when it started, how long it took, how it ended. A line marks the median."""
    first, last = min(dot.at for dot in dots), max(dot.at for dot in dots)
    span = max((last - first).total_seconds(), 1.0)
    top, step = _ceiling(max(dot.seconds for dot in dots), whole=False)
    marks = list(_lines(top, step, width, height, _short))
    if usual is not None:
        level = _n(_y(usual, top, height))
        title = h("title", f"median {duration_of(usual)}")
        marks.append(h("line", title, x1=_LEFT, x2=width, y1=level, y2=level, class_="median"))
    for dot in dots:
        x = _LEFT + 6 + (dot.at - first).total_seconds() / span * (width - _LEFT - 12)
        y, kind = _y(dot.seconds, top, height), f"fill-{dot.status}"
        title = h("title", dot.said)
        # Shape as well as colour shows what failed.
        if dot.status == "Failed":
            marks.append(h("path", title, d=f"M{_n(x)} {_n(y - 5)}l5 9h-10z", class_=kind))
        else:
            marks.append(h("circle", title, cx=_n(x), cy=_n(y), r=3.2, class_=kind))
    marks.append(h("text", f"{first:%d %b}", x=_LEFT, y=height - 5))
    if last - first > timedelta(days=1):
        marks.append(h("text", f"{last:%d %b}", x=width, y=height - 5, text_anchor="end"))
    return _svg(marks, width, height, f"Durations of {len(dots)} runs")


def path_strip(path: Sequence[PathStep], *, width: int = 1000, height: int = 22) -> Html:
    """The path as one strip: each step as wide as its duration, with gaps for waits."""
    whole = sum(step.waited + step.seconds for step in path) or 1.0
    marks, x = [], 0.0
    for place, step in enumerate(path):
        x += step.waited / whole * width
        wide = step.seconds / whole * width
        title = h("title", f"{step.operation.label}: {duration_of(step.seconds)}")
        kind = "Failed" if step.operation.status == "Failed" else "even" if place % 2 else "odd"
        marks.append(h("rect", title, x=_n(x), y=0, width=_n(max(wide, 0.5)), height=height, class_=f"fill-{kind}"))
        x += wide
    return h(
        "svg",
        marks,
        viewBox=f"0 0 {width} {height}",
        class_="chart strip",
        preserveAspectRatio="none",
        role="img",
        aria_label="The critical path, each step as wide as it took",
    )


def _svg(marks: Sequence[Html], width: int, height: int, label: str, *kinds: str) -> Html:
    kind = " ".join(("chart", *kinds))
    return h("svg", marks, viewBox=f"0 0 {width} {height}", class_=kind, role="img", aria_label=label)


def _lines(top: float, step: float, width: int, height: int, text: object) -> list[Html]:
    assert callable(text)
    marks, value = [], 0.0
    while value <= top * 1.0001:
        y = _n(_y(value, top, height))
        marks.append(h("line", x1=_LEFT, x2=width, y1=y, y2=y, class_="axis"))
        marks.append(h("text", text(value), x=_LEFT - 5, y=_n(float(y) + 4), text_anchor="end"))
        value += step
    return marks


def _y(value: float, top: float, height: int) -> float:
    return height - _BOTTOM - value / top * (height - _BOTTOM - _TOP)


def _ceiling(most: float, *, whole: bool) -> tuple[float, float]:
    """A round number above the largest value, and the step between lines, for about four lines."""
    most = max(most, 1e-3)
    size = 10.0 ** floor(log10(most / 4))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor * 4 >= most)
    if not whole and most > 60:  # minutes and hours have their own steps
        step = next((s for s in (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400) if s * 4 >= most), step)
    step = max(round(step), 1) if whole else step
    lines = max(int(-(-most // step)), 1)
    return step * lines, step


def _short(seconds: float) -> str:
    """A tick's label."""
    if seconds >= 3600:
        return f"{seconds / 3600:g} h"
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def _days(first: date, last: date, most: int) -> list[date]:
    """At most this many days, evenly spaced."""
    span = (last - first).days + 1
    every = max(-(-span // most), 1)
    return [first + timedelta(days=place) for place in range(0, span, every)]


def _n(value: float) -> str:
    return f"{value:.1f}"
