"""Runs: opened here, joined from another process, or begun in a notebook.

The run id alone decides the trace (see ``identity``). The process that opens a run emits its root span, once;
all others hang their spans on a root they have not seen.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, TraceFlags, get_current_span

from dbbtrace import attributes as key
from dbbtrace import identity, runtime
from dbbtrace.diagnostics import complain, guard, log
from dbbtrace.handle import Handle
from dbbtrace.parameters import pick
from dbbtrace.provider import now
from dbbtrace.scope import Scope, close_scope, current_scope, open_scope
from dbbtrace.settings import Settings, traceparent
from dbbtrace.values import checked, guid, text

__all__ = [
    "Run",
    "begin_run",
    "child_environment",
    "forget_runs",
    "implicit_run",
    "join_run",
    "orchestration_run",
    "scope_for",
]

_lock = threading.Lock()
_begun: Run | None = None
_implicit: dict[str, Run] = {}
"""Runs that work without a ``with`` joined on the fly, by the run id of the environment ('' when made up)."""

_EXPORTED = {
    "DBBTRACE_ORCHESTRATION_RUN_ID": "run_id",
    "DBBTRACE_DATA_PRODUCT": "data_product",
    "DBBTRACE_ENVIRONMENT": "environment",
    "DBBTRACE_WORKSPACE_ID": "workspace_id",
}
"""What child processes are told, and which field of the scope it is."""


class Run(Handle):
    """An orchestration run as this process takes part in it; made by ``orchestration_run`` and its like."""

    operation = key.OPERATION_RUN
    _result_key = key.CICD_PIPELINE_RESULT

    def __init__(self, run_id: object, options: dict[str, Any], *, opens: bool) -> None:
        super().__init__("orchestration_run")
        self._options = options
        self._opens = opens
        self._asked_for = run_id
        self._outermost = False
        self._root = False
        self._environment: dict[str, str | None] | None = None

    @property
    def run_id(self) -> str:
        """The orchestration_run_id, as rows hold it; '' before the start."""
        return self._scope.run_id if self._scope is not None else ""

    @property
    def trace_id(self) -> str:
        """The trace id, 32 hex digits; '' before the start."""
        return f"{self._scope.trace_id:032x}" if self._scope is not None else ""

    @property
    def manual(self) -> bool:
        """Whether dbbtrace made the run id up: a run by hand."""
        return self._scope is not None and self._scope.manual

    def _fresh(self) -> Run:
        return Run(self._asked_for, self._options, opens=self._opens)

    def _enclosing(self) -> Scope:
        outer = current_scope()
        scope = make_scope(self._asked_for, **self._options)
        self._outermost = outer is None or outer.trace_id != scope.trace_id
        if outer is not None and not self._outermost:
            return outer.inner(
                data_product=scope.data_product,
                environment=scope.environment,
                workspace_id=scope.workspace_id,
            )
        return scope

    def _start_span(self, scope: Scope) -> None:
        opens = self._opens or scope.manual
        self._root = opens and runtime.current().delivery.claim(f"root-{scope.trace_id:032x}")
        if self._root:
            self._name = f"orchestration_run {scope.data_product or scope.run_id}"
            root = identity.root_span_id(scope.trace_id)
            self._span = runtime.current().provider.start_span(
                self._name,
                Context(),  # no parent: this is the root
                self._attributes(scope),
                start=now(),
                trace_id=scope.trace_id,
                span_id=root,
                links=scope.links,
            )
            self._scope = scope.under(self._span.context)
        elif opens:
            super()._start_span(scope)  # the root has been emitted: a cell run again, or a run opened twice
        else:
            self._span, self._scope = None, scope

    def _attributes(self, scope: Scope) -> dict[str, Any]:
        attributes = super()._attributes(scope)
        if not self._root:
            attributes[key.OPERATION] = key.OPERATION_STEP
        return attributes

    def _enter(self, process_wide: bool) -> None:
        super()._enter(process_wide)
        assert self._scope is not None
        if not process_wide:
            open_scope(self._scope)  # for threads to which no context is handed on
        if self._outermost:
            self._environment = _export(self._scope)

    def _leave(self) -> None:
        scope = self._scope
        if scope is not None:
            close_scope(scope)
        _restore(self._environment)
        self._environment = None
        super()._leave()

    def _after(self, *, wait: bool) -> None:
        if self._outermost and wait:
            runtime.current().flush_at_end_of_run()

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool | None:
        import asyncio

        self._finish(error, wait=False)
        if self._outermost:
            await asyncio.get_running_loop().run_in_executor(None, runtime.current().flush_at_end_of_run)
        return None


def orchestration_run(
    run_id: object = None,
    *,
    data_product: str | None = None,
    environment: str | None = None,
    workspace_id: object = None,
) -> Run:
    """Open the run: this process emits its root span, at the end of the block.

    Args:
        run_id: RunId of the orchestration pipeline; else DBBTRACE_ORCHESTRATION_RUN_ID; else a fresh GUID with a
            warning, and the run counts as a run by hand.
        data_product: e.g. ``Group-FinancialStatements``; else DBBTRACE_DATA_PRODUCT.
        environment: TST, ACC, QUAL or PRD; else DBBTRACE_ENVIRONMENT.
        workspace_id: GUID of the Fabric workspace; else DBBTRACE_WORKSPACE_ID.

    Leaving the outermost run waits at most DBBTRACE_ROWS_TIMEOUT seconds for the rows to stand.
    """
    return Run(run_id, _options(data_product, environment, workspace_id), opens=True)


def join_run(
    run_id: object = None,
    *,
    data_product: str | None = None,
    environment: str | None = None,
    workspace_id: object = None,
    pipeline_id: object = None,
    pipeline_run_id: object = None,
) -> Run:
    """Take part in a run that another process opened: the same as ``orchestration_run`` without ending its root.

    Work inside hangs on the span that TRACEPARENT names, if it is of this run's trace, otherwise on the root.
    """
    options = _options(data_product, environment, workspace_id)
    return Run(run_id, {**options, "pipeline_id": pipeline_id, "pipeline_run_id": pipeline_run_id}, opens=False)


def begin_run(parameters: Mapping[str, object] | None = None, **options: Any) -> Run:
    """Join the run for the whole process: for notebooks, whose cells share no ``with``.

    Args:
        parameters: where the platform's parameters stand by name, case and underscores ignored; in a notebook
            ``globals()``.
        options: as ``join_run`` takes them; they win over parameters.

    Running it again with the same run is harmless and gives the same Run. Exports run id and TRACEPARENT to the
    environment, for ``%%bash`` cells. Ends by ``run.end()``, or when the kernel goes.
    """
    global _begun
    given = {
        **pick(parameters or {}),
        **{name: value for name, value in options.items() if value is not None},
    }
    asked_for = given.pop("run_id", None)
    with _lock:
        again = _begun
        if again is not None and again._open and again._pid == os.getpid():
            wanted = identity.normalise_run_id(asked_for) or _settings().orchestration_run_id or ""
            if identity.normalise_run_id(wanted) in (again.run_id, ""):
                return again
            again.end()
        begun = _begun = Run(asked_for, given, opens=False)
    begun._begin(process_wide=True)
    return begun


def implicit_run() -> Scope:
    """The scope of work that stands in no run: joined by the environment's run id, or a run by hand, once a process."""
    named = _settings().orchestration_run_id or ""
    with _lock:
        run = _implicit.get(named)
        if run is None or not run._open or run._pid != os.getpid():
            run = _implicit[named] = Run(None, {}, opens=False)
            run._begin(process_wide=True)
            run._outermost = False
            atexit.register(run.end)
    if run._scope is None:
        raise RuntimeError("no run could be joined")
    return run._scope


def joined_on_the_fly(scope: Scope) -> bool:
    """Whether the scope is that of an implicit run itself: nobody began it, so its begin tells nothing."""
    with _lock:
        return any(run._scope is scope for run in _implicit.values())


def forget_runs() -> None:
    """End what was begun for the whole process; for ``shutdown()``."""
    global _begun
    with _lock:
        runs = [*_implicit.values(), *([_begun] if _begun is not None else [])]
        _implicit.clear()
        _begun = None
    for run in runs:
        run.end()


def scope_for(
    run_id: object = None,
    *,
    data_product: str | None = None,
    environment: str | None = None,
    workspace_id: object = None,
    pipeline_id: object = None,
    pipeline_run_id: object = None,
    select: str | None = None,
) -> Scope:
    """Scope for a fact: the current one with what is given laid over it; where the run id names another run, or no
    run is open, one joined from the arguments and the environment."""
    current = current_scope()
    wanted = identity.normalise_run_id(run_id) if run_id is not None else ""
    options = _options(data_product, environment, workspace_id)
    if current is None and not wanted:
        current = implicit_run()
    if current is not None and wanted in ("", current.run_id):
        scope = current.inner(**_checked(options))
    else:
        scope = make_scope(run_id, **options)
    return scope.inner(
        pipeline_id=checked("pipeline_id", guid, pipeline_id),
        pipeline_run_id=checked("pipeline_run_id", guid, pipeline_run_id),
        select=checked("select", text, select),
    )


def child_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a child process that is to join the run, TRACEPARENT naming the current span.

    ``subprocess.run([...], env=dbbtrace.child_environment())``. base: default os.environ.
    """
    environment = dict(os.environ if base is None else base)
    scope = current_scope()
    if scope is not None:
        current = get_current_span().get_span_context()
        parent = current if current.is_valid and current.trace_id == scope.trace_id else scope.parent
        environment.update(_variables(scope, parent))
    return environment


def make_scope(
    run_id: object,
    *,
    data_product: object = None,
    environment: object = None,
    workspace_id: object = None,
    pipeline_id: object = None,
    pipeline_run_id: object = None,
    select: object = None,
) -> Scope:
    """Scope of a run from arguments, then environment; with a made-up run id where neither names one."""
    settings = _settings()
    if run_id is not None and not identity.normalise_run_id(run_id) and not isinstance(run_id, str):
        complain(f"run id {run_id!r} is no text; it is taken as {str(run_id)!r}")
        run_id = str(run_id)
    named = identity.normalise_run_id(run_id) or identity.normalise_run_id(settings.orchestration_run_id)
    manual = not named or (settings.run_by_hand and named == identity.normalise_run_id(settings.orchestration_run_id))
    if not named:
        named = identity.new_run_id()
        log.warning(
            "no orchestration run id was given, as in a run by hand: this one is %s, and its rows name no data product",
            named,
        )
    trace_id = identity.trace_id_of(named)
    parent, links = _parents(trace_id)
    values = _checked(_options(data_product, environment, workspace_id))
    return Scope(
        run_id=named,
        trace_id=trace_id,
        parent=parent,
        began_at=now(),
        manual=manual,
        data_product=values["data_product"] or settings.data_product,
        environment=(values["environment"] or settings.environment or "").strip().upper() or None,
        workspace_id=values["workspace_id"] or checked("workspace_id", guid, settings.workspace_id),
        pipeline_id=checked("pipeline_id", guid, pipeline_id),
        pipeline_run_id=checked("pipeline_run_id", guid, pipeline_run_id),
        select=checked("select", text, select),
        links=links,
    )


def _settings() -> Settings:
    return runtime.current().current_settings()


def _options(data_product: object, environment: object, workspace_id: object) -> dict[str, Any]:
    return {"data_product": data_product, "environment": environment, "workspace_id": workspace_id}


def _checked(options: Mapping[str, object]) -> dict[str, str | None]:
    return {
        "data_product": (checked("data_product", text, options["data_product"]) or "").strip() or None,
        "environment": (checked("environment", text, options["environment"]) or "").strip().upper() or None,
        "workspace_id": checked("workspace_id", guid, options["workspace_id"]) or None,
    }


def _parents(trace_id: int) -> tuple[SpanContext, tuple[Link, ...]]:
    """Parent of what this process does in the trace, and links to other traces that led here."""
    sampled = TraceFlags(TraceFlags.SAMPLED)
    parent = SpanContext(trace_id, identity.root_span_id(trace_id), True, sampled)
    links = []
    handed_on = _parse_traceparent(traceparent())
    current = get_current_span().get_span_context()
    for context in (handed_on, current if current.is_valid else None):
        if context is None:
            continue
        if context.trace_id == trace_id:
            parent = context
        else:
            links.append(Link(context))
    return parent, tuple(links)


def _parse_traceparent(header: str | None) -> SpanContext | None:
    """The span context of a W3C traceparent; None where there is none or it is malformed."""
    if header is None:
        return None
    with guard("read TRACEPARENT"):
        parts = header.split("-")
        if len(parts) >= 4 and [len(part) for part in parts[:4]] == [2, 32, 16, 2] and parts[0] != "ff":
            context = SpanContext(int(parts[1], 16), int(parts[2], 16), True, TraceFlags(int(parts[3], 16)))
            return context if context.is_valid else None
    return None


def _variables(scope: Scope, parent: SpanContext) -> dict[str, str]:
    variables = {name: str(getattr(scope, field)) for name, field in _EXPORTED.items() if getattr(scope, field)}
    if scope.manual:
        variables["DBBTRACE_RUN_BY_HAND"] = "1"
    variables["TRACEPARENT"] = f"00-{parent.trace_id:032x}-{parent.span_id:016x}-01"
    return variables


def _export(scope: Scope) -> dict[str, str | None]:
    """Tell child processes of the run; returns what stood there before."""
    variables = _variables(scope, scope.parent)
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    return before


def _restore(before: Mapping[str, str | None] | None) -> None:
    for name, value in (before or {}).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
