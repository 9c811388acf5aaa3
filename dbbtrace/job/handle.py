"""One piece of work as a handle: ``with``, ``async with``, decorator, or ``start()`` and ``end()`` across cells.

Starting it starts a span under the current one, ending it ends the span with what is known by then. Never raises
into the job, never swallows or alters the job's own exception. What each kind of work says about itself is in
``operations`` and ``runs``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from opentelemetry.trace import Link, Status, StatusCode

from dbbtrace.diagnostics import complain, guard
from dbbtrace.job.scope import (
    BLOCK,
    PROCESS,
    Place,
    Scope,
    enclosing_scope,
    enter,
    innermost,
    leave,
    parent_and_context,
)
from dbbtrace.job.values import Value, error_type_of, is_empty, message_of, shown
from dbbtrace.model import attributes as key
from dbbtrace.model.masking import masked_input
from dbbtrace.tracing import runtime
from dbbtrace.tracing.provider import LiveSpan, now

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue
    from typing_extensions import Self

__all__ = ["Handle"]

F = TypeVar("F", bound=Callable[..., Any])

_starting = threading.Lock()
"""Held while a handle is taken for one piece of work: two threads may enter it at once."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_starting.acquire, after_in_parent=_starting.release, after_in_child=_starting.release)


class Handle:
    """One piece of work, from its start to its end.

    Entered or started again, by a cell that runs again or by another thread, it is new work with a span of its own.
    """

    operation: ClassVar[str] = key.OPERATION_STEP
    """Value of ``dbb.operation``."""
    _workload: ClassVar[str | None] = None
    """Workload that the work belongs into where no context tells."""
    _block: ClassVar[str] = BLOCK
    """Kind of place that a ``with`` makes."""

    _may_end_early: ClassVar[bool] = False
    """Whether ``sys.exit(0)`` inside is a good end."""

    _announced: ClassVar[bool] = False
    """Whether a warehouse is told that it has started."""

    _settable: ClassVar[dict[str, Value[Any]]] = {}
    """The values that an author may set, by name."""

    _checked: ClassVar[bool] = True
    """Whether all its attributes are values that were checked where they were written."""

    _name: str
    _given: dict[str, Any]
    _values: dict[str, Any]
    # The state before the first start; once it has started, the handle's own __dict__ has it.
    _failed: tuple[str, str] | None = None
    _span: LiveSpan | None = None
    _place: Place | None = None
    _open: bool = False
    _in_block: bool = False
    """Whether a ``with`` is to end it."""
    _pid: int = 0
    _origin: Handle | None = None
    """The handle that a ``with`` names, if this one was made for another entry of it."""
    _stands_alone: bool = True
    """Whether there never was another entry while it ran."""

    def __init__(self, name: str, values: dict[str, Any] | None = None) -> None:
        given = {attribute: value for attribute, value in (values or {}).items() if value is not None}
        self.__dict__.update(_name=name, _given=given, _values=given.copy())

    def __init_subclass__(cls) -> None:
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Value)}
        cls._settable = {**cls._settable, **own}

    def _forget(self) -> None:
        """Be as before the first start."""
        for name in ("_failed", "_span", "_place", "_open", "_in_block", "_pid"):
            self.__dict__.pop(name, None)
        self._values = self._given.copy()

    if not TYPE_CHECKING:  # type checkers know better than to let any name pass
        # Every assignment goes through here, so what each piece of work sets is put into __dict__ instead.

        def __setattr__(self, name: str, value: object) -> None:
            settable = self._settable.get(name)
            if settable is not None:
                settable.__set__(self, value)
            elif name[:1] == "_":
                object.__setattr__(self, name, value)
            else:
                complain(f"{name} = {shown(value)} is left out: {self._name} has no such value to set")

    # -- what a job author uses -----------------------------------------------------------------------------

    def start(self) -> Self:
        """Start the work for the whole process, until ``end()``; for notebooks, whose cells share no ``with``."""
        if self._take(in_block=False):
            self._begin(PROCESS)
        else:
            complain(f"{self._name} is running already; start() changes nothing")
        return self

    def end(self, error: BaseException | None = None) -> None:
        """End the work, as failed with ``error`` if one is given. Ending it twice is harmless."""
        if self._finish(error):
            self._after()

    def fail(self, reason: object, *, error_type: str = "Failed") -> None:
        """Mark the work as failed without an exception; ``reason`` becomes its error message."""
        kind = message_of(error_type).strip() or "Failed"
        self._failed = (kind, kind if is_empty(reason) else masked_input(message_of(reason).strip()) or kind)

    def save(self) -> None:
        """Put what is known so far into the journal: what a killed job leaves behind."""
        span = self._span
        if span is not None and self._is_running():
            with guard("save a span"):
                span.put(self._values.copy(), checked=self._checked)  # another thread may set one meanwhile
                runtime.current().save(span)

    def set_attribute(self, name: str, value: AttributeValue) -> None:
        """Set an attribute of your own on the span. Those of a step are in the run's own record too."""
        if self._span is not None and self._is_running():
            self._span.set_attribute(name, value)
        else:
            complain(f"{name} = {shown(value)} is left out: {self._name} is not running")

    @property
    def failed(self) -> bool:
        """Whether the work is marked as failed, by an exception or by ``fail()``."""
        return self._failed is not None

    @property
    def span(self) -> LiveSpan | None:
        """The OpenTelemetry span; None before the start."""
        return self._span

    @property
    def span_id(self) -> str | None:
        """Span id, 16 hex digits; None before the start."""
        return f"{self._span.context.span_id:016x}" if self._span is not None and self._span.context else None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name}>"

    def __enter__(self) -> Self:
        return self._enter_block()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        work = self._entered()
        if work._finish(error):
            work._after()
        return None

    async def __aenter__(self) -> Self:
        return self._enter_block()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        work = self._entered()
        if work._finish(error):
            await work._after_async()
        return None

    def __call__(self, function: F) -> F:
        """As decorator: every call is work of its own. Coroutines and generators are followed to their end."""
        from dbbtrace.job.decorate import decorated

        return decorated(self._fresh, function)

    def __getstate__(self) -> dict[str, Any]:
        """A copy, pickled or not, is a handle that has not started: the work stays where it is."""
        if self._is_running():
            complain(f"{self._name} is copied while it runs: what the copy is told does not reach it")
        return vars(self._fresh())

    # -- what kinds of work define ---------------------------------------------------------------------------

    def _enclosing(self) -> Scope:
        """The scope this work happens in; a run joined on the fly if there is none."""
        return enclosing_scope(self._workload)

    def _announce(self, scope: Scope, span_id: int, start: int) -> None:
        """Tell of the start, before the span with this id starts."""

    def _inner(self, scope: Scope) -> Scope:
        """The scope of what happens inside."""
        return scope

    def _attributes(self, scope: Scope) -> dict[str, Any]:
        """Attributes at the start."""
        attributes = scope.inherited()
        attributes[key.OPERATION] = self.operation
        attributes.update(self._values)
        return attributes

    def _links(self, scope: Scope) -> tuple[Link, ...]:
        """What its span links to."""
        return scope.links

    def _conclude(self) -> None:
        """Set the values that are known only at the end; may ``fail()``."""

    def _result_key(self) -> str:
        """Attribute that says how the work ended, in OpenTelemetry's words."""
        return key.CICD_TASK_RUN_RESULT

    def _after(self) -> None:
        """What follows the end of the work."""

    async def _after_async(self) -> None:
        """The same, without holding up the event loop."""
        self._after()

    # -- how it goes -----------------------------------------------------------------------------------------

    def _is_running(self) -> bool:
        """Whether it has started, here: a forked child does not go on with its parent's work."""
        return self._open and self._pid == os.getpid()

    def _take(self, *, in_block: bool) -> bool:
        """Be the handle of a new piece of work; False if it is one already."""
        with _starting:
            if self._is_running():
                return False
            if self._place is not None:
                self._forget()
            self.__dict__.update(_open=True, _pid=os.getpid(), _in_block=in_block)
            return True

    def _fresh(self) -> Self:
        """A handle not yet started, with what the author gave this one."""
        other = object.__new__(type(self))
        other.__dict__.update(vars(self), _origin=None, _stands_alone=True)
        other._forget()
        return other

    def _again(self) -> Self:
        """The handle of another entry while this one runs."""
        other = self._fresh()
        other._origin, self._stands_alone = self, False
        other._take(in_block=True)
        return other

    def _set(self, attribute: str, value: Any) -> None:
        if self._place is not None and not self._open:
            complain(f"{self._name} has ended; {attribute} = {value!r} is ignored")
        elif value is None:
            if self._values.pop(attribute, None) is not None and self._place is not None and self._span is not None:
                self._span.take_back(attribute, self._attributes(self._place.scope).get(attribute))
        else:
            self._values[attribute] = value

    def _enter_block(self) -> Self:
        work = self
        if not self._take(in_block=True):
            if not self._in_block:  # with load.start(): the block is to end it
                self._in_block = True
                return self
            work = self._again()
        work._begin(work._block)
        return work

    def _entered(self) -> Handle:
        """The work that the innermost ``with`` of this handle in this context began."""
        if self._stands_alone:
            return self
        place = innermost(lambda place: place.work is self or getattr(place.work, "_origin", None) is self)
        return cast("Handle", place.work) if place is not None else self

    def _begin(self, kind: str) -> None:
        try:
            try:
                self._enter(self._start_span(self._enclosing()), kind)
            except Exception:
                with guard(f"start {self.operation}"):
                    raise
        except BaseException as error:  # Ctrl-C, say: the block is not entered, so nothing would end the span
            self._finish(error)
            raise

    def _start_span(self, scope: Scope) -> Scope:
        """Start the span in the scope; returns the scope inside, but for the span that it hangs on."""
        parent, context = parent_and_context(scope)
        start, span_id = now(), None
        if self._announced:
            span_id = runtime.current().provider.ids.new_span_id()
            self._announce(scope, span_id, start)
        self.__dict__["_span"] = runtime.current().provider.start_span(
            self._name,
            context,
            self._attributes(scope),
            start=start,
            checked=self._checked,
            parent=parent,
            span_id=span_id,
            links=self._links(scope),
        )
        return self._inner(scope)

    def _enter(self, scope: Scope, kind: str) -> None:
        """Make the scope and its span current."""
        self.__dict__["_place"] = enter(scope, kind, self._span, self)

    def _finish(self, error: BaseException | None) -> bool:
        """End the work and leave its place; False where that was done before."""
        error = self._failure(error)
        ends = self._is_running()
        self.__dict__["_open"] = False
        try:
            if ends and self._span is not None:
                self._end_span(self._span, error)
        except Exception:
            with guard(f"end {self.operation}"):
                raise
        finally:
            # Also what ended elsewhere: in another thread, or, where a forked child leaves its parent's block, never.
            if self._place is not None:
                try:
                    self._leave(self._place)
                except Exception:
                    with guard(f"leave {self.operation}"):
                        raise
        return ends

    def _failure(self, error: BaseException | None) -> BaseException | None:
        """What it failed with. A run and its workloads don't fail where the program ends in good order."""
        is_good = self._may_end_early and isinstance(error, SystemExit) and error.code in (None, 0)
        return None if is_good else error

    def _leave(self, place: Place) -> None:
        """Undo ``_enter``, as far as that is not done yet."""
        leave(place)

    def _end_span(self, span: LiveSpan, error: BaseException | None) -> None:
        try:
            if error is not None:
                self._fail_with(error)
            self._conclude()
        finally:
            values = self._values.copy()
            failed = self._failed is not None
            values.setdefault(self._result_key(), "success" if error is None and not failed else _result(error, failed))
            if self._failed is not None:
                values[key.ERROR_TYPE], values[key.ERROR_MESSAGE] = self._failed
                span.set_status(Status(StatusCode.ERROR, self._failed[1]))
            span.put(values, checked=self._checked)
            span.end(max(now(), span.start_time or 0))  # the clock may have been set back

    def _fail_with(self, error: object) -> None:
        self.fail(error, error_type=error_type_of(error) if isinstance(error, BaseException) else "Failed")
        if self._span is not None and isinstance(error, BaseException):
            with guard("record an exception"):
                self._span.record_exception(error, timestamp=now())


def _result(error: BaseException | None, failed: bool) -> str:
    """``cicd.pipeline.task.run.result``; its ``error`` would be a fault of the platform, such as a killed process."""
    name = type(error).__name__
    if isinstance(error, (KeyboardInterrupt, GeneratorExit)) or name in ("CancelledError", "Cancelled"):
        return "cancellation"
    if isinstance(error, TimeoutError) or name == "TimeoutError":  # asyncio's own, before Python 3.11
        return "timeout"
    return "failure" if failed else "success"
