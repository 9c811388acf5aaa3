"""What a table load asks of the interpreter: calls, in the job's own thread and behind it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from dbbtrace.delivery.queue import BATCH
from dbbtrace.journal import json_lines
from tests.counting.conftest import Discard, delivery

LOADS = 100


def test_a_load_is_some_hundred_and_fifty_calls(one_load: Callable[[], None]) -> None:
    """Calls of Python functions, of OpenTelemetry's too: what most of the time of a load goes into. The same span of
    the plain SDK takes as many."""
    pytest.importorskip("orjson")
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        for _ in range(LOADS):
            one_load()
    finally:
        sys.setprofile(None)
    assert calls / LOADS < 180


def test_no_line_of_a_load_is_written_the_slow_way(
    one_load: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The standard library's JSON is for what orjson would lose; it takes ten times as long."""
    pytest.importorskip("orjson")
    slow: list[object] = []
    monkeypatch.setattr(json_lines, "_dumps_exactly", slow.append)
    one_load()
    assert not slow


def test_the_exporter_is_called_once_for_a_thousand_loads(
    one_load: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the job goes on its destinations sleep, until a batch is full."""
    taken: list[int] = []
    export = Discard.export

    def counted(self: Discard, spans: Any) -> Any:
        taken.append(len(spans))
        return export(self, spans)

    monkeypatch.setattr(Discard, "export", counted)
    for _ in range(3 * BATCH):
        one_load()
    assert delivery().force_flush()
    assert sum(taken) == 3 * BATCH
    assert len(taken) <= 6
