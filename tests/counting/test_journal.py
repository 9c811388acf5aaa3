"""What a span costs on disk: writes, bytes and disk flushes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags

import dbbtrace
from dbbtrace.delivery import Delivery, Destination
from tests.counting.conftest import Discard, delivery

SPANS = 200


class Disk:
    """What was asked of the disk since ``forget()``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writes: list[int] = []
        self.flushes = 0
        write, fsync = os.write, os.fsync

        def counted_write(fd: int, data: bytes) -> int:
            self.writes.append(len(data))
            return write(fd, data)

        def counted_fsync(fd: int) -> None:
            self.flushes += 1
            fsync(fd)

        monkeypatch.setattr(os, "write", counted_write)
        monkeypatch.setattr(os, "fsync", counted_fsync)

    def forget(self) -> None:
        self.writes, self.flushes = [], 0


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Counts."""
    return Disk(monkeypatch)


def facts(count: int) -> list[ReadableSpan]:
    """Spans that arrive finished."""
    return [
        ReadableSpan(f"fact {number}", SpanContext(1, number + 1, False, TraceFlags(1)), start_time=1, end_time=2)
        for number in range(count)
    ]


def test_a_span_is_two_writes_and_no_disk_flush(one_load: Callable[[], None], disk: Disk) -> None:
    """One write when it starts and one when it ends; the heartbeat and acknowledgements may add a few."""
    for _ in range(SPANS):
        one_load()
    assert 2 * SPANS <= len(disk.writes) <= 2 * SPANS + 5
    assert disk.flushes == 0


def test_a_load_of_twelve_attributes_takes_two_kilobytes(one_load: Callable[[], None], disk: Disk) -> None:
    """Start and end line together, with what the load inherits from its run."""
    for _ in range(SPANS):
        one_load()
    assert sum(disk.writes) / SPANS < 2300


def test_durable_against_power_loss_is_one_disk_flush_a_line(disk: Disk, tmp_path: Path) -> None:
    """DBBTRACE_JOURNAL_FSYNC: two for a span that starts and ends, and not one more."""
    dbbtrace.configure(warehouse="none", exporters=[Discard()], journal_fsync=True)
    with dbbtrace.join_run("0f8fad5b-d9cb-469f-a165-70867728950e"):
        with dbbtrace.step("opens the journal"):
            pass
        disk.forget()
        for number in range(SPANS):
            with dbbtrace.step(f"step {number}"):
                pass
        assert 2 * SPANS <= disk.flushes <= 2 * SPANS + 5


def test_facts_are_written_a_thousand_at_a_time(disk: Disk, tmp_path: Path) -> None:
    """3,000 spans that arrive finished are three writes."""
    destination = Destination("memory://counted", Discard, rows=True)
    recorder = Delivery([destination], journal_dir=tmp_path / "journal", heartbeat=3600)
    recorder.emit(facts(1))
    assert recorder.flush(30)
    disk.forget()
    many = facts(3_000)
    recorder.emit(many)
    large = [size for size in disk.writes if size > 10_000]
    assert len(large) == 3
    recorder.shutdown(30)


def test_nothing_is_left_on_disk_when_all_is_delivered(one_load: Callable[[], None]) -> None:
    """What is delivered takes no room: the journal goes with its last span."""
    for _ in range(SPANS):
        one_load()
    current = delivery()
    assert current.force_flush()
    current.shutdown()
    assert not list(Path(os.environ["DBBTRACE_JOURNAL_DIR"]).glob("*/*.jsonl"))
