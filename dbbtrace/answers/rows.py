"""A run and an operation as answers hold them, and what several operations together come to. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

__all__ = ["Operation", "Run", "RunKey", "label_of", "outcomes", "status_of"]


@dataclass(frozen=True)
class RunKey:
    """A run, and as much of it as chooses between runs."""

    run_id: str
    started_at: datetime | None
    data_product: str | None
    environment: str | None


@dataclass(frozen=True)
class Operation:
    """One operation of a run, as ``monitoring_operations`` says it. None: unknown."""

    run_id: str
    data_product: str | None
    environment: str | None
    workload: str
    """integration, transformation, consumption or reconciliation."""
    kind: str
    """table_load, dbt_node, model_refresh or reconciliation_result."""
    name: str
    operation_id: str
    """Names the same thing in every run; of a dbt node its unique_id."""
    source_name: str | None
    resource_type: str | None
    status: str
    """Succeeded, Failed, Skipped, Warned, Running or Unknown; the stored word where it is none of these."""
    word: str | None
    """Status as stored."""
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float | None
    rows_read: int | None
    rows_written: int | None
    bytes_read: int | None
    bytes_written: int | None
    amount: float | None
    """What a reconciliation found."""
    error_type: str | None
    error_message: str | None
    """Why it failed, was skipped or warned."""
    pipeline_id: str | None
    pipeline_run_id: str | None
    invocation_id: str | None
    depends_on: tuple[str, ...]
    trace_id: str | None
    span_id: str | None
    record_id: str | None
    superseded: bool
    """The run did the same again later."""

    @cached_property
    def label(self) -> str:
        """Its name for people."""
        return label_of(self.kind, self.name, self.operation_id, self.resource_type)

    @property
    def unique_id(self) -> str | None:
        """Of a dbt node whose row tells it."""
        return self.operation_id if self.kind == "dbt_node" and _UNIQUE_ID.match(self.operation_id) else None


_UNIQUE_ID = re.compile(
    r"(analysis|exposure|function|hook|metric|model|operation|saved_query|seed|semantic_model|snapshot|source|sql"
    r"|test|unit_test)\.[^.]+\."
)
"""How dbt's unique_id begins: with the type of the node and the project's name. A relation's name has dots, too."""


def label_of(kind: str, name: str, operation_id: str, resource_type: str | None = None) -> str:
    """The name for people: of dbt nodes with their type, of a generic test without the hash that ends its id."""
    if kind != "dbt_node" or not _UNIQUE_ID.match(operation_id):
        return name
    head, _, *rest = operation_id.split(".")
    return f"{resource_type or head} {'.'.join(rest[:1] if head == 'test' else rest)}"


@dataclass(frozen=True)
class Run:
    """One run, as ``monitoring_runs`` says it. None: unknown."""

    run_id: str
    data_product: str | None
    environment: str | None
    status: str
    """Failed, Running, Unknown, Warned, Succeeded or Skipped: the worst that became of its operations."""
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float | None
    operations: int
    loads: int
    loads_failed: int
    nodes: int
    nodes_failed: int
    nodes_skipped: int
    refreshes: int
    refreshes_succeeded: int
    refreshes_failed: int
    reconciliation_results: int
    succeeded: int
    failed: int
    warned: int
    skipped: int
    running: int
    unknown: int
    rows_read: int | None
    rows_written: int | None
    bytes_read: int | None
    bytes_written: int | None
    slowest_operation: str | None
    slowest_seconds: float | None
    loads_without_end: int
    interrupted: int
    failed_without_reason: int
    trace_id: str | None


def outcomes(found: Iterable[Operation]) -> list[Operation]:
    """The operations without those that the run did again later."""
    return [operation for operation in found if not operation.superseded]


def status_of(found: Iterable[Operation]) -> str:
    """The one status of many operations: what became of the worst of them, as ``monitoring_runs`` has it."""
    present = {operation.status for operation in outcomes(found)}
    if present - {"Succeeded", "Failed", "Warned", "Skipped", "Running"}:
        present.add("Unknown")
    return next((word for word in _WORST_FIRST if word in present), "Skipped")


_WORST_FIRST = ("Failed", "Running", "Unknown", "Warned", "Succeeded")
