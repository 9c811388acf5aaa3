"""Where work happens: the run, workload and pipeline that everything inside inherits.

A scope travels in the OpenTelemetry context, so it follows threads and tasks to which the context is handed on.
A notebook's cells don't share a context: what ``begin_run()`` and ``start()`` open is kept for the process.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, get_current_span, set_span_in_context

from dbbtrace import attributes as key

__all__ = ["Scope", "close_scope", "current_scope", "open_scope", "parent_in", "with_scope"]

_KEY = otel_context.create_key("dbbtrace-scope")


@dataclass(frozen=True)
class Scope:
    """What an operation inherits. Frozen: an inner scope is made with ``inner()``."""

    run_id: str
    """As rows hold it: see ``identity.normalise_run_id``."""
    trace_id: int
    parent: SpanContext
    """Span that work directly inside hangs on: the scope's own, or one of another process."""
    began_at: int
    """When this job opened, joined or began the run; nanoseconds since the Unix epoch."""
    manual: bool = False
    """The run id was made up: a run by hand."""
    data_product: str | None = None
    environment: str | None = None
    workspace_id: str | None = None
    workload: str | None = None
    pipeline_id: str | None = None
    pipeline_run_id: str | None = None
    select: str | None = None
    """Selector of the enclosing transformation."""
    links: tuple[Link, ...] = ()
    """For spans directly inside: contexts of other traces that led here."""
    _inherited: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def inner(self, **changes: Any) -> Scope:
        """This scope with changes; None changes nothing."""
        return replace(self, _inherited={}, **{name: value for name, value in changes.items() if value is not None})

    def under(self, parent: SpanContext) -> Scope:
        """The same scope for what hangs on this span."""
        inner = object.__new__(Scope)
        inner.__dict__.update(self.__dict__, parent=parent, links=())  # ``replace`` takes six times as long
        return inner

    def inherited(self) -> dict[str, Any]:
        """Attributes of every span inside: run, product, environment, workspace, workload, pipeline. A copy."""
        if not self._inherited:
            pairs = {
                key.RUN_ID: self.run_id,
                key.MANUAL: self.manual or None,
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


_lock = threading.Lock()
_opened: list[Scope] = []
"""Scopes open in this process, innermost last: the fallback where no context carries one (notebook cells, threads)."""


def open_scope(scope: Scope) -> None:
    """Make the scope known to the whole process, until ``close_scope``."""
    with _lock:
        _opened.append(scope)


def close_scope(scope: Scope) -> None:
    """Take the scope back; whatever the order in which scopes end."""
    with _lock:
        for index in range(len(_opened) - 1, -1, -1):
            if _opened[index] is scope:
                del _opened[index]
                return


def current_scope(context: Context | None = None) -> Scope | None:
    """The scope of this context; failing that, the innermost the process has open if all belong to one run."""
    scope = otel_context.get_value(_KEY, context)
    if isinstance(scope, Scope):
        return scope
    with _lock:
        if _opened and all(other.trace_id == _opened[-1].trace_id for other in _opened):
            return _opened[-1]
    return None


def with_scope(scope: Scope, context: Context | None = None) -> Context:
    """A context that carries the scope."""
    return otel_context.set_value(_KEY, scope, context)


def parent_in(scope: Scope, context: Context | None = None) -> Context:
    """A context whose current span is the parent for work in this scope: the current span if it is of the run's
    trace (a span of other instrumentation, say), otherwise the scope's own parent."""
    current = get_current_span(context).get_span_context()
    if current.is_valid and current.trace_id == scope.trace_id:
        return context if context is not None else otel_context.get_current()
    return set_span_in_context(NonRecordingSpan(scope.parent), context)
