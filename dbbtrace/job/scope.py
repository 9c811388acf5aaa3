"""Where work happens: the run, workload and pipeline that everything inside inherits.

A scope travels in the OpenTelemetry context, so it follows threads and tasks to which the context is handed on.
Where none was (a notebook's cells, a thread pool), what the process has open decides, as far as there is no doubt.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, get_current_span, set_span_in_context

from dbbtrace.job.tally import Tally
from dbbtrace.model import attributes as key

__all__ = [
    "BLOCK",
    "PROCESS",
    "RUN",
    "WORKLOAD",
    "Place",
    "Scope",
    "any_is_open",
    "apart",
    "current_scope",
    "enclosing_scope",
    "enter",
    "innermost",
    "join_by",
    "leave",
    "parent_and_context",
    "parent_of",
    "several_runs_are_open",
]

_KEY = otel_context.create_key("dbbtrace-scope")


class Scope:
    """What an operation inherits. Never changed: an inner scope is made with ``inner()``.

    Args:
        more: any other of its values.
    """

    run_id: str
    """As rows hold it: see ``identity.normalise_run_id``."""
    trace_id: int
    parent: SpanContext
    """Span that work directly inside hangs on: the scope's own, or one of another process."""
    began_at: int
    """When this job opened, joined or began the run; nanoseconds since the Unix epoch."""
    manual: bool = False
    """The run id was made up: a run by hand."""
    nobodys: bool = False
    """Such a run's rows name no data product, to protect the platform's gate."""
    data_product: str | None = None
    environment: str | None = None
    workspace_id: str | None = None
    workload: str | None = None
    pipeline_id: str | None = None
    pipeline_run_id: str | None = None
    select: str | None = None
    """Selector of the enclosing transformation."""
    outside: Scope | None = None
    """Of a workload: the scope around it."""
    links: tuple[Link, ...] = ()
    """For spans directly inside: contexts of other traces that led here."""
    tally: Tally | None = None
    """What this job has recorded; None outside of a job's part of the run."""
    pid: int
    """Process that opened, joined or began the run; a forked child has its parent's scope."""
    _inherited: dict[str, Any]

    def __init__(self, run_id: str, trace_id: int, parent: SpanContext, began_at: int, **more: Any) -> None:
        vars(self).update(
            more, run_id=run_id, trace_id=trace_id, parent=parent, began_at=began_at, pid=os.getpid(), _inherited={}
        )

    def inner(self, **changes: Any) -> Scope:
        """This scope with changes; None changes nothing."""
        given = {name: value for name, value in changes.items() if value is not None}
        return self._but(**given, _inherited={})

    def under(self, parent: SpanContext) -> Scope:
        """The same scope for what hangs on this span."""
        return self._but(parent=parent, links=())

    def _but(self, **changes: Any) -> Scope:
        other = object.__new__(Scope)
        vars(other).update(vars(self), **changes)
        return other

    def inherited(self) -> dict[str, Any]:
        """Attributes of every span inside: run, product, environment, workspace, workload, pipeline. A copy."""
        if not self._inherited:
            pairs = {
                key.RUN_ID: self.run_id,
                key.MANUAL: self.nobodys or None,
                key.DATA_PRODUCT: self.data_product,
                key.ENVIRONMENT: self.environment,
                key.WORKSPACE_ID: self.workspace_id,
                key.WORKLOAD: self.workload,
                key.PIPELINE_ID: self.pipeline_id,
                key.PIPELINE_RUN_ID: self.pipeline_run_id,
                key.CICD_PIPELINE_RUN_ID: self.run_id,
                key.CICD_PIPELINE_NAME: f"orchestration_pipeline_{self.data_product}" if self.data_product else None,
            }
            self._inherited.update((name, value) for name, value in pairs.items() if value is not None)
        return dict(self._inherited)


class Place:
    """Where a piece of work put the context that it runs in: its scope, and the context to go back to."""

    __slots__ = ("_hangs_on", "_scope", "closed", "ended", "kind", "outer", "tally", "work")

    def __init__(
        self, scope: Scope, kind: str, outer: Context, work: object, hangs_on: SpanContext | None = None
    ) -> None:
        self._scope = scope
        self.tally = scope.tally
        """What the job around it has recorded."""
        self._hangs_on = hangs_on
        """What happens inside hangs on this span, as ``_scope`` does not say yet: in few loads anything happens."""
        self.kind = kind
        self.outer = outer
        self.work = work
        """Whose place it is; None once it has been left."""
        self.ended = False
        self.closed = False
        """Not to be gone back to: it ended, but not as the innermost of its context."""

    @property
    def scope(self) -> Scope:
        """What is inherited inside. May change: what a workload learns late is inherited from then on."""
        if (hangs_on := self._hangs_on) is not None:
            self._scope = self._scope.under(hangs_on)
            self._hangs_on = None
        return self._scope

    @scope.setter
    def scope(self, scope: Scope) -> None:
        self._scope = scope


BLOCK: Final = "block"
"""Of a ``with``: its context alone."""
WORKLOAD: Final = "workload"
"""Of a ``with``; where no context was handed on (a thread pool), operations of this workload are found inside."""
RUN: Final = "run"
"""Of a ``with``; where no context was handed on, everything is."""
PROCESS: Final = "process"
"""Of ``start()`` and ``begin_run()``: the whole process, whatever the context, until it ends."""

_opened: list[Place] = []
"""Places of this process that contexts need not know of, innermost last. Its single operations are atomic."""


def enter(scope: Scope, kind: str, span: Span | None, work: object) -> Place:
    """Make the scope and its span current for the work, that of what is around it if it has none; undone by
    ``leave``."""
    here = otel_context.get_current()
    hangs_on = span.get_span_context() if span is not None else None
    if kind == BLOCK:
        place = Place(scope, kind, here, work, hangs_on)
    else:
        place = Place(scope if hangs_on is None else scope.under(hangs_on), kind, here, work)
        _opened.append(place)
    context = set_span_in_context(NonRecordingSpan(scope.parent) if span is None else span, here)
    otel_context.attach(otel_context.set_value(_KEY, place, context))
    return place


def leave(place: Place) -> None:
    """Go back to where ``enter`` came from; whatever the order in which places are left, and in which context.

    In another context than it was entered in (another cell, a task, a thread) there may be nothing to go back from.
    """
    place.ended = True
    if place.kind != BLOCK:
        with suppress(ValueError):  # left before, in another context
            _opened.remove(place)
    if _place_in(otel_context.get_current()) is not place:
        if innermost(lambda other: other is place) is not None:
            place.closed = True
        return
    place.work = None
    back = place.outer
    while (outer := _place_in(back)) is not None and (outer.closed or _has_gone(outer)):
        back = outer.outer
    otel_context.attach(back)


def innermost(matches: Callable[[Place], bool]) -> Place | None:
    """The innermost place of this context that matches."""
    place = _place_in(otel_context.get_current())
    while place is not None and not matches(place):
        place = _place_in(place.outer)
    return place


def _standing() -> Place | None:
    """The innermost place of this context that still counts."""
    place = _place_in(otel_context.get_current())
    while place is not None and _has_gone(place):
        place = _place_in(place.outer)
    return place


def current_scope(workload: str | None = None) -> Scope | None:
    """The scope that work belongs to here and now; None where no run is open, or several are and nothing tells which.

    Args:
        workload: of the operation that asks.
    """
    place = _place_in(otel_context.get_current())
    if place is None or place.kind == PROCESS:
        place = _standing()
    if place is not None and place.kind != PROCESS:
        return place.scope
    # A cell may run in a context of its own, which knows nothing of what another cell started.
    opened = [other for other in list(_opened) if place is None or other.kind == PROCESS]
    if len({other.scope.trace_id for other in opened}) > 1:
        return place.scope if place is not None else None
    general = [other for other in opened if other.kind != WORKLOAD]
    special = [other for other in opened if other.kind == WORKLOAD and other.scope.workload == workload]
    found = special if len(special) == 1 else general
    return found[-1].scope if found else None


_join: Callable[[], Scope]
"""Joins a run for work outside any: ``runs`` says how."""


def join_by(join: Callable[[], Scope]) -> None:
    """Use this from now on, for work outside any run."""
    global _join
    _join = join


def enclosing_scope(workload: str | None = None) -> Scope:
    """``current_scope``; if there is none, that of a run joined for this work."""
    scope = current_scope(workload)
    return scope if scope is not None else _join()


def any_is_open() -> bool:
    """Whether a run, a workload or what was started for the whole process is open."""
    return bool(_opened)


def several_runs_are_open() -> bool:
    """Whether runs of different ids are open in this process."""
    return len({place.scope.trace_id for place in list(_opened)}) > 1


def parent_of(scope: Scope) -> SpanContext:
    """The parent of work in the scope: the current span if it is of the run's trace (a span of other instrumentation,
    say), otherwise the scope's own parent."""
    return parent_and_context(scope)[0]


def parent_and_context(scope: Scope) -> tuple[SpanContext, Context]:
    """The parent of work in the scope, and a context whose current span it is."""
    here = otel_context.get_current()
    current = get_current_span(here).get_span_context()
    if current.trace_id == scope.trace_id and current.is_valid:
        place = _place_in(here)
        if place is None or place.kind != PROCESS or place.scope.parent.span_id != current.span_id:
            return current, here
        # It is the span of what another cell started, where yet another may have started something inside since.
    return scope.parent, set_span_in_context(NonRecordingSpan(scope.parent), here)


def _place_in(context: Context) -> Place | None:
    return context.get(_KEY)  # type: ignore[return-value]


def _has_gone(place: Place) -> bool:
    """Whether it was of the whole process and has ended: in contexts that saw it begin, too. A block that has ended
    still says where a task or thread belongs that outlives it."""
    return place.ended and place.kind == PROCESS


@contextmanager
def apart() -> Iterator[None]:
    """While the block runs, nothing that is open outside of it is known inside; for tests."""
    before, opened = otel_context.get_current(), list(_opened)
    otel_context.attach(Context())
    _opened.clear()
    try:
        yield
    finally:
        _opened[:] = opened
        otel_context.attach(before)
