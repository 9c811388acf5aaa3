"""What a backend answers, and what is made of it: later, a person must act, or refused. On real sockets."""

from __future__ import annotations

import re
import threading
import time
from email.utils import formatdate

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from dbbtrace.errors import ConfigurationError, RefusedError, TransientError
from tests.exporters.otlp.conftest import PROTOCOLS, make_span, make_spans
from tests.support.otlp import (
    Answer,
    GrpcReceiver,
    HttpReceiver,
    Receiver,
    black_hole,
    closed_port,
    partial,
    redirect,
    refused,
    silent,
    slow,
    throttled,
    unauthorised,
    unavailable,
)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refused(), RefusedError),
        (unauthorised(), ConfigurationError),
        (unauthorised(403, "PERMISSION_DENIED"), ConfigurationError),
        (unauthorised(404, "UNIMPLEMENTED"), ConfigurationError),
        (unauthorised(405, "NOT_FOUND"), ConfigurationError),
        (throttled(), TransientError),
        (unavailable(), TransientError),
        (unavailable(status=502), TransientError),
        (Answer(504, "DEADLINE_EXCEEDED"), TransientError),
        (Answer(500, "INTERNAL"), TransientError),
        (Answer(408, "ABORTED"), TransientError),
        (partial(), RefusedError),
    ],
)
def test_answer(receiver: Receiver, exporter_to, answer: Answer, error: type[Exception]) -> None:
    """Each answer becomes the error that delivery needs, after exactly one attempt; the next one succeeds."""
    exporter = exporter_to(receiver)
    receiver.answer(answer)
    with pytest.raises(error, match=re.escape(exporter.destination)):
        exporter.deliver(make_spans(2))
    assert len(receiver.requests) == 1
    exporter.deliver([make_span("next", 9)])
    assert receiver.named("next")


@pytest.mark.parametrize("answer", [throttled(7), unavailable(7)])
def test_retry_after(receiver: Receiver, exporter_to, answer: Answer) -> None:
    """The seconds that the backend asks for are handed on: Retry-After, or RetryInfo in gRPC."""
    receiver.answer(answer)
    with pytest.raises(TransientError) as caught:
        exporter_to(receiver).deliver([make_span()])
    assert caught.value.retry_after == 7


def test_retry_after_as_a_date(otlp_http: HttpReceiver, exporter_to) -> None:
    """Retry-After may be an HTTP date."""
    otlp_http.answer(Answer(503, headers={"Retry-After": formatdate(time.time() + 90, usegmt=True)}))
    with pytest.raises(TransientError) as caught:
        exporter_to(otlp_http).deliver([make_span()])
    assert caught.value.retry_after == pytest.approx(90, abs=10)


def test_redirect_is_neither_followed_nor_success(otlp_http: HttpReceiver, exporter_to) -> None:
    """A redirect is said with its goal; the spans don't go there, where the headers would go too."""
    elsewhere = HttpReceiver()
    for status in (301, 302, 307, 308):
        otlp_http.answer(redirect(f"{elsewhere.endpoint}/v1/traces?token=secret", status))
        with pytest.raises(ConfigurationError, match=f"redirect to {elsewhere.endpoint}/v1/traces,"):
            exporter_to(otlp_http).deliver([make_span()])
    assert elsewhere.requests == []
    elsewhere.close()


def test_partial_success_says_why(receiver: Receiver, exporter_to) -> None:
    """What the backend says of rejected spans is in the error."""
    receiver.answer(partial(1, "attribute too long"))
    with pytest.raises(RefusedError, match="attribute too long"):
        exporter_to(receiver).deliver(make_spans(3))


def test_partial_success_in_json(otlp_http: HttpReceiver, exporter_to) -> None:
    """Some backends answer protobuf with JSON."""
    body = '{"partialSuccess": {"rejectedSpans": "2", "errorMessage": "no"}, "more": 1}'
    otlp_http.answer(Answer(message=body, content_type="application/json"))
    with pytest.raises(RefusedError, match="rejected 2"):
        exporter_to(otlp_http).deliver(make_spans(3))


@pytest.mark.parametrize("warning", [partial(0, "please upgrade"), Answer(message="ok", content_type="text/plain")])
def test_a_warning_is_no_refusal(otlp_http: HttpReceiver, exporter_to, warning: Answer) -> None:
    """partial_success that rejects nothing is success, and so is a body that means nothing."""
    otlp_http.answer(warning)
    exporter_to(otlp_http).deliver([make_span()])
    assert len(otlp_http.spans) == 1


def test_web_page_is_no_success(otlp_http: HttpReceiver, exporter_to) -> None:
    """A login page answered with 200 is not a backend."""
    otlp_http.answer(Answer(message="<html>Sign in</html>", content_type="text/html"))
    with pytest.raises(ConfigurationError, match="web page"):
        exporter_to(otlp_http).deliver([make_span()])


def test_wrong_path(otlp_http: HttpReceiver, exporter_to) -> None:
    """404 waits for a person: nothing is refused."""
    with pytest.raises(ConfigurationError, match="404"):
        exporter_to(f"{otlp_http.endpoint}/other").deliver([make_span()])


def test_too_large_over_http(exporter_to) -> None:
    """413 is a refusal, so that delivery halves the batch."""
    receiver = HttpReceiver(max_bytes=1000)
    exporter = exporter_to(receiver)
    with pytest.raises(RefusedError, match="413"):
        exporter.deliver(make_spans(100))
    exporter.deliver(make_spans(2))
    assert len(receiver.spans) == 2
    receiver.close()


def test_too_large_over_grpc(exporter_to) -> None:
    """So is a message beyond the server's limit, which gRPC calls RESOURCE_EXHAUSTED."""
    receiver = GrpcReceiver(max_bytes=1000)
    exporter = exporter_to(receiver)
    with pytest.raises(RefusedError, match="larger than max"):
        exporter.deliver(make_spans(100))
    exporter.deliver(make_spans(2))
    assert len(receiver.spans) == 2
    receiver.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nobody_listens(protocol: str, exporter_to) -> None:
    """A refused connection is for later, known at once, and nothing can have been stored."""
    with closed_port() as endpoint:
        started = time.monotonic()
        with pytest.raises(TransientError, match="efused") as caught:
            exporter_to(endpoint, protocol).deliver([make_span()])
        assert time.monotonic() - started < 8
        assert not caught.value.ambiguous


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_black_hole(protocol: str, exporter_to, monkeypatch) -> None:
    """A backend that takes the connection and never answers costs the time-out, once; it may have stored the spans."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with black_hole() as endpoint:
        started = time.monotonic()
        with pytest.raises(TransientError) as caught:
            exporter_to(endpoint, protocol).deliver([make_span()])
        assert 0.5 < time.monotonic() - started < 8
        assert caught.value.ambiguous


def test_slow_answer(receiver: Receiver, exporter_to, monkeypatch) -> None:
    """An answer within the time-out counts, a later one does not."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2")
    exporter = exporter_to(receiver)
    receiver.answer(slow(0.2), slow(30))
    exporter.deliver([make_span()])
    with pytest.raises(TransientError, match=r"OTEL_EXPORTER_OTLP_TIMEOUT|DEADLINE"):
        exporter.deliver([make_span()])


def test_shutdown_interrupts(receiver: Receiver, exporter_to) -> None:
    """shutdown() does not wait for a backend that hangs, and neither does who was sending."""
    exporter = exporter_to(receiver)
    receiver.always(silent())
    caught: list[Exception] = []

    def send() -> None:
        try:
            exporter.deliver([make_span()])
        except TransientError as error:
            caught.append(error)

    sender = threading.Thread(target=send)
    sender.start()
    receiver.wait_for_requests(1)
    started = time.monotonic()
    exporter.shutdown()
    sender.join(5)
    assert time.monotonic() - started < 8
    assert len(caught) == 1


def test_backend_comes_back(exporter_to) -> None:
    """After an outage the next attempt goes through: gRPC's own two minutes of patience don't stand in the way."""
    for kind, protocol in ((HttpReceiver, "http/protobuf"), (GrpcReceiver, "grpc")):
        first = kind()
        exporter = exporter_to(first)
        exporter.deliver([make_span()])
        first.close()
        for _ in range(3):
            with pytest.raises(TransientError):
                exporter.deliver([make_span()])
        second = kind(port=first.port)
        exporter.deliver([make_span()])
        assert len(second.spans) == 1, protocol
        second.close()


def test_headers_are_never_said(exporter_to, monkeypatch, otlp_http: HttpReceiver, otlp_grpc: GrpcReceiver) -> None:
    """A header that can't be sent is a fault of configuration, told without its value."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=s3cr%0Aet")
    for receiver in (otlp_http, otlp_grpc):
        with pytest.raises(ConfigurationError) as caught:
            exporter_to(receiver).deliver([make_span()])
        assert "s3cr" not in str(caught.value)
        assert receiver.spans == []


def test_no_url(exporter_to) -> None:
    """An endpoint without http:// is told what it lacks."""
    with pytest.raises(ConfigurationError, match="http://"):
        exporter_to("localhost:4318", "http/protobuf").deliver([make_span()])


def test_export_answers_failure_and_logs_once(receiver: Receiver, exporter_to, caplog) -> None:
    """For stock processors: FAILURE instead of an exception, one log line a kind, and success when it is."""
    exporter = exporter_to(receiver)
    receiver.answer(unavailable(), unavailable(), partial())
    assert [exporter.export([make_span()]) for _ in range(4)] == [SpanExportResult.FAILURE] * 3 + [
        SpanExportResult.SUCCESS
    ]
    assert len(caplog.records) == 2
