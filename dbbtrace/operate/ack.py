"""Acknowledge a run or a table: a person knows, so the verdict and ``watch`` don't warn of it until a given time.

An acknowledgement is a fact like any other and takes the same road: journal first, then a row of the run's own record.
"""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from datetime import datetime

from dbbtrace.answers.find import find_run
from dbbtrace.answers.read import operations, run_keys, run_rows
from dbbtrace.answers.suggest import suggestion
from dbbtrace.answers.verdict import verdicts
from dbbtrace.errors import UsageError
from dbbtrace.job.context import make_scope
from dbbtrace.job.finished import emit, fact
from dbbtrace.model import attributes as key
from dbbtrace.model.times import to_unix_nanos
from dbbtrace.tracing.provider import now
from dbbtrace.warehouse import Warehouse

__all__ = ["acknowledge", "meant"]

_LOOKED_AT = 20
"""Newest runs whose tables and findings may be acknowledged by name."""


def meant(
    warehouse: Warehouse,
    text: str,
    *,
    data_product: str | None = None,
    environment: str | None = None,
    zone: str = "UTC",
) -> tuple[str, str]:
    """The run that the text means, or the run in which the named table was seen last; and the name to acknowledge.

    Raises:
        UsageError: it is neither a run nor the name of a table, dbt node or model of the newest runs.
    """
    keys = run_keys(warehouse, data_product=data_product, environment=environment)
    newest = [key.run_id for key in keys[:_LOOKED_AT]]
    seen = _seen(warehouse, newest)
    if text.strip().lower() in seen:
        return seen[text.strip().lower()]
    try:
        run = find_run(warehouse, text, data_product=data_product, environment=environment, zone=zone)
    except UsageError as error:
        raise UsageError(
            f"neither a run nor a table: {error}{suggestion(text, [name for _, name in seen.values()])}"
        ) from None
    return run, run


def _seen(warehouse: Warehouse, newest: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Name in lower case → the newest run that has it, and the name: of operations, and of all that verdicts name."""
    if not newest:
        return {}
    names = [(one.run_id, name) for one in operations(warehouse, newest) for name in (one.name, one.label)]
    said = verdicts(warehouse, run_rows(warehouse, newest))
    names += [(run_id, reason.name) for run_id, one in said.items() for reason in one.reasons if reason.name]
    age = {run_id: place for place, run_id in enumerate(newest)}
    return {name.lower(): (run_id, name) for run_id, name in sorted(names, key=lambda one: -age[one[0]])}


def acknowledge(
    run_id: str,
    name: str,
    reason: str,
    until: datetime,
    *,
    data_product: str | None = None,
    environment: str | None = None,
) -> None:
    """Put the acknowledgement into the journal.

    Args:
        run_id: the run that it is about, or in which the table was seen.
        name: of the table, dbt node or model; the run id for a whole run.
        reason: why it does not matter.
        until: from when on it matters again.
        data_product, environment: of the run.
    """
    at = now()
    scope = make_scope(run_id, data_product=data_product, environment=environment)
    attributes = {
        key.CICD_TASK_NAME: name,
        key.STATUS: "Acknowledged",
        key.ERROR_MESSAGE: reason,
        key.EXPECTED_BY: _who(),
        key.AUDIENCE: key.FOR_ROWS,
    }
    emit(
        [
            fact(
                scope,
                name=f"ack {name}",
                operation=key.OPERATION_ACK,
                identity=f"ack\n{name}\n{at}",
                start=at,
                end=max(at, to_unix_nanos(until)),
                attributes=attributes,
            )
        ]
    )


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "somebody"
