"""Of a batch that fails, exactly what is at fault is set aside, and nothing when the backend is at fault."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbbtrace.delivery import batch as settling
from dbbtrace.delivery.backoff import UnexplainedError
from dbbtrace.delivery.batch import settle
from dbbtrace.errors import ConfigurationError, RefusedError, TransientError

Send = Callable[[Sequence[int]], None]


def refusing(poison: set[int], stored: list[int]) -> Send:
    """A backend that refuses any batch with one of these in it, and says so."""

    def send(items: Sequence[int]) -> None:
        if poison & set(items):
            raise RefusedError("I don't take that")
        stored.extend(items)

    return send


@given(st.integers(1, 300), st.sets(st.integers(0, 299)))
def test_what_is_refused_is_told_from_what_is_not(size: int, poison: set[int]) -> None:
    """Whatever the batch and whichever of it are refused: those are set aside, all others stored, nothing is left."""
    stored: list[int] = []
    outcome = settle(refusing(poison, stored), range(size))
    assert {item for item, _ in outcome.refused} == poison & set(range(size))
    assert sorted(stored) == sorted(set(range(size)) - poison)
    assert outcome.left == []
    assert outcome.error is None
    assert outcome.stored == len(stored)


@pytest.mark.parametrize(
    "error", [TransientError("later"), ConfigurationError("wrong password"), UnexplainedError("?")]
)
def test_a_fault_of_the_backend_sets_nothing_aside(error: Exception) -> None:
    """A backend that is down, or that is wrongly configured, leaves the whole batch for later."""

    def send(items: Sequence[int]) -> None:
        raise error

    outcome = settle(send, range(50), suspect=True)
    assert outcome.refused == []
    assert outcome.left == list(range(50))
    assert outcome.error is error


@given(st.integers(1, 60), st.sets(st.integers(0, 59), max_size=5), st.integers(0, 100))
def test_a_backend_that_goes_down_amid_a_search_gets_nobody_blamed(size: int, poison: set[int], calls: int) -> None:
    """However far the search for a refused span has come: what was neither stored nor refused by then is left."""
    stored: list[int] = []
    healthy = refusing(poison, stored)
    count = 0

    def send(items: Sequence[int]) -> None:
        nonlocal count
        count += 1
        if count > calls:
            raise TransientError("gone")
        healthy(items)

    outcome = settle(send, range(size), suspect=True)
    refused = [item for item, _ in outcome.refused]
    assert set(refused) <= poison
    assert sorted([*stored, *refused, *outcome.left]) == list(range(size))
    assert outcome.left == sorted(outcome.left)
    assert (outcome.error is None) == (not outcome.left)


def failing(poison: set[int], stored: list[int]) -> Send:
    """A backend whose exporter can only say that it failed."""

    def send(items: Sequence[int]) -> None:
        if poison & set(items):
            raise UnexplainedError("FAILURE")
        stored.extend(items)

    return send


def test_without_a_reason_a_span_is_blamed_only_if_others_get_through() -> None:
    """Rounds with fresh spans convict the one that always fails, and it alone."""
    settling._random.seed(0)
    stored: list[int] = []
    refused: list[int] = []
    left: list[int] = []
    for number in range(12):
        fresh = list(range(number * 100, number * 100 + 100))
        outcome = settle(failing({7}, stored), [*left, *fresh], suspect=True)
        left = outcome.left
        refused += [item for item, _ in outcome.refused]
    assert refused == [7]
    assert left == []
    assert sorted(stored) == sorted(set(range(1200)) - {7})


def test_alone_it_is_never_blamed() -> None:
    """A span that fails with nothing beside it may fail because the backend is down."""
    for _ in range(20):
        outcome = settle(failing({1}, []), [1], suspect=True)
        assert outcome.left == [1]
        assert outcome.refused == []


@given(st.integers(0, 60), st.integers(0, 60))
def test_an_outage_without_a_reason_gets_nobody_blamed(begin: int, calls: int) -> None:
    """An exporter that fails for a while, at any moment of a search, for any time, blames no span."""
    count = 0

    def send(items: Sequence[int]) -> None:
        nonlocal count
        count += 1
        if begin < count <= begin + calls:
            raise UnexplainedError("FAILURE")

    left = list(range(40))
    for _ in range(100):
        outcome = settle(send, left, suspect=True)
        left = outcome.left
        assert outcome.refused == []
        if not left:
            break
    assert left == []


def test_an_outage_costs_few_calls() -> None:
    """A backend that is down is not asked for each span of a batch."""
    calls = 0

    def send(items: Sequence[int]) -> None:
        nonlocal calls
        calls += 1
        raise UnexplainedError("FAILURE")

    settle(send, range(1000), suspect=True)
    assert calls < 30


def test_before_anything_got_through_a_failure_blames_nobody() -> None:
    """A backend that is down for the first spans of a search, and up for the others, has refused none of them."""
    stored: list[int] = []
    calls = 0

    def send(items: Sequence[int]) -> None:
        nonlocal calls
        calls += 1
        if not stored and calls <= 5:
            raise UnexplainedError("FAILURE")
        stored.extend(items)

    for _ in range(30):
        stored.clear()
        calls = 0
        outcome = settle(send, range(16), suspect=True)
        assert outcome.refused == []
        assert sorted([*stored, *outcome.left]) == list(range(16))
