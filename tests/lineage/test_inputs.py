"""Which load everything shows: compared with a history that is played forward."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from dbbtrace.answers.inputs import Walk, Work
from tests.lineage.simulated import Event, World

BEGINNING = datetime(2026, 11, 1, tzinfo=timezone.utc)


def minute(number: int) -> datetime:
    return BEGINNING + timedelta(minutes=number)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[dict[str, list[str]], set[str], list[Event]]:
    """Things that read earlier ones, some of them views, and what happened to them."""
    tables = [f"t{number}" for number in range(draw(st.integers(1, 3)))]
    names = list(tables)
    parents: dict[str, list[str]] = {}
    views: set[str] = set()
    for number in range(draw(st.integers(1, 6))):
        name = f"m{number}"
        parents[name] = draw(st.lists(st.sampled_from(names), min_size=0, max_size=3, unique=True))
        if draw(st.booleans()):
            views.add(name)
        names.append(name)
    happened = st.tuples(st.sampled_from(names), st.integers(0, 40), st.integers(1, 8), st.booleans())
    events = [
        Event(name, minute(start), minute(start + took), fine or name in tables)
        for name, start, took, fine in draw(st.lists(happened, max_size=25))
        if name not in views
    ]
    return parents, views, events


@settings(max_examples=400, deadline=None)
@given(worlds(), st.integers(0, 50))
def test_what_is_shown_is_what_a_history_played_forward_shows(world, now: int) -> None:
    """Of any graph, any order of loads, builds and failures, at any time."""
    parents, views, events = world
    played = World(parents, views)
    played.play(events, minute(now))
    works: dict[str, list[Work]] = {}
    for event in events:
        if event.succeeded:
            works.setdefault(event.name, []).append(Work(event.ended_at, event.started_at))
    history = {name: sorted(found) for name, found in works.items()}
    walk = Walk(parents, lambda name: name in parents and name not in views, history)
    for name in [*parents, "t0"]:
        shown = walk.inputs(name, minute(now))
        ends = {table: one.work.ended_at if one.work else None for table, one in shown.items()}
        assert ends == played.shows(name), name
        for one in shown.values():
            at = [minute(now), *(step.work.started_at for step in one.way if step.work)]
            assert at == sorted(at, reverse=True), "the way down goes back in time"


def test_a_graph_that_goes_round_ends() -> None:
    """Rows can say anything."""
    walk = Walk({"a": ["b"], "b": ["a", "t"]}, lambda name: False, {"t": [Work(minute(2), minute(1))]})
    assert walk.inputs("a", minute(5))["t"].work == Work(minute(2), minute(1))


def test_a_deep_graph_needs_no_deep_stack() -> None:
    """5,000 views above one another."""
    parents = {f"m{number}": [f"m{number - 1}"] for number in range(1, 5000)} | {"m0": ["t"]}
    walk = Walk(parents, lambda name: False, {"t": [Work(minute(2), minute(1))]})
    assert set(walk.inputs("m4999", minute(5))) == {"t"}


def test_whole_seconds_of_other_writers_are_taken_for_what_they_are() -> None:
    """A load that ended at 2.7 s, written as 2 + 1, had ended before the build that began at 2.9 s."""
    at = BEGINNING + timedelta(seconds=2.9)
    load = Work(BEGINNING + timedelta(seconds=3), BEGINNING)
    walk = Walk({"m": ["t"]}, lambda name: name == "m", {"t": [load], "m": [Work(minute(1), at)]})
    assert walk.inputs("m", minute(2))["t"].work == load
    later = Work(BEGINNING + timedelta(seconds=3.5), BEGINNING + timedelta(seconds=3))
    walk = Walk({"m": ["t"]}, lambda name: name == "m", {"t": [load, later], "m": [Work(minute(1), at)]})
    assert walk.inputs("m", minute(2))["t"].work == load, "what began after the build is not in it"
