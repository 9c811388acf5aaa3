"""A refresh → finished spans: the refresh, its attempts, the tables and partitions that it refreshed. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext

from dbbtrace.diagnostics import log
from dbbtrace.job.finished import fact
from dbbtrace.job.scope import Scope
from dbbtrace.model import attributes as key
from dbbtrace.sources.powerbi.details import Attempt, Details, RefreshedPart

__all__ = ["Seen", "attempt_spans", "inner_spans", "refresh_span"]

Seen = Mapping[tuple[str, "str | None"], tuple[int, int]]
"""Table and partition → when somebody who followed the refresh saw it begin and end."""
_MOST_PARTS = 500
"""Tables and partitions that get a span; those that failed come first."""


def refresh_span(
    scope: Scope, details: Details, names: Mapping[str, Any], *, identity: str, parent: SpanContext | None = None
) -> ReadableSpan:
    """The span of a refresh that is over, which gives its row.

    Args:
        names: which refresh it is: see ``job.api.refresh_names``. The workspace is the model's own, never the run's.
    """
    start = details.start or 0
    return fact(
        scope,
        name=f"refresh {names[key.CICD_TASK_NAME]}",
        operation=key.OPERATION_REFRESH,
        identity=identity,
        start=start,
        end=details.end or start,
        attributes={
            **names,
            key.WORKLOAD: "consumption",
            key.STATUS: details.status,
            key.CICD_TASK_RUN_RESULT: "failure" if details.error else "success",
        },
        parent=parent,
        error=details.error,
    )


def inner_spans(
    scope: Scope, details: Details, task: str, *, identity: str, parent: SpanContext, seen: Seen | None = None
) -> Iterator[ReadableSpan]:
    """Attempts, tables and partitions of a refresh that is over.

    Args:
        task: the model's name for people.
        seen: when parts were refreshed, where somebody looked on: the service gives no times for them. Those that
            nobody saw last as long as the refresh.
    """
    yield from attempt_spans(scope, details.attempts, task, identity=identity, parent=parent)
    start, end = details.start or 0, details.end or 0
    tables: dict[str, list[RefreshedPart]] = {}
    for part in _chosen(details.parts, task):
        tables.setdefault(part.table, []).append(part)
    for table, parts in tables.items():
        times = [(seen or {}).get((part.table, part.partition), (start, end)) for part in parts]
        above = _part_span(
            scope,
            next((part for part in parts if part.error), parts[0])._replace(
                partition=parts[0].partition if len(parts) == 1 else None
            ),
            table,
            identity,
            (min(began for began, _ in times), max(ended for _, ended in times)),
            parent,
        )
        yield above
        if len(parts) > 1 and above.context is not None:
            for part, period in zip(parts, times, strict=True):
                yield _part_span(scope, part, part.partition or table, identity, period, above.context)


def attempt_spans(
    scope: Scope, attempts: Sequence[Attempt], task: str, *, identity: str, parent: SpanContext | None
) -> Iterator[ReadableSpan]:
    """The service's own attempts."""
    for attempt in attempts:
        yield fact(
            scope,
            name=attempt.name,
            operation=key.OPERATION_ATTEMPT,
            identity=f"{identity}\nattempt {attempt.number}",
            start=attempt.start,
            end=attempt.end,
            attributes={
                key.ATTEMPT: attempt.number,
                key.WORKLOAD: "consumption",
                key.CICD_TASK_NAME: task,
                key.CICD_TASK_RUN_RESULT: "failure" if attempt.error else "success",
            },
            parent=parent,
            error=attempt.error,
        )


def _chosen(parts: Sequence[RefreshedPart], task: str) -> Sequence[RefreshedPart]:
    if len(parts) <= _MOST_PARTS:
        return parts
    log.info("%s has %d tables and partitions; %d of them get a span", task, len(parts), _MOST_PARTS)
    return sorted(parts, key=lambda part: part.error is None)[:_MOST_PARTS]


def _part_span(
    scope: Scope, part: RefreshedPart, name: str, identity: str, period: tuple[int, int], parent: SpanContext
) -> ReadableSpan:
    return fact(
        scope,
        name=name,
        operation=key.OPERATION_REFRESHED_PART,
        identity="\n".join((identity, "part", part.table, part.partition or "")),
        start=period[0],
        end=period[1],
        attributes={
            key.WORKLOAD: "consumption",
            key.MODEL_TABLE: part.table,
            key.MODEL_PARTITION: part.partition,
            key.STATUS: part.status,
            key.CICD_TASK_RUN_RESULT: "failure" if part.error else "success",
        },
        parent=parent,
        error=part.error,
    )
