"""The pieces pages are made of: escaping, charts, the critical path."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbbtrace import answers
from dbbtrace.answers.critical import critical_path
from dbbtrace.pages.charts import Chart, Dot, days_chart, dots_chart
from dbbtrace.pages.templates import asset, inert, render
from tests.answers.history import Size, make, store
from tests.answers.mangle import mangled

TEXTS = st.text(st.characters(), max_size=40)


class Parser(HTMLParser):
    """What a browser would make of it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(text=TEXTS)
def test_any_text_stays_text(text: str) -> None:
    """Whatever it holds, a template shows it as text, in an element and in an attribute."""
    made = render("rows.html", columns=[text], rows=[[text]], more=0)
    made.encode("utf-8")
    parser = Parser()
    parser.feed(made)
    parser.close()
    assert [tag for tag, _ in parser.tags] == ["table", "thead", "tr", "th", "tbody", "tr", "td"]
    if text.isascii() and text.isprintable():
        assert not text or parser.text.count(text) >= 2


@given(text=TEXTS)
def test_data_of_scripts_ends_nothing(text: str) -> None:
    """The JSON in a page reads back the same, and holds no character that markup begins with."""
    import json

    made = inert({"text": text})
    assert not set("<>&") & set(made)
    assert made.isascii()
    assert json.loads(made) == {"text": text}


def drawn(chart: Chart) -> ElementTree.Element:
    """The chart as the template draws it."""
    from dbbtrace.pages.templates import _environment

    macros = _environment().get_template("macros.html").module
    return ElementTree.fromstring(str(macros.chart(chart)))


def contrast(one: str, other: str) -> float:
    """WCAG's ratio of two colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_colour_of_text_can_be_read(scheme: int) -> None:
    """At least 4.5 : 1 on every ground that it stands on, in light and dark."""
    palette: dict[str, str] = {}
    for block in re.findall(r":root \{(.*?)\}", asset("page.css"), re.S)[: scheme + 1]:
        palette |= dict(re.findall(r"(--[a-z-]+): (#[0-9a-f]{6})", block))
    for text in ("--text", "--muted", "--accent", "--good", "--bad", "--warn", "--skip", "--run", "--path"):
        for ground in ("--bg", "--surface", "--soft", "--bad-soft", "--warn-soft"):
            assert contrast(palette[text], palette[ground]) >= 4.5, (text, ground)


# -- charts -------------------------------------------------------------------------------------------------


@given(
    seconds=st.lists(st.floats(0, 1e6, allow_nan=False), min_size=1, max_size=30),
    usual=st.none() | st.floats(0, 1e6),
)
def test_dots_lie_within_the_chart(seconds: list[float], usual: float | None) -> None:
    """For any durations, one dot each, none outside."""
    begin = datetime(2026, 1, 1, tzinfo=timezone.utc)
    most = max(seconds)
    dots = [Dot(begin + timedelta(hours=place), took, "Succeeded", "said") for place, took in enumerate(seconds)]
    chart = dots_chart(dots, None if usual is None else min(usual, most))
    assert chart.label == ("Durations of 1 run" if len(dots) == 1 else f"Durations of {len(dots)} runs")
    root = drawn(chart)
    circles = root.findall("circle")
    assert len(circles) == len(seconds)
    for circle in circles:
        assert 0 <= float(circle.attrib["cx"]) <= 360
        assert -0.1 <= float(circle.attrib["cy"]) <= 150


@given(st.dictionaries(st.integers(0, 400), st.integers(1, 50), min_size=1, max_size=40))
def test_bars_are_as_tall_as_their_days(counts: dict[int, int]) -> None:
    """Heights are in proportion, whatever the numbers."""
    begin = datetime(2026, 1, 1).date()
    days = {begin + timedelta(days=day): {"Succeeded": count} for day, count in counts.items()}
    root = drawn(days_chart(days))
    heights = [float(bar.attrib["height"]) for bar in root.iter("rect")]
    unit = max(heights) / max(counts.values())
    for height, (_, count) in zip(heights, sorted(counts.items()), strict=True):
        assert height == pytest.approx(count * unit, abs=0.2)


# -- the critical path --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_the_critical_path_accounts_for_the_whole_run(tmp_path: Path, seed: int) -> None:
    """Work and waits together are the time from first start to last end; each step begins after the one before."""
    history = mangled(make(3, seed=seed, failing=0.05, size=Size(8, 15, 5, 2)), seed)
    warehouse = store(history, tmp_path / "w.db", unique=False)
    for key in answers.run_keys(warehouse):
        operations = answers.operations(warehouse, [key.run_id])
        timed = [o for o in operations if o.started_at and o.ended_at and not o.superseded]
        path = critical_path(operations)
        whole = max(o.ended_at for o in timed) - min(o.started_at for o in timed)  # type: ignore[type-var, operator]
        assert sum(step.seconds + step.waited for step in path) == pytest.approx(whole.total_seconds())
        assert path[-1].operation.ended_at == max(o.ended_at for o in timed)  # type: ignore[type-var]
        starts = [step.operation.started_at for step in path]
        assert starts == sorted(starts)  # type: ignore[type-var]
        assert all(step.seconds >= 0 and step.waited >= 0 for step in path)


def test_a_node_waits_for_what_it_selects_from(tmp_path: Path) -> None:
    """Of two that end at nearly the same time the one that is needed is on the path."""
    history = make(1, seed=1, failing=0, size=Size(1, 3, 0, 0))
    times = {
        "model_000": ("02:10:00.000000", "02:10:10.000000"),
        "model_001": ("02:10:00.000000", "02:10:10.200000"),
        "model_002": ("02:10:10.300000", "02:10:20.000000"),
    }
    for row in history.nodes:
        begin, end = times[row["item_name"]]
        row |= {"process_started_at": f"2026-01-05 {begin}", "process_completed_at": f"2026-01-05 {end}"}
        row["execution_time"] = None
        row["depends_on"] = '["model.shop.model_000"]' if row["item_name"] == "model_002" else "[]"
    warehouse = store(history, tmp_path / "w.db")
    path = critical_path(answers.operations(warehouse, [history.loads[0]["orchestration_run_id"]]))
    assert [(step.operation.name.rpartition(".")[2], step.needed) for step in path] == [
        ("table_000", False),
        ("model_000", False),
        ("model_002", True),
    ]
    assert path[-1].waited == pytest.approx(0.3)


def test_a_run_without_times_has_no_path() -> None:
    """Nothing to draw, and no error."""
    assert critical_path([]) == []
