"""What becomes of a span whose process died while it ran: an error, said as such, in the words of its table.

Pure: the same start line always gives the same span, whoever closes it.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Status, StatusCode

from dbbtrace.journal.owner import Owner
from dbbtrace.model import attributes as key
from dbbtrace.model.spans import changed
from dbbtrace.model.times import LATEST, iso_utc

__all__ = ["interrupted"]

_STATUS = {
    key.OPERATION_LOAD: "Failed",  # so that the watermark stays
    key.OPERATION_DBT_NODE: "error",
    key.OPERATION_REFRESH: "Unknown",  # the service may well have gone on
}


def interrupted(span: ReadableSpan, owner: str, last_sign: int) -> ReadableSpan:
    """The span, ended at its owner's last sign of life (nanoseconds since the Unix epoch).

    One that had ended and only waited for its rows is as it was.
    """
    if (ended_at := _ended_at(span)) is not None:
        return _ended(span, dict(span.attributes or {}), ended_at)
    end = max(last_sign, min(span.start_time or 0, LATEST))
    who = Owner.parse(owner)
    process = f"process {who.pid} on {who.host}" if who else "its process"
    message = f"{process} went away while this ran; it was last seen at {iso_utc(end)}"
    attributes = dict(span.attributes or {})
    status = _STATUS.get(str(attributes.get(key.OPERATION)))
    if status is not None:
        attributes[key.STATUS] = status
    if key.CICD_TASK_RUN_RESULT in attributes or status is not None:
        attributes[key.CICD_TASK_RUN_RESULT] = "error"
    attributes[key.ERROR_TYPE] = key.INTERRUPTED
    attributes[key.ERROR_MESSAGE] = message
    return _ended(span, attributes, end)


def _ended_at(span: ReadableSpan) -> int | None:
    """When the span had ended, if it is one whose rows were to come later."""
    attributes = span.attributes or {}
    ended_at = attributes.get(key.ENDED_AT)
    return ended_at if attributes.get(key.AUDIENCE) == key.FOR_ROWS and isinstance(ended_at, int) else None


def _ended(span: ReadableSpan, attributes: dict[str, Any], end: int) -> ReadableSpan:
    failed = key.ERROR_TYPE in attributes
    status = Status(StatusCode.ERROR, str(attributes.get(key.ERROR_MESSAGE, ""))) if failed else Status()
    return changed(span, attributes=attributes, status=status, end_time=end)
