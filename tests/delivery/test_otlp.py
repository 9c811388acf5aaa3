"""The delivery in front of a real OTLP exporter and real receivers that behave badly."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dbbtrace_exporters.otlp.exporter import ForwardingSpanExporter

from dbbtrace.delivery import Delivery, Destination, dead_letters, resend_dead_letters, waiting
from tests.delivery.support import finished
from tests.support.otlp import (
    Receiver,
    black_hole,
    closed_port,
    partial,
    redirect,
    throttled,
    unauthorised,
    unavailable,
)

Deliver = Callable[..., Delivery]


@pytest.fixture(params=["http/protobuf", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def receiver(request: pytest.FixtureRequest, protocol: str) -> Receiver:
    return request.getfixturevalue("otlp_http" if protocol == "http/protobuf" else "otlp_grpc")


@pytest.fixture
def destination(receiver: Receiver, protocol: str) -> Destination:
    return otlp(receiver.endpoint, protocol)


def otlp(endpoint: str, protocol: str) -> Destination:
    """The destination that sends there."""
    return Destination(f"otlp://{endpoint}", lambda: ForwardingSpanExporter(endpoint, protocol=protocol), rows=False)


@pytest.fixture
def delivery(destination: Destination, tmp_path: Path) -> Iterator[Delivery]:
    """A delivery to the receiver."""
    delivery = Delivery([destination], journal_dir=tmp_path / "journals")
    yield delivery
    delivery.shutdown(0)


def emit(delivery: Delivery, count: int) -> set[str]:
    """So many spans; their names."""
    spans = [finished(number) for number in range(count)]
    delivery.emit(spans)
    return {span.name for span in spans}


def test_everything_arrives(receiver: Receiver, delivery: Delivery) -> None:
    """The plain case, each span once."""
    names = emit(delivery, 2_500)
    assert delivery.force_flush(30_000)
    assert Counter(span.name for span in receiver.spans) == Counter(names)


def test_the_time_that_a_backend_names_is_kept(receiver: Receiver, delivery: Delivery) -> None:
    """429 and 503 with Retry-After: not a moment earlier, and nothing is lost."""
    receiver.answer(throttled(retry_after=1), unavailable(retry_after=1))
    names = emit(delivery, 10)
    begin = time.monotonic()
    assert delivery.force_flush(30_000)
    assert time.monotonic() - begin >= 1.9
    assert {span.name for span in receiver.spans} == names
    assert len(receiver.requests) == 3


def test_what_is_rejected_in_part_is_set_aside(
    receiver: Receiver, destination: Destination, delivery: Delivery
) -> None:
    """Partial success is no success: the rejected span is found, kept with the reason, and can be sent again."""
    receiver.rule = lambda spans: partial(1, "bad span") if any(span.name == "span 3" for span in spans) else None
    names = emit(delivery, 10)
    delivery.force_flush(30_000)
    assert delivery.left() == {}
    assert names - {"span 3"} <= {span.name for span in receiver.spans}
    journals = Path(str(delivery._options.journal_dir))
    (letter,) = dead_letters(journals)
    assert letter.span.name == "span 3"
    assert "bad span" in letter.reason
    receiver.rule = None
    assert resend_dead_letters(journals, lambda name: destination).delivered == 1
    assert receiver.named("span 3")


def test_a_span_too_large_for_the_backend_stops_no_other(receiver: Receiver, delivery: Delivery) -> None:
    """10 MB in one span: refused by a backend that takes 4, or taken by one that takes 20; all others arrive."""
    big = finished(100, "big", payload="x" * 10_000_000)
    names = emit(delivery, 10)
    delivery.emit([big])
    names |= emit(delivery, 20)
    delivery.force_flush(60_000)
    assert delivery.left() == {}
    arrived = {span.name for span in receiver.spans}
    aside = {letter.span.name for letter in dead_letters(str(delivery._options.journal_dir))}
    assert names <= arrived
    assert ("big" in arrived) != ("big" in aside)


def test_a_wrong_token_sets_nothing_aside(receiver: Receiver, destination: Destination, delivery: Delivery) -> None:
    """401 stops delivery in this process; the spans wait for the next."""
    receiver.always(unauthorised())
    names = emit(delivery, 10)
    assert not delivery.force_flush(30_000)
    assert len(receiver.requests) == 1
    journals = Path(str(delivery._options.journal_dir))
    assert list(dead_letters(journals)) == []
    delivery.shutdown(0)
    receiver.always(None)
    successor = Delivery([destination], journal_dir=journals)
    successor.emit([finished(99)])
    assert {span.name for span in receiver.wait_for(11)} == names | {"span 99"}
    assert successor.force_flush(30_000)
    successor.shutdown()
    assert list(waiting(journals)) == []


def test_a_redirect_is_not_success(otlp_http: Receiver, tmp_path: Path) -> None:
    """Whoever answers elsewhere has stored nothing: the spans wait."""
    otlp_http.always(redirect("http://127.0.0.1:9/v1/traces"))
    delivery = Delivery([otlp(otlp_http.endpoint, "http/protobuf")], journal_dir=tmp_path)
    emit(delivery, 3)
    assert not delivery.force_flush(5_000)
    assert list(dead_letters(tmp_path)) == []
    delivery.shutdown(0)
    assert [found.ended for found in waiting(tmp_path)] == [3]


@pytest.mark.parametrize("where", [closed_port, black_hole])
def test_where_nobody_answers_spans_wait_and_nobody_else_does(where: object, protocol: str, tmp_path: Path) -> None:
    """A port that refuses, a port that swallows: flush keeps its time, and nothing is lost."""
    assert callable(where)
    with where() as endpoint:
        delivery = Delivery([otlp(endpoint, protocol)], journal_dir=tmp_path)
        emit(delivery, 3)
        begin = time.monotonic()
        assert not delivery.force_flush(300)
        delivery.shutdown(0.2)
        assert time.monotonic() - begin < 8
    assert [found.ended for found in waiting(tmp_path)] == [3]
