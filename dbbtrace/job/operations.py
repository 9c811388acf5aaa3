"""What each kind of work says about itself: workloads, table loads, dbt nodes and steps; see also ``refreshes``.

Made by the functions of ``api``. Knows nothing of warehouses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from opentelemetry.sdk.trace import Span

from dbbtrace.diagnostics import complain, guard
from dbbtrace.errors import UsageError
from dbbtrace.job.handle import Handle
from dbbtrace.job.lineage import loaded
from dbbtrace.job.parts import record_count, record_expected, record_started
from dbbtrace.job.rows import limit_rows
from dbbtrace.job.scope import WORKLOAD, Scope
from dbbtrace.job.values import (
    Count,
    Guid,
    Message,
    Moment,
    Number,
    Text,
    Value,
    checked,
    count,
    guid,
    message_of,
    shown,
    text,
)
from dbbtrace.model import attributes as key
from dbbtrace.model.statuses import FAILED, LOADS, NODE_FAILURES, SUCCEEDED, is_running, meaning
from dbbtrace.model.times import NANOS, iso_utc
from dbbtrace.tracing.provider import now

if TYPE_CHECKING:
    from typing_extensions import Self

    from dbbtrace.job.attempts import Attempt, Attempts

__all__ = [
    "UNREADABLE",
    "DbtNode",
    "Operation",
    "Step",
    "TableLoad",
    "Workload",
    "load_status",
    "load_type",
]


UNREADABLE = "Unreadable"
"""error.type where what was to tell the outcome could not be read."""


def load_status(value: object) -> str:
    """A word for the outcome of a load.

    Raises:
        ValueError: the word is unknown.
    """
    word = text(value).strip()
    if meaning(word, LOADS) is None:
        raise ValueError("is not an outcome of a load: write Succeeded or Failed")
    return word


def load_type(value: object) -> str:
    """A load type in upper case; one that the platform does not know is kept, with a warning."""
    kind = text(value).strip().upper()
    if kind not in ("FULL", "INCREMENTAL", ""):
        complain(f"load_type = {shown(value)} is not a load type of the platform; write FULL or INCREMENTAL")
    return kind


def _live_status(value: object) -> str:
    """The outcome that a job sets. A word that nobody knows counts as Failed, as in the row: it must not move the
    watermark. One for work that goes on says nothing."""
    try:
        return load_status(value)
    except ValueError:
        word = text(value).strip()
        if not word or is_running(word):
            raise
    complain(f"status = {shown(value)} is not an outcome of a load, so it is Failed: write Succeeded or Failed")
    return word


class _LoadStatus(Value[str]):
    convert = staticmethod(_live_status)


class _LoadType(Value[str]):
    convert = staticmethod(load_type)


class Step(Handle):
    """Work that is worth a span and gives no row."""

    _checked = False  # the author may give it any attribute

    def __init__(self, name: object, attributes: dict[str, Any]) -> None:
        title = message_of(name)
        super().__init__(title, {key.CICD_TASK_NAME: title, **attributes})

    def _conclude(self) -> None:
        super()._conclude()
        limit_rows(self)
        if self._place is not None and self._place.tally is not None and not self.failed:
            self._place.tally.steps_done = True


class Workload(Handle):
    """A stage of the run: what its operations inherit."""

    _expect: object = None

    operation = key.OPERATION_WORKLOAD
    _block = WORKLOAD
    _may_end_early = True
    _announced = True

    pipeline_id = Guid(key.PIPELINE_ID, "Pipeline that the rows of this workload name, from then on.")
    pipeline_run_id = Guid(key.PIPELINE_RUN_ID, "Run of that pipeline.")
    select = Text(key.DBT_SELECT, "dbt's selector; rows hold it as build_models.")

    def __init__(
        self,
        workload: str,
        *,
        pipeline_id: object,
        pipeline_run_id: object,
        select: object = None,
        expect: object = None,
    ) -> None:
        super().__init__(
            workload,
            {
                key.WORKLOAD: workload,
                key.CICD_TASK_NAME: workload,
                key.PIPELINE_ID: checked("pipeline_id", guid, pipeline_id),
                key.PIPELINE_RUN_ID: checked("pipeline_run_id", guid, pipeline_run_id),
                key.DBT_SELECT: checked("select", text, select),
            },
        )
        self._expect = expect

    def _announce(self, scope: Scope, span_id: int, start: int) -> None:
        record_started(scope, span_id, self._name, start, self._attributes(scope))
        workload = str(self._given[key.WORKLOAD])
        if self._expect is not None:
            from dbbtrace.job.expected import expected_of

            record_expected(scope, expected_of(self._expect, workload), workload, start)

    def _enclosing(self) -> Scope:
        scope = super()._enclosing()
        while scope.outside is not None and scope.workload != self._given[key.WORKLOAD]:
            scope = scope.outside  # another stage, still open: its pipeline is not ours
        return scope

    def _inner(self, scope: Scope) -> Scope:
        return scope.inner(workload=self._given[key.WORKLOAD], outside=scope, **self._inherited())

    def _inherited(self) -> dict[str, Any]:
        return {
            "pipeline_id": self._values.get(key.PIPELINE_ID),
            "pipeline_run_id": self._values.get(key.PIPELINE_RUN_ID),
            "select": self._values.get(key.DBT_SELECT),
        }

    def _set(self, attribute: str, value: Any) -> None:
        super()._set(attribute, value)
        if self._place is not None and self._is_running():
            self._place.scope = self._place.scope.inner(**self._inherited())


class Operation(Handle):
    """Work that gives a row."""

    workload: ClassVar[str]

    pipeline_id = Guid(key.PIPELINE_ID, "Pipeline that the row names.")
    pipeline_run_id = Guid(key.PIPELINE_RUN_ID, "Run of that pipeline.")
    started_at = Moment(key.STARTED_AT, "Start that the row shows, where it is not the span's.")
    ended_at = Moment(key.ENDED_AT, "End that the row shows, where it is not the span's.")

    _unread: str | None = None
    """Why what was to tell the outcome could not be read. Nobody knows then that it succeeded."""

    def _forget(self) -> None:
        super()._forget()
        self.__dict__.pop("_unread", None)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._workload = cls.workload

    def _attributes(self, scope: Scope) -> dict[str, Any]:
        attributes = super()._attributes(scope)
        attributes.setdefault(key.WORKLOAD, self.workload)
        return attributes

    def _after(self) -> None:
        if self._place is not None and key.IDENTITY not in self._values:
            tally = self._place.tally
            if tally is not None:
                tally.add(self.operation, self._values)

    def _again(self) -> Self:
        complain(f"{self._name} is entered while it runs: that gives another row; make a handle for each")
        return super()._again()


class TableLoad(Operation):
    """One table loaded from a source system: one row of monitoring_integration.

    The row's ``timestamp`` is the start: incremental loads read it as their watermark.
    """

    operation = key.OPERATION_LOAD
    workload = "integration"

    status = _LoadStatus(key.STATUS, "Succeeded or Failed; set at the end where the author did not.")
    rows_read = Count(key.ROWS_READ, "Rows read from the source; count.")
    rows_written = Count(key.ROWS_WRITTEN, "Rows committed; count.")
    data_read = Count(key.DATA_READ, "Bytes read from the source; count.")
    data_written = Count(key.DATA_WRITTEN, "Bytes written; count.")
    throughput = Number(key.THROUGHPUT, "KB/s as the source reports it; otherwise the row shows bytes over seconds.")
    schema = Text(key.SCHEMA_NAME, "Schema of the table.")
    source = Text(key.SOURCE_NAME, "Source system, e.g. MDS.")
    source_type = Text(key.SOURCE_TYPE, "SQL, API or FILE.")
    load_type = _LoadType(key.LOAD_TYPE, "FULL or INCREMENTAL.")
    identity = Text(key.IDENTITY, "Identity of the load where another record of it may come, e.g. its activity run id.")

    verified: int | None = None
    """How many rows ``verify`` counted when the load had ended; None: it was not asked, or could not tell."""
    _verify: Callable[[], object] | None = None
    _attempt: Attempt | None = None
    """The last one made, if any."""

    def _forget(self) -> None:
        super()._forget()
        self._attempt = None

    def _after(self) -> None:
        super()._after()
        if self._verify is not None and not self.failed and self._place is not None:
            self._count_rows(self._verify, self._place.scope)

    def _count_rows(self, verify: Callable[[], object], scope: Scope) -> None:
        """Ask how many rows readers find in the table. An answer that is no count is one that nobody knows."""
        from dbbtrace.job.endpoint import Loaded

        began = self._values.get(key.STARTED_AT)
        if began is None and self._span is not None and self._span.start_time is not None:
            began = iso_utc(self._span.start_time)
        loaded = Loaded(self._values[key.TABLE_NAME], self.schema, self.source, began)
        with guard(f"verify {loaded.label}"):
            try:
                answer = verify()
            except Exception as error:
                record_count(scope, loaded, None, f"{type(error).__name__}: {message_of(error)}")
                complain(f"{loaded.label} was not counted: {shown(error)}")
                return
            rows = checked("verify", count, answer)
            if rows is None:
                record_count(scope, loaded, None, f"verify answered {shown(answer)}")
                return
            self.__dict__["verified"] = rows
            record_count(scope, loaded, rows)

    def attempts(self, limit: int, *, delay: float = 0.0) -> Attempts:
        """Try the load up to ``limit`` times, ``delay`` seconds apart; each attempt is a child span.

        ``for attempt in load.attempts(3): with attempt: copy()``, or ``async for`` and ``async with``. An exception
        in an attempt that is not the last is logged and swallowed; that of the last goes on. KeyboardInterrupt,
        SystemExit and cancellation are never swallowed. The row is one: it shows the start of the attempt that
        succeeded. A load that is given up after a failure of which the job saw nothing is Failed, unless the job
        sets its status.
        """
        from dbbtrace.job.attempts import Attempts

        return Attempts(self, limit, delay)

    def from_copy_output(self, output: object) -> None:
        """Take rows, bytes, times and outcome from what a Copy activity gave: its output, or the whole activity.

        A Copy that failed makes the load Failed, with the error's code and message, and raises nothing. An output that
        makes no sense, or of a Copy that still runs, is left out with a warning. If none follows that does, and the job
        sets no status, the load is Failed.

        Args:
            output: an object or its JSON text; a list holds the attempts, the last of which counts.
        """
        from dbbtrace.job.finished import emit
        from dbbtrace.sources.fabric.copies import attempts_of
        from dbbtrace.sources.fabric.spans import stage_spans

        with guard("read a Copy's output"):
            try:
                copies = attempts_of(output)
            except UsageError as error:
                self.__dict__["_unread"] = str(error)
                complain(str(error))
                return
            self.__dict__["_unread"] = None
            last = copies[-1]
            for attribute, value in last.metrics.items():
                self._set(attribute, value)
            if last.start is not None:
                self._set(key.STARTED_AT, iso_utc(last.start))
            if last.end is not None:
                self._set(key.ENDED_AT, iso_utc(last.end))
            if last.identity is not None and key.IDENTITY not in self._values:
                self._set(key.IDENTITY, last.identity)
            if last.error is not None:
                self.fail(last.error[1], error_type=last.error[0])
            if self._place is not None and self._span is not None and self._is_running():
                context, began = self._span.get_span_context(), last.start or self._span.start_time or 0
                emit(list(stage_spans(self._place.scope, last, f"{context.span_id:016x}", began, context)))

    def _conclude(self) -> None:
        values, attempt, span = self._values, self._attempt, self._span
        if span is not None:
            loaded(span.context, values[key.TABLE_NAME], values.get(key.SCHEMA_NAME), values.get(key.SOURCE_NAME))
        word = str(values.get(key.STATUS, "")).lower()
        if word and meaning(word, LOADS) != SUCCEEDED and not self.failed:
            self.fail(f"the job set status {values[key.STATUS]!r}", error_type=word.capitalize())
        elif attempt is not None and attempt._gave_up is not None and not word and not self.failed:
            self.fail(attempt._gave_up[1], error_type=attempt._gave_up[0])
        elif self._unread is not None and not word and not self.failed:
            self.fail(self._unread, error_type=UNREADABLE)
        if attempt is not None and attempt.succeeded and attempt.span is not None:
            values.setdefault(key.STARTED_AT, iso_utc(attempt.span.start_time or 0))
        values[key.STATUS] = FAILED if self.failed else SUCCEEDED


class DbtNode(Operation):
    """One dbt node that the job runs itself; what dbt ran is recorded with ``record_dbt``."""

    operation = key.OPERATION_DBT_NODE
    workload = "transformation"

    status = Text(key.STATUS, "dbt's own word: success, error, skipped, pass, fail, warn, ...; set at the end if not.")
    message = Message(key.DBT_MESSAGE, "dbt's message.")
    rows_affected = Count(key.DBT_ROWS_AFFECTED, "Rows affected; count.")
    failures = Count(key.DBT_FAILURES, "Failures that a test counted; count.")
    relation_name = Text(key.DBT_RELATION_NAME, "Relation that the node builds.")
    adapter_message = Message(key.DBT_ADAPTER_MESSAGE, "Message of the adapter's response.")
    thread_id = Text(key.DBT_THREAD_ID, "Worker thread.")

    def _attributes(self, scope: Scope) -> dict[str, Any]:
        attributes = super()._attributes(scope)
        if scope.select is not None:
            attributes.setdefault(key.DBT_SELECT, scope.select)
        return attributes

    def _conclude(self) -> None:
        values = self._values
        word = str(values.get(key.STATUS, "")).strip().lower()
        if self.failed and word not in NODE_FAILURES:
            word = "error"
        elif not word:
            word = "pass" if values.get(key.DBT_RESOURCE_TYPE) == "test" else "success"
        values[key.STATUS] = word
        if word in NODE_FAILURES and not self.failed:
            self.fail(str(values.get(key.DBT_MESSAGE) or word), error_type=f"dbt.{word.replace(' ', '_')}")
        if word == "skipped":
            values[key.CICD_TASK_RUN_RESULT] = "skip"
        elif self._span is not None:
            self._set_times(self._span)

    def _set_times(self, span: Span) -> None:
        started = span.start_time or 0
        ended = max(now(), started)
        self._values.setdefault(key.DBT_EXECUTE_STARTED_AT, iso_utc(started))
        self._values.setdefault(key.DBT_EXECUTE_COMPLETED_AT, iso_utc(ended))
        self._values.setdefault(key.DBT_EXECUTION_TIME, (ended - started) / NANOS)
