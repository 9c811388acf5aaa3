"""What a run's page shows; for its scripts, which draw waterfall and graph, column by column. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dbbtrace.answers.audit import Gap
from dbbtrace.answers.critical import PathStep
from dbbtrace.answers.failures import Failure
from dbbtrace.answers.graph import RunGraph
from dbbtrace.answers.reasons import Verdict
from dbbtrace.answers.rows import Operation, Part, Run
from dbbtrace.answers.shown import AsOf
from dbbtrace.answers.slowest import Timing
from dbbtrace.answers.things import Thing
from dbbtrace.pages.graph_data import graph_data, parents
from dbbtrace.pages.parts import Pool, rounded, texts
from dbbtrace.pages.templates import shown

__all__ = ["LARGEST", "RunReport", "kept", "run_data"]

LARGEST = 4_000
"""How many operations a page of a site lists at most, to stay within 2 MB."""


@dataclass(frozen=True)
class RunReport:
    """Everything that the page shows about a run."""

    run: Run
    operations: list[Operation]
    failures: list[Failure]
    path: list[PathStep]
    history: Mapping[tuple[str, str], Timing]
    gaps: list[Gap]
    verdict: Verdict
    attempts: Mapping[str, Sequence[Part]]
    """Span id of an operation → its attempts that failed."""
    relations: Mapping[str, str]
    """operation_id of a dbt node → the table or view that it fills, as dbt spells it."""
    tags: Mapping[str, Sequence[str]]
    """unique_id of a dbt node → its tags, where a manifest tells them."""
    fabric_page: str | None
    """The run in Fabric's monitoring, where its ids are known."""
    graph: RunGraph
    things: Mapping[str, Thing]
    """The run's lineage."""
    causes: Mapping[str, Operation]
    """What of it shows older data; see ``answers.outdated``."""
    shows: Sequence[AsOf] = ()
    """How old the data is of the semantic models that the run refreshed."""


def kept(found: Sequence[Operation], on_path: Collection[int]) -> list[Operation]:
    """The operations that somebody reads one by one: what did not succeed, the critical path, then the slowest."""
    if len(found) <= LARGEST:
        return list(found)

    def rank(operation: Operation) -> tuple[bool, bool, float]:
        return operation.status == "Succeeded", id(operation) not in on_path, -(operation.seconds or 0.0)

    chosen = {id(operation) for operation in sorted(found, key=rank)[:LARGEST]}
    return [operation for operation in found if id(operation) in chosen]


def run_data(
    report: RunReport, found: Sequence[Operation], trace_link: str | None, pages: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    """The data for the scripts. Times are seconds since the start of the run."""
    run = report.run
    begin = min((o.started_at for o in found if o.started_at), default=None)
    on_path = {id(step.operation) for step in report.path}
    place = {id(operation): number for number, operation in enumerate(found)}
    above = parents(report.things, report.graph)
    timings = [None if o.superseded else report.history.get((o.kind, o.operation_id)) for o in found]
    pool = Pool()

    def pooled(read: Callable[[Operation], str | None]) -> list[int]:
        return [pool[read(operation)] for operation in found]

    return {
        "run": shown(run.run_id),
        "start": begin.timestamp() if begin else None,
        "trace": trace_link,
        "workloads": ["integration", "transformation", "consumption", "reconciliation"],
        "name": texts(o.label or "(no name)" for o in found),  # for sorting and searching in the scripts
        "id": texts(o.operation_id for o in found),
        "workload": [pool[o.workload] for o in found],
        "schema": pooled(lambda o: schema_of(o, report.relations)),
        "tag": pooled(lambda o: ", ".join(report.tags.get(o.operation_id, ())) or None),
        "kind": pooled(lambda o: o.resource_type or o.kind.replace("_", " ")),
        "status": [pool[o.status] for o in found],
        "word": [pool[o.word] for o in found],
        "begin": [_since(begin, o.started_at) for o in found],
        "end": [_since(begin, o.ended_at) for o in found],
        "seconds": [rounded(o.seconds) for o in found],
        "rowsRead": [o.rows_read for o in found],
        "rows": [o.rows_written for o in found],
        "bytesRead": [o.bytes_read for o in found],
        "bytes": [o.bytes_written for o in found],
        "amount": [rounded(o.amount) for o in found],
        "message": texts(o.error_message for o in found),
        "errorType": [pool[o.error_type] for o in found],
        "source": [pool[o.source_name] for o in found],
        "pipeline": [pool[o.pipeline_id] for o in found],
        "pipelineRun": [pool[o.pipeline_run_id] for o in found],
        "invocation": [pool[o.invocation_id] for o in found],
        "span": texts(o.span_id for o in found),
        "superseded": [int(o.superseded) for o in found],
        "earlierMillis": [[int(1000 * seconds + 0.5) for seconds in t.earlier] if t else [] for t in timings],
        "median": [rounded(t.median) if t else None for t in timings],
        "p95": [rounded(t.p95) if t else None for t in timings],
        "change": [rounded(t.change) if t else None for t in timings],
        "notable": [int(t is not None and t.is_notable) for t in timings],
        "attempts": {
            number: [_attempt(begin, one) for one in report.attempts[o.span_id or ""]]
            for number, o in enumerate(found)
            if o.span_id in report.attempts
        },
        "path": [int(id(o) in on_path) for o in found],
        "upstream": [_places(above(o), place) if o.depends_on else [] for o in found],
        "graph": graph_data(report.things, report.causes, report.graph, place),
        "page": {
            number: pages[o.kind, o.operation_id] for number, o in enumerate(found) if (o.kind, o.operation_id) in pages
        },
        "strings": pool.strings,
    }


def schema_of(operation: Operation, relations: Mapping[str, str]) -> str | None:
    """The schema of the table that an operation fills, by its name."""
    if operation.kind == "table_load":
        return operation.name.rpartition(".")[0] or None
    parts = _QUOTES.sub("", relations.get(operation.operation_id, "")).split(".")
    return parts[-2] if len(parts) > 1 else None


_QUOTES = re.compile(r'["`\[\]]')


def _attempt(begin: datetime | None, one: Part) -> dict[str, Any]:
    return {
        "said": shown(f"attempt {one.attempt or '?'}: {one.error_type or ''}: {one.error_message or 'no reason'}"),
        "begin": _since(begin, one.started_at),
        "end": _since(begin, one.ended_at),
        "status": one.status,
    }


def _places(found: Sequence[Operation], place: Mapping[int, int]) -> list[int]:
    return sorted({place[id(operation)] for operation in found if id(operation) in place})


def _since(begin: datetime | None, at: datetime | None) -> float | None:
    return round((at - begin).total_seconds(), 3) if begin and at else None
