"""What waits for a destination, in memory and in the journal, is taken in its order and once."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.delivery import Delivery, backlog, worker
from dbbtrace.delivery.backlog import Backlog, Memory
from dbbtrace.errors import TransientError
from dbbtrace.journal.writer import Journal, Position
from tests.delivery.support import Backend, finished, load, to

steps = st.lists(
    st.one_of(
        st.tuples(st.just("ends"), st.integers(1, 12)),
        st.tuples(st.just("unwanted"), st.integers(1, 3)),
        st.tuples(st.just("starts"), st.integers(1, 3)),
        st.tuples(st.just("delivers"), st.integers(1, 6)),
        st.tuples(st.just("fails"), st.integers(1, 6)),
        st.tuples(st.just("is cut short"), st.integers(1, 3)),
    ),
    max_size=40,
)


class Job:
    """One thread that does by turns what the job and its destination do."""

    def __init__(self, root: str) -> None:
        self.journal = Journal(root, [("memory://a", True)], segment_bytes=3_000)
        self.backlog = Backlog(self.journal, "key", wanted, Memory(), lambda lost: None)
        self.ended: list[ReadableSpan] = []
        self.stored: list[ReadableSpan] = []
        self._positions: list[Position] = []
        self._numbers = iter(range(1_000_000))

    def ends(self, count: int) -> None:
        for _ in range(count):
            span, position = self._end()
            self.backlog.put(position, span)

    def is_cut_short(self, count: int) -> None:
        """Spans reach the journal and not the memory; their thread has been interrupted between the two."""
        for _ in range(count):
            self._end()
        self.backlog.missed(self.journal.position)

    def unwanted(self, count: int) -> None:
        for _ in range(count):
            self.journal.end(finished(next(self._numbers), "step"))

    def starts(self, count: int) -> None:
        for _ in range(count):
            self.journal.start(load(next(self._numbers)))

    def delivers(self, most: int, *, fails: bool = False) -> None:
        waiting = self.backlog
        waiting.in_hand = True
        items = [*waiting.left, *waiting.take(most - len(waiting.left))]
        if not fails:
            self.stored += [item.span for item in items]
        waiting.settle(items if fails else [])
        waiting.in_hand = False
        assert all(position > waiting.settled for position in self._positions[len(self.stored) :])
        waiting.catch_up()

    def fails(self, most: int) -> None:
        self.delivers(most, fails=True)

    def _end(self) -> tuple[ReadableSpan, Position]:
        span = load(next(self._numbers))
        position = self.journal.end(span)
        self.ended.append(span)
        self._positions.append(position)
        return span, position


def wanted(span: ReadableSpan) -> bool:
    return span.name != "step"


@given(steps)
def test_whatever_the_turns_each_span_is_taken_once(turns: list[tuple[str, int]]) -> None:
    """Six spans find room in memory; the others are read back, and none of those that went by memory with them."""
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as root:
        patch.setattr(backlog, "IN_MEMORY", 6)
        job = Job(root)
        for what, count in turns:
            getattr(job, what.replace(" ", "_"))(count)
            assert job.backlog.is_empty <= (len(job.stored) == len(job.ended))
        for _ in range(1_000):
            if job.backlog.is_idle:
                break
            job.delivers(4)
        assert [span.name for span in job.stored] == [span.name for span in job.ended]
        job.backlog.catch_up()
        assert job.backlog.settled == job.journal.position
        job.journal.delete()


def test_so_it_is_when_job_and_destination_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Now the one is faster, now the other; the destination stumbles at times."""
    monkeypatch.setattr(backlog, "IN_MEMORY", 20)
    monkeypatch.setattr(backlog, "BATCH", 10)
    monkeypatch.setattr(worker, "BATCH", 10)
    chance = random.Random(1)

    class Moody(Backend):
        def deliver(self, spans: Sequence[ReadableSpan]) -> None:
            time.sleep(chance.choice((0, 0, 0.001)))
            super().deliver(spans)

    backend = Moody(*[*[None] * 30, TransientError("moody")] * 2)
    delivery = Delivery([to(backend)], journal_dir=tmp_path, segment_bytes=20_000)
    for number in range(4_000):
        delivery.on_end(load(number))
        if not number % 50:
            time.sleep(chance.choice((0, 0.002, 0.01)))
    assert delivery.flush(60)
    assert backend.names == [f"span {number}" for number in range(4_000)]
    delivery.shutdown()
    assert list(tmp_path.iterdir()) == []
