"""What a span costs in memory, while it waits and once it is delivered."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from dbbtrace.delivery.own_log import CACHED
from dbbtrace.delivery.queue import BATCH
from tests.counting.conftest import Discard, delivery

SPANS = 500


@pytest.fixture
def traced() -> Iterator[None]:
    """Allocations are traced, and none is freed by chance."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.enable()


def test_a_waiting_span_is_a_few_blocks(one_load: Callable[[], None], traced: None) -> None:
    """Kept for each span that is not delivered yet: about 1.8 kB in 18 blocks, most of it its attributes."""
    before = tracemalloc.take_snapshot()
    for _ in range(SPANS):
        one_load()
    grown = tracemalloc.take_snapshot().compare_to(before, "filename")
    ours = [each for each in grown if "tracemalloc" not in each.traceback[0].filename]
    assert sum(each.count_diff for each in ours) / SPANS < 26
    assert sum(each.size_diff for each in ours) / SPANS < 2_600


def spans_alive() -> int:
    """How many finished spans this process holds."""
    return sum(type(each) is ReadableSpan for each in gc.get_objects())


def test_few_spans_are_held_however_many_wait(one_load: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch in hand and two that wait; of a destination that does not keep up only the one in hand. The others stand
    in the journal alone."""
    before = spans_alive()
    asleep = threading.Event()
    monkeypatch.setattr(Discard, "export", lambda self, spans: asleep.wait() and SpanExportResult.SUCCESS)
    held = []
    try:
        for _ in range(7):
            for _ in range(BATCH):
                one_load()
            held.append(spans_alive() - before)
    finally:
        asleep.set()
    assert max(held) <= CACHED + BATCH + 10
    assert held[-1] <= BATCH + 10


def test_a_delivered_span_keeps_nothing(one_load: Callable[[], None], traced: None) -> None:
    """Once it is delivered, a span has left no more than a trace of itself."""
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(SPANS):
        one_load()
    assert delivery().force_flush()
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    assert (after - before) / SPANS < 500


BURST = """
import resource, sys
import dbbtrace
dbbtrace.configure(warehouse="mssql://nowhere.invalid/dw", journal_dir=sys.argv[1], rows_timeout=0)
loads = int(sys.argv[2])
with dbbtrace.orchestration_run("0f8fad5b-d9cb-469f-a165-70867728950e"), dbbtrace.integration():
    for number in range(1, loads + 1):
        with dbbtrace.table_load("Customer", schema="mds") as load:
            load.rows_written = number
        if number in (loads // 20, loads):
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
"""


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no resource module")
def test_memory_is_flat_in_a_burst_of_a_million_spans(tmp_path: Path) -> None:
    """The warehouse is down meanwhile: all of them wait in the journal, on disk."""
    command = [sys.executable, "-c", BURST, str(tmp_path / "journal"), "1000000"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=3_000).stdout
    early, late = map(int, told.split())
    assert late < early * 1.1
