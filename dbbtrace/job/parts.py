"""The run's own record, as a job writes it: that something has started, what is expected, what the job's part came to.

These spans take the same road as all others, journal first, but only warehouses want them: to a tracing backend the
work itself is enough. A started part leaves a finished fact beside its start line, so that the warehouse knows of it
while it runs, and should nothing more ever come.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import CodeType
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from dbbtrace.diagnostics import guard
from dbbtrace.job.finished import fact
from dbbtrace.job.scope import Scope
from dbbtrace.job.tally import Tally
from dbbtrace.journal.json_lines import dumps
from dbbtrace.model import attributes as key
from dbbtrace.model.identity import new_span_id, sha256
from dbbtrace.tracing import runtime
from dbbtrace.tracing.provider import now
from dbbtrace.version import __version__

if TYPE_CHECKING:
    from dbbtrace.job.endpoint import Loaded
    from dbbtrace.job.expected import Expected

__all__ = ["Job", "record_count", "record_expected", "record_link", "record_started"]

_PROCESS = os.urandom(3).hex()
"""Tells this process from others of the same pid: in containers many jobs have the pid 1."""
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope("dbbtrace", __version__)


def record_started(scope: Scope, span_id: int, name: str, start: int, attributes: Mapping[str, Any]) -> None:
    """Say that a part of the run has started.

    Args:
        scope: where it happens.
        span_id: of the part's own span, which follows.
        name: of that span.
        start: nanoseconds since the Unix epoch.
        attributes: the part's own, its ``dbb.operation`` among them.
    """
    with guard("record what has started"):
        span = fact(
            scope,
            name=name,
            operation=str(attributes.get(key.OPERATION)),
            identity=None,
            start=start,
            end=start,
            attributes={**attributes, key.STATUS: key.STARTED, key.AUDIENCE: key.FOR_ROWS},
            span_id=span_id,
        )
        runtime.current().delivery.emit_parts([span])


def record_expected(scope: Scope, expected: Sequence[Expected], by: str, start: int) -> None:
    """Say which operations belong into the run."""
    if not expected:
        return
    with guard("record what is expected"):
        spans = [
            fact(
                scope,
                name=f"expected {each.name}",
                operation=key.OPERATION_EXPECTED,
                identity="\n".join(("expected", each.workload or "", each.name, by)),
                start=start,
                end=start,
                attributes={
                    key.CICD_TASK_NAME: each.name,
                    key.WORKLOAD: each.workload,
                    key.EXPECTED_BY: by,
                    key.STATUS: "Expected",
                    key.AUDIENCE: key.FOR_ROWS,
                },
            )
            for each in expected
        ]
        runtime.current().delivery.emit_parts(spans)


def record_count(scope: Scope, loaded: Loaded, rows: int | None, problem: str = "") -> None:
    """Say how many rows readers find in a table that was loaded. None found is a finding, until some are; so is a count
    that failed.

    Args:
        scope: of the run.
        loaded: the table.
        rows: how many; None: nobody knows.
        problem: why nobody knows, or what else went wrong.
    """
    from dbbtrace.job.endpoint import name_at_endpoint

    with guard("record what was counted"):
        at, table = now(), loaded.label
        text = f"{table} has rows where readers read it"
        if rows is None:
            text = f"{table} could not be counted where readers read it: {problem}"
        elif rows == 0:
            text = f"{table} has no rows where readers read it, though its load succeeded"
            text = f"{text}; {problem}" if problem else text
        settings = runtime.current().settings
        there = name_at_endpoint(loaded, settings.lakehouse_tables, settings.table_pattern)
        span = fact(
            scope,
            name=f"verify {table}",
            operation=key.OPERATION_FINDING,
            identity=f"verify\n{table}\n{at}",
            start=at,
            end=at,
            attributes={
                key.CICD_TASK_NAME: table,
                key.SOURCE_NAME: loaded.source,
                key.COUNTED_AS: there[-1],
                key.COUNTED_ROWS: rows,
                key.LOADED_AT: loaded.loaded_at,
                key.EXPECTED_BY: "verify",
                key.STATUS: "Verified" if rows else "Warned",
                key.ERROR_TYPE: "empty" if rows is not None else "not counted",
                key.ERROR_MESSAGE: text,
                key.PART_DETAIL: dumps({"rows": rows}).decode().strip(),
                key.AUDIENCE: key.FOR_ROWS,
            },
        )
        runtime.current().delivery.emit_parts([span])


def record_link(scope: Scope, repairs: str, start: int) -> None:
    """Say that the run makes another one right."""
    with guard("record what is repaired"):
        span = fact(
            scope,
            name=f"repairs {repairs}",
            operation=key.OPERATION_LINK,
            identity=f"link\n{repairs}",
            start=start,
            end=start,
            attributes={
                key.CICD_TASK_NAME: "repairs",
                key.REPAIRS: repairs,
                key.STATUS: "Succeeded",
                key.AUDIENCE: key.FOR_ROWS,
            },
        )
        runtime.current().delivery.emit_parts([span])


class Job:
    """This process's part of a run, from its first line in the journal to its last.

    Its span is no parent of anything and never current: it is there so that a job that was killed is known to have
    been.

    Args:
        scope: of the run.
        opened_by: the function that the job called: orchestration_run, join_run or begin_run.
        start: nanoseconds since the Unix epoch.
    """

    def __init__(self, scope: Scope, opened_by: str, start: int) -> None:
        self.tally = Tally()
        self._scope = scope
        self._delivery = runtime.current().delivery
        self._start = start
        self._span_id = new_span_id()
        self._name = _name_of_this_job() or _name_of_this_process(opened_by)
        self._detail: dict[str, Any] = {"opened_by": opened_by, "process": f"{os.getpid()} {_PROCESS}"}
        program = sys.argv[0] if getattr(sys, "argv", None) else ""
        if os.path.isfile(program):  # others may have a script of the same name elsewhere
            self._detail["script"] = _mark_of([os.path.realpath(program)])
        self._attributes = {
            **scope.inherited(),
            key.OPERATION: key.OPERATION_JOB,
            key.AUDIENCE: key.FOR_ROWS,
            key.CICD_TASK_NAME: self._name,
            key.PART_DETAIL: _json(self._detail),
        }

    def start(self) -> None:
        """Put the start into the journal."""
        with guard("record the job's start"):
            record_started(self._scope, self._span_id, f"job {self._name}", self._start, self._attributes)
            self._delivery.start_part(self._span(None, self._attributes, None))

    def end(self, failed: tuple[str, str] | None) -> None:
        """Put the end into the journal, behind all that the job recorded.

        Args:
            failed: type and message of the error with which it ended.
        """
        with guard("record the job's end"):
            attributes = {**self._attributes, **self.tally.attributes()}
            said: dict[str, Any] = {"steps": True} if self.tally.steps_done else {}
            if marks := self.tally.marks():
                said["marks"] = marks
            if said:
                attributes[key.PART_DETAIL] = _json({**self._detail, **said})
            if failed is not None:
                attributes[key.ERROR_TYPE], attributes[key.ERROR_MESSAGE] = failed
            self._delivery.end_part(self._span(max(now(), self._start + 1), attributes, failed))

    def _span(self, end: int | None, attributes: dict[str, Any], failed: tuple[str, str] | None) -> ReadableSpan:
        return ReadableSpan(
            name=f"job {self._name}",
            context=SpanContext(self._scope.trace_id, self._span_id, False, _SAMPLED),
            parent=self._scope.parent,
            resource=runtime.current().provider.resource,
            attributes=attributes,
            kind=SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR, failed[1]) if failed is not None else Status(),
            start_time=self._start,
            end_time=end,
            instrumentation_scope=_SCOPE,
        )


def _json(detail: dict[str, Any]) -> str:
    return dumps(detail).decode().strip()


def _name_of_this_job() -> str | None:
    """What a job that is run again is called the next time: its script, with a mark of its arguments; of a notebook
    the name that Fabric gives. None where nothing tells one job from another."""
    utils = sys.modules.get("notebookutils")
    if utils is not None:
        with guard("ask for the notebook's name"):
            named = utils.runtime.context.get("currentNotebookName")
            if named:
                return str(named)
    program = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    if program in ("", "-", "-c", "ipykernel_launcher.py", "colab_kernel_launcher.py"):
        return None
    if program in ("__main__.py", "main.py"):  # many are called so
        program = os.path.join(os.path.basename(os.path.dirname(os.path.abspath(sys.argv[0]))), program)
    arguments = sys.argv[1:]
    # A mark, for arguments may hold secrets: the same script for another table is another job.
    return f"{program} #{_mark_of(arguments)}" if any(arguments) else program


def _name_of_this_process(opened_by: str) -> str:
    """What a job without a script is called: as its code, or kernel, and where nobody knows that as no other process.
    One that succeeds must not make good another that failed. A notebook that opens a run anew makes good all of it."""
    program = sys.argv[0] if getattr(sys, "argv", None) else ""
    if program in ("", "-"):
        words = _code_from_stdin()
    elif program != "-c" and opened_by == "orchestration_run":
        return opened_by
    else:
        words = sys.orig_argv[1:]
    return f"{opened_by} #{_mark_of(words or [str(os.getpid()), _PROCESS])}"


def _code_from_stdin() -> list[str]:
    """What ``python - <<EOF`` runs, as far as Python still has it: the code compiled. [] where it is no such job."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
    if not frame.f_code.co_filename.startswith("<stdin"):
        return []
    return [*_texts_of(frame.f_code), *sys.argv[1:]]


def _texts_of(code: CodeType) -> Iterator[str]:
    """What a piece of code does, the same each time it is compiled."""
    yield code.co_code.hex()
    yield " ".join(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _texts_of(constant)
        else:
            yield repr(sorted(constant, key=repr) if isinstance(constant, frozenset) else constant)


def _mark_of(words: Sequence[str]) -> str:
    return sha256("\n".join(words).encode("utf-8", "surrogatepass")).hexdigest()[:6]
