"""Send a run to an OTLP backend, again or for the first time: from the journal, and what that lacks from the rows.

The journal has a run's spans as they were, but only until they are delivered. Rows last. A span made from one has its
own ids and times, and hangs on the run's root, for rows don't tell what was in between. It is sent as a step: where the
backend feeds a warehouse, the row that it was made from must not come back as another. Sent twice, a span is the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags

from dbbtrace.answers import Operation
from dbbtrace.configure import exporter_named
from dbbtrace.errors import UsageError
from dbbtrace.job.context import make_scope
from dbbtrace.job.finished import fact
from dbbtrace.job.scope import Scope
from dbbtrace.model import attributes as key
from dbbtrace.model import identity
from dbbtrace.model.times import to_unix_nanos
from dbbtrace.operate.close import root_of, rows_of_run
from dbbtrace.tracing import runtime

__all__ = ["Replayed", "replay_run"]

_BATCH = 1000
_FAILURE = "Failed"
_RESULTS = {"Succeeded": "success", "Warned": "success", _FAILURE: "failure", "Skipped": "skip"}


@dataclass(frozen=True)
class Replayed:
    """What a replay sent."""

    from_journal: int
    from_rows: int

    @property
    def spans(self) -> int:
        """Spans in all."""
        return self.from_journal + self.from_rows


def replay_run(
    run_id: str,
    *,
    endpoint: str | None = None,
    protocol: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Replayed:
    """Send the run's spans to an OTLP backend.

    Args:
        run_id: the run.
        endpoint: e.g. ``http://localhost:4318``; else OTEL_EXPORTER_OTLP_ENDPOINT.
        protocol: http/protobuf, http/json or grpc; else OTEL_EXPORTER_OTLP_PROTOCOL.
        progress: told how many spans have been sent, and how many there are.

    Raises:
        UsageError: nothing is known of the run, or no backend is named.
        TransientError, ConfigurationError, RefusedError: as the backend answers; what was sent before stays sent.
    """
    settings = runtime.current().settings
    if endpoint is None and settings.otlp_endpoint is None:
        raise UsageError("where to? Name the backend's address, e.g. http://localhost:4318")
    journalled = _in_journal(settings.journal_dir, identity.trace_id_of(run_id))
    rows, _ = rows_of_run(identity.normalise_run_id(run_id))
    if not journalled and not rows:
        raise UsageError(f"nothing is known of run {run_id!r}, in the journal or in the warehouse")
    made = _made_of(make_scope(run_id), rows)
    lacking = [span for span in made if span.context and span.context.span_id not in journalled]
    spans = [*journalled.values(), *lacking]
    exporter = exporter_named("dbb_otlp", endpoint=endpoint, protocol=protocol)
    try:
        for first in range(0, len(spans), _BATCH):
            exporter.deliver(spans[first : first + _BATCH])
            if progress:
                progress(min(first + _BATCH, len(spans)), len(spans))
    finally:
        exporter.shutdown()
    return Replayed(len(journalled), len(lacking))


def _in_journal(journal_dir: str, trace_id: int) -> dict[int, ReadableSpan]:
    """The spans of the trace that have ended and are still in a journal, by their ids."""
    from dbbtrace.journal import directory, reader

    found = {}
    for journal in directory.find(os.path.abspath(journal_dir)):
        survey = reader.Survey(journal.path)
        for _, fields in survey.ended():
            span = reader.decode("end", fields, survey.definitions)
            if span and span.context and span.context.trace_id == trace_id:
                found[span.context.span_id] = span
    return found


def _made_of(scope: Scope, rows: Sequence[Operation]) -> list[ReadableSpan]:
    """Spans made from the run's rows, the root first."""
    if not rows:
        return []
    root = root_of(scope, rows)
    assert root.context
    assert root.end_time is not None
    parent = SpanContext(root.context.trace_id, root.context.span_id, False, TraceFlags(TraceFlags.SAMPLED))
    return [root, *(_operation(scope, row, parent, root.end_time) for row in rows)]


def _operation(scope: Scope, row: Operation, parent: SpanContext, end_of_run: int) -> ReadableSpan:
    """The span of a row. What never ran is shown at the end of the run."""
    ended = to_unix_nanos(row.ended_at) if row.ended_at else end_of_run
    started = to_unix_nanos(row.started_at) if row.started_at else ended
    name = {"table_load": f"load {row.name}", "model_refresh": f"refresh {row.name}"}.get(row.kind)
    itself = row.record_id or "\n".join((row.kind, row.name, row.invocation_id or "", str(started)))
    return fact(
        scope.inner(data_product=row.data_product, environment=row.environment),
        name=name or row.unique_id or row.name,
        operation=key.OPERATION_STEP,
        identity=None,
        span_id=int(row.span_id, 16) if row.span_id else identity.span_id_of(scope.trace_id, itself),
        parent=parent,
        start=started,
        end=ended,
        attributes=_attributes(row),
        error=(row.error_type or _FAILURE, row.error_message or row.word or _FAILURE)
        if row.status == _FAILURE
        else None,
    )


def _attributes(row: Operation) -> dict[str, object]:
    """What the row tells, under the names that live spans use."""
    is_node = row.kind == "dbt_node"
    return {
        key.WORKLOAD: row.workload,
        key.STATUS: row.word,
        key.PIPELINE_ID: row.pipeline_id,
        key.PIPELINE_RUN_ID: row.pipeline_run_id,
        key.CICD_TASK_NAME: row.name,
        key.CICD_TASK_RUN_RESULT: _RESULTS.get(row.status),
        key.ROWS_READ: row.rows_read,
        key.DBT_ROWS_AFFECTED if is_node else key.ROWS_WRITTEN: row.rows_written,
        key.DATA_READ: row.bytes_read,
        key.DATA_WRITTEN: row.bytes_written,
        key.DBT_UNIQUE_ID: row.unique_id,
        key.DBT_RESOURCE_TYPE: row.resource_type,
        key.DBT_INVOCATION_ID: row.invocation_id,
        key.DBT_DEPENDS_ON if is_node else key.MODEL_READS: list(row.depends_on) or None,
        key.DBT_MATERIALIZED: row.materialized,
        key.DBT_MESSAGE: row.error_message if is_node else None,
    }
