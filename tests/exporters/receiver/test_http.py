"""The receiver's manners: when it says 200, what it refuses, and what it makes senders keep."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import threading
import time
import tracemalloc
from urllib.parse import urlsplit

import pytest
from dbbtrace_exporters.receiver.limits import ELEMENT_BYTES, Limits
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from dbbtrace.errors import ConfigurationError, RefusedError, TransientError
from tests.exporters.receiver.conftest import Store, body_of, call, call_all, load

TRACES = "/v1/traces"
HEAD = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def test_200_only_after_the_commit(running, store: Store) -> None:
    """While the warehouse still writes, nothing is answered."""
    store.gate.clear()
    url = running() + TRACES
    answers: list[int] = []
    sender = threading.Thread(target=lambda: answers.append(call(url, body_of(load())).status))
    sender.start()
    assert store.entered.wait(20)
    sender.join(0.3)
    assert answers == []
    store.gate.set()
    sender.join(20)
    assert answers == [200]
    assert store.commits == [["load Customer"]]


def test_concurrent_requests_share_a_commit(running, store: Store) -> None:
    """What comes while one write is under way goes into the next one, all of it."""
    store.gate.clear()
    url = running() + TRACES
    first = threading.Thread(target=call, args=(url, body_of(load(1, "first"))))
    first.start()
    assert store.entered.wait(20)
    answers: list[object] = []
    calls = [lambda number=number: call(url, body_of(load(number, f"T{number}"))) for number in range(2, 22)]
    others = threading.Thread(target=lambda: answers.extend(call_all(calls)))
    others.start()
    _wait_until_waiting(running, 20)
    store.gate.set()
    others.join(30)
    first.join(30)
    assert [answer.status for answer in answers] == [200] * 20
    assert store.commits[0] == ["load first"]
    assert sorted(store.commits[1]) == sorted(f"load T{number}" for number in range(2, 22))
    assert len(store.commits) == 2


def _wait_until_waiting(running, count: int) -> None:
    deadline = time.monotonic() + 20
    commit = running.commits[-1]
    while len(commit._waiting) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("error", "retry_after"),
    [
        (TransientError("asleep", retry_after=7), "7"),
        (TransientError("asleep"), "5"),
        (ConfigurationError("login failed for me"), "30"),
        (RuntimeError("a fault of our own"), "30"),
    ],
)
def test_whatever_goes_wrong_the_sender_keeps_its_spans(
    running, store: Store, error: Exception, retry_after: str
) -> None:
    """503 with Retry-After, whether time heals it or a person; afterwards the same request succeeds."""
    url = running() + TRACES
    store.fail = lambda spans: error
    answered = call(url, body_of(load()))
    assert (answered.status, answered.headers["retry-after"]) == (503, retry_after)
    assert "login" not in answered.body.decode()
    store.fail = lambda spans: None
    assert call(url, body_of(load())).status == 200
    assert store.commits == [["load Customer"]]


def test_what_a_person_must_mend_is_logged_once(running, store: Store, caplog) -> None:
    """One line when it begins, one when it is over."""
    caplog.set_level(logging.WARNING, "dbbtrace")
    url = running() + TRACES
    store.fail = lambda spans: ConfigurationError("login failed for me")
    for _ in range(3):
        call(url, body_of(load()))
    store.fail = lambda spans: None
    call(url, body_of(load()))
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "login failed for me" in caplog.records[0].message


def test_refused_spans_are_told_to_their_sender(running, store: Store) -> None:
    """A span that the warehouse refuses even alone is its sender's partial_success; its neighbours are stored."""
    store.fail = lambda spans: RefusedError("no") if any("bad" in span.name for span in spans) else None
    url = running() + TRACES
    answers = call_all(
        [
            lambda: call(url, body_of(load(1, "A"), load(2, "bad"), load(3, "B"))),
            lambda: call(url, body_of(load(4, "C"))),
        ]
    )
    assert [answer and (answer.status, answer.rejected) for answer in answers] == [(200, 1), (200, 0)]
    assert "load bad" in answers[0].json["partialSuccess"]["errorMessage"]
    assert sorted(name for commit in store.commits for name in commit) == ["load A", "load B", "load C"]


def test_partial_success_in_protobuf(running) -> None:
    """Who sends protobuf is answered in protobuf, successes and errors."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add().name = "no ids"
    url = running() + TRACES
    answered = call(url, request.SerializeToString(), content_type="application/x-protobuf")
    response = ExportTraceServiceResponse.FromString(answered.body)
    assert (answered.status, response.partial_success.rejected_spans) == (200, 1)
    assert "no ids" in response.partial_success.error_message
    failed = call(url, b"\xff\xff", content_type="application/x-protobuf")
    assert (failed.status, Status.FromString(failed.body).code) == (400, 3)


def test_spans_that_give_no_rows_are_passed_by(running, store: Store) -> None:
    """Steps and foreign spans are taken and not stored; no span at all is fine too."""
    url = running() + TRACES
    assert call(url, body_of(load(**{"dbb.operation": "step"}))).status == 200
    assert call(url, body_of()).status == 200
    assert call(url, b"{}").status == 200
    assert store.tries == 0


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        pytest.param(b"{", {}, 400, id="torn JSON"),
        pytest.param(b"[" * 100_000, {}, 400, id="deep JSON"),
        pytest.param(b"[]", {}, 400, id="list"),
        pytest.param(b'{"resourceMetrics": []}', {}, 400, id="metrics"),
        pytest.param(b"no gzip", {"content_encoding": "gzip"}, 400, id="no gzip"),
        pytest.param(gzip.compress(b"{}")[:-4], {"content_encoding": "gzip"}, 400, id="torn gzip"),
        pytest.param(b"{}", {"content_encoding": "br"}, 415, id="brotli"),
        pytest.param(b"{}", {"content_type": "text/plain"}, 415, id="text"),
        pytest.param(b"{}", {"content_type": "application/json; charset=utf-8"}, 200, id="charset"),
        pytest.param(gzip.compress(b"{") + gzip.compress(b"}"), {"content_encoding": "GZIP"}, 200, id="two members"),
    ],
)
def test_bodies(running, store: Store, body: bytes, headers: dict[str, str], status: int) -> None:
    """What is no OTLP is a 400 or 415 that says why; the receiver goes on."""
    url = running() + TRACES
    answered = call(url, body, **headers)
    assert answered.status == status
    assert status == 200 or answered.json["message"]
    assert call(url, body_of(load())).status == 200


def test_spans_under_other_names_are_stored_or_told(running, store: Store) -> None:
    """Never 200 {} with nothing stored: names from before OTLP 0.15 are read, others are named as rejected."""
    url = running() + TRACES
    assert call(url, body_of(load()).replace(b"scopeSpans", b"instrumentationLibrarySpans")).json == {}
    assert store.commits == [["load Customer"]]
    answered = call(url, body_of(load()).replace(b"scopeSpans", b"scope_spans"))
    assert (answered.status, answered.rejected) == (200, 1)
    assert "scope_spans" in answered.json["partialSuccess"]["errorMessage"]


def test_other_paths_and_methods(running) -> None:
    """404 and 405, as anywhere."""
    base = running()
    assert call(f"{base}/v1/metrics", b"{}").status == 404
    assert call(base + TRACES).status == 405


@pytest.mark.parametrize("chunked", [False, True])
def test_body_beyond_the_limit(running, store: Store, chunked: bool) -> None:
    """413, with its length given or not, and nothing is stored."""
    url = running(limits=Limits(max_bytes=1000)) + TRACES
    body = body_of(*(load(number) for number in range(1, 20)))
    if not chunked:
        assert call(url, body).status == 413
    else:
        with _connected(url) as sender:
            sender.sendall(
                HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + f"{len(body):x}\r\n".encode() + body + b"\r\n"
            )
            assert sender.recv(100).startswith(b"HTTP/1.1 413")
    assert store.tries == 0


def test_gzip_bomb(running, store: Store) -> None:
    """A body that unpacks beyond the limit is stopped there: 100 MB of zeros in 100 kB."""
    url = running(limits=Limits(max_bytes=1 << 20)) + TRACES
    bomb = gzip.compress(b" " * 100_000_000)
    assert len(bomb) < 1 << 20
    tracemalloc.start()
    answered = call(url, bomb, content_encoding="gzip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert answered.status == 413
    assert peak < 10_000_000
    assert "gunzip" in answered.json["message"]


def _connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=30)


def test_body_that_does_not_come(running) -> None:
    """A sender that stops half-way gets 408 and its connection closed."""
    url = running(limits=Limits(body_seconds=0.3)) + TRACES
    with _connected(url) as sender:
        sender.sendall(HEAD + b"Content-Length: 9\r\n\r\n{")
        received = b""
        while part := sender.recv(1000):
            received += part
    assert received.startswith(b"HTTP/1.1 408")


def test_head_that_does_not_come(running) -> None:
    """Nor may a request's head take for ever, however it trickles."""
    with _connected(running(limits=Limits(head_seconds=0.5))) as sender:
        sender.sendall(b"POST /v1/tra")
        time.sleep(0.2)
        sender.sendall(b"ces HTTP/1.1\r\nHo")
        assert sender.recv(100) == b""


def test_connection_that_says_nothing(running) -> None:
    """Nor is a connection kept on which nothing ever comes."""
    with _connected(running(limits=Limits(head_seconds=0.5))) as sender:
        assert sender.recv(100) == b""


def test_commit_that_takes_too_long(running, store: Store) -> None:
    """A sender does not wait for ever: 503, and what was still waiting is not stored behind its back."""
    store.gate.clear()
    url = running(limits=Limits(commit_seconds=0.3)) + TRACES
    answers = call_all([lambda: call(url, body_of(load(1, "A"))), lambda: call(url, body_of(load(2, "B")))])
    assert [answer and answer.status for answer in answers] == [503, 503]
    assert all(answer and "retry-after" in answer.headers for answer in answers)
    store.gate.set()
    assert call(url, body_of(load(3, "C"))).status == 200
    assert ["load C"] in store.commits
    assert len(store.commits) == 2


def test_too_much_at_once(running, store: Store) -> None:
    """Beyond what may be held in memory senders are told to slow down: 429 with Retry-After."""
    store.gate.clear()
    body = body_of(load())
    weight = 2 * len(body) + ELEMENT_BYTES * sum(map(body.count, (b",", b"{", b"[")))
    url = running(limits=Limits(max_memory=5 * weight // 2)) + TRACES
    first = threading.Thread(target=call, args=(url, body))
    first.start()
    assert store.entered.wait(20)
    answered = call(url, body)
    assert (answered.status, answered.headers["retry-after"]) == (429, "1")
    store.gate.set()
    first.join(20)
    assert call(url, body).status == 200


def test_token(running, store: Store) -> None:
    """Without the token nothing is read; health needs none."""
    base = running(token="correct horse battery staple")
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic Y29ycmVjdA=="}):
        answered = call(base + TRACES, body_of(load()), **headers)
        assert (answered.status, answered.headers["www-authenticate"]) == (401, "Bearer")
    assert store.tries == 0
    assert call(base + TRACES, body_of(load()), authorization="Bearer correct horse battery staple").status == 200
    assert (call(f"{base}/healthz").status, call(f"{base}/readyz").status) == (200, 200)


def test_readiness_is_asked(running) -> None:
    """/readyz is what the store says; why not stands in the log, not in the answer."""

    def ready() -> None:
        raise ConfigurationError("login failed for me")

    answered = call(f"{running(ready=ready)}/readyz")
    assert answered.status == 503
    assert b"login" not in answered.body


def test_many_requests_on_one_connection(running, store: Store) -> None:
    """Connections are kept, as a Collector keeps them."""
    import http.client

    parts = urlsplit(running())
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    for number in range(1, 6):
        connection.request("POST", TRACES, body_of(load(number)), {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())) == (200, {})
    connection.close()
    assert len(store.commits) == 5
