"""Journals that were torn, garbled, written by others, filled the disk or could not be written at all."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.delivery import Delivery, memory_log, own_log, recover, waiting
from dbbtrace.errors import TransientError
from dbbtrace.journal.reader import Survey, decode
from dbbtrace.model import attributes as key
from tests.delivery.support import Backend, finished, left_behind, load, orphaned, to, tracer_of


def segment_of(journal: Path) -> Path:
    """The only segment of a journal."""
    (segment,) = journal.glob("*.jsonl")
    return segment


def told(backend: Backend) -> dict[str, str]:
    """What was delivered: name → ended, or interrupted."""
    return {
        span.name: "interrupted" if (span.attributes or {}).get(key.ERROR_TYPE) == key.INTERRUPTED else "ended"
        for span in backend.stored
    }


def expected(content: bytes) -> dict[str, str]:
    """What the whole lines of a segment tell."""
    found: dict[str, str] = {}
    for line in content.split(b"\n"):
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        if "start" in fields:
            found.setdefault(fields["name"], "interrupted")
        elif "end" in fields:
            found[fields["name"]] = "ended"
    return found


def test_a_journal_that_an_earlier_version_left_is_delivered_whole(tmp_path: Path) -> None:
    """Recorded from a killed job of 0.1.0, before its delivery was rebuilt: one load acknowledged, four waiting, one
    running. What had been acknowledged does not come again."""
    shutil.copytree(Path(__file__).parent / "recorded", tmp_path, dirs_exist_ok=True)
    (journal,) = tmp_path.iterdir()
    for path in (*journal.iterdir(), journal):
        os.utime(path, (0, 0))  # its owner is of another machine: silence tells that it is gone
    backend = Backend()
    result = recover(tmp_path, lambda name: to(backend, name) if name == "sqlite:///rows.db" else None, timeout=10)
    assert (result.is_complete, result.delivered, result.interrupted) == (True, 5, 1)
    assert told(backend) == {
        "load mds.Customer": "ended",
        "load mds.Invoice": "ended",
        "load mds.Ledger": "ended",
        "load mds.Broken": "ended",
        "load mds.Running": "interrupted",
    }
    by_name = {span.name: span for span in backend.stored}
    assert (by_name["load mds.Customer"].attributes or {})[key.ROWS_WRITTEN] == 8
    broken = by_name["load mds.Broken"]
    assert (broken.status.description, broken.events[0].name) == ("no such column: Ä", "exception")
    assert not list(tmp_path.iterdir()), "nothing in it waits any more"


def test_a_journal_torn_at_any_byte_gives_what_stood_in_whole_lines(tmp_path: Path) -> None:
    """The write that was cut off is lost with its process, and nothing else; whatever the byte."""
    journal = left_behind(tmp_path, [load(1), load(2), load(3)], running=[load(4)])
    whole = segment_of(journal).read_bytes()
    header = whole.index(b"\n")
    outcomes = set()
    for size in range(header, len(whole) + 1):
        segment_of(journal).write_bytes(whole[:size])
        survey = Survey(str(journal))
        ended = [str(fields["name"]) for _, fields in survey.ended() if decode("end", fields, survey.definitions)]
        found = {span.name: "interrupted" for span in survey.started()} | dict.fromkeys(ended, "ended")
        assert found == expected(whole[:size]), f"torn at byte {size}"
        assert len(ended) == len(set(ended))
        outcomes.add(tuple(found.items()))
    assert len(outcomes) == 8


@pytest.mark.parametrize("share", range(0, 105, 5))
def test_recovery_of_a_torn_journal(tmp_path: Path, share: int) -> None:
    """The same through the front door: recovered at once, and nothing is left over."""
    journal = left_behind(tmp_path, [load(1), load(2)], running=[load(3)])
    whole = segment_of(journal).read_bytes()
    torn = whole[: len(whole) * share // 100]
    segment_of(journal).write_bytes(torn)
    backend = Backend()
    assert recover(tmp_path, lambda name: to(backend)).is_complete
    assert told(backend) == expected(torn)
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=40)), min_size=1, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_a_garbled_journal_never_stops_a_recovery(tmp_path: Path, damages: list[tuple[float, bytes]]) -> None:
    """Bytes that a broken disk put anywhere behind the header cost the lines they hit, never the others."""
    root = tmp_path / str(random.getrandbits(64))
    journal = left_behind(root, [load(number) for number in range(5)], running=[load(9)])
    content = bytearray(segment_of(journal).read_bytes())
    begin = content.index(b'{"start"')
    for place, rubbish in damages:
        at = begin + int(place * (len(content) - begin - len(rubbish)))
        content[at : at + len(rubbish)] = rubbish
    segment_of(journal).write_bytes(content)
    backend = Backend()
    assert recover(root, lambda name: to(backend)).is_complete
    undamaged = {name for name, state in expected(bytes(content)).items() if state == "ended"}
    assert undamaged <= set(told(backend)) | {""}


def test_a_line_may_be_cut_off_in_the_middle_of_a_journal(tmp_path: Path) -> None:
    """A write that failed half-way, on a disk that had room again later, costs its own line only."""
    journal = left_behind(tmp_path, [load(1), load(2), load(3)])
    lines = segment_of(journal).read_bytes().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if line.startswith(b'{"end"'))
    lines[place] = lines[place][:60] + b"\n"
    segment_of(journal).write_bytes(b"".join(lines))
    backend = Backend()
    recover(tmp_path, lambda name: to(backend))
    assert told(backend) == {"span 1": "interrupted", "span 2": "ended", "span 3": "ended"}


def test_a_journal_of_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    """Nothing is delivered from it, deleted or moved, and it is told what to do."""
    journal = left_behind(tmp_path, [load(1)])
    segment = segment_of(journal)
    segment.write_bytes(segment.read_bytes().replace(b'"dbbtrace_journal":1', b'"dbbtrace_journal":2', 1))
    backend = Backend()
    assert recover(tmp_path, lambda name: to(backend)).journals == 0
    assert backend.stored == []
    assert segment.exists()
    (found,) = waiting(tmp_path)
    assert "newer" in found.problem


def test_unknown_lines_and_keys_of_the_same_format_are_passed_by(tmp_path: Path) -> None:
    """A later dbbtrace may add kinds of lines, and keys to those there are."""
    journal = left_behind(tmp_path, [load(1)])
    segment = segment_of(journal)
    content = segment.read_bytes().replace(b'{"end"', b'{"weather":"fine"}\n{"end"', 1)
    segment.write_bytes(content.replace(b',"resource":1}\n', b',"resource":1,"mood":[1]}\n'))
    backend = Backend()
    recover(tmp_path, lambda name: to(backend))
    assert told(backend) == {"span 1": "ended"}


def test_a_header_names_no_file_outside_its_journal(tmp_path: Path) -> None:
    """A header made by hand gives a key that is a path; what is acknowledged is noted in the journal all the same."""
    journal = orphaned(left_behind(tmp_path / "journals", [load(number) for number in range(1_500)]))
    segment = segment_of(journal)
    head, rest = segment.read_bytes().split(b"\n", 1)
    fields = json.loads(head)
    fields["destinations"][0]["key"] = "../../outside"
    segment.write_bytes(json.dumps(fields).encode() + b"\n" + rest)
    backend = Backend(None, TransientError("later"))
    recover(tmp_path / "journals", lambda name: to(backend, name))
    assert len(backend.stored) == 1_500
    assert not list(tmp_path.glob("outside*"))


def test_a_header_that_cannot_be_read_is_reported_not_deleted(tmp_path: Path) -> None:
    """Where lines stand behind an unreadable header, a person has to look."""
    journal = left_behind(tmp_path, [load(1)])
    segment = segment_of(journal)
    segment.write_bytes(b"#" + segment.read_bytes())
    assert recover(tmp_path, lambda name: to(Backend())).journals == 0
    (found,) = waiting(tmp_path)
    assert found.problem
    assert segment.exists()


def test_a_clock_set_back_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans end once, an interrupted one not before it started, and live owners stay live."""
    backend = Backend()
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    tracer = tracer_of(delivery)
    now = 1_800_000_000_000_000_000
    monkeypatch.setattr("time.time_ns", lambda: now)
    with tracer.start_as_current_span("before", start_time=now):
        pass
    running = tracer.start_span("running", start_time=now)
    now -= 10**16
    delivery._housekeeping._chores()
    with tracer.start_as_current_span("after", start_time=now):
        pass
    assert recover(tmp_path, lambda name: to(Backend())).journals == 0
    assert delivery.flush(10)
    assert sorted(told(backend)) == ["after", "before"]
    (journal,) = (path for path in tmp_path.iterdir() if path.is_dir())
    copy = shutil.copytree(journal, tmp_path / "copy" / journal.name)
    orphaned(copy)
    other = Backend()
    for ack in (tmp_path / "copy").glob("*/*.ack"):
        ack.unlink()
    recover(tmp_path / "copy", lambda name: to(other))
    assert told(other) == {"after": "ended", "before": "ended", "running": "interrupted"}
    (interrupted,) = (span for span in other.stored if span.name == "running")
    assert interrupted.end_time >= interrupted.start_time
    running.end()
    delivery.shutdown()


def test_running_spans_are_carried_from_segment_to_segment(tmp_path: Path) -> None:
    """A long run fills segment after segment; what started in the first is still known from the last."""
    backend, other = Backend(), Backend()
    delivery = Delivery([to(backend)], journal_dir=tmp_path, segment_bytes=4_000)
    tracer = tracer_of(delivery)
    running = tracer.start_span("running", attributes={"rows": 1})
    for number in range(300):
        tracer.start_span(f"short {number}").end()
    running.set_attribute("rows", 2)
    delivery.save(running)
    for number in range(300):
        tracer.start_span(f"later {number}").end()
    assert delivery.flush(10)
    (journal,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert len(list(journal.glob("*.jsonl"))) <= 2, "segments that were acknowledged are deleted"
    copy = shutil.copytree(journal, tmp_path / "copy" / journal.name)
    orphaned(copy)
    recover(tmp_path / "copy", lambda name: to(other))
    (span,) = other.stored
    assert span.name == "running"
    assert (span.attributes or {})["rows"] == 2
    assert len(backend.stored) == 600
    running.end()
    delivery.shutdown()
    assert len(backend.stored) == 601


def test_a_burst_is_read_back_from_the_journal_and_does_not_fill_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not in memory is in the journal: nothing is dropped, and the order stays."""
    monkeypatch.setattr(own_log, "CACHED", 100)
    backend = Backend(*[None] * 3)
    delivery = Delivery([to(backend)], journal_dir=tmp_path, segment_bytes=100_000)
    most = 0
    for first in range(0, 20_000, 500):
        delivery.emit([load(number) for number in range(first, first + 500)])
        assert delivery._recorder.logs.own is not None
        most = max(most, len(delivery._recorder.logs.own._cache or ()))
    assert delivery.flush(60)
    assert most <= 100
    assert [span.name for span in backend.stored] == [f"span {number}" for number in range(20_000)]
    delivery.shutdown()
    assert list(tmp_path.iterdir()) == []


def test_what_was_delivered_from_memory_is_not_read_back_after_the_next_burst(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first burst ends exactly with a batch; reading for the second does not begin where it left off."""
    monkeypatch.setattr(own_log, "CACHED", 100)
    backend = Backend()
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    for first in (0, 1_100):
        backend.down = TransientError("down")
        delivery.emit([load(number) for number in range(first, first + 1_100)])
        backend.down = None
        assert delivery.flush(30)
    assert backend.names == [f"span {number}" for number in range(2_200)]
    delivery.shutdown()


def test_without_a_journal_spans_are_delivered_from_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A directory that can't be made costs durability and one warning, never a span."""
    obstacle = tmp_path / "file"
    obstacle.write_text("in the way")
    backend = Backend()
    delivery = Delivery([to(backend)], journal_dir=obstacle / "journal")
    tracer = tracer_of(delivery)
    for number in range(50):
        tracer.start_span(f"{number}").end()
    assert delivery.flush(10)
    assert len(backend.stored) == 50
    warnings = [record for record in caplog.records if "can't be written" in record.message]
    assert len(warnings) == 1
    assert "DBBTRACE_JOURNAL_DIR" in warnings[0].message
    delivery.shutdown()


def test_memory_without_a_journal_is_bounded_and_rows_go_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Steps are dropped first, then the oldest; the loss is counted and said, and flush() doesn't deny it."""
    monkeypatch.setattr(memory_log, "CAPACITY", 20)
    backend = Backend()
    backend.down = TransientError("down")
    delivery = Delivery([to(backend)], journal_dir=None, exit_timeout=0)
    delivery.emit([finished(number, f"step {number}") for number in range(10)])
    delivery.emit([load(number) for number in range(25)])
    backend.down = None
    assert not delivery.flush(10)
    assert backend.names == [f"span {number}" for number in range(5, 25)]
    delivery.shutdown(0)
    assert "15 spans were lost" in caplog.text


def test_a_write_that_failed_half_way_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full amid a line, and has room again for the next: that one is delivered from memory, all others
    stand in the journal."""
    backend, heir = Backend(), Backend()
    backend.down = TransientError("down")
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    delivery.emit([load(0)])
    real = os.write

    def full(fd: int, data: bytes) -> int:
        monkeypatch.setattr("os.write", real)
        real(fd, data[:50])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    delivery.emit([load(1)])
    delivery.emit([load(2)])
    (journal,) = (path for path in tmp_path.iterdir() if path.is_dir())
    copy = shutil.copytree(journal, tmp_path / "copy" / journal.name)
    orphaned(copy)
    recover(tmp_path / "copy", lambda name: to(heir))
    assert "span 2" in heir.names
    backend.down = None
    assert delivery.flush(10)
    assert sorted(backend.names) == ["span 0", "span 1", "span 2"]
    delivery.shutdown()


def test_a_handler_that_strikes_amid_a_write_waits_for_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A span that a signal handler or a finaliser ends between a write and its entry in the books comes after it."""
    backend = Backend()
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    delivery.emit([load(0)])
    assert delivery.flush(10)
    real = os.write

    def struck(fd: int, data: bytes) -> int:
        monkeypatch.setattr("os.write", real)
        written = real(fd, data)
        delivery.on_end(load(2))
        return written

    monkeypatch.setattr("os.write", struck)
    delivery.on_end(load(1))
    assert delivery._recorder.logs.own is not None
    entries = list(delivery._recorder.logs.own._cache or ())
    (segment,) = tmp_path.glob("*/*.jsonl")
    content = segment.read_bytes()
    for entry in entries:
        assert f'"name":"{entry.span.name}"'.encode() in content[: entry.position[1]].splitlines()[-1]
    assert [entry.span.name for entry in entries] == ["span 1", "span 2"]
    assert delivery.flush(10)
    delivery.shutdown()


def test_what_nobody_wants_leaves_no_trace(tmp_path: Path) -> None:
    """Without destinations, or with none that wants a span, nothing is written at all."""
    for destinations in ([], [to(Backend(), wants=lambda span: False)]):
        delivery = Delivery(destinations, journal_dir=tmp_path / "journal")
        tracer_of(delivery).start_span("step").end()
        delivery.emit([load(1)])
        assert delivery.flush(1)
        assert list(tmp_path.iterdir()) == []
        delivery.shutdown()


def test_each_destination_gets_what_it_wants(tmp_path: Path) -> None:
    """The filter decides before anything is queued, in memory, from the journal and after a recovery alike."""

    def gives_rows(span: ReadableSpan) -> bool:
        return key.OPERATION in (span.attributes or {})

    rows, everything = Backend(), Backend()
    destinations = [to(rows, "memory://rows", wants=gives_rows), to(everything, "memory://all", rows=False)]
    delivery = Delivery(destinations, journal_dir=tmp_path)
    delivery.emit([finished(1, "step"), load(2)])
    assert delivery.force_flush()
    delivery.shutdown()
    left_behind(tmp_path, [finished(3, "step"), load(4)], names=["memory://rows", "memory://all"])
    recover(tmp_path, {each.name: each for each in destinations}.get)
    assert rows.names == ["span 2", "span 4"]
    assert everything.names == ["step", "span 2", "step", "span 4"]


def test_others_may_not_read_the_journal(tmp_path: Path) -> None:
    """Journals hold what jobs say of their data: they are the user's own."""
    delivery = Delivery([to(Backend())], journal_dir=tmp_path / "journal")
    span = tracer_of(delivery).start_span("s")
    for path in (tmp_path / "journal").rglob("*"):
        assert os.stat(path).st_mode & 0o077 == 0
    span.end()
    delivery.shutdown()
