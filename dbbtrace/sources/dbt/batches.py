"""Which of dbt-core's own spans, where they arrive from elsewhere, are batches of a microbatch model.

A batch's span has the name and the attributes of its model's. Only the span above tells them apart: a batch is below
its model, a node below dbt's invocation. Both of those end, and arrive, after it. But what dbt does before the first
node arrives before it, and that is below the invocation too.
"""

from __future__ import annotations

import threading
from collections.abc import Container, Sequence

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.model import attributes as key
from dbbtrace.sources.dbt.spans import arrived, is_dbts

__all__ = ["Arriving", "Invocations"]

_INVOCATION = "dbt.invocation"
_BELOW_INVOCATION = frozenset({"metadata.setup", "on-run-start", "on-run-end"})
_MOST_INVOCATIONS = 10_000
_MOST_HELD = 10_000

_Id = tuple[int, int]
"""Trace id and span id."""


class Invocations:
    """The spans of dbt's invocations, as far as their traces have told. For several threads."""

    def __init__(self) -> None:
        self._runs: dict[_Id, bool] = {}
        """Whether it still runs."""
        self._lock = threading.Lock()

    def nodes(self, spans: Sequence[ReadableSpan]) -> list[ReadableSpan]:
        """The spans of one request. Nodes of dbt's get our attributes, batches get none."""
        models = {_own(span) for span in spans if self.learn(span) and _may_be_batch(span)}
        return [span if _may_be_batch(span) and self.is_batch(span, models) else arrived(span) for span in spans]

    def learn(self, span: ReadableSpan) -> bool:
        """Learn from a span, if it is dbt's; answers whether it is."""
        if not is_dbts(span):
            return False
        with self._lock:
            if span.name == _INVOCATION:
                self._runs[_own(span)] = False
            elif span.name in _BELOW_INVOCATION or (_is_node(span) and not _may_be_batch(span)):
                self._runs.setdefault(_above(span), True)
            if len(self._runs) > _MOST_INVOCATIONS:
                del self._runs[next(iter(self._runs))]
        return True

    def has(self, span: _Id) -> bool:
        """Whether the span is known to be an invocation's."""
        return span in self._runs

    def is_batch(self, span: ReadableSpan, models: Container[_Id]) -> bool:
        """Whether it is a batch: a model is above it, or something that nobody knows, although dbt runs in its trace
        and tells of its invocation before it starts a node."""
        above = _above(span)
        if above in models or self.has(above):
            return above in models
        with self._lock:
            return any(runs and trace_id == above[0] for (trace_id, _), runs in self._runs.items())


class Arriving:
    """Spans of files: those that may be batches are held until the files tell what is above them."""

    def __init__(self) -> None:
        self._invocations = Invocations()
        self._models: set[_Id] = set()
        """Spans that may have batches below them."""
        self._held: dict[_Id, list[ReadableSpan]] = {}
        """By the span above."""

    def take(self, spans: Sequence[ReadableSpan]) -> list[ReadableSpan]:
        """What is known of these and of those held. Nodes of dbt's get our attributes, batches get none."""
        ready = []
        for span in spans:
            if self._invocations.learn(span) and _may_be_batch(span):
                self._models.add(_own(span))
                self._held.setdefault(_above(span), []).append(span)
            else:
                ready.append(arrived(span))
        if sum(map(len, self._held.values())) > _MOST_HELD:
            return ready + self.rest()
        told = [above for above in self._held if above in self._models or self._invocations.has(above)]
        return ready + self._let_go(told)

    def rest(self) -> list[ReadableSpan]:
        """Those still held."""
        return self._let_go(list(self._held))

    def _let_go(self, aboves: Sequence[_Id]) -> list[ReadableSpan]:
        held = [span for above in aboves for span in self._held.pop(above)]
        return [span if self._invocations.is_batch(span, self._models) else arrived(span) for span in held]


def _is_node(span: ReadableSpan) -> bool:
    return "node_outcome" in (span.attributes or {})


def _may_be_batch(span: ReadableSpan) -> bool:
    """Microbatch models are incremental ones. A node that was told from its batches before has our attributes."""
    attributes = span.attributes or {}
    return is_dbts(span) and attributes.get("materialization") == "incremental" and key.OPERATION not in attributes


def _own(span: ReadableSpan) -> _Id:
    context = span.get_span_context()
    return (context.trace_id, context.span_id) if context else (0, 0)


def _above(span: ReadableSpan) -> _Id:
    return _own(span)[0], span.parent.span_id if span.parent else 0
