"""What the receiver asks for: of protobuf, of Python and of the warehouse."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dbbtrace_exporters.receiver import protobuf
from dbbtrace_exporters.receiver.commit import GroupCommit
from dbbtrace_exporters.receiver.protobuf import spans_of_protobuf
from dbbtrace_exporters.warehouse.exporter import WarehouseSpanExporter
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan

from tests.warehouse.spans import RUN, load, span

SPANS = 200


def body_of(spans: list[ReadableSpan]) -> bytes:
    """As an SDK sends them."""
    return bytes(encode_spans(spans).SerializeToString())


class Counted:
    """Stands for what has a constructor or parser, and counts how often it is asked."""

    def __init__(self, real: Any) -> None:
        self.real, self.times = real, 0

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.times += 1
        return self.real(*args, **options)

    def FromString(self, raw: bytes) -> Any:  # noqa: N802 - protobuf's name
        self.times += 1
        return self.real.FromString(raw)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], Counted]:
    """Count what is asked of an owner's attribute."""

    def count(owner: Any, name: str) -> Counted:
        counter = Counted(getattr(owner, name))
        monkeypatch.setattr(owner, name, counter)
        return counter

    return count


def test_texts_and_numbers_are_read_without_a_message_each(counted, monkeypatch) -> None:
    """Protobuf parses a piece of many spans at once; only an attribute out of the ordinary is a message of its own."""
    body = body_of([load(span_id=number + 1) for number in range(SPANS)])
    messages = [counted(protobuf.common_pb2, name) for name in ("KeyValue", "AnyValue")]
    whole, quick = [[Counted(kind) for kind in kinds] for kinds in (protobuf._WHOLE, protobuf._QUICK)]
    monkeypatch.setattr(protobuf, "_WHOLE", whole)
    monkeypatch.setattr(protobuf, "_QUICK", quick)
    spans, faults = spans_of_protobuf(body)
    assert (len(spans), faults, sum(kind.times for kind in whole)) == (SPANS, [], 0)
    assert sum(kind.times for kind in quick) <= 2 + len(body) // (60 << 10)
    assert [message.times for message in messages] == [0, 0]
    with_list = load(span_id=1)
    with_list._attributes = {**(with_list.attributes or {}), "list": ("a", "b")}
    spans_of_protobuf(body_of([with_list]))
    assert sum(message.times for message in messages) == 1


def test_what_comes_again_is_split_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run, product, environment: of the second span on only what is its own is looked at."""
    missing = protobuf._Pairs.__missing__
    split: list[bytes] = []

    def noted(self: Any, raw: bytes) -> Any:
        split.append(raw)
        return missing(self, raw)

    monkeypatch.setattr(protobuf._Pairs, "__missing__", noted)
    monkeypatch.setattr(protobuf, "_pair_of", protobuf._Pairs().__getitem__)
    texts = {f"text {number}": f"always {number}" for number in range(20)}
    spans_of_protobuf(body_of([span({**texts, "own": f"{number}"}) for number in range(SPANS)]))
    assert len(split) == 20 + SPANS


def test_a_span_that_gives_no_row_is_not_made(counted) -> None:
    """Steps and foreign spans are checked and passed by."""
    body = body_of([span({"dbb.operation": "step"}, span_id=number + 1) for number in range(SPANS)])
    made = counted(protobuf, "ReadableSpan")
    assert spans_of_protobuf(body) == ([], [])
    assert made.times == 0


@pytest.fixture
def exporter() -> Iterator[WarehouseSpanExporter]:
    """Into a warehouse that stands."""
    exporter = WarehouseSpanExporter("sqlite:///a.db")
    exporter.deliver([load(span_id=1)])
    yield exporter
    exporter.shutdown()


def test_a_burst_is_one_transaction(exporter: WarehouseSpanExporter) -> None:
    """Forty requests that come while one is written are one commit, however large their spans."""
    asked: list[str] = []
    exporter.warehouse._connection.set_trace_callback(lambda sql: asked.append(sql.split()[0]))
    writing, gate = threading.Event(), threading.Event()

    def store(spans: Any) -> None:
        writing.set()
        assert gate.wait(60)
        exporter.deliver(spans)

    commit = GroupCommit(store)
    futures = [commit.submit([load(span_id=2)])]
    assert writing.wait(60)
    futures += [commit.submit([load(span_id=100 * n + k) for k in range(1, 51)]) for n in range(1, 41)]
    gate.set()
    assert [future.result(60) for future in futures] == [[]] * 41
    commit.close(60)
    assert (asked.count("BEGIN"), asked.count("COMMIT")) == (2, 2)
    rows = exporter.warehouse.query(
        "SELECT COUNT(*) FROM meta.monitoring_integration WHERE orchestration_run_id = ?", [RUN]
    )
    assert rows.rows == [(2002,)]


def test_garbage_is_looked_for_seldom() -> None:
    """The command has Python pass by what stood at its start, and wait until much has piled up."""
    code = (
        "import gc, os, signal, threading\n"
        "from dbbtrace.cli import serve\n"
        "settle = serve._settle\n"
        "def settled():\n"
        "    settle()\n"
        "    print(gc.get_freeze_count() > 10_000, gc.get_threshold()[0], flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "serve._settle = settled\n"
        "serve.serve(['--http', '127.0.0.1:0'], standalone_mode=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.split() == ["True", "50000"], done.stderr
