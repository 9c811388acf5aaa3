"""The dataclasses for runs and operations, and the status of several operations together. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

__all__ = ["Operation", "Part", "Run", "RunKey", "attempts_of", "is_node_id", "label_of", "outcomes", "status_of"]


@dataclass(frozen=True)
class RunKey:
    """A run, with the fields that select runs."""

    run_id: str
    started_at: datetime | None
    data_product: str | None
    environment: str | None


@dataclass(frozen=True)
class Operation:
    """One operation of a run: a row of the view ``monitoring_operations``. None means unknown; times are UTC."""

    run_id: str
    data_product: str | None
    environment: str | None
    workload: str
    """integration, transformation, consumption or reconciliation."""
    kind: str
    """table_load, dbt_node, model_refresh or reconciliation_result."""
    name: str
    operation_id: str
    """The same in every run; for a dbt node its unique_id."""
    source_name: str | None
    resource_type: str | None
    status: str
    """Succeeded, Failed, Skipped, Warned, Running or Unknown; or the stored word if it is unknown."""
    word: str | None
    """The status as stored."""
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float | None
    rows_read: int | None
    rows_written: int | None
    bytes_read: int | None
    bytes_written: int | None
    amount: float | None
    """The reconciled amount."""
    error_type: str | None
    error_message: str | None
    """Why it failed, was skipped or warned."""
    pipeline_id: str | None
    pipeline_run_id: str | None
    invocation_id: str | None
    depends_on: tuple[str, ...]
    """What a node or a semantic model reads; … at the end of a list that was cut."""
    materialized: str | None
    """For a dbt node: view, table, incremental, ...; None: unknown."""
    trace_id: str | None
    span_id: str | None
    record_id: str | None
    superseded: bool
    """The run did the same again later."""

    @cached_property
    def label(self) -> str:
        """The name for people."""
        return label_of(self.kind, self.name, self.operation_id, self.resource_type)

    @property
    def unique_id(self) -> str | None:
        """For a dbt node, if its row has it."""
        return self.operation_id if self.kind == "dbt_node" and _UNIQUE_ID.match(self.operation_id) else None


_UNIQUE_ID = re.compile(
    r"(analysis|exposure|function|hook|metric|model|operation|saved_query|seed|semantic_model|snapshot|source|sql"
    r"|test|unit_test)\.[^.]+\."
)
"""The start of a unique_id in dbt: node type and project. The name of a relation has dots, too."""


def is_node_id(text: str) -> bool:
    """Whether the text is a unique_id of dbt's."""
    return _UNIQUE_ID.match(text) is not None


def label_of(kind: str, name: str, operation_id: str, resource_type: str | None = None) -> str:
    """The name for people. dbt nodes are shown with their type, and generic tests without the hash at the end."""
    if kind != "dbt_node" or not _UNIQUE_ID.match(operation_id):
        return name
    head, _, *rest = operation_id.split(".")
    return f"{resource_type or head} {'.'.join(rest[:1] if head == 'test' else rest)}"


@dataclass(frozen=True)
class Run:
    """One run: a row of ``monitoring_runs``. None means unknown."""

    run_id: str
    data_product: str | None
    environment: str | None
    status: str
    """The verdict: Failed, Running, Unfinished, Incomplete, Warned or Succeeded, the first that applies."""
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
    reason: str | None
    """What made the verdict so, in a sentence; None: nothing is wrong."""
    has_parts: int
    """1: it has a record of its own: ``monitoring_run_part``."""
    is_open: int
    """0: it has ended. 1: something goes on, or nobody said that it ended. 2: nobody will say it any more."""
    run_ended: int
    """1: somebody said that it ended."""
    jobs: int
    other_work: int
    """Jobs with steps, steps, and dbt invocations that build nothing, which ended well."""
    parts_failed: int
    parts_repeated: int
    """Jobs and workloads that failed and began again later."""
    parts_begun_again: int
    """Jobs and dbt invocations that failed and were perhaps tried again, in another way."""
    parts_without_nodes: int
    """Invocations of dbt whose selection matched nothing."""
    parts_running: int
    parts_interrupted: int
    steps_failed: int
    loads_lost: int
    """Table loads that a job recorded and that have no row."""
    nodes_lost: int
    refreshes_lost: int
    absent: int
    """What was expected and is not there."""
    findings_failed: int
    findings_incomplete: int
    findings_warned: int
    judged_at: datetime | None
    """When it was last compared with earlier runs, if nothing came since."""
    last_sign_at: datetime | None
    """The last that is known of it."""
    silent_after: int | None
    """Seconds of silence after which it counts as Unfinished, as the product's last judged run says; None: 6 hours."""
    recorded: int
    """Operations and parts that are known of it, those that were done again later too."""


@dataclass(frozen=True)
class Part:
    """One part of a run that is no operation, as ``monitoring_parts`` says it. None: unknown."""

    run_id: str
    part: str
    """run, job, workload, dbt_invocation, step or attempt."""
    name: str | None
    workload: str | None
    status: str
    """Running, Succeeded, Failed or Interrupted."""
    attempt: int | None
    """Number of an attempt, from 1."""
    started_at: datetime | None
    ended_at: datetime | None
    error_type: str | None
    error_message: str | None
    pipeline_run_id: str | None
    loads: int | None
    nodes: int | None
    refreshes: int | None
    detail: str | None
    parent_span_id: str | None
    """Of an attempt: the span of its operation."""
    span_id: str | None
    superseded: bool
    """It was done again later, and well or not, that is what counts."""
    begun_again: bool
    """It failed or was killed, and something came later that may have been another try."""
    selected_nothing: int
    """1: dbt ended well and its selection matched nothing. 2: so it may, of what has changed only."""


def attempts_of(found: Iterable[Part]) -> dict[str, list[Part]]:
    """Span id of an operation → its attempts that have a row: those that failed."""
    groups: dict[str, list[Part]] = {}
    for part in found:
        if part.part == "attempt" and part.parent_span_id:
            groups.setdefault(part.parent_span_id, []).append(part)
    return {span: sorted(group, key=lambda part: part.attempt or 0) for span, group in groups.items()}


def outcomes(found: Iterable[Operation]) -> list[Operation]:
    """The operations without those that the run did again later."""
    return [operation for operation in found if not operation.superseded]


def status_of(found: Iterable[Operation]) -> str:
    """One status for many operations: the worst of them, as in ``monitoring_runs``."""
    present = {operation.status for operation in outcomes(found)}
    if present - {"Succeeded", "Failed", "Warned", "Skipped", "Running"}:
        present.add("Unknown")
    return next((word for word in _WORST_FIRST if word in present), "Skipped")


_WORST_FIRST = ("Failed", "Running", "Unknown", "Warned", "Succeeded")
