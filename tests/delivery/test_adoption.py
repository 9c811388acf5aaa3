"""Whose journal it is: alive, gone, silent, taken over; and what becomes of the spans that were running."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from dbbtrace.delivery import Delivery, adopted_log, recover, waiting
from dbbtrace.delivery.adoption import Adopter
from dbbtrace.errors import ConfigurationError, TransientError
from dbbtrace.journal import directory, owner
from dbbtrace.journal.owner import Owner, this_process
from dbbtrace.journal.position import Position
from dbbtrace.journal.writer import Journal, claim_key
from dbbtrace.model import attributes as key
from tests.delivery.support import Backend, finished, left_behind, load, orphaned, to, tracer_of
from tests.delivery.test_backends import wait_until


def journals(root: Path) -> list[Path]:
    """The journals in a journal directory."""
    return sorted(path for path in root.iterdir() if path.is_dir() and Owner.parse(path.name.partition("@")[0]))


def renamed(path: Path, **changes: object) -> Path:
    """The journal as if another process owned it."""
    owner = Owner.parse(path.name)
    assert owner is not None
    fields = {**owner._asdict(), **changes}
    other = path.with_name(Owner(**fields).id)
    path.rename(other)
    return other


def age(path: Path, seconds: float) -> None:
    """Make the journal look as if nothing had been written for so long."""
    then = time.time() - seconds
    for each in [path, *path.iterdir()]:
        os.utime(each, (then, then))


def test_the_journal_of_a_live_process_is_left_alone(tmp_path: Path) -> None:
    """However long it has written nothing: a copy of three hours is no reason to take its journal away."""
    journal = Journal(str(tmp_path), [("memory://a", True)])
    journal.start(load(1))
    age(Path(journal.path), 86_400)
    backend = Backend()
    assert recover(tmp_path, lambda name: to(backend)).journals == 0
    assert backend.stored == []
    (found,) = waiting(tmp_path)
    assert found.is_live
    journal.delete()


def test_a_process_that_is_gone_is_known_at_once(tmp_path: Path) -> None:
    """On the same machine nothing has to be waited for."""
    left_behind(tmp_path, [load(1)])
    backend = Backend()
    assert recover(tmp_path, lambda name: to(backend)).delivered == 1


def test_a_pid_that_was_used_again_is_told_apart(tmp_path: Path) -> None:
    """The process of that number runs, but it is another: it started at another time."""
    journal = left_behind(tmp_path, [load(1)])
    renamed(journal, pid=os.getpid(), start="12345")
    assert recover(tmp_path, lambda name: to(Backend())).journals == 1


def test_a_zombie_is_gone(tmp_path: Path) -> None:
    """A process that died and whose parent has not looked yet owns nothing."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(write_end, this_process().id.encode())
        os._exit(0)
    identity = os.read(read_end, 1000).decode()
    owner = Owner.parse(identity)
    assert owner is not None
    wait_until(lambda: owner.is_alive() is False)
    os.waitpid(pid, 0)
    os.close(read_end)
    os.close(write_end)


def test_after_a_reboot_everybody_is_gone(tmp_path: Path) -> None:
    """The same machine, started anew: a process of the same number and start is another."""
    here = this_process()
    journal = left_behind(tmp_path, [load(1)])
    renamed(journal, pid=here.pid, start=here.start, boot="0badb007")
    assert recover(tmp_path, lambda name: to(Backend())).journals == 1


@pytest.mark.parametrize("who", ["owner", "looker"])
def test_a_boot_that_could_not_be_read_makes_nobody_dead(
    tmp_path: Path, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where /proc/sys is hidden, or no descriptor was free for it, the process may still run: silence decides."""
    journal = Journal(str(tmp_path), [("memory://a", True)])
    journal.start(load(1))
    here = this_process()
    if who == "owner":
        renamed(Path(journal.path), boot="0")
    else:
        monkeypatch.setattr("dbbtrace.journal.owner._this", here._replace(boot="0"))
    assert recover(tmp_path, lambda name: to(Backend())).journals == 0
    (kept,) = journals(tmp_path)
    age(kept, 1_000)
    assert recover(tmp_path, lambda name: to(Backend())).journals == 1
    journal.close()


def test_an_owner_on_another_machine_is_gone_when_it_was_silent_too_long(tmp_path: Path) -> None:
    """Only silence tells, by the clock of the file system."""
    journal = renamed(left_behind(tmp_path, [load(1)]), machine="elsewhere")
    age(journal, 60)
    assert recover(tmp_path, lambda name: to(Backend())).journals == 0
    assert recover(tmp_path, lambda name: to(Backend()), silent_after=30).journals == 1


def test_a_journal_written_in_the_future_is_not_silent(tmp_path: Path) -> None:
    """A clock that was set back makes nobody look dead."""
    journal = renamed(left_behind(tmp_path, [load(1)]), machine="elsewhere")
    age(journal, -86_400)
    assert recover(tmp_path, lambda name: to(Backend())).journals == 0


def test_heartbeats_keep_an_owner_alive(tmp_path: Path) -> None:
    """A process that does nothing for long shows all the same that it lives."""
    delivery = Delivery([to(Backend())], journal_dir=tmp_path, heartbeat=0.02)
    span = tracer_of(delivery).start_span("copy")
    (journal,) = journals(tmp_path)
    age(journal, 3_600)
    wait_until(lambda: max(path.stat().st_mtime for path in journal.iterdir()) > time.time() - 60)
    span.end()
    delivery.shutdown()


def running(operation: str, **attributes: object) -> ReadableSpan:
    """A span of that operation that has started and not ended."""
    span = finished(1, operation, **{key.OPERATION: operation, **attributes})
    span._end_time = None
    return span


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        (key.OPERATION_LOAD, "Failed"),
        (key.OPERATION_DBT_NODE, "error"),
        (key.OPERATION_REFRESH, "Unknown"),
        (key.OPERATION_STEP, None),
    ],
)
def test_what_was_running_becomes_an_error_in_the_words_of_its_table(
    tmp_path: Path, operation: str, status: str | None
) -> None:
    """With the attributes it had, ended at the last sign of life, and a message that says when that was."""
    journal = left_behind(tmp_path, [load(5)], running=[running(operation, rows=7)])
    backend = Backend()
    result = recover(tmp_path, lambda name: to(backend))
    assert (result.delivered, result.interrupted) == (2, 1)
    span = backend.stored[-1]
    attributes = span.attributes or {}
    assert span.context == finished(1).context
    assert span.status.status_code is StatusCode.ERROR
    assert attributes[key.ERROR_TYPE] == "Interrupted"
    assert attributes.get(key.STATUS) == status
    assert attributes["rows"] == 7
    assert str(Owner.parse(journal.name).pid) in str(attributes[key.ERROR_MESSAGE])  # type: ignore[union-attr]
    assert "last seen at 20" in str(attributes[key.ERROR_MESSAGE])
    assert span.end_time is not None
    assert span.start_time is not None
    assert span.end_time >= span.start_time


def test_a_span_that_begins_after_the_last_sign_of_life_does_not_end_before_it(tmp_path: Path) -> None:
    """A clock that was set back, or a start that the job gave, makes no span of negative length."""
    from dbbtrace.delivery.interrupted import interrupted

    span = running(key.OPERATION_LOAD)
    assert span.start_time is not None
    assert interrupted(span, "nobody", span.start_time - 5).end_time == span.start_time


def test_every_adopter_closes_an_interrupted_span_the_same(tmp_path: Path) -> None:
    """A backend that gets it twice, because the first adopter died too, gets the same span."""
    journal = left_behind(tmp_path / "first", [load(5)], running=[running(key.OPERATION_LOAD)])
    shutil.copytree(journal, tmp_path / "second" / journal.name)
    closed = []
    for root in ("first", "second"):
        backend = Backend()
        recover(tmp_path / root, lambda _, backend=backend: to(backend))
        closed.append(backend.stored[-1].to_json())
    assert closed[0] == closed[1]


def test_work_that_goes_on_in_a_service_is_asked_after_there(tmp_path: Path) -> None:
    """Who can be asked answers for the span; where nobody can, it is Unknown."""
    left_behind(tmp_path, running=[running(key.OPERATION_REFRESH, **{key.REFRESH_REQUEST_ID: "r1"})])

    def ask(span: ReadableSpan) -> ReadableSpan | None:
        assert (span.attributes or {})[key.REFRESH_REQUEST_ID] == "r1"
        return finished(1, "refresh", **{key.STATUS: "Completed"})

    backend = Backend()
    recover(tmp_path, lambda name: to(backend), resolve=ask)
    assert [(span.attributes or {}).get(key.STATUS) for span in backend.stored] == ["Completed"]

    def nobody(span: ReadableSpan) -> ReadableSpan | None:
        raise OSError("no route")

    left_behind(tmp_path, running=[running(key.OPERATION_REFRESH)])
    recover(tmp_path, lambda name: to(backend), resolve=nobody)
    assert (backend.stored[-1].attributes or {})[key.STATUS] == "Unknown"


def test_two_recoverers_at_once_do_no_harm(tmp_path: Path) -> None:
    """Each journal goes to one of them; nothing is delivered twice, nothing is left."""
    for number in range(30):
        left_behind(tmp_path, [load(number)])
    backends = [Backend() for _ in range(4)]
    barrier = threading.Barrier(4)

    def go(backend: Backend) -> None:
        barrier.wait()
        recover(tmp_path, lambda name: to(backend))

    threads = [threading.Thread(target=go, args=(backend,)) for backend in backends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for backend in backends for name in backend.names) == sorted(f"span {n}" for n in range(30))
    assert list(tmp_path.iterdir()) == []


def test_a_recovery_that_gets_nowhere_leaves_the_journal_to_the_next(tmp_path: Path) -> None:
    """A backend that is down, a password that is wrong: nothing is lost, and the next may try at once."""
    left_behind(tmp_path, [load(number) for number in range(3)])
    for fault, timeout in ((TransientError("down"), 1.0), (ConfigurationError("wrong password"), 60.0)):
        backend = Backend()
        backend.down = fault
        result = recover(tmp_path, lambda name, backend=backend: to(backend), timeout=timeout)
        assert result.errors == {"memory://a": str(fault)}
        assert not result.is_complete
        (found,) = waiting(tmp_path)
        assert (found.ended, found.is_live) == (3, False)
    backend = Backend()
    progress: list[int] = []
    assert recover(tmp_path, lambda name: to(backend), progress=progress.append).is_complete
    assert sum(progress) == 3
    assert len(backend.stored) == 3


def test_a_process_that_stops_delivering_gives_back_what_it_adopted(tmp_path: Path) -> None:
    """Its password is wrong; another's may be right."""
    left_behind(tmp_path, [load(1)])
    backend, other = Backend(), Backend()
    backend.down = ConfigurationError("wrong password")
    delivery = Delivery([to(backend)], journal_dir=tmp_path, exit_timeout=0)
    delivery.emit([load(2)])
    assert not delivery.flush(10)
    wait_until(lambda: recover(tmp_path, lambda name: to(other)).delivered or other.stored)
    assert other.names == ["span 1"]
    delivery.shutdown(0)


def test_a_journal_of_many_destinations_is_delivered_to_each(tmp_path: Path) -> None:
    """One that is quick doesn't take the journal away from those that are still to come."""
    names = [f"memory://{number}" for number in range(8)]
    for number in range(20):
        left_behind(tmp_path, [load(number)], names=names)
    backends = {name: Backend() for name in names}
    delivery = Delivery([to(backend, name) for name, backend in backends.items()], journal_dir=tmp_path)
    delivery.emit([load(99)])
    wait_until(lambda: all(len(backend.stored) == 21 for backend in backends.values()))
    assert delivery.force_flush(10_000)
    delivery.shutdown()
    wait_until(lambda: not journals(tmp_path))
    assert all(len(backend.stored) == 21 for backend in backends.values())


def test_a_journal_is_let_go_only_when_the_last_has_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One destination is through while another has delivered and is about to say so: the journal stays where it is."""
    names = ["memory://quick", "memory://slow"]
    left_behind(tmp_path, [load(1)], names=names)
    slow_has_delivered, quick_is_through = threading.Event(), threading.Event()
    acknowledge, settled = adopted_log.acknowledge, adopted_log.AdoptedLog.settled

    def acknowledges(path: str, key: str, position: Position) -> None:
        if key == claim_key("memory://slow"):
            slow_has_delivered.set()
            quick_is_through.wait(30)
        else:
            slow_has_delivered.wait(30)
        acknowledge(path, key, position)

    def is_through(journal: adopted_log.AdoptedLog) -> None:
        settled(journal)
        quick_is_through.set()

    monkeypatch.setattr(adopted_log, "acknowledge", acknowledges)
    monkeypatch.setattr(adopted_log.AdoptedLog, "settled", is_through)
    backends = {name: Backend() for name in names}
    assert recover(tmp_path, lambda name: to(backends[name], name)).is_complete
    assert not journals(tmp_path)
    assert [backend.names for backend in backends.values()] == [["span 1"], ["span 1"]]


def test_what_was_acknowledged_is_not_delivered_again(tmp_path: Path) -> None:
    """A process that died after delivering a part: its heir begins where it stopped."""
    backend, heir = Backend(), Backend()
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    delivery.emit([load(number) for number in range(5)])
    assert delivery.flush(10)
    backend.down = TransientError("down")
    delivery.emit([load(number) for number in range(5, 8)])
    assert not delivery.flush(0.05)
    (journal,) = journals(tmp_path)
    orphaned(journal)
    recover(tmp_path, lambda name: to(heir))
    assert heir.names == ["span 5", "span 6", "span 7"]
    backend.down = None
    delivery.shutdown()


def test_an_owner_whose_journal_was_taken_goes_on_in_a_new_one(tmp_path: Path) -> None:
    """A laptop that slept finds its journal adopted: what it held is the adopter's, what comes is journalled anew,
    and what still runs ends properly."""
    backend, heir = Backend(), Backend()
    backend.down = TransientError("down")
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    tracer = tracer_of(delivery)
    tracer.start_span("before").end()
    still = tracer.start_span("still running")
    assert not delivery.flush(0.05)
    (journal,) = journals(tmp_path)
    adopted = journal.rename(tmp_path / f"{journal.name}@{this_process().id}")
    backend.down = None
    tracer.start_span("after").end()
    still.end()
    wait_until(lambda: delivery.flush(1) and "still running" in backend.names)
    assert "before" not in backend.names
    assert {"after", "still running"} <= set(backend.names)
    adopted.rename(tmp_path / f"{journal.name}@nobody")
    recover(tmp_path, lambda name: to(heir))
    assert heir.names[0] == "before"
    delivery.shutdown()
    assert list(tmp_path.iterdir()) == []


def test_after_a_long_silence_an_owner_looks_before_it_writes(tmp_path: Path) -> None:
    """What ends after the sleep goes to a journal of its own, not to one that is somebody else's by now."""
    backend = Backend()
    backend.down = TransientError("down")
    delivery = Delivery([to(backend)], journal_dir=tmp_path, silent_after=0.0)
    tracer = tracer_of(delivery)
    tracer.start_span("before").end()
    delivery._housekeeping._chores()
    (journal,) = journals(tmp_path)
    adopted = journal.rename(tmp_path / f"{journal.name}@{this_process().id}")
    tracer.start_span("after").end()
    assert '"name":"after"' not in (adopted / "000001.jsonl").read_text()
    backend.down = None
    wait_until(lambda: delivery.flush(1))
    assert backend.names == ["after"]
    delivery.shutdown()


def test_a_span_that_starts_after_the_sleep_is_journalled_anew(tmp_path: Path) -> None:
    """Its start stands in the new journal, where it is found if the process dies."""
    delivery = Delivery([to(Backend())], journal_dir=tmp_path, silent_after=0.0)
    tracer = tracer_of(delivery)
    first = tracer.start_span("first")
    (journal,) = journals(tmp_path)
    taken = journal.rename(tmp_path / f"{journal.name}@{this_process().id}")
    second = tracer.start_span("second")
    (anew,) = (path for path in journals(tmp_path) if path != taken)
    text = (anew / "000001.jsonl").read_text()
    assert '"name":"first"' in text
    assert '"name":"second"' in text
    second.end()
    first.end()
    delivery.shutdown()


def test_a_journal_that_somebody_deletes_costs_no_span(tmp_path: Path) -> None:
    """What was in it is still in memory, and what comes is journalled anew."""
    backend = Backend()
    backend.down = TransientError("down")
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    delivery.emit([load(0)])
    assert not delivery.flush(0.05)
    (journal,) = journals(tmp_path)
    shutil.rmtree(journal)
    backend.down = None
    delivery.emit([load(1)])
    wait_until(lambda: delivery.flush(1))
    assert sorted(backend.names) == ["span 0", "span 1"]
    delivery.shutdown()


@pytest.mark.parametrize("how", ["deleted", "taken over"])
def test_flush_is_not_true_for_what_went_with_a_journal(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """More waits than memory holds when the journal goes: nobody can say that the rest is delivered."""
    backend = Backend()
    backend.down = TransientError("down")
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    delivery.emit([load(number) for number in range(5_000)])
    assert not delivery.flush(0.05)
    (journal,) = journals(tmp_path)
    if how == "deleted":
        shutil.rmtree(journal)
    else:
        journal.rename(journal.with_name(f"{journal.name}@{this_process()._replace(pid=1, start='0').id}"))
    wait_until(lambda: "taken over or removed" in caplog.text)
    backend.down = None
    assert not delivery.flush(10)
    assert "spans waited in the journal" in caplog.text
    delivery.emit([load(6_000)])
    assert delivery.flush(10)
    delivery.shutdown()


def test_a_look_for_children_among_many_journals_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 20,000 names costs something: what can't be looked through in time makes flush False, not late."""
    here, now, looked = this_process(), [1_000.0], []

    def find(journal_dir: str) -> Iterator[directory.Found]:
        for number in range(20_000):
            now[0] += 0.001
            looked.append(number)
            owner = here._replace(pid=4_200_000 + number)
            yield directory.Found(str(tmp_path / owner.id), owner, owner)

    monkeypatch.setattr(directory, "find", find)
    monkeypatch.setattr("dbbtrace.delivery.adoption.time", SimpleNamespace(monotonic=lambda: now[0]))
    adopter = Adopter(str(tmp_path), 900.0, lambda journal, position, text: None, None)
    assert not adopter.adopt_children(lambda name: None, now[0] + 2.0)
    assert len(looked) < 2_100


def test_flush_waits_for_a_childs_journal_that_another_process_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child is gone, and a job beside this one was first to take its journal: only once that is delivered are the
    rows there."""
    here = this_process()
    with monkeypatch.context() as patched:
        patched.setattr("dbbtrace.journal.writer.parent_pid", os.getpid)
        childs = left_behind(tmp_path, [load(1)])
    childs = renamed(childs, start=here.start)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        holder = here._replace(pid=other.pid, start=owner._process_start(other.pid) or "0")
        taken = childs.rename(childs.with_name(f"{childs.name}@{holder.id}"))
        backend = Backend()
        delivery = Delivery([to(backend)], journal_dir=tmp_path, heartbeat=3600)
        delivery.emit([load(2)])
        assert not delivery.flush(0.3)
        wait_until(lambda: backend.names == ["span 2"])
        taken.rename(childs.with_name(f"{childs.name}@nobody"))
        assert delivery.flush(20)
        assert backend.names == ["span 2", "span 1"]
        delivery.shutdown()
        other.communicate(b"\n")


def test_the_next_process_delivers_what_the_last_one_left(tmp_path: Path) -> None:
    """Nobody has to call anything: using the journal directory is enough."""
    left_behind(tmp_path, [load(1)], running=[load(2)])
    backend = Backend()
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    tracer_of(delivery).start_span("mine").end()
    wait_until(lambda: len(backend.stored) == 3)
    assert delivery.flush(10)
    delivery.shutdown()
    assert list(tmp_path.iterdir()) == []


def test_spans_may_end_after_shutdown(tmp_path: Path) -> None:
    """Configured anew amid a run, the old delivery still gets the ends of what it saw start."""
    backend = Backend()
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    tracer = tracer_of(delivery)
    outer = tracer.start_span("outer")
    tracer.start_span("inner").end()
    delivery.shutdown()
    assert backend.names == ["inner"]
    outer.end()
    assert delivery.flush(10)
    assert backend.names == ["inner", "outer"]
    delivery.shutdown()
    assert list(tmp_path.iterdir()) == []


def test_shutdown_leaves_the_rest_to_whoever_comes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One log line says what is left; a second delivery of the same process may take it at once, and a span that
    still runs is not mistaken for interrupted."""
    backend, successor_backend = Backend(), Backend()
    backend.down = TransientError("down")
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    tracer = tracer_of(delivery)
    outer = tracer.start_span("outer")
    tracer.start_span("inner").end()
    delivery.shutdown(0.05)
    lines = [record.message for record in caplog.records if "still wait" in record.message]
    assert len(lines) == 1
    assert str(tmp_path) in lines[0]
    delivery.flush(0)  # as its heartbeat does, it looks for journals that nobody delivers: not for the one it let go
    successor = Delivery([to(successor_backend)], journal_dir=tmp_path)
    successor.emit([load(1)])
    assert successor.flush(60)
    assert sorted(successor_backend.names) == ["inner", "span 1"]
    successor.shutdown()
    backend.down = None
    outer.end()
    assert delivery.flush(10)
    assert backend.names == ["outer"]
    delivery.shutdown()
    assert list(tmp_path.iterdir()) == []


def test_an_otlp_backend_has_a_week_to_come_back_and_the_warehouse_for_ever(tmp_path: Path) -> None:
    """A backend that was taken out of service doesn't keep journals; rows do."""
    for rows in (False, True):
        root = tmp_path / str(rows)
        journal = left_behind(root, [load(1)], names=["memory://gone"], rows=rows)
        (segment,) = journal.glob("*.jsonl")
        old = segment.read_text().replace('"at":"20', '"at":"19', 1)
        segment.write_text(old)
        age(journal, 8 * 86_400)
        recover(root, lambda name: None)
        assert journal.exists() == rows


def test_a_name_can_be_claimed_once(tmp_path: Path) -> None:
    """By one delivery of all that share the directory, for a week."""
    first, second = (Delivery([], journal_dir=tmp_path) for _ in range(2))
    assert first.claim("root of run 1")
    assert not first.claim("root of run 1")
    assert not second.claim("root of run 1")
    assert second.claim("root of run 2")
    for marker in (tmp_path / "claims").iterdir():
        then = time.time() - 8 * 86_400
        os.utime(marker, (then, then))
    assert Delivery([], journal_dir=tmp_path).claim("root of run 1")


def test_claims_without_a_directory_hold_for_the_process(tmp_path: Path) -> None:
    """A directory that can't be written makes nobody's run rootless."""
    obstacle = tmp_path / "file"
    obstacle.write_text("in the way")
    delivery = Delivery([], journal_dir=obstacle / "journal")
    assert delivery.claim("root")
    assert not delivery.claim("root")
