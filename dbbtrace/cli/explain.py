"""What an operation is called, and what there is to say about one that did not simply succeed. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbbtrace.warehouse.questions import Operation

__all__ = ["label_of", "reasons"]

_UNIQUE_ID = re.compile(r"[a-z_]+(?:\.[\w-]+)+")
"""What may be the unique_id of a dbt node."""


def label_of(operation: Operation) -> str:
    """The operation's name, of dbt nodes with their type; a generic test without the hash that ends its id."""
    if not operation.unique_id:
        return operation.name
    kind, _, rest = operation.unique_id.partition(".")
    parts = rest.split(".")
    return f"{operation.resource_type or kind} " + (".".join(parts[1:2] if kind == "test" else parts[1:]) or rest)


def reasons(operations: Sequence[Operation]) -> list[tuple[str, ...]]:
    """For each operation what to say about it: its own words, and what it shows together with the others."""
    failed_loads = {
        _table(operation.name): operation.name
        for operation in operations
        if operation.workload == "integration" and operation.status == "Failed"
    }
    labels = {operation.unique_id: label_of(operation) for operation in operations if operation.unique_id}
    return [
        (*_own_words(operation, labels), *_missing_sources(operation, failed_loads), *_lost_rows(operation))
        for operation in operations
    ]


def _own_words(operation: Operation, labels: Mapping[str, str]) -> Iterable[str]:
    if operation.status == "Succeeded":
        return
    message, kind = operation.error_message or "", operation.error_type or ""
    short = kind.rpartition(".")[2]
    if operation.unique_id or not short or message.startswith(short):
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
        yield f"{read:,} rows read, {written:,} written"


def _table(name: str) -> str:
    return name.rpartition(".")[2].lower()
