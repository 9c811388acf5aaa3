"""Facts by the thousand: at the pace of a destination that keeps up, and never waiting for one that does not."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from dbbtrace.delivery import Delivery
from dbbtrace.delivery.own_log import CACHED
from dbbtrace.delivery.queue import BATCH
from dbbtrace.errors import TransientError
from dbbtrace.job import finished as finished_spans
from dbbtrace.journal import reader
from dbbtrace.tracing import runtime
from tests.delivery.support import Backend, finished, to


class Stuck(Backend):
    """A backend that answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = threading.Event()

    def deliver(self, spans):
        self.called.set()
        self.answer.wait()
        super().deliver(spans)


def batches(count):
    """So many batches of facts."""
    return [[finished(first + number) for number in range(BATCH)] for first in range(0, count * BATCH, BATCH)]


def full(delivery):
    """Emit until there is no room for another batch in memory; the number of batches that took."""
    filled = CACHED // BATCH
    for batch in batches(filled):
        delivery.emit(batch)
    return filled


@pytest.fixture
def decoded(monkeypatch):
    """The spans that were read back from the journal."""
    found = []
    decode = reader.decode

    def counted(kind, fields, definitions):
        found.append(decode(kind, fields, definitions))
        return found[-1]

    monkeypatch.setattr(reader, "decode", counted)
    return found


def test_nothing_is_read_back_for_a_destination_that_keeps_up(tmp_path, decoded):
    """What waits stays within what is kept in memory, so it need not be read from the journal again."""
    backend = Backend()
    delivery = Delivery([to(backend)], journal_dir=tmp_path, heartbeat=3600)
    for batch in batches(15):
        delivery.emit(batch)
        assert delivery.make_room(60)
    assert delivery.flush(60)
    assert [span.start_time for span in backend.stored] == [span.start_time for batch in batches(15) for span in batch]
    assert decoded == []
    delivery.shutdown()


def test_a_destination_that_refuses_is_not_waited_for(tmp_path):
    """It has said that it takes nothing now: waiting would be in vain."""
    backend = Backend()
    backend.down = TransientError("gone")
    delivery = Delivery([to(backend)], journal_dir=tmp_path, heartbeat=3600)
    last = full(delivery)
    assert not delivery.flush(5)  # it has a batch in hand
    delivery.emit(batches(last + 1)[-1])
    assert not delivery.make_room(3600)
    delivery.shutdown(0)


def test_what_stands_in_a_journal_that_was_let_go_is_not_called_lost(tmp_path, caplog):
    """Not even what came after the destination was last tried."""
    backend = Backend()
    backend.down = TransientError("gone")
    delivery = Delivery([to(backend)], journal_dir=tmp_path, heartbeat=3600)
    delivery.emit(batches(1)[0])
    assert not delivery.flush(1)
    delivery.emit(batches(2)[1])
    delivery.shutdown(0)
    assert delivery.left() == {}
    assert "they stay in the journal" in caplog.text
    assert "lost" not in caplog.text
    after = Backend()
    following = Delivery([to(after)], journal_dir=tmp_path, heartbeat=3600)
    following.emit([finished(5_000)])
    assert following.flush(60)
    assert len({span.start_time for span in after.stored}) == 2 * BATCH + 1
    following.shutdown()


def test_a_destination_that_hangs_is_waited_for_so_long_and_no_longer(tmp_path, decoded):
    """What finds no room is read back, in its order, when it answers again."""
    backend = Stuck()
    delivery = Delivery([to(backend)], journal_dir=tmp_path, heartbeat=3600)
    last = full(delivery)
    assert backend.called.wait(60)
    delivery.emit(batches(last + 1)[-1])
    assert not delivery.make_room(0.01)
    delivery.emit(batches(last + 2)[-1])
    assert not delivery.make_room(3600)  # behind by now
    backend.answer.set()
    assert delivery.flush(60)
    expected = [span.start_time for batch in batches(last + 2) for span in batch]
    assert [span.start_time for span in backend.stored] == expected
    assert decoded
    delivery.shutdown()


def test_without_a_journal_there_is_nothing_to_wait_for(tmp_path):
    """What stands in memory only is not read back anyway."""
    backend = Stuck()
    delivery = Delivery([to(backend)], journal_dir=None)
    full(delivery)
    assert delivery.make_room(0)
    backend.answer.set()
    assert delivery.flush(60)
    delivery.shutdown()


def test_who_waited_in_vain_does_not_wait_again(monkeypatch):
    """A job that records thousands of facts is held up once, and briefly."""
    asked = []
    emitted = []

    def make_room(timeout):
        asked.append(timeout)
        return len(asked) < 3

    fake = SimpleNamespace(emit=emitted.append, delivery=SimpleNamespace(make_room=make_room))
    monkeypatch.setattr(runtime, "current", lambda: fake)
    finished_spans.emit_all([[finished(number)] for number in range(10)])
    assert len(emitted) == 10
    assert len(asked) == 3
    assert max(asked) <= 0.5
