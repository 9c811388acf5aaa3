"""Backends that are down, slow, wrongly configured, that refuse, that fail half-way: each gets what it is owed."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.delivery import (
    Delivery,
    Destination,
    DurableSpanProcessor,
    dead_letters,
    recover,
    resend_dead_letters,
    waiting,
)
from dbbtrace.errors import ConfigurationError, RefusedError, TransientError
from tests.delivery.support import Backend, Foreign, finished, left_behind, load, to, tracer_of


@pytest.fixture(autouse=True)
def brief_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts as long as a test can afford."""
    monkeypatch.setattr("dbbtrace.delivery.backoff._FIRST_PAUSE", 0.01)
    monkeypatch.setattr("dbbtrace.delivery.backoff._LONGEST_PAUSE", 0.05)


def names(count: int) -> list[str]:
    return [f"span {number}" for number in range(count)]


def test_down_then_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While it is down the spans wait, with one log line; once it is up again they all stand."""
    caplog.set_level(logging.INFO, "dbbtrace")
    backend = Backend()
    backend.down = TransientError("nobody home")
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    delivery.emit([load(number) for number in range(5)])
    assert not delivery.flush(0.2)
    assert len(backend.calls) > 2
    assert delivery.left() == {"memory://a": 5}
    backend.down = None
    assert delivery.flush(10)
    assert backend.names == names(5)
    assert delivery.left() == {}
    delivery.shutdown()
    said = [record.message for record in caplog.records if "memory://a" in record.message]
    assert len(said) == 2, said
    assert "nobody home" in said[0]
    assert "again" in said[1]


def test_half_way_through_a_batch(tmp_path: Path) -> None:
    """A backend that breaks after a part of a batch gets the batch again; none is missing."""
    backend = Backend()
    stored = backend.stored

    class Breaking(Backend):
        def deliver(self, spans: object) -> None:
            assert isinstance(spans, list)
            if not self.calls:
                stored.extend(spans[: len(spans) // 2])
                self.calls.append(0)
                raise TransientError("connection lost", ambiguous=True)
            stored.extend(spans)

    delivery = Delivery([to(Breaking())], journal_dir=tmp_path)
    delivery.emit([load(number) for number in range(10)])
    assert delivery.flush(10)
    assert backend.names == names(5) + names(10)
    delivery.shutdown()


def test_the_time_that_a_backend_names_is_kept(tmp_path: Path) -> None:
    """Retry-After is no shorter for a flush that is in a hurry."""
    backend = Backend(TransientError("too many requests", retry_after=1.5))
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    begin = time.monotonic()
    delivery.emit([load(0)])
    while not delivery.flush(0.02):
        pass
    assert time.monotonic() - begin >= 1.5
    assert len(backend.calls) == 2
    delivery.shutdown()


def test_a_flush_cuts_a_pause_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for rows doesn't wait for a back-off that began before."""
    monkeypatch.setattr("dbbtrace.delivery.backoff._FIRST_PAUSE", 60)
    monkeypatch.setattr("dbbtrace.delivery.backoff._LONGEST_PAUSE", 60)
    backend = Backend(TransientError("down for a moment"))
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    delivery.emit([load(0)])
    assert not delivery.flush(0.1)
    assert delivery.flush(10)
    delivery.shutdown()


def test_a_wrong_password_sets_nothing_aside_and_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing more is tried in this process; with the password mended, the next one delivers everything."""
    backend = Backend()
    backend.down = ConfigurationError("login failed for user 'etl'; set DBBTRACE_WAREHOUSE")
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    delivery.emit([load(number) for number in range(3)])
    assert not delivery.flush(10)
    delivery.emit([load(3)])
    begin = time.monotonic()
    assert not delivery.flush(10)
    assert time.monotonic() - begin < 5, "there is nothing to wait for"
    assert len(backend.calls) == 2, "once for each flush"
    assert len([record for record in caplog.records if "login failed" in record.message]) == 1
    delivery.shutdown(0)
    assert list(dead_letters(tmp_path)) == []
    mended = Backend()
    successor = Delivery([to(mended)], journal_dir=tmp_path)
    successor.emit([load(4)])
    assert successor.flush(10)
    wait_until(lambda: len(mended.stored) == 5)
    assert sorted(mended.names) == names(5)
    successor.shutdown()
    assert list(waiting(tmp_path)) == []


def wait_until(met: object, timeout: float = 20) -> None:
    """Wait for another thread."""
    deadline = time.monotonic() + timeout
    assert callable(met)
    while not met():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def test_an_exporter_that_cannot_be_made_is_tried_again_unless_it_is_wrongly_configured(tmp_path: Path) -> None:
    """Making the exporter is where a warehouse that sleeps, or a missing driver, shows first."""
    attempts = []
    backend = Backend()

    def make() -> Backend:
        attempts.append(threading.current_thread().name)
        if len(attempts) < 3:
            raise TransientError("asleep")
        return backend

    destination = to(backend)
    destination.make = make
    delivery = Delivery([destination], journal_dir=tmp_path)
    delivery.emit([load(0)])
    assert delivery.flush(10)
    assert set(attempts) == {"dbbtrace memory://a"}
    delivery.shutdown()
    assert backend.is_shut_down


def test_what_is_refused_is_set_aside_with_the_reason_and_can_be_sent_again(tmp_path: Path) -> None:
    """Only the refused ones; flush() says that not all stands; sent again, they stand and the file is gone."""

    def poison(span: ReadableSpan) -> Exception | None:
        return RefusedError(f"{span.name} is too long") if span.name in ("span 3", "span 7") else None

    backend = Backend(poison=poison)
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    delivery.emit([load(number) for number in range(20)])
    assert not delivery.flush(10)
    assert sorted(backend.names) == sorted(set(names(20)) - {"span 3", "span 7"})
    delivery.shutdown()
    letters = {letter.span.name: letter for letter in dead_letters(tmp_path)}
    assert {name: letter.reason for name, letter in letters.items()} == {
        "span 3": "span 3 is too long",
        "span 7": "span 7 is too long",
    }
    assert letters["span 3"].destination == "memory://a"
    assert dict(letters["span 3"].span.attributes or {}) == dict(load(3).attributes or {})

    backend.poison = lambda span: RefusedError("still too long") if span.name == "span 7" else None
    again = resend_dead_letters(tmp_path, lambda name: to(backend))
    assert (again.delivered, again.refused) == (1, 1)
    assert backend.names[-1] == "span 3"
    (letter,) = dead_letters(tmp_path)
    assert (letter.span.name, letter.reason) == ("span 7", "still too long")
    backend.poison = lambda span: None
    assert resend_dead_letters(tmp_path, lambda name: None).unknown == {"memory://a"}
    assert len(list(dead_letters(tmp_path))) == 1
    assert resend_dead_letters(tmp_path, lambda name: to(backend)).delivered == 1
    assert list(dead_letters(tmp_path)) == []


def test_dead_letters_of_a_backend_that_is_down_are_kept(tmp_path: Path) -> None:
    """Sending them again while nobody takes them loses none, nor the reason."""
    delivery = Delivery([to(Backend(poison=lambda span: RefusedError("no")))], journal_dir=tmp_path)
    delivery.emit([load(1)])
    assert not delivery.flush(10)
    delivery.shutdown()
    backend = Backend()
    backend.down = TransientError("down")
    result = resend_dead_letters(tmp_path, lambda name: to(backend), timeout=0.1)
    assert result.errors == {"memory://a": "down"}
    (letter,) = dead_letters(tmp_path)
    assert letter.span.name == "span 1"
    assert letter.reason == "no"


def test_dead_letters_need_room_too(tmp_path: Path) -> None:
    """Where they can't be written the refused spans wait: they are neither lost nor in anybody's way."""
    obstacle = tmp_path / "dead-letters"
    obstacle.write_text("in the way")
    backend = Backend(poison=lambda span: RefusedError("no") if span.name == "span 1" else None)
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    delivery.emit([load(0), load(1), load(2)])
    assert not delivery.flush(0.2)
    assert backend.names == ["span 0", "span 2"] or sorted(backend.names) == ["span 0", "span 2"]
    assert delivery.left() == {"memory://a": 1}
    obstacle.unlink()
    delivery.emit([load(3)])
    assert not delivery.flush(10)
    assert "span 3" in backend.names
    assert [letter.span.name for letter in dead_letters(tmp_path)] == ["span 1"]
    delivery.shutdown()


def test_what_is_refused_without_a_directory_is_lost_and_said(caplog: pytest.LogCaptureFixture) -> None:
    """There is no place for dead letters: one log line, and the flush does not say that all is well."""
    backend = Backend(poison=lambda span: RefusedError("too long") if span.name == "span 1" else None)
    delivery = Delivery([to(backend)], journal_dir=None)
    delivery.emit([load(0), load(1), load(2)])
    assert not delivery.flush(30)
    assert sorted(backend.names) == ["span 0", "span 2"]
    assert "1 span is refused by memory://a and lost, as there is no journal directory: too long" in caplog.text
    delivery.shutdown(0)


def test_a_dead_backend_never_delays_the_warehouse(tmp_path: Path) -> None:
    """A backend that hangs has a thread of its own to hang in."""
    hang = threading.Event()

    class Hanging(Backend):
        def deliver(self, spans: object) -> None:
            self.called.set()
            hang.wait()

    warehouse, backend = Backend(), Hanging()
    delivery = Delivery([to(backend, "otlp://b", rows=False), to(warehouse)], journal_dir=tmp_path, exit_timeout=0)
    delivery.emit([load(0)])
    begin = time.monotonic()
    assert delivery.flush(10)
    assert time.monotonic() - begin < 5
    assert not delivery.force_flush(50)
    assert backend.called.wait(10)
    assert warehouse.names == ["span 0"]
    delivery.shutdown(0)
    hang.set()


def test_flush_with_no_time_answers_at_once_and_truly(tmp_path: Path) -> None:
    """0 asks for the state: False while a row is on its way, True once it stands; a negative time waits for ever."""
    gate = threading.Event()

    class Slow(Backend):
        def deliver(self, spans: object) -> None:
            assert isinstance(spans, list)
            self.called.set()
            gate.wait(30)
            self.stored += spans

    backend = Slow()
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    assert delivery.flush(0)
    delivery.emit([load(0)])
    assert not delivery.flush(0)
    assert backend.called.wait(10)
    assert not delivery.flush(0), "the row is on its way, and doesn't stand"
    threading.Timer(0.1, gate.set).start()
    assert delivery.flush(-1)
    assert delivery.flush(0)
    delivery.shutdown()


def test_exporters_of_others_work_too(tmp_path: Path) -> None:
    """FAILURE and exceptions of any kind are taken for the backend's, and tried again."""
    backend = Foreign(ZeroDivisionError("FAILURE"), RuntimeError("boom"))
    processor = DurableSpanProcessor(backend, tmp_path)
    tracer_of(processor).start_span("s").end()
    assert processor.flush(10)
    assert backend.names == ["s"]
    processor.shutdown()
    assert backend.is_shut_down


def test_a_span_that_breaks_a_foreign_exporter_stops_no_other(tmp_path: Path) -> None:
    """It keeps failing while all others get through: in the end it is set aside."""

    def poison(span: ReadableSpan) -> Exception | None:
        return RuntimeError("can't encode") if span.name == "span 13" else None

    backend = Foreign(poison=poison)
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    for first in range(0, 200, 20):
        delivery.emit([load(number) for number in range(first, first + 20)])
        delivery.flush(0.1)
    wait_until(lambda: delivery.left() == {})
    assert sorted(backend.names) == sorted(set(names(200)) - {"span 13"})
    (letter,) = dead_letters(tmp_path)
    assert letter.span.name == "span 13"
    assert "can't encode" in letter.reason
    delivery.shutdown()


def test_delivering_makes_no_spans(tmp_path: Path) -> None:
    """An instrumented driver that traces our own writing would feed itself for ever."""
    from opentelemetry import context

    tracers = []
    suppressed = []

    class Instrumented(Backend):
        def deliver(self, spans: object) -> None:
            suppressed.append(context.get_value(context._SUPPRESS_INSTRUMENTATION_KEY))
            suppressed.append(context.get_value("suppress_instrumentation"))
            with tracers[0].start_as_current_span("INSERT"):
                assert isinstance(spans, list)
                self.stored += spans

    backend = Instrumented()
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    tracers.append(tracer_of(delivery))
    tracers[0].start_span("s").end()
    assert delivery.flush(10)
    assert delivery.flush(10)
    assert backend.names == ["s"]
    assert suppressed == [True, True]
    delivery.shutdown()


def test_a_filter_or_an_exporter_that_raises_never_reaches_the_job(tmp_path: Path) -> None:
    """Whatever is wrong in what the user brought, his spans end and his code goes on."""

    def broken(span: ReadableSpan) -> bool:
        raise ValueError("filter")

    backend = Backend()
    delivery = Delivery([to(backend, wants=broken)], journal_dir=tmp_path)
    with tracer_of(delivery).start_as_current_span("s"):
        pass
    assert delivery.flush(10)
    assert backend.names == ["s"]
    delivery.shutdown()


def test_what_another_warehouse_is_owed_waits_for_that_one(tmp_path: Path) -> None:
    """A journal is delivered to the destinations it names, and to no other; it goes when all have acknowledged."""
    left_behind(tmp_path, [load(1)], names=["memory://a", "memory://b"])
    first, second = Backend(), Backend()
    result = recover(tmp_path, {"memory://a": to(first)}.get)
    assert result.unknown == {"memory://b"}
    assert result.is_complete
    assert first.names == ["span 1"]
    assert [found.destination for found in waiting(tmp_path)] == ["memory://b"]
    assert recover(tmp_path, {"memory://a": to(first)}.get).journals == 0
    recover(tmp_path, {"memory://b": to(second, "memory://b")}.get)
    assert (first.names, second.names) == (["span 1"], ["span 1"])
    assert list(tmp_path.iterdir()) == []


def test_finished_spans_are_taken_as_they_are(tmp_path: Path) -> None:
    """A step that nobody asked a row of is delivered to a backend that takes all."""
    backend = Backend()
    delivery = Delivery([to(backend, rows=False)], journal_dir=tmp_path)
    delivery.emit([finished(1, "step")])
    assert delivery.force_flush(10_000)
    assert backend.names == ["step"]
    delivery.shutdown()


def test_a_span_that_cannot_be_journalled_stops_no_other(tmp_path: Path) -> None:
    """Spans of an exotic kind, among facts or live, cost at most themselves; the rest of their batch is journalled."""

    class Odd(ReadableSpan):
        @property
        def status(self) -> object:  # type: ignore[override]
            raise RuntimeError("no status today")

    backend = Backend()
    backend.down = TransientError("down")
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    delivery.emit([load(0), Odd("odd", context=finished(1).context), load(2)])
    (journal,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert (journal / "000001.jsonl").read_text().count('{"end"') == 2
    backend.down = None
    assert delivery.flush(10)
    assert sorted(backend.names) == ["odd", "span 0", "span 2"]
    delivery.shutdown()


def test_a_destination_that_takes_long_is_opened_before_the_first_span(tmp_path: Path) -> None:
    """A warehouse that sleeps wakes while the job works; one that can't be opened yet breaks nothing."""
    opened = threading.Event()

    class Sleeping(Backend):
        def connect(self) -> None:
            opened.set()
            raise TransientError("still asleep")

    backend = Sleeping()
    delivery = Delivery([Destination("memory://a", lambda: backend, rows=True, ahead=True)], journal_dir=tmp_path)
    assert not opened.is_set()
    delivery.open_ahead()
    assert opened.wait(10)
    delivery.emit([load(0)])
    assert delivery.flush(10)
    assert backend.names == names(1)
    delivery.shutdown()
