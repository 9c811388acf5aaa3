"""Copies → finished spans: the load, its attempts, and what each spent its time on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext

from dbbtrace.job.finished import fact
from dbbtrace.job.scope import Scope
from dbbtrace.model import attributes as key
from dbbtrace.model.statuses import FAILED
from dbbtrace.model.times import iso_utc
from dbbtrace.sources.fabric.copies import Copy

__all__ = ["load_spans", "stage_spans"]


def load_spans(
    scope: Scope,
    copies: Sequence[Copy],
    names: Mapping[str, Any],
    *,
    identity: str,
    start: int,
    end: int,
    parent: SpanContext | None = None,
    with_stages: bool = True,
) -> Iterator[ReadableSpan]:
    """The load's span, then those below it.

    Args:
        copies: the attempts, in their order; the last one's outcome is the load's.
        names: which load it is: see ``job.api.load_names``.
        start, end: of the last attempt; nanoseconds since the Unix epoch. The span begins with the first one.
        with_stages: stage spans are for the eye alone; rows come from the load's span.
    """
    last = copies[-1]
    began = min([start, *(each.start for each in copies if each.start is not None)])
    load = fact(
        scope,
        name=f"load {names[key.CICD_TASK_NAME]}",
        operation=key.OPERATION_LOAD,
        identity=identity,
        start=began,
        end=end,
        attributes={
            **names,
            **last.metrics,
            key.WORKLOAD: "integration",
            key.STATUS: last.status,
            key.STARTED_AT: iso_utc(start) if began != start else None,
            key.CICD_TASK_RUN_RESULT: "failure" if last.error else "success",
        },
        parent=parent,
        error=last.error,
    )
    yield load
    for number, copy in enumerate(copies, 1):
        above, since = load.context, copy.start or start
        if len(copies) > 1:
            attempt = fact(
                scope,
                name=f"attempt {number}",
                operation=key.OPERATION_ATTEMPT,
                identity=f"{identity}\nattempt {number}",
                start=since,
                end=copy.end if copy.end is not None else since,
                attributes={
                    key.ATTEMPT: number,
                    key.CICD_TASK_NAME: names[key.CICD_TASK_NAME],
                    key.WORKLOAD: "integration",
                    key.STATUS: copy.status,
                    key.CICD_TASK_RUN_RESULT: "failure" if copy.status == FAILED else "success",
                },
                parent=load.context,
                error=copy.error,
            )
            yield attempt
            above = attempt.context
        if with_stages:
            yield from stage_spans(scope, copy, f"{identity}\n{number}", since, above)


def stage_spans(
    scope: Scope, copy: Copy, identity: str, start: int, parent: SpanContext | None
) -> Iterator[ReadableSpan]:
    """Queue, time to first byte and transfer, one after the other."""
    for name, took in copy.stages:
        yield fact(
            scope,
            name=name,
            operation=key.OPERATION_COPY_STAGE,
            identity=f"{identity}\n{name}",
            start=start,
            end=start + took,
            attributes={key.WORKLOAD: "integration"},
            parent=parent,
        )
        start += took
