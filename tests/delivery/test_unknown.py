"""What can't be read is not nothing: it is kept, tried later and said; what is odd costs itself, and no neighbour."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from dbbtrace.delivery import (
    Delivery,
    DurableSpanProcessor,
    damaged_lines,
    dead_letters,
    recover,
    resend_dead_letters,
    set_aside,
    waiting,
)
from dbbtrace.errors import ConfigurationError, LoginError, RefusedError, TransientError, UsageError
from dbbtrace.journal import files
from dbbtrace.journal.owner import Owner, this_process
from dbbtrace.journal.writer import Journal, claim_key, remove
from tests.delivery.support import Backend, left_behind, load, orphaned, to, tracer_of
from tests.delivery.test_backends import wait_until

FAULTS = [errno.EMFILE, errno.EIO, errno.ESTALE, errno.EACCES, errno.ETIMEDOUT]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Have an operation on files whose path has a part fail a few times; where it did."""

    def fail(operation: str, part: str, code: int, times: int = 1) -> list[str]:
        real = getattr(os, operation)
        struck: list[str] = []

        def faulty(path: object, *arguments: object, **options: object) -> object:
            if part in str(path) and len(struck) < times:
                struck.append(str(path))
                raise OSError(code, os.strerror(code), str(path))
            return real(path, *arguments, **options)

        monkeypatch.setattr(os, operation, faulty)
        return struck

    return fail


@pytest.mark.parametrize("code", FAULTS, ids=errno.errorcode.get)
@pytest.mark.parametrize(
    ("operation", "part"), [("open", "000002.jsonl"), ("open", ".ack"), ("scandir", "vm"), ("open", "000001.jsonl")]
)
def test_a_fault_while_adopting_loses_nothing(
    tmp_path: Path, failing: Callable[..., list[str]], operation: str, part: str, code: int
) -> None:
    """Whatever can't be read at first is read a moment later, each span once."""
    journal = left_behind(tmp_path, [load(number) for number in range(60)], segment_bytes=5_000)
    part = journal.name[:30] if part == "vm" else part
    if part == ".ack":
        (journal / f"{claim_key('memory://a')}.ack").write_text('{"acked":[1,0]}\n')
    struck = failing(operation, part, code)
    backend = Backend()
    done = recover(tmp_path, lambda name: to(backend))
    assert struck
    assert done.is_complete, done
    assert backend.names == [f"span {number}" for number in range(60)]
    assert list(tmp_path.iterdir()) == []


def test_what_stays_unreadable_is_kept_and_said(tmp_path: Path, failing: Callable[..., list[str]]) -> None:
    """What stands before it is delivered, its neighbour is, and nothing is removed."""
    broken = left_behind(tmp_path, [load(number) for number in range(60)], segment_bytes=5_000)
    left_behind(tmp_path, [load(100)])
    failing("open", "000004.jsonl", errno.EIO, times=1_000)
    backend = Backend()
    done = recover(tmp_path, lambda name: to(backend))
    assert [os.path.basename(path).partition("@")[0] for path in done.unreadable] == [broken.name]
    assert not done.is_complete
    assert "span 100" in backend.names
    assert "span 0" in backend.names
    assert len(backend.names) == len(set(backend.names))
    (left,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert list(left.glob("000004.jsonl"))


def test_a_job_out_of_descriptors_delivers_everything_later(tmp_path: Path, failing: Callable[..., list[str]]) -> None:
    """More waits than fits in memory and it can't be read back: flush says no, and yes once it can."""
    backend = Backend()
    backend.down = TransientError("down")
    delivery = Delivery([to(backend)], journal_dir=tmp_path, heartbeat=3600)
    for first in range(0, 6_000, 500):
        delivery.emit([load(number) for number in range(first, first + 500)])
    struck = failing("open", ".jsonl", errno.EMFILE, times=3)
    backend.down = None
    assert not delivery.flush(0.05)
    wait_until(lambda: len(struck) == 3 or delivery.flush(0.1))
    assert delivery.flush(60)
    assert backend.names == [f"span {number}" for number in range(6_000)]
    delivery.shutdown()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", FAULTS, ids=errno.errorcode.get)
def test_a_live_owner_is_not_taken_for_dead_because_nobody_could_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """The process table can't be read: only silence would tell."""
    journal = left_behind(tmp_path, [load(1)])
    owner = Owner.parse(journal.name)
    assert owner is not None

    def unreadable(pid: int) -> str:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("dbbtrace.journal.owner._process_start", unreadable)
    assert owner.is_alive() is None
    assert recover(tmp_path, lambda name: to(Backend())).journals == 0
    assert recover(tmp_path, lambda name: to(Backend()), silent_after=-1).journals == 1


def test_another_boot_decides_nothing_where_the_directory_may_be_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone of this machine has its id and another boot; on a mount both write to, silence tells."""
    here = this_process()
    journal = left_behind(tmp_path, [load(1)])
    journal.rename(tmp_path / here._replace(boot="0badb007").id)
    monkeypatch.setattr(files, "is_local", lambda path: False)
    assert recover(tmp_path, lambda name: to(Backend())).journals == 0
    monkeypatch.undo()
    assert recover(tmp_path, lambda name: to(Backend())).journals == 1


def fifo(root: Path, journal: Path) -> None:
    os.mkfifo(journal / "000002.jsonl")


def a_socket(root: Path, journal: Path) -> None:
    here = os.getcwd()
    os.chdir(journal)
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("000002.jsonl")
    finally:
        os.chdir(here)


def link(root: Path, journal: Path) -> None:
    (journal / "000002.jsonl").symlink_to("/etc/passwd")


def directory(root: Path, journal: Path) -> None:
    (journal / "000002.jsonl").mkdir()


def linked_journal(root: Path, journal: Path) -> None:
    (root / journal.name.replace("4194305", "4194306")).symlink_to("/etc")


def piped_journal(root: Path, journal: Path) -> None:
    os.mkfifo(root / journal.name.replace("4194305", "4194306"))


def damaged_header(root: Path, journal: Path) -> None:
    other = root / journal.name.replace("4194305", "4194306")
    other.mkdir()
    (other / "000001.jsonl").write_text('{"dbbtrace_journal":"one"}\n')


def no_destination(root: Path, journal: Path) -> None:
    other = root / journal.name.replace("4194305", "4194306")
    other.mkdir()
    (other / "000001.jsonl").write_text('{"dbbtrace_journal":1,"destinations":7}\n{"end":"1"}\n')


def huge_number(root: Path, journal: Path) -> None:
    (journal / "99999999999999999999.jsonl").touch()


def another_spelling(root: Path, journal: Path) -> None:
    (journal / "0000001.jsonl").write_bytes((journal / "000001.jsonl").read_bytes())


def foreign_digit(root: Path, journal: Path) -> None:
    (journal / "\u00b2.jsonl").touch()


def renamed_journal(root: Path, journal: Path) -> None:
    other = left_behind(root, [load(98)])
    other.rename(root / f"{other.name} (copy)\u202e")


ODD = [
    *(fifo, a_socket, link, directory, linked_journal, piped_journal, damaged_header, no_destination),
    *(huge_number, another_spelling, foreign_digit, renamed_journal),
]


@pytest.mark.parametrize("spoil", ODD, ids=lambda spoil: spoil.__name__)
def test_one_odd_entry_costs_itself(tmp_path: Path, spoil: Callable[[Path, Path], None]) -> None:
    """Everything else is delivered, by a job and by hand; the job's flush answers for its own; what is odd is named,
    and can be moved out of the way."""
    spoil(tmp_path, left_behind(tmp_path, [load(1)], running=[load(2)]))
    backend = Backend()
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    delivery.on_end(load(3))
    assert delivery.flush(20)
    wait_until(lambda: len(backend.names) == 3)
    delivery.shutdown()
    left_behind(tmp_path, [load(4)])
    done = recover(tmp_path, lambda name: to(backend))
    assert sorted(backend.names) == ["span 1", "span 2", "span 3", "span 4"]
    assert done.unreadable
    names = {os.path.relpath(found.journal, tmp_path).split(os.sep)[0] for found in waiting(tmp_path) if found.problem}
    assert names == {os.path.relpath(path, tmp_path).split(os.sep)[0] for path in done.unreadable}
    for name in names:
        assert os.path.lexists(set_aside(tmp_path, name))
    assert recover(tmp_path, lambda name: to(backend)).is_complete


def test_acknowledgements_without_end_hold_up_nobody(tmp_path: Path) -> None:
    """Of a file that is longer than we write any, the newest lines count."""
    journal = left_behind(tmp_path, [load(1)], running=[load(2)])
    ack = journal / f"{claim_key('memory://a')}.ack"
    ack.write_bytes(b'{"finished":true}\n' + b"\n" * (2 << 20))
    backend = Backend()
    assert recover(tmp_path, lambda name: to(backend)).is_complete
    assert sorted(backend.names) == ["span 1", "span 2"]


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        '{"acked":[1e400,0]}',
        '{"acked":[99999999999999999999,0]}',
        '{"acked":[1,"x"]}',
        '{"finished":1}',
        "\0" * 50,
    ],
)
def test_an_acknowledgement_that_makes_no_sense_is_none(tmp_path: Path, line: str) -> None:
    """What lies behind the journal's end was never acknowledged."""
    journal = left_behind(tmp_path, [load(1)])
    (journal / f"{claim_key('memory://a')}.ack").write_text(line + "\n")
    backend = Backend()
    assert recover(tmp_path, lambda name: to(backend)).is_complete
    assert backend.names == ["span 1"]


@pytest.mark.parametrize("name", ["vm.1.1.².1.a", "vm.1.1.1.1", "x@y@z", "²"])
def test_a_name_that_is_none_of_a_journal_is_left_alone(tmp_path: Path, name: str) -> None:
    """It is somebody else's."""
    (tmp_path / name).mkdir()
    left_behind(tmp_path, [load(1)])
    assert recover(tmp_path, lambda name: to(Backend())).delivered == 1
    assert (tmp_path / name).exists()


@pytest.mark.parametrize(
    "rubbish", [b"\0" * 200, b'{"end":[1]}', b'{"end"', b"[]", b'{"start":{}}', b'{"end":' + b"[" * 9999]
)
def test_a_line_that_makes_no_sense_is_kept_with_its_place(tmp_path: Path, rubbish: bytes) -> None:
    """The rest goes on; a person finds the line in the dead letters, once."""
    journal = left_behind(tmp_path, [load(1), load(2)])
    (segment,) = journal.glob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([*lines[:-1], rubbish + b"\n", lines[-1]]))
    backend = Backend(TransientError("not at once"))
    done = recover(tmp_path, lambda name: to(backend))
    assert backend.names == ["span 1", "span 2"]
    assert done.damaged == 1
    assert sum(damaged_lines(tmp_path).values()) == 1
    (file,) = damaged_lines(tmp_path)
    assert journal.name.encode() in Path(file).read_bytes()
    assert list(dead_letters(tmp_path)) == []
    assert resend_dead_letters(tmp_path, lambda name: to(backend)).is_complete
    assert sum(damaged_lines(tmp_path).values()) == 1


KINDS = [SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError, RecursionError, StopIteration, UsageError, OSError]


@pytest.mark.parametrize("answer", [*KINDS, None, object(), 0, "SUCCESS", False])
def test_whatever_an_exporter_does_its_spans_are_kept(tmp_path: Path, answer: object) -> None:
    """Any exception, of any class, and any answer that is no success leave what was in hand where it was."""

    class Odd(Backend):
        deliver = None  # type: ignore[assignment]

        def export(self, spans: object) -> object:
            assert isinstance(spans, list)
            self.calls.append(len(spans))
            if len(self.calls) > 1:
                self.stored += spans
                return SpanExportResult.SUCCESS
            if isinstance(answer, type):
                raise answer("odd")
            return answer

    backend = Odd()
    processor = DurableSpanProcessor(backend, tmp_path)  # type: ignore[arg-type]
    tracer = tracer_of(processor)
    for number in range(20):
        tracer.start_span(f"span {number}").end()
    wait_until(lambda: processor.flush(5))
    assert backend.names == [f"span {number}" for number in range(20)]
    processor.shutdown()
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_ours_between_reading_and_acknowledging_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is raised there, the position stays."""
    from dbbtrace.delivery import batch

    real, struck = batch.settle, []

    def broken(*arguments: object, **options: object) -> object:
        if len(struck) < 2:
            struck.append(1)
            raise SystemExit("ours")
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(batch, "settle", broken)
    backend = Backend()
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    delivery.emit([load(number) for number in range(5)])
    wait_until(lambda: delivery.flush(5))
    assert backend.names == [f"span {number}" for number in range(5)]
    delivery.shutdown()


def test_without_a_directory_for_dead_letters_a_refused_span_is_dropped_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Counted, said, and told by a flush; it is in nobody's way."""
    backend = Backend(poison=lambda span: RefusedError("too long") if span.name == "span 1" else None)
    delivery = Delivery([to(backend)], journal_dir=None)
    delivery.emit([load(0), load(1), load(2)])
    assert not delivery.flush(10)
    assert sorted(backend.names) == ["span 0", "span 2"]
    assert "too long" in caplog.text
    delivery.emit([load(3)])
    assert delivery.flush(10), "the last flush told of it"
    delivery.shutdown()


def test_a_missing_table_is_tried_again_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seldom, and ever more seldom; nobody has to call anything."""
    monkeypatch.setattr("dbbtrace.delivery.backoff._FIRST_STOP", 0.01)
    backend = Backend(*[ConfigurationError("the table is missing")] * 3)
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    delivery.emit([load(0)])
    assert not delivery.flush(10)
    wait_until(lambda: backend.names == ["span 0"])
    assert delivery.flush(10)
    delivery.shutdown()


def test_a_wrong_login_is_tried_once_for_each_time_somebody_acts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many attempts lock an account."""
    monkeypatch.setattr("dbbtrace.delivery.backoff._FIRST_STOP", 0.01)
    monkeypatch.setattr("dbbtrace.delivery.worker.LINGER", 0.01)
    backend = Backend()
    backend.down = LoginError("wrong password")
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    delivery.emit([load(0)])
    wait_until(lambda: delivery._workers[0].stopped)
    delivery.emit([load(number) for number in range(1, 2_000)])
    assert not delivery.force_flush(0)
    assert len(backend.calls) == 1
    assert not delivery.flush(10)
    assert len(backend.calls) == 2
    delivery.try_again()
    wait_until(lambda: len(backend.calls) == 3)
    backend.down = None
    delivery.try_again()
    wait_until(lambda: len(backend.names) == 2_000)
    delivery.shutdown()


def test_memory_goes_into_the_journal_once_it_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that was full has room again: what only memory held outlives the process from then on."""
    backend, heir = Backend(), Backend()
    backend.down = TransientError("down")
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    delivery.emit([load(0)])
    assert not delivery.flush(0.05)
    real = os.write

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    delivery.on_end(load(1))
    monkeypatch.setattr(os, "write", real)
    assert len(delivery._recorder.logs.memory) == 1
    wait_until(lambda: not delivery.flush(0) and not len(delivery._recorder.logs.memory))
    (journal,) = (path for path in tmp_path.iterdir() if path.is_dir())
    orphaned(journal)
    recover(tmp_path, lambda name: to(heir))
    assert heir.names == ["span 0", "span 1"]
    backend.down = None
    delivery.shutdown()


def test_the_journal_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """Whichever file is made first: here a claim."""
    for umask in (0o000, 0o002, 0o022, 0o077):
        before = os.umask(umask)
        try:
            root = tmp_path / f"{umask:o}" / "journal"
            delivery = Delivery([to(Backend(poison=lambda span: RefusedError("no")))], journal_dir=root)
            assert delivery.claim("run")
            delivery.on_end(load(1))
            delivery.flush(10)
            tracer_of(delivery).start_span("running")
            found = [root, *root.rglob("*")]
            assert len(found) > 6
            for path in found:
                assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
            delivery.shutdown(0)
        finally:
            os.umask(before)


def test_removing_follows_no_link_and_ends_with_the_acknowledgements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle, what is left is known to be delivered."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "000001.jsonl").write_text("keep")
    (tmp_path / "link").symlink_to(precious)
    remove(str(tmp_path / "link"))
    assert (precious / "000001.jsonl").read_text() == "keep"
    root = tmp_path / "journals"
    journal = Journal(str(root), [("memory://a", True)], segment_bytes=1_000)
    for number in range(20):
        journal.end(load(number))
    end = journal.position
    journal.close()
    path = orphaned(Path(journal.path))
    (path / f"{claim_key('memory://a')}.ack").write_text(f'{{"acked":[{end[0]},{end[1]}]}}\n')
    real, removed = os.unlink, []

    def killed(name: str, *arguments: object) -> None:
        if len(removed) == 3:
            raise PermissionError(name)
        removed.append(name)
        real(name)

    monkeypatch.setattr(os, "unlink", killed)
    remove(str(path))
    monkeypatch.setattr(os, "unlink", real)
    assert len(removed) == 3
    backend = Backend()
    assert recover(root, lambda name: to(backend)).is_complete
    assert backend.names == []
    assert list(root.iterdir()) == []


def test_a_flush_asks_for_its_children_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals of jobs that were there before are not even opened, however many they are."""
    for number in range(50):
        journal = left_behind(tmp_path, [load(number)])
        parts = journal.name.split(".")
        parts[3:5] = [str(4194305 + number), "1"]
        if journal.name != ".".join(parts):
            journal.rename(tmp_path / ".".join(parts))
    backend = Backend()
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    monkeypatch.setattr("dbbtrace.delivery.heartbeat._SOON", 3600)
    delivery.on_end(load(99))
    opened: list[str] = []
    real = files.open_to_read
    monkeypatch.setattr(files, "open_to_read", lambda path: (opened.append(path), real(path))[1])
    assert delivery.flush(10)
    assert backend.names == ["span 99"]
    assert opened == []
    delivery.shutdown()


def test_one_in_use_is_not_set_aside(tmp_path: Path) -> None:
    """Nor is what is no journal."""
    delivery = Delivery([to(Backend())], journal_dir=tmp_path)
    tracer_of(delivery).start_span("running")
    (journal,) = (path for path in tmp_path.iterdir() if Owner.parse(path.name))
    for name in (journal.name, "claims", "..", "nothing"):
        with pytest.raises(UsageError):
            set_aside(tmp_path, name)
    assert journal.exists()
    delivery.shutdown(0)


def test_spans_are_read_only_once_by_a_destination_that_fails(tmp_path: Path) -> None:
    """A batch of which a part is stored is not sent again as a whole."""

    def poison(span: ReadableSpan) -> Exception | None:
        return RefusedError("no") if span.name == "span 5" else None

    backend = Backend(poison=poison)
    (tmp_path / "dead-letters").write_text("in the way")
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    delivery.emit([load(number) for number in range(10)])
    for _ in range(3):
        assert not delivery.flush(0.3)
    assert sorted(backend.names) == sorted(f"span {number}" for number in range(10) if number != 5)
    (tmp_path / "dead-letters").unlink()
    assert not delivery.flush(20)
    assert [letter.span.name for letter in dead_letters(tmp_path)] == ["span 5"]
    delivery.shutdown()
