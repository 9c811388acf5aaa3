"""What a span costs in memory, while it waits and once it is delivered."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from tests.counting.conftest import delivery

SPANS = 500


@pytest.fixture
def traced() -> Iterator[None]:
    """Allocations are traced, and none is freed by chance."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.enable()


def test_a_waiting_span_is_a_few_blocks(one_load: Callable[[], None], traced: None) -> None:
    """Kept for each span that is not delivered yet: about 4 kB in 35 blocks."""
    before = tracemalloc.take_snapshot()
    for _ in range(SPANS):
        one_load()
    grown = tracemalloc.take_snapshot().compare_to(before, "filename")
    ours = [each for each in grown if "tracemalloc" not in each.traceback[0].filename]
    assert sum(each.count_diff for each in ours) / SPANS < 50
    assert sum(each.size_diff for each in ours) / SPANS < 6_000


def test_a_delivered_span_keeps_nothing(one_load: Callable[[], None], traced: None) -> None:
    """Once it is delivered, a span has left no more than a trace of itself."""
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(SPANS):
        one_load()
    assert delivery().force_flush()
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    assert (after - before) / SPANS < 500
