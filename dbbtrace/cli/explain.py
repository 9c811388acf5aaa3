"""Explains why an operation did not simply succeed. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from dbbtrace.answers.readable import counted

if TYPE_CHECKING:
    from dbbtrace.answers import Operation

__all__ = ["reasons"]

_UNIQUE_ID = re.compile(r"[a-z_]+(?:\.[\w-]+)+")
"""Text that may be the unique_id of a dbt node."""


def reasons(operations: Sequence[Operation]) -> list[tuple[str, ...]]:
    """The explanations for each operation: its own message, and what it shows together with the others."""
    failed_loads = {
        _table(operation.name): operation.name
        for operation in operations
        if operation.workload == "integration" and operation.status == "Failed" and not operation.superseded
    }
    labels = {operation.unique_id: operation.label for operation in operations if operation.unique_id}
    return [
        (
            *_own_words(operation, labels),
            *_missing_sources(operation, failed_loads),
            *_lost_rows(operation),
            *_amount(operation),
            *(("done again later in this run",) if operation.superseded else ()),
        )
        for operation in operations
    ]


def _own_words(operation: Operation, labels: Mapping[str, str]) -> Iterable[str]:
    if operation.status == "Succeeded":
        return
    message, kind = operation.error_message or "", operation.error_type or ""
    short = kind.rpartition(".")[2]
    if operation.kind == "dbt_node" or not short or message.startswith(short):
        short = ""  # dbt's messages say what went wrong; its error types only repeat the status
    if operation.status == "Skipped":
        message = _UNIQUE_ID.sub(lambda match: labels.get(match.group(), match.group()), message)
    if said := f"{short}: {message}".strip(": "):
        yield said
    elif operation.status in ("Failed", "Skipped"):
        yield "no reason is recorded"


def _missing_sources(operation: Operation, failed_loads: Mapping[str, str]) -> Iterable[str]:
    if operation.status == "Failed":
        for parent in operation.depends_on or ():
            if parent.startswith("source.") and _table(parent) in failed_loads:
                yield f"it reads {failed_loads[_table(parent)]}, whose load failed"


def _lost_rows(operation: Operation) -> Iterable[str]:
    read, written = operation.rows_read, operation.rows_written
    if read is not None and written is not None and read != written:
        yield f"{counted(read, 'row')} read, {written:,} written"


def _amount(operation: Operation) -> Iterable[str]:
    if operation.amount is not None:
        yield f"{operation.amount:,.15g}"


def _table(name: str) -> str:
    return name.rpartition(".")[2].lower()
