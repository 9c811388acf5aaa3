"""Runs of a whole process: begun in a notebook, or joined by itself for work outside any run.

They end by ``end()``, by ``shutdown()``, or with the process.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID

from opentelemetry.context import Context

from dbbtrace.diagnostics import complain
from dbbtrace.job.context import run_id_in_environment, run_id_of
from dbbtrace.job.parameters import pick
from dbbtrace.job.runs import Run
from dbbtrace.job.scope import Place, Scope, apart, join_by, several_runs_are_open
from dbbtrace.tracing import runtime

__all__ = ["begin_run", "forget_runs", "implicit_run", "nothing_begun"]

_begun: Run | None = None
_implicit: Run | None = None
"""The run that work without a ``with`` belongs to."""
_joining = threading.RLock()
"""Held while that is made: a pool's threads may all need it at once."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_joining.acquire, after_in_parent=_joining.release, after_in_child=_joining.release)


def begin_run(
    parameters: Mapping[str, object] | str | UUID | None = None,
    *,
    run_id: object = None,
    data_product: str | None = None,
    environment: str | None = None,
    workspace_id: object = None,
    pipeline_id: object = None,
    pipeline_run_id: object = None,
    repairs: object = None,
) -> Run:
    """Join the run for the whole process: for notebooks, whose cells share no ``with``.

    Args:
        parameters: where to find the platform's parameters by name, ignoring case and underscores; in a notebook
            ``globals()``. Or the run id itself.
        run_id, data_product, environment, workspace_id, pipeline_id, pipeline_run_id: as ``join_run`` takes them;
            they win over parameters.
        repairs: run id of the run that this one makes right.

    Running it again for the same run is harmless: it gives the same Run, and what has changed holds from then on. For
    another run it ends the one before. Exports run id and TRACEPARENT to the environment, for ``%%bash`` cells. Ends
    by ``run.end()``, or when the kernel goes.
    """

    global _begun
    if isinstance(parameters, (str, UUID)):
        parameters = {"orchestration_run_id": parameters}
    options = {
        "run_id": run_id,
        "data_product": data_product,
        "environment": environment,
        "workspace_id": workspace_id,
        "pipeline_id": pipeline_id,
        "pipeline_run_id": pipeline_run_id,
    }
    given = {**pick(parameters), **{name: value for name, value in options.items() if value is not None}}
    asked_for = given.pop("run_id", None)
    again = _begun
    if again is not None and again._is_running():
        wanted = run_id_of(asked_for) or run_id_in_environment()
        if wanted in (again.run_id, ""):
            again._update(given)
            return again
        again.end()
    _begun = Run(asked_for, given, opens=False, called="begin_run", repairs=repairs)
    atexit.unregister(_end_begun)
    _begun.start()
    atexit.register(_end_begun)  # after what the start registered: the last registered is the first to run
    return _begun


def _end_begun() -> None:
    """At exit, where the delivery waits for the rows."""
    if _begun is not None:
        _begun._finish(None)


class _Implicit(Run):
    """The run for work outside any run: it has no place of its own, and nothing waits for its end."""

    _after_end: Scope | None = None
    """Of the run that a notebook has ended, for work that comes after."""

    def _enclosing(self) -> Scope:
        if self._after_end is None:
            return super()._enclosing()
        self._outermost = True
        return self._after_end

    def _start_span(self, scope: Scope) -> Scope:
        return scope if self._after_end is not None else super()._start_span(scope)

    def _begin_job(self, scope: Scope) -> Scope:
        return scope  # nobody opened it, so nobody will say that it has ended

    def _enter(self, scope: Scope, kind: str) -> None:
        inside = scope.under(self._span.context) if self._span is not None else scope
        self._place = Place(inside, kind, Context(), self)
        self._tell(inside)

    def _after(self) -> None:
        pass


def implicit_run() -> Scope:
    """The scope for work outside any run: joined by the environment's run id, or a run by hand, once a process."""
    global _implicit
    if several_runs_are_open():
        complain(
            "several runs are open, and nothing tells which one this belongs to: hand the context on to threads "
            "(contextvars.copy_context().run), or name the run (join_run)"
        )
    with _joining:
        named = run_id_in_environment()
        run = _implicit
        if run is None or not run._is_running() or named not in ("", run.run_id):
            _end_implicit()
            run = _implicit = _Implicit(None, {}, opens=False)
            run._after_end = _ended() if not named else None
            atexit.unregister(_end_implicit)
            run.start()
            atexit.register(_end_implicit)
        if run._place is None:
            raise RuntimeError("no run could be joined")
        return run._place.scope


def _ended() -> Scope | None:
    """The scope of the run that this notebook has ended, which work that comes after it belongs to."""
    run = _begun
    if run is None or run._is_running() or run._place is None or run._place.scope.pid != os.getpid():
        return None
    complain(
        f"the run {run.run_id} has ended (run.end()); what comes now is recorded in it all the same: "
        "call begin_run again before it, or end the run later"
    )
    return run._place.scope


join_by(implicit_run)


def _end_implicit() -> None:
    if _implicit is not None:
        _implicit._finish(None)


def forget_runs() -> None:
    """End what was begun for the whole process, without waiting for its rows; for ``shutdown()``."""
    _end_implicit()
    _end_begun()


runtime.end_runs_by(forget_runs)


@contextmanager
def nothing_begun() -> Iterator[None]:
    """While the block runs, no run is begun; what was begun inside ends with it. For tests."""
    global _begun, _implicit
    before, _begun, _implicit = (_begun, _implicit), None, None
    with apart():
        try:
            yield
        finally:
            forget_runs()
            _begun, _implicit = before
