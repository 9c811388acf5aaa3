"""For tests of jobs: what was recorded, with a clock and ids that repeat.

    from dbbtrace.testing import capture

    with capture() as captured:
        run_my_job()
    assert captured.operations("table_load")[0].attributes["dbb.rows.written"] == 10

Nothing leaves the process, whatever the job configures: no journal, no warehouse, no backend.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from dbbtrace.diagnostics import set_strict
from dbbtrace.job.process_runs import nothing_begun
from dbbtrace.model import attributes as key
from dbbtrace.model.times import NANOS
from dbbtrace.settings import resolve
from dbbtrace.tracing import provider as providers
from dbbtrace.tracing import runtime

if TYPE_CHECKING:
    from dbbtrace.delivery import Delivery

__all__ = ["Captured", "IncrementalIds", "TimeGenerator", "capture"]

START = 1_764_000_000 * NANOS
"""2025-11-24 16:00:00 UTC, where a TimeGenerator starts."""


class TimeGenerator:
    """A clock that moves on by ``step`` seconds each time it is read; nanoseconds since the Unix epoch."""

    def __init__(self, start: int = START, step: float = 1.0) -> None:
        self._next = start
        self._step = int(step * NANOS)
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            moment = self._next
            self._next += self._step
            return moment

    def advance(self, seconds: float) -> None:
        """Move the clock on."""
        with self._lock:
            self._next += int(seconds * NANOS)


class IncrementalIds:
    """Span ids 1, 2, 3, ... in the order in which spans start."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            self._last += 1
            return self._last


class Captured(SpanProcessor):
    """What was recorded; takes the place of the delivery."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        """Spans that have ended, in the order of their ends."""
        self.started: list[ReadableSpan] = []
        """Spans that have started, in the order of their starts; facts are not among them."""
        self.parts: list[ReadableSpan] = []
        """The run's own record, which only warehouses get: what has started, what is expected, the jobs."""
        self.flushes: list[float] = []
        """Timeouts of the flushes asked for, in seconds."""
        self.exit_timeout = 0.0
        self._claimed: set[str] = set()

    takes_all = True
    """Spans that give no row are recorded too."""

    def operations(self, operation: str) -> list[ReadableSpan]:
        """Ended spans whose ``dbb.operation`` is this one."""
        return [span for span in self.spans if (span.attributes or {}).get(key.OPERATION) == operation]

    def named(self, name: str) -> ReadableSpan:
        """The ended span of this name; an error if there is none, or more than one."""
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.started.append(span)

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)

    def save(self, span: ReadableSpan) -> None:
        """Nothing to keep: nothing survives a captured job."""

    def emit(self, spans: Sequence[ReadableSpan]) -> None:
        """Take facts; each span once, as a warehouse would."""
        self.spans += [span for span in spans if (span.attributes or {}).get(key.AUDIENCE) != key.FOR_SPANS]

    def start_part(self, span: ReadableSpan) -> None:
        """That the job has started is in ``parts`` already."""

    def end_part(self, span: ReadableSpan) -> None:
        """The job has ended."""
        self.parts.append(span)

    def emit_parts(self, spans: Sequence[ReadableSpan]) -> None:
        """Take facts about the run itself."""
        self.parts.extend(spans)

    def make_room(self, timeout: float) -> bool:
        """There is room."""
        return True

    def claim(self, name: str) -> bool:
        """True for the first caller of this name."""
        first = name not in self._claimed
        self._claimed.add(name)
        return first

    def flush(self, timeout: float) -> bool:
        """Nothing waits."""
        self.flushes.append(timeout)
        return True

    def try_again(self) -> None:
        """Nothing has stopped."""

    def forget_losses(self) -> None:
        """Nothing is lost."""

    def shutdown(self, timeout: float = 0.0) -> None:
        """Nothing to stop."""


@contextmanager
def capture(*, strict: bool = True, clock: TimeGenerator | None = None) -> Iterator[Captured]:
    """Record into memory while the block runs, whatever was configured; then put everything back.

    Args:
        strict: raise what is otherwise logged: values that make no sense, and faults of dbbtrace's own.
        clock: default a TimeGenerator that moves on a second each time it is read.
    """
    captured = Captured()
    provider = providers.Provider("dbbtrace-test")
    provider.processor = captured
    provider.ids.new_span_id = IncrementalIds()
    settings = resolve(warehouse="none", strict=strict)
    arguments = {"warehouse": "none", "strict": strict}
    before, was_strict = runtime.installed(), set_strict(strict)
    providers.set_clock(clock or TimeGenerator())
    try:
        with nothing_begun():
            runtime.install(runtime.Runtime(settings, provider, cast("Delivery", captured), arguments, held=True))
            yield captured
    finally:
        runtime.install(before)
        providers.set_clock(None)
        set_strict(was_strict)
