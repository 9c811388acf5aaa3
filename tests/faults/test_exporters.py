"""Whatever an exporter raises or answers, what it was given is delivered when it behaves again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

import dbbtrace

SPANS = 40


class Odd(SpanExporter):
    """Misbehaves while it is told to, and keeps what it takes."""

    def __init__(self, behave: Callable[[], Any]) -> None:
        self.behave: Callable[[], Any] | None = behave
        self.taken: list[str] = []
        self.asked = 0

    def export(self, spans: Sequence[ReadableSpan]) -> Any:
        self.asked += 1
        if self.behave is not None:
            return self.behave()
        self.taken += [span.name for span in spans]
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


class Group(BaseException):
    """Of no class that anybody expects."""


def raises(error: BaseException) -> Callable[[], Any]:
    def behave() -> Any:
        raise error

    return behave


EXCEPTIONS: list[BaseException] = [
    RuntimeError("broken"),
    KeyError("missing"),
    OSError(5, "Input/output error"),
    MemoryError(),
    RecursionError(),
    SystemExit(1),
    KeyboardInterrupt(),
    GeneratorExit(),
    StopIteration(),
    asyncio.CancelledError(),
    AssertionError(),
    UnicodeEncodeError("ascii", "é", 0, 1, "no"),
    Group(),
    Exception(),
]


class Falsy:
    """An answer that can't even be looked at."""

    def __bool__(self) -> bool:
        raise ValueError("no truth")

    def __eq__(self, other: object) -> bool:
        raise ValueError("no equal")

    __hash__ = object.__hash__

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


ANSWERS: list[Any] = [
    *(None, True, False, 0, 1, "SUCCESS", b"", (), object(), Falsy()),
    SpanExportResult,
    SpanExportResult.FAILURE,
]
BEHAVIOURS = {type(error).__name__: raises(error) for error in EXCEPTIONS} | {
    f"answer {number}": (lambda answer=answer: answer) for number, answer in enumerate(ANSWERS)
}


@pytest.mark.parametrize("behave", BEHAVIOURS.values(), ids=BEHAVIOURS)
def test_nothing_is_lost_to_an_exporter_that_misbehaves(tmp_path: Path, behave: Callable[[], Any]) -> None:
    """``force_flush`` is False while spans are not taken; once the exporter behaves, all of them are."""
    exporter = Odd(behave)
    processor = dbbtrace.DurableSpanProcessor(exporter, tmp_path / "journal", name="odd")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("test")
    for number in range(SPANS):
        tracer.start_span(f"span {number}").end()
    assert processor.force_flush(500) is False
    assert exporter.asked
    exporter.behave = None
    assert processor.force_flush(60_000) is True
    assert {f"span {number}" for number in range(SPANS)} <= set(exporter.taken)
    processor.shutdown()


@pytest.mark.parametrize(
    "error", [SystemExit(2), MemoryError(), RuntimeError("once")], ids=lambda error: type(error).__name__
)
def test_nothing_is_lost_to_one_bad_moment(tmp_path: Path, error: BaseException) -> None:
    """An exception in the middle of a run, once, costs nothing."""
    calls = 0

    def once() -> Any:
        nonlocal calls
        calls += 1
        exporter.behave = None
        raise error

    exporter = Odd(once)
    processor = dbbtrace.DurableSpanProcessor(exporter, tmp_path / "journal", name="odd")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("test")
    for number in range(SPANS):
        tracer.start_span(f"span {number}").end()
    assert processor.force_flush(60_000) is True
    assert calls == 1
    assert {f"span {number}" for number in range(SPANS)} <= set(exporter.taken)
    processor.shutdown()
