"""What waits for a destination, cached or in the journal alone, is taken in its order, and until it is settled."""

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

from dbbtrace.delivery import Delivery, own_log, queue, worker
from dbbtrace.delivery.own_log import OwnLog
from dbbtrace.delivery.queue import Queue
from dbbtrace.delivery.signals import Turn
from dbbtrace.errors import TransientError
from dbbtrace.journal.position import Position
from dbbtrace.journal.writer import Journal
from tests.delivery.support import Backend, finished, load, to

steps = st.lists(
    st.one_of(
        st.tuples(st.just("ends"), st.integers(1, 12)),
        st.tuples(st.just("unwanted"), st.integers(1, 3)),
        st.tuples(st.just("starts"), st.integers(1, 3)),
        st.tuples(st.just("delivers"), st.integers(1, 6)),
        st.tuples(st.just("fails"), st.integers(1, 6)),
        st.tuples(st.just("delivers in part"), st.integers(1, 6)),
        st.tuples(st.just("is cut short"), st.integers(1, 3)),
        st.tuples(st.just("loses its cache"), st.integers(1, 1)),
    ),
    max_size=40,
)


class Job:
    """One thread that does by turns what the job and its destination do."""

    def __init__(self, root: str) -> None:
        turn = Turn()
        self._turn = turn
        self.log = OwnLog(Journal(root, [("memory://a", True)], segment_bytes=3_000), no_damage, turn, never_gone)
        begin = self.log.journal.position
        self.queue = Queue(self.log, "key", wanted, begin, begin)
        self.log.queues = [self.queue]
        self.ended: list[ReadableSpan] = []
        self.stored: list[ReadableSpan] = []
        self._numbers = iter(range(1_000_000))

    def ends(self, count: int) -> None:
        for _ in range(count):
            span = load(next(self._numbers))
            self.ended.append(span)
            with self._turn.taken():
                self.log.append(span)

    def is_cut_short(self, count: int) -> None:
        """Spans reach the journal and nothing else; their thread has been interrupted right behind the write."""
        for _ in range(count):
            span = load(next(self._numbers))
            self.ended.append(span)
            end = self.log.journal.end

            def interrupted(span: ReadableSpan) -> Position:
                end(span)  # noqa: B023 - called at once
                raise KeyboardInterrupt

            with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
                patch.setattr(self.log.journal, "end", interrupted)
                with self._turn.taken():
                    self.log.append(span)

    def loses_its_cache(self, count: int) -> None:
        """The cache may be dropped at any instant."""
        self.log._cache = None

    def unwanted(self, count: int) -> None:
        for _ in range(count):
            with self._turn.taken():
                self.log.append(finished(next(self._numbers), "step"))

    def starts(self, count: int) -> None:
        for _ in range(count):
            self.log.journal.start(load(next(self._numbers)), "start")

    def delivers(self, most: int) -> None:
        taken = self.queue.take(most)
        self.stored += [entry.span for entry in taken]
        self.queue.settle(taken, [])
        self.log.settled()

    def fails(self, most: int) -> None:
        """Nothing is said of what was taken, as when an exporter raises what nobody expects."""
        self.queue.take(most)
        self.log.settled()

    def delivers_in_part(self, most: int) -> None:
        """One of a batch is refused, and can't be set aside now: it is taken again."""
        taken = self.queue.take(most)
        self.stored += [entry.span for entry in taken[1:]]
        self.queue.settle(taken, taken[:1])
        self.log.settled()


def no_damage(journal: str, position: Position, text: bytes) -> None:
    raise AssertionError(f"{journal} {position}: {text!r}")


def never_gone(log: OwnLog) -> None:
    raise AssertionError(f"{log.path} is somebody else's")


def wanted(span: ReadableSpan) -> bool:
    return span.name != "step"


@given(steps)
def test_whatever_the_turns_each_span_is_taken_once(turns: list[tuple[str, int]]) -> None:
    """Six spans find room in the cache; the others are read back, in their order."""
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as root:
        patch.setattr(own_log, "CACHED", 6)
        job = Job(root)
        for what, count in turns:
            getattr(job, what.replace(" ", "_"))(count)
            if not job.queue.waits and job.log._sure:
                assert len(job.stored) == len(job.ended)
        for _ in range(1_000):
            job.log.settled()
            if not job.queue.waits:
                break
            job.delivers(4)
        in_part = any(what == "delivers in part" for what, _ in turns)
        order = sorted if in_part else list
        assert order(span.name for span in job.stored) == order(span.name for span in job.ended)
        assert job.queue.position == job.log.end
        job.log.journal.delete()


def test_so_it_is_when_job_and_destination_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Now the one is faster, now the other; the destination stumbles at times."""
    monkeypatch.setattr(own_log, "CACHED", 20)
    monkeypatch.setattr(queue, "BATCH", 10)
    monkeypatch.setattr(queue.Queue.take, "__defaults__", (10,))
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
