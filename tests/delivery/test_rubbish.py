"""Whatever a line of a journal holds costs that line; what a journal lacks is told; neither holds up a neighbour."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace import diagnostics
from dbbtrace.delivery import Delivery, adopted_log, damaged_lines, recover
from dbbtrace.delivery.memory_log import MemoryLog
from dbbtrace.delivery.own_log import CACHED
from dbbtrace.delivery.queue import NotYetError
from dbbtrace.errors import ConfigurationError, TransientError
from dbbtrace.model import attributes as key
from tests.delivery.support import Backend, finished, left_behind, load, to
from tests.delivery.test_backends import wait_until

VALUES: list[Any] = [
    *(None, True, -1, 1e308, 10**30, "", "f" * 100, "é", [], [None], {}, {"": []}, {"": "!"}, {"": ["a"]}),
    {"attributes": {"": []}},
]
IN_THE_HEADER = {"dbbtrace_journal", "destinations"}
"""What nobody can do without."""


def spoilt(lines: list[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """The lines with another value in one field of one line, for each field and each value; the last line is sound."""
    for number, line in enumerate(lines[:-1]):
        fields = json.loads(line)
        for name in [*fields, "ended", "events", "links", "dropped", "kind", "state", "flags", "status"]:
            for value in VALUES:
                text = json.dumps({**fields, name: value}).encode() + b"\n"
                yield name, [*lines[:number], text, *lines[number + 1 :]]


def test_no_value_of_a_line_holds_up_the_others(tmp_path: Path) -> None:
    """Every journal is delivered but for the spoilt line, and those whose header makes no sense are kept and named."""
    root = tmp_path / "journals"
    first = left_behind(tmp_path / "model", [load(1)], running=[load(2)])
    lines = (first / "000001.jsonl").read_bytes().splitlines(keepends=True)
    lines.append(lines[-1].replace(b"span 1", b"sound 0").replace(b"0000000000000002", b"00000000000000ff"))
    kept, sound = set(), set()
    for number, (name, text) in enumerate(spoilt(lines)):
        parts = first.name.split(".")
        path = root / ".".join([*parts[:3], str(4194305 + number), *parts[4:]])
        path.mkdir(parents=True)
        text[-1] = text[-1].replace(b"sound 0", f"sound {number}".encode())
        (path / "000001.jsonl").write_bytes(b"".join(text))
        (kept if name in IN_THE_HEADER and text[0] != lines[0] else sound).add((path.name, f"sound {number}"))
    backend = Backend()
    done = recover(root, lambda name: to(backend), timeout=240)
    assert {each.partition("@")[0] for each in map(os.path.basename, done.unreadable)} <= {name for name, _ in kept}
    assert done.errors == {}
    stored = Counter(name for name in backend.names if name.startswith("sound"))
    assert {name: stored[name] for _, name in sound} == {name: 1 for _, name in sound}
    assert done.damaged > len(VALUES)


def test_what_nobody_foresaw_costs_one_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours in one journal: what is before it and its neighbours are delivered, and it is kept and named."""
    left_behind(tmp_path, [load(1)], running=[load(2)])
    left_behind(tmp_path, [load(3)], running=[load(4)])
    real = adopted_log.interrupted

    def faulty(span: ReadableSpan, *arguments: Any) -> ReadableSpan:
        if span.name == "span 2":
            raise RuntimeError("a fault of ours")
        return real(span, *arguments)

    monkeypatch.setattr(adopted_log, "interrupted", faulty)
    backend = Backend()
    done = recover(tmp_path, lambda name: to(backend))
    assert sorted(set(backend.names)) == ["span 1", "span 3", "span 4"]
    (problem,) = done.unreadable.values()
    assert "a fault of ours" in problem
    monkeypatch.undo()
    assert recover(tmp_path, lambda name: to(backend)).is_complete
    assert "span 2" in backend.names


def test_a_segment_that_is_missing_is_told(tmp_path: Path) -> None:
    """Somebody removed it: the rest is delivered, and the gap is in the dead letters, with its place."""
    journal = left_behind(tmp_path, [load(number) for number in range(60)], segment_bytes=5_000)
    (journal / "000003.jsonl").unlink()
    backend = Backend()
    done = recover(tmp_path, lambda name: to(backend))
    assert done.damaged == 1
    assert backend.names[0] == "span 0"
    assert backend.names[-1] == "span 59"
    (file,) = damaged_lines(tmp_path)
    assert json.loads(Path(file).read_text().strip())["segment"] == "000004.jsonl"


def test_flush_is_not_true_where_a_segment_is_missing(tmp_path: Path) -> None:
    """It held rows of this very job, which are nowhere by now. The next flush answers for what comes after."""
    backend = Backend()
    backend.down = TransientError("down")
    delivery = Delivery([to(backend)], journal_dir=tmp_path, heartbeat=3600, segment_bytes=100_000)
    spans = 2 * CACHED
    for number in range(spans):
        delivery.on_end(load(number))
    (journal,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert len(list(journal.glob("*.jsonl"))) > 4
    (journal / "000003.jsonl").unlink()
    backend.down = None
    assert not delivery.flush(60)
    wait_until(lambda: f"span {spans - 1}" in backend.names)
    delivery.on_end(load(spans))
    assert delivery.flush(60)
    delivery.shutdown()


def test_what_ended_is_delivered_once_while_a_service_still_works(tmp_path: Path) -> None:
    """However often somebody looks whether a refresh has ended by now."""
    refresh = finished(2, "refresh", **{key.OPERATION: key.OPERATION_REFRESH})
    refresh._end_time = None
    left_behind(tmp_path, [load(1)], running=[refresh])

    def not_yet(span: ReadableSpan) -> ReadableSpan | None:
        raise NotYetError("it still runs")

    backend = Backend()
    for _ in range(3):
        assert not recover(tmp_path, lambda name: to(backend), resolve=not_yet).is_complete
    assert backend.names == ["span 1"]
    assert recover(tmp_path, lambda name: to(backend)).interrupted == 1
    assert backend.names == ["span 1", "refresh"]


def test_a_destination_that_is_stopped_keeps_no_journal_of_others(tmp_path: Path) -> None:
    """One that is handed to it just then is given back at once: another process may be luckier."""
    backend, other = Backend(), Backend()
    backend.down = ConfigurationError("wrong password")
    delivery = Delivery([to(backend)], journal_dir=tmp_path, exit_timeout=0, heartbeat=3600)
    delivery.emit([load(1)])
    assert not delivery.flush(10)
    (worker,) = delivery._workers
    assert worker.stopped
    left_behind(tmp_path, [load(2)])
    assert delivery._housekeeping._looking() is not None
    delivery._housekeeping._looking().adopt_some({"memory://a": worker}.get)  # type: ignore[union-attr]
    wait_until(lambda: recover(tmp_path, lambda name: to(other)).delivered or other.stored)
    assert other.names == ["span 2"]
    delivery.shutdown(0)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_process_that_may_start_no_thread_keeps_its_spans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirrored: bool
) -> None:
    """A container has a limit: what ended stands in the journal, flush says no, and yes once there is a thread."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    backend = Backend()
    delivery = Delivery([to(backend)], journal_dir=tmp_path / "j", mirror=tmp_path / "m" if mirrored else None)
    with monkeypatch.context() as limited:
        limited.setattr(diagnostics, "is_strict", lambda: False)
        limited.setattr(threading.Thread, "start", refuse)
        delivery.emit([load(1)])
        assert not delivery.flush(0.1)
    delivery.emit([load(2)])
    assert delivery.flush(60)
    assert backend.names == ["span 1", "span 2"]
    delivery.shutdown()


@pytest.mark.parametrize("how", ["emit", "end"])
def test_a_span_that_a_fault_of_ours_keeps_from_the_log_is_lost_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """flush is not true for it, and is for what comes after."""

    def faulty(log: MemoryLog, span: ReadableSpan) -> bool:
        raise LookupError("a fault of ours")

    backend = Backend()
    delivery = Delivery([to(backend)], journal_dir=None)
    with monkeypatch.context() as broken:
        broken.setattr("dbbtrace.delivery.logs.is_strict", lambda: False)
        broken.setattr(MemoryLog, "append", faulty)
        if how == "emit":
            delivery.emit([load(1)])
        else:
            delivery.on_end(load(1))
    delivery.emit([load(2)])
    assert not delivery.flush(60)
    assert backend.names == ["span 2"]
    delivery.emit([load(3)])
    assert delivery.flush(60)
    delivery.shutdown()
