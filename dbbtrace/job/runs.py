"""Runs: opened here, or joined from another process. Those of a whole process: see ``process_runs``.

The run id alone decides the trace (see ``identity``). The process that opens a run emits its root span, once;
all others hang their spans on a root they have not seen.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context

from dbbtrace.diagnostics import guard
from dbbtrace.errors import UsageError
from dbbtrace.job import propagation
from dbbtrace.job.context import checked_options, make_scope, run_id_in_environment, run_id_of
from dbbtrace.job.handle import Handle
from dbbtrace.job.parts import Job, record_expected, record_link
from dbbtrace.job.scope import (
    RUN,
    Place,
    Scope,
    any_is_open,
    current_scope,
    parent_of,
)
from dbbtrace.model import attributes as key
from dbbtrace.model import identity
from dbbtrace.tracing import runtime
from dbbtrace.tracing.provider import now

if TYPE_CHECKING:
    from dbbtrace.pages.notebook import Report

__all__ = ["Run", "child_environment", "join_run", "orchestration_run"]


class Run(Handle):
    """An orchestration run as this process takes part in it; made by ``orchestration_run`` and its like."""

    operation = key.OPERATION_RUN
    _block = RUN
    _may_end_early = True

    def __init__(
        self,
        run_id: object,
        options: dict[str, Any],
        *,
        opens: bool,
        called: str = "join_run",
        expect: object = None,
        repairs: object = None,
    ) -> None:
        super().__init__("orchestration_run")
        self._asked_for = run_id
        self._options = options
        self._opens = opens
        self._called = called
        self._expect = expect
        self._repairs = repairs

    _outermost: bool = False
    _root: bool = False
    _told: propagation.Told | None = None
    _job: Job | None = None
    """This process's part of the run; of a run inside a run it is the outer one's."""

    def _forget(self) -> None:
        super()._forget()
        self._name = "orchestration_run"
        self._outermost = self._root = False
        self._told = self._job = None

    @property
    def run_id(self) -> str:
        """The orchestration_run_id, as rows hold it; '' before the start."""
        return self._place.scope.run_id if self._place is not None else ""

    @property
    def trace_id(self) -> str:
        """The trace id, 32 hex digits; '' before the start."""
        return f"{self._place.scope.trace_id:032x}" if self._place is not None else ""

    @property
    def manual(self) -> bool:
        """Whether dbbtrace made the run id up: a run by hand."""
        return self._place is not None and self._place.scope.manual

    def report(self) -> Report:
        """The run's page, as ``dbbtrace.report`` makes it. Waits at most DBBTRACE_ROWS_TIMEOUT seconds for its rows.

        Raises:
            UsageError: the run has not started, or none of its rows has arrived.
            ConfigurationError, TransientError: the warehouse can't be asked.
        """
        from dbbtrace.pages.notebook import report

        if not self.run_id:
            raise UsageError("this run has not started, so there is no page of it")
        current = runtime.installed()
        if current is not None:
            current.flush(current.settings.rows_timeout)
        return report(self.run_id)

    def _facts(self) -> list[tuple[str, str]]:
        from dbbtrace.pages.run_card import facts

        product = self._place.scope.data_product if self._place is not None else None
        return facts(self.run_id, self.trace_id, product, by_hand=self.manual)

    def _repr_html_(self) -> str:
        """How a notebook shows it: which run this is, where its rows go, and the verdict so far."""
        from dbbtrace.pages.run_card import card

        return card(self._facts())

    def _enclosing(self) -> Scope:
        outer = current_scope()
        wanted = run_id_of(self._asked_for)
        if outer is None or wanted not in ("", outer.run_id):
            self._outermost = True
            return make_scope(wanted, **self._options)
        self._outermost = outer.pid != os.getpid()
        return outer.inner(pid=os.getpid(), **checked_options(self._options))

    def _start_span(self, scope: Scope) -> Scope:
        made_up = self._outermost and scope.manual and scope.run_id != run_id_in_environment()
        opens = self._opens or made_up  # nobody else emits the root of a run that we made up
        self._root = opens and runtime.current().delivery.claim(f"root-{scope.trace_id:032x}")
        if self._outermost:
            scope = self._begin_job(scope)
        if self._root:
            self._name = f"orchestration_run {scope.data_product or scope.run_id}"
            self._span = runtime.current().provider.start_span(
                self._name,
                Context(),  # no parent: this is the root
                self._attributes(scope),
                start=now(),
                trace_id=scope.trace_id,
                span_id=identity.root_span_id(scope.trace_id),
                links=scope.links,
            )
            return scope
        if opens:
            return super()._start_span(scope)  # the root has been emitted: a cell run again, or a run opened twice
        return scope

    def _begin_job(self, scope: Scope) -> Scope:
        """Put into the journal that this process takes part; the scope in which its work is counted."""
        if not any_is_open():
            runtime.current().forget_losses()
        self._job = Job(scope, self._called, scope.began_at)
        self._job.start()
        if self._expect is not None:
            from dbbtrace.job.expected import expected_of

            record_expected(scope, expected_of(self._expect), self._called, scope.began_at)
        repairs = run_id_of(self._repairs)
        if repairs:
            record_link(scope, repairs, scope.began_at)
        return scope.inner(tally=self._job.tally)

    def _finish(self, error: BaseException | None) -> bool:
        error = self._failure(error)
        if error is not None and self._span is None and self._is_running():
            self._fail_with(error)
        ends = super()._finish(error)
        if ends and self._job is not None:
            self._job.end(self._failed)
        return ends

    def _result_key(self) -> str:
        return key.CICD_PIPELINE_RESULT if self._root else super()._result_key()

    def _attributes(self, scope: Scope) -> dict[str, Any]:
        attributes = super()._attributes(scope)
        if not self._root:
            attributes[key.OPERATION] = key.OPERATION_STEP
        return attributes

    def _enter(self, scope: Scope, kind: str) -> None:
        super()._enter(scope, kind)
        if self._outermost and self._place is not None:
            self._tell(self._place.scope)

    def _tell(self, scope: Scope) -> None:
        """Tell child processes of the run, instead of what they were told so far."""
        if self._told is not None:
            propagation.take_back(self._told)
        self._told = propagation.variables(scope, scope.parent)
        propagation.tell(self._told)

    def _leave(self, place: Place) -> None:
        if self._told is not None:
            propagation.take_back(self._told)
        super()._leave(place)

    def _update(self, options: Mapping[str, object]) -> None:
        """Change what was said about the run, for what happens inside from now on."""
        place = self._place
        if place is not None:
            place.scope = scope = place.scope.inner(**checked_options(options))
            self._values.update(scope.inherited())
            if self._told is not None:
                self._tell(scope)

    def _after(self) -> None:
        if self._outermost:
            with guard("wait for the rows"):
                if self._root or self._opens:
                    runtime.end_run(self.run_id)
                else:
                    runtime.current().flush_at_end_of_run()

    async def _after_async(self) -> None:
        import asyncio

        try:
            loop = asyncio.get_running_loop()
            waiting = loop.run_in_executor(None, self._after)
        except RuntimeError:  # another event loop than asyncio's, or one that is closing
            self._after()
        else:
            await waiting


def orchestration_run(
    run_id: object = None,
    *,
    data_product: str | None = None,
    environment: str | None = None,
    workspace_id: object = None,
    expect: object = None,
    repairs: object = None,
) -> Run:
    """Open the run: this process emits its root span, at the end of the block.

    Args:
        run_id: RunId of the orchestration pipeline; else that of the run that is open; else
            DBBTRACE_ORCHESTRATION_RUN_ID; else a fresh GUID with a warning, and the run counts as a run by hand.
        data_product: e.g. ``Group-FinancialStatements``; else DBBTRACE_DATA_PRODUCT.
        environment: TST, ACC, QUAL or PRD; else DBBTRACE_ENVIRONMENT.
        workspace_id: GUID of the Fabric workspace; else DBBTRACE_WORKSPACE_ID.
        expect: what belongs into the run, so that it is Incomplete without: names of tables, dbt nodes, semantic
            models or workloads; or workload → names; or the path of a file like ``integration_source_list.csv``.
        repairs: run id of the run that this one makes right.

    Leaving the outermost run waits at most DBBTRACE_ROWS_TIMEOUT seconds until the rows are in the warehouse, and the
    run was compared with earlier ones.
    """
    options = {"data_product": data_product, "environment": environment, "workspace_id": workspace_id}
    return Run(run_id, options, opens=True, called="orchestration_run", expect=expect, repairs=repairs)


def join_run(
    run_id: object = None,
    *,
    data_product: str | None = None,
    environment: str | None = None,
    workspace_id: object = None,
    pipeline_id: object = None,
    pipeline_run_id: object = None,
    expect: object = None,
    repairs: object = None,
    **parameters: object,
) -> Run:
    """Take part in a run that another process opened: the same as ``orchestration_run`` without ending its root.

    Work inside hangs on the span that TRACEPARENT names, if it is of this run's trace, otherwise on the root.

    Args:
        run_id, data_product, environment, workspace_id, pipeline_id, pipeline_run_id: see ``orchestration_run``; the
            pipeline is the one that the integration pipeline invoked.
        expect: what belongs into the run, as ``orchestration_run`` takes it.
        repairs: run id of the run that this one makes right.
        parameters: the platform's parameters as they are, in any spelling: ``join_run(**parameters)`` finds
            ``Orchestration_Run_Id`` and the like among them and ignores others.
    """
    options = {
        "run_id": run_id,
        "data_product": data_product,
        "environment": environment,
        "workspace_id": workspace_id,
        "pipeline_id": pipeline_id,
        "pipeline_run_id": pipeline_run_id,
    }
    given = {name: value for name, value in options.items() if value is not None}
    if parameters:
        from dbbtrace.job.parameters import pick

        given = {**pick(parameters, others=False), **given}
    return Run(given.pop("run_id", None), given, opens=False, expect=expect, repairs=repairs)


def child_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a child process that is to join the run, TRACEPARENT naming the current span.

    ``subprocess.run([...], env=dbbtrace.child_environment())``. base: default os.environ.
    """
    environment: dict[str, str | None] = dict(os.environ if base is None else base)
    scope = current_scope()
    if scope is not None:
        environment.update(propagation.variables(scope, parent_of(scope)))
    return {name: value for name, value in environment.items() if value is not None}
