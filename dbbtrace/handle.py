"""One piece of work as a handle: ``with``, ``async with``, decorator, or ``start()`` and ``end()`` across cells.

Starting it starts a span under the current one, ending it ends the span with what is known by then. Never raises
into the job, never swallows or alters the job's own exception. What each kind of work says about itself stands in
``spans`` and ``runs``.
"""

from __future__ import annotations

import copy
import functools
import inspect
import os
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Status, StatusCode, set_span_in_context

from dbbtrace import attributes as key
from dbbtrace import runtime
from dbbtrace.diagnostics import complain, guard
from dbbtrace.provider import LiveSpan, now
from dbbtrace.scope import Scope, close_scope, current_scope, open_scope, parent_in, with_scope

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Handle", "error_type_of"]

F = TypeVar("F", bound=Callable[..., Any])


def error_type_of(error: BaseException) -> str:
    """``error.type`` of an exception: its class, with the module unless built in (OpenTelemetry's convention)."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


class Handle:
    """One piece of work, from its start to its end.

    Ended handles may be started again (a cell that runs again): that is new work with a span of its own.
    """

    operation: ClassVar[str] = key.OPERATION_STEP
    """Value of ``dbb.operation``."""
    _result_key: ClassVar[str] = key.CICD_TASK_RUN_RESULT

    def __init__(self, name: str, values: dict[str, Any] | None = None) -> None:
        self._name = name
        self._given = {attribute: value for attribute, value in (values or {}).items() if value is not None}
        self._values: dict[str, Any] = dict(self._given)
        self._failed: tuple[str, str] | None = None
        self._span: LiveSpan | None = None
        self._scope: Scope | None = None
        self._pid = 0
        self._open = False
        self._token: Any = None
        self._outer: Context | None = None

    # -- what a job author uses -----------------------------------------------------------------------------

    def start(self) -> Self:
        """Start the work for the whole process, until ``end()``; for notebooks, whose cells share no ``with``."""
        if self._open:
            complain(f"{self._name} is running already; start() changes nothing")
        else:
            self._begin(process_wide=True)
        return self

    def end(self, error: BaseException | None = None) -> None:
        """End the work, as failed with ``error`` if one is given. Ending it twice is harmless."""
        self._finish(error)

    def fail(self, reason: str, *, error_type: str = "Failed") -> None:
        """Mark the work as failed without an exception; ``reason`` becomes its error message."""
        self._failed = (str(error_type), str(reason))

    def save(self) -> None:
        """Put what is known so far into the journal: what a killed job leaves behind."""
        span = self._span
        if span is not None and self._open and self._pid == os.getpid():
            with guard("save a span"):
                span.put(self._values)
                runtime.current().save(span)

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

    def __enter__(self) -> Self:
        self._begin(process_wide=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._finish(error)
        return None

    async def __aenter__(self) -> Self:
        self._begin(process_wide=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._finish(error, wait=False)
        return None

    def __call__(self, function: F) -> F:
        """As decorator: every call is work of its own. Coroutines and generators are followed to their end."""
        return cast("F", _decorated(self, function))

    # -- what kinds of work define ---------------------------------------------------------------------------

    def _enclosing(self) -> Scope:
        """The scope this work happens in; a run joined on the fly where there is none."""
        scope = current_scope()
        if scope is None:
            from dbbtrace.runs import implicit_run

            scope = implicit_run()
        return scope

    def _inner(self, scope: Scope) -> Scope:
        """The scope of what happens inside."""
        return scope

    def _attributes(self, scope: Scope) -> dict[str, Any]:
        """Attributes at the start."""
        return {**scope.inherited(), key.OPERATION: self.operation, **self._values}

    def _conclude(self) -> None:
        """Set the values that are known only at the end; may ``fail()``."""

    def _ids(self, scope: Scope) -> dict[str, Any]:
        """Ids of the span where they are not random."""
        return {}

    def _after(self, *, wait: bool) -> None:
        """What follows the end of the span."""

    # -- how it goes -----------------------------------------------------------------------------------------

    def _fresh(self) -> Self:
        """A handle not yet started, with what the author gave this one."""
        other = copy.copy(self)
        Handle.__init__(other, self._name, self._given)
        return other

    def _set(self, attribute: str, value: Any) -> None:
        if self._span is not None and not self._open:
            complain(f"{self._name} has ended; {attribute} = {value!r} comes too late")
        elif value is None:
            self._values.pop(attribute, None)
        else:
            self._values[attribute] = value

    def _begin(self, *, process_wide: bool) -> None:
        if self._span is not None and not self._open:
            self._values, self._failed, self._span = dict(self._given), None, None
        with guard(f"start {self.operation}"):
            scope = self._enclosing()
            self._start_span(scope)
            self._open, self._pid = True, os.getpid()
            self._enter(process_wide)

    def _start_span(self, scope: Scope) -> None:
        """Start the span in the scope and make the inner scope."""
        span = runtime.current().provider.start_span(
            self._name,
            parent_in(scope),
            self._attributes(scope),
            start=now(),
            links=scope.links,
            **self._ids(scope),
        )
        self._span = span
        self._scope = self._inner(scope).under(span.context)

    def _enter(self, process_wide: bool) -> None:
        """Make the span and the scope current: for this context, and for the process where asked."""
        scope, span = self._scope, self._span
        assert scope is not None
        # A joined run has no span of its own; other instrumentation joins the trace all the same.
        context = set_span_in_context(span or NonRecordingSpan(scope.parent), with_scope(scope))
        if process_wide:
            open_scope(scope)
            self._outer = otel_context.get_current()
        self._token = otel_context.attach(context)

    def _leave(self) -> None:
        """Undo ``_enter``. A process-wide handle may end in another context than it began in (another cell)."""
        scope, token, outer = self._scope, self._token, self._outer
        self._token = self._outer = None
        if outer is not None:
            if scope is not None:
                close_scope(scope)
            if current_scope() is scope:
                otel_context.attach(outer)
        elif token is not None:
            otel_context.detach(token)

    def _finish(self, error: BaseException | None, *, wait: bool = True) -> None:
        if not self._open or self._pid != os.getpid():
            return  # never started, ended before, or a forked child that leaves its parent's block
        self._open = False
        try:
            with guard(f"end {self.operation}"):
                self._end_span(error)
        finally:
            with guard(f"leave {self.operation}"):
                self._leave()
                self._after(wait=wait)

    def _end_span(self, error: BaseException | None) -> None:
        span = self._span
        if span is None:
            return
        if error is not None:
            self.fail(str(error) or error_type_of(error), error_type=error_type_of(error))
            span.record_exception(error, timestamp=now())
        self._conclude()
        values = self._values
        if self._failed is not None:
            values[key.ERROR_TYPE], values[key.ERROR_MESSAGE] = self._failed
            span.set_status(Status(StatusCode.ERROR, self._failed[1]))
        values.setdefault(self._result_key, _result(error, self.failed))
        span.put(values)
        span.end(now())


def _result(error: BaseException | None, failed: bool) -> str:
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "CancelledError":  # asyncio's, or trio's like
        return "cancellation"
    if error is not None:
        return "error"
    return "failure" if failed else "success"


def _decorated(handle: Handle, function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            async with handle._fresh():
                return await function(*args, **kwargs)

        return coroutine
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def async_generator(*args: Any, **kwargs: Any) -> Any:
            async with handle._fresh():
                async for item in function(*args, **kwargs):
                    yield item

        return async_generator
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generator(*args: Any, **kwargs: Any) -> Any:
            with handle._fresh():
                return (yield from function(*args, **kwargs))

        return generator

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with handle._fresh():
            return function(*args, **kwargs)

    return call
