"""Which spans give rows: what the operations need, and the run's own record, ``monitoring_run_part``.

A part is what of a run is no operation: the run, a job's share of it, a workload, a dbt invocation, a step, an attempt;
and what is said about the run: what is expected of it, what was found, what it repairs, what somebody knows already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from dbbtrace.model import attributes as key
from dbbtrace.model.identity import sha256

__all__ = [
    "MOST_STEPS",
    "NEEDED",
    "PART_OF_OPERATION",
    "claims_rows",
    "gives_rows",
    "lacking",
    "mark_of",
    "own_attributes",
]

PART_OF_OPERATION: Final = {
    key.OPERATION_RUN: "run",
    key.OPERATION_JOB: "job",
    key.OPERATION_WORKLOAD: "workload",
    key.OPERATION_DBT_INVOCATION: "dbt_invocation",
    key.OPERATION_STEP: "step",
    key.OPERATION_ATTEMPT: "attempt",
    key.OPERATION_EXPECTED: "expected",
    key.OPERATION_FINDING: "finding",
    key.OPERATION_LINK: "link",
    key.OPERATION_ACK: "ack",
}
"""``dbb.operation`` → what the column ``part`` holds."""
NEEDED: Final = {
    key.OPERATION_LOAD: key.TABLE_NAME,
    key.OPERATION_DBT_NODE: key.DBT_UNIQUE_ID,
    key.OPERATION_REFRESH: key.MODEL_ID,
}
"""What the rows of an operation need besides the run id."""
MOST_STEPS: Final = 1_000
"""Rows of steps and attempts that one job gives at most."""

_STORED_AS_IT_IS = 200
"""Letters of a text that no column cuts."""
_SOMETIMES = frozenset({key.OPERATION_STEP, key.OPERATION_ATTEMPT})
_ALWAYS = key.ROW_OPERATIONS | PART_OF_OPERATION.keys() - _SOMETIMES
_OURS = ("dbb.", "cicd.pipeline.", "deployment.environment", "error.type", "db.namespace", "db.collection.")
"""How the attributes begin that dbbtrace itself sets."""


def own_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that the job's author gave a step."""
    return {name: value for name, value in attributes.items() if not name.startswith(_OURS)}


def mark_of(*names: object) -> str:
    """A mark of what an operation is of, the same whoever names it: 4 hexadecimal digits, for many must fit into a row.
    '' for names that a database may store in another way."""
    said = [str(name if name is not None else "").lower() for name in names]
    if sum(map(len, said)) > _STORED_AS_IT_IS or not all(name.isascii() and name.isprintable() for name in said):
        return ""
    return sha256("\n".join(said).encode()).hexdigest()[:4]


def claims_rows(attributes: Mapping[str, Any], *, failed: bool) -> bool:
    """Whether a span with these attributes says that it gives rows.

    Args:
        failed: how it ended; of a step and an attempt that decides.
    """
    operation = attributes.get(key.OPERATION)
    if not isinstance(operation, str):
        return False
    if operation in _ALWAYS:
        return True
    if operation not in _SOMETIMES:
        return False
    said = attributes.get(key.PART_ROW)
    if said is not None:
        return bool(said)
    return failed or key.ERROR_TYPE in attributes or bool(own_attributes(attributes))


def lacking(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """The attributes without which a span that claims an operation can't give its rows; () if it has them all."""
    operation = str(attributes.get(key.OPERATION))
    need = NEEDED.get(operation) or (key.OPERATION if operation in PART_OF_OPERATION else None)
    return tuple(name for name in (key.RUN_ID, need) if _is_blank(attributes.get(name))) if need else ()


def _is_blank(value: object) -> bool:
    try:
        return value is None or not str(value).strip()
    except Exception:  # __str__ of any type may fail
        return True


def gives_rows(span: ReadableSpan) -> bool:
    """Whether the span is for a warehouse: it may give rows, which don't come later."""
    attributes = key.plain(span._attributes)
    if attributes.get(key.AUDIENCE) == key.FOR_SPANS:
        return False
    if attributes.get(key.OPERATION) in key.ROW_OPERATIONS:  # as most are: the rest would cost each load its calls
        return True
    return claims_rows(attributes, failed=span.status.status_code is StatusCode.ERROR)
