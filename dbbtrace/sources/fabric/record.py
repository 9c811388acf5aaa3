"""``record_copy``: one Copy activity that is over → its row."""

from __future__ import annotations

from dbbtrace.diagnostics import complain, guard
from dbbtrace.errors import UsageError
from dbbtrace.job.api import load_names
from dbbtrace.job.context import scope_for
from dbbtrace.job.finished import emit, record_refused
from dbbtrace.job.values import checked, shown, text
from dbbtrace.model import attributes as key
from dbbtrace.model.identity import load_identity
from dbbtrace.model.statuses import SUCCEEDED
from dbbtrace.model.times import EARLIEST_START, STARTS_AHEAD, iso_utc, to_unix_nanos
from dbbtrace.sources.fabric.copies import Copy, attempts_of
from dbbtrace.sources.fabric.spans import load_spans
from dbbtrace.tracing.provider import now

__all__ = ["period_of", "record_copy"]


def record_copy(
    output: object,
    table: str,
    *,
    schema: str | None = None,
    source: str | None = None,
    source_type: str | None = None,
    load_type: str | None = None,
    started_at: object = None,
    identity: str | None = None,
    run_id: object = None,
    data_product: str | None = None,
    environment: str | None = None,
    workspace_id: object = None,
    pipeline_id: object = None,
    pipeline_run_id: object = None,
) -> bool:
    """Record a Copy activity that is over: one row of ``meta.monitoring_integration``. Returns whether it was recorded.

    A Copy that failed gives a row with status Failed and the error's code and message, whatever else its output lacks.
    Refused, with a log line that names the reason, is only what is not an activity's output, what still runs, and a
    Copy that succeeded at a time that nobody knows: incremental loads read its start as their watermark. A run that is
    open is then Warned.

    Args:
        output: the activity's output, or the whole activity; an object or its JSON text. A list holds the attempts of
            one Copy, the last of which counts.
        table, schema, source, source_type, load_type: as in ``table_load``.
        started_at: start of the load, where the output has none.
        identity: instead of the activity run id, which only the whole activity has.
        run_id, data_product, environment, workspace_id: where no run is open; see ``join_run``.
        pipeline_id, pipeline_run_id: instead of those of the enclosing ``integration``.

    Recorded twice, it is one row. Never raises into the job.
    """
    with guard("record a Copy"):
        try:
            found = attempts_of(output)
            start, end, is_known = period_of(found[-1], started_at)
        except UsageError as error:
            record_refused(f"record {table}", "integration", str(error))
            complain(str(error))
            return False
        scope = scope_for(
            run_id,
            data_product=data_product,
            environment=environment,
            workspace_id=workspace_id,
            pipeline_id=pipeline_id,
            pipeline_run_id=pipeline_run_id,
            workload="integration",
        )
        names = load_names(table, schema=schema, source=source, source_type=source_type, load_type=load_type)
        known_by = (
            checked("identity", text, identity)
            or found[-1].identity
            or load_identity(
                scope.pipeline_run_id or "",
                names[key.SOURCE_NAME] or "",
                names[key.SCHEMA_NAME] or "",
                names[key.TABLE_NAME],
                iso_utc(start) if is_known else "",
            )
        )
        emit(list(load_spans(scope, found, names, identity=known_by, start=start, end=end)))
        return True
    return False


def period_of(copy: Copy, said: object = None) -> tuple[int, int, bool]:
    """Start and end of the load, and whether the start is known.

    Args:
        said: a start that comes before the Copy's own.

    Raises:
        UsageError: it succeeded, and its start is not known.
    """
    clock = now()
    given = checked("started_at", to_unix_nanos, said)
    start = given if given is not None else copy.start
    if start is not None and not EARLIEST_START <= start <= clock + STARTS_AHEAD:
        complain(f"executionDetails[0].start = {shown(iso_utc(start))} is left out: it is before 1990 or after now")
        start = None
    if start is None:
        if copy.status == SUCCEEDED:
            raise UsageError(
                "executionDetails[0].start is missing, and incremental loads read the start of a load that succeeded "
                "as their watermark: pass started_at"
            )
        end = copy.end if copy.end is not None and EARLIEST_START <= copy.end <= clock else clock
        return end, end, False
    start = min(start, clock)
    return start, max(start, copy.end if copy.end is not None else clock), True
