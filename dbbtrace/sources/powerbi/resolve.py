"""What became of a refresh whose job is gone: the service is asked, by the request id in the journal.

While the refresh runs, or the service can't be asked (it is down, nobody is logged in), its span waits in the journal
and the next process asks again. After two days nobody is asked any more.
"""

from __future__ import annotations

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Status, StatusCode

from dbbtrace.access.http import GoneError
from dbbtrace.delivery.queue import NotYetError
from dbbtrace.diagnostics import log
from dbbtrace.errors import ConfigurationError, DbbtraceError, UsageError
from dbbtrace.model import attributes as key
from dbbtrace.model.identity import refresh_identity
from dbbtrace.model.spans import changed
from dbbtrace.model.times import NANOS, iso_utc
from dbbtrace.sources.powerbi.api import Model, from_settings
from dbbtrace.sources.powerbi.details import Details
from dbbtrace.sources.powerbi.following import look
from dbbtrace.tracing.provider import now

__all__ = ["resolve"]

_LONGEST = 48 * 3600 * NANOS
"""A refresh takes a day at most, its retries included; the other day is for somebody to log in."""
_YOUNG = 600 * NANOS
"""A refresh that was started less than this ago may not be listed yet."""
_PATIENCE, _TIMEOUT = 10.0, 5.0
"""Seconds, of which the rows of the process that asks are held up."""


def resolve(span: ReadableSpan) -> ReadableSpan | None:
    """The span of an interrupted refresh, as the service says that it ended; None: nobody can be asked.

    Raises:
        NotYetError: it still runs, or the service can be asked later.
    """
    attributes = span.attributes or {}
    workspace, model, request = (
        str(attributes.get(name) or "") for name in (key.WORKSPACE_ID, key.MODEL_ID, key.REFRESH_REQUEST_ID)
    )
    if not (workspace and model and request):
        return None
    who = f"the refresh {request} of {attributes.get(key.CICD_TASK_NAME) or model}"
    try:
        api = from_settings(patience=_PATIENCE, timeout=_TIMEOUT)
    except (ConfigurationError, UsageError) as error:
        log.warning("what became of %s can't be asked: %s", who, error)
        return None
    age = now() - (span.start_time or 0)
    try:
        details = look(api, Model(workspace, model, None), request)
    except GoneError as error:
        if age < _YOUNG:
            raise NotYetError(f"what became of {who} can't be told yet: {error}") from None
        log.warning("what became of %s nobody can say: %s", who, error)
        return None
    except DbbtraceError as error:
        if age > _LONGEST:
            log.warning("what became of %s can't be asked: %s", who, error)
            return None
        raise NotYetError(f"what became of {who} can't be asked now: {error}") from None
    if not details.is_over:
        if age > _LONGEST:
            return None
        raise NotYetError(f"{who} still runs: it has its row once it has ended")
    return _ended(span, details, request)


def _ended(span: ReadableSpan, details: Details, request: str) -> ReadableSpan:
    start, end = details.start or span.start_time or 0, details.end or 0
    attributes = {
        **(span.attributes or {}),
        key.STATUS: details.status,
        key.STARTED_AT: iso_utc(start),
        key.ENDED_AT: iso_utc(end),
        key.IDENTITY: refresh_identity(request),
        key.CICD_TASK_RUN_RESULT: "failure" if details.error else "success",
    }
    if details.refresh_type is not None:
        attributes[key.REFRESH_TYPE] = details.refresh_type
    status = Status()
    if details.error is not None:
        attributes[key.ERROR_TYPE], attributes[key.ERROR_MESSAGE] = details.error
        status = Status(StatusCode.ERROR, details.error[1])
    return changed(span, attributes=attributes, status=status, end_time=max(end, span.start_time or 0))
