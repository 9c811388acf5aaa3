"""One invocation of dbt while it runs: its span, and a span for each node, opened and closed as dbt works.

A node's span goes to every other destination at once; for the warehouse it stays open in the journal until dbt has
ended. Then its rows are written, once: from dbt's artifact where that names the node, otherwise from its live end. If
the process is killed before, whoever recovers its journal writes them from there.

Fed by ``events`` and ``fusion``, from any thread. Knows neither of them, and reads no file but the manifest.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from opentelemetry.trace import SpanContext

from dbbtrace.job.finished import emit
from dbbtrace.job.lineage import lineage_of
from dbbtrace.job.parts import record_started
from dbbtrace.job.scope import BLOCK, Place, Scope, enter, leave, parent_and_context
from dbbtrace.model import attributes as key
from dbbtrace.sources.dbt.build import build_spans, shared_attributes
from dbbtrace.sources.dbt.identities import Identities
from dbbtrace.sources.dbt.nodes import Nodes
from dbbtrace.sources.dbt.results import completed, skipped, with_no_ops, without_artifact
from dbbtrace.sources.dbt.running import (
    Ended,
    NodeKey,
    Running,
    at_start,
    end_span,
    error_in,
    of_invocation,
    result_word,
    tell,
    unexplained,
)
from dbbtrace.sources.dbt.spans import watched
from dbbtrace.sources.dbt.terms import label_of, status_of
from dbbtrace.tracing import runtime
from dbbtrace.tracing.provider import LiveSpan, now

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from dbbtrace.sources.dbt.artifacts import NodeResult, Results, Timing
    from dbbtrace.sources.dbt.manifest import ManifestNode

__all__ = ["Watch"]


class Watch:
    """What is known of one invocation.

    Args:
        scope: of the run.
        command: ``build``, ``source freshness``, ...
        select: dbt's own selection.
        builds: whether its nodes give rows; without, only the invocation has a span.
        began: when dbt was started; nanoseconds since the Unix epoch.
        manifest: the graph of the invocation of this id; None as long as dbt has not written it.
        in_process: events come in the threads where dbt works: what runs there belongs to the node.
        left_out: nodes that dbt was not given to build, and why: they have rows as skipped ones.
        purpose: see ``Arguments``: a later invocation that succeeds makes good only one with the same.
    """

    def __init__(
        self,
        scope: Scope,
        *,
        command: str,
        select: str,
        builds: bool,
        began: int,
        manifest: Callable[[str], Mapping[str, ManifestNode] | None],
        in_process: bool = True,
        left_out: Mapping[str, str] = MappingProxyType({}),
        purpose: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.scope = scope
        self.invocation_id: str | None = None
        self.version: str | None = None
        self.message: str | None = None
        """What dbt said of its failure."""
        self._span: str | None = None
        self._command = command
        self._select = select
        self._builds = builds
        self._waits = command == "source freshness"
        """Whether spans wait for dbt's end: only the artifact tells how old a source is."""
        self._began = began
        self._read_manifest = manifest
        self._in_process = in_process
        self._left_out = left_out
        self._purpose = json.dumps(dict(purpose), ensure_ascii=False) if purpose else None
        self._nodes: Nodes | None = None
        self._making = threading.Lock()
        self._over = False
        self._identities = Identities(scope.trace_id, None, began)
        self._shared = shared_attributes(scope, invocation_id=None, generated_at=began, select=select)
        self._inside = scope
        self._invocation: LiveSpan | None = None
        self._place: Place | None = None
        self._running: dict[NodeKey, Running] = {}
        self._nodes_running: dict[str, Running] = {}
        self._started: dict[str, None] = {}
        """Every node that ever started; others may link to it."""
        self._ended: dict[str, Ended] = {}
        self._without_span: dict[str, NodeResult] = {}

    # -- what happens, as it happens --------------------------------------------------------------------------

    def begin(self, invocation_id: str, version: str, *, span: str | None = None) -> None:
        """dbt says who it is: from here on its invocation has a span, which began when dbt was started.

        Args:
            span: see ``Identities``.
        """
        if self._invocation is None:
            self.invocation_id, self.version, self._span = invocation_id, version, span
            self._identities = Identities(self.scope.trace_id, invocation_id, self._began, span=span)
            self._shared = shared_attributes(
                self.scope, invocation_id=invocation_id, generated_at=self._began, select=self._select
            )
            watched.add(invocation_id)
            self._open_invocation(self._identities.invocation_span_id, self._identities.identity_of(""))

    def _open_invocation(self, span_id: int | None, identity: str | None) -> LiveSpan:
        name = f"dbt {self._command}".strip()
        attributes = of_invocation(self._shared, identity, self.version, self._command, name)
        if self._purpose is not None:
            attributes[key.PART_DETAIL] = self._purpose
        parent, context = parent_and_context(self.scope)
        span_id = span_id or runtime.current().provider.ids.new_span_id()
        record_started(self.scope, span_id, name, self._began, attributes)
        span = self._invocation = runtime.current().provider.start_span(
            name,
            context,
            attributes,
            start=self._began,
            parent=parent,
            span_id=span_id,
            links=self.scope.links,
        )
        self._inside = self.scope.under(span.context)
        if self._in_process:
            self._place = enter(self._inside, BLOCK, span, self)
        return span

    def node_started(self, unique_id: str, started_at: str) -> None:
        """A node begins; or, while one of this id runs, a batch of it."""
        if not self._builds or self._invocation is None or self._over:
            return
        around = self._nodes_running.get(unique_id)
        parent = around.span.context if around is not None else self._invocation.context
        span = runtime.current().provider.start_span(
            label_of(unique_id) if around is None else "batch",
            parent_and_context(self._inside)[1],
            at_start(self._shared, unique_id, self._identities.identity_of(unique_id) if around is None else None),
            start=now(),
            checked=True,
            parent=parent,
            span_id=self._identities.span_id_of(unique_id) if around is None else None,
        )
        place = enter(self._inside, BLOCK, span, self) if self._in_process else None
        running = self._running[unique_id, started_at] = Running(span, place, around is not None)
        if around is None:
            self._nodes_running[unique_id] = running
            self._started[unique_id] = None
            lineage_of(self.scope.trace_id).nodes[unique_id] = span.context.span_id

    def batch_named(self, unique_id: str, started_at: str, name: str) -> None:
        """dbt says what a batch covers."""
        running = self._running.get((unique_id, started_at))
        if running is not None and running.is_batch:
            running.span.set_attribute(key.DBT_BATCH, name)

    def node_ended(self, started_at: str, result: NodeResult) -> None:
        """A node, or a batch of one, ended."""
        unique_id = result.unique_id
        running = self._running.pop((unique_id, started_at), None)
        if running is None:
            self.node_without_span(result)
            return
        if running.place is not None:
            leave(running.place)
        at = max(now(), running.span.start_time or 0)
        if running.is_batch:
            error = self._made().told(result, status_of(result), {}, "").error
            end_span(running.span, {key.STATUS: status_of(result)}, error, at)
            return
        self._nodes_running.pop(unique_id, None)
        self._ended[unique_id] = Ended(running.span, result, at)
        identity, seen_at_once = self._identities.identity_of(unique_id), not self._waits
        tell(self.scope, running.span, result, at, self._made(), identity, seen_at_once=seen_at_once)

    def node_without_span(self, result: NodeResult) -> None:
        """A node ended of which no span was opened."""
        if self._builds and not self._over:
            self._without_span[result.unique_id] = result

    def retimed(self, unique_id: str, timing: list[Timing], execution_time: float) -> None:
        """dbt tells of a node that has ended how long it took, more exactly."""
        if (ended := self._ended.get(unique_id)) is not None:
            ended.result.timing, ended.result.execution_time = timing, execution_time

    def _made(self) -> Nodes:
        """What the nodes share; made when the first has ended, by when dbt-core has written the manifest."""
        with self._making:
            if self._nodes is None:
                self._nodes = Nodes(
                    self.scope,
                    self._identities,
                    self._shared,
                    self._read_manifest(self.invocation_id or "") or {},
                    self._started,
                    fusion=(self.version or "").startswith("2"),
                    freshness=self._waits,
                )
            return self._nodes

    # -- the end ----------------------------------------------------------------------------------------------

    def end(self, artifact: Results | None, exit_code: int, error: tuple[str, str] | None) -> Results | None:
        """dbt has ended: write the rows and end every span. Returns what was recorded.

        Args:
            artifact: what dbt wrote of this invocation, if anything.
            error: error.type and message, where dbt could not do its work.
        """
        self._over = True
        invocation = self._invocation or self._open_invocation(None, None)
        try:
            if error is not None and error[0] == "KeyboardInterrupt":
                self._cut_off(artifact)
            results, failed = None, None
            if self._builds and self.invocation_id:
                manifest = self._read_manifest(self.invocation_id) or {}
                results = with_no_ops(self._completed(artifact), manifest)
                failed = self._write(invocation.context, results, manifest)
            self._interrupt()
            error = error or failed or unexplained(self.message, exit_code)
            values = {key.DBT_NODES: len(results.nodes)} if results is not None else {}
            end_span(invocation, {**values, key.CICD_TASK_RUN_RESULT: result_word(error)}, error, now())
            return results
        finally:
            watched.discard(self.invocation_id or "")
            if self._place is not None:
                leave(self._place)

    def _cut_off(self, artifact: Results | None) -> None:
        """Ctrl-C makes the database give up what it is at: dbt tells of an error then, and its artifact of nothing."""
        named = {node.unique_id for node in artifact.nodes} if artifact is not None else set()
        for unique_id, ended in list(self._ended.items()):
            if unique_id not in named and status_of(ended.result) == "error":
                del self._ended[unique_id]
                self._running[unique_id, ""] = Running(ended.span, None, is_batch=False)

    def _completed(self, artifact: Results | None) -> Results:
        left_out = {node: skipped(node, why) for node, why in self._left_out.items()}
        live = {
            **left_out,
            **self._without_span,
            **{unique_id: ended.result for unique_id, ended in self._ended.items()},
        }
        found = artifact or without_artifact(
            invocation_id=self.invocation_id,
            version=self.version,
            command=self._command,
            select=self._select,
            span=self._span,
            freshness=self._waits,
        )
        return completed(found, live)

    def _write(
        self, invocation: SpanContext, results: Results, manifest: Mapping[str, ManifestNode]
    ) -> tuple[str, str] | None:
        """End the nodes' spans with what is known by now; why the invocation failed, by its nodes."""
        failed, audience = None, {} if self._waits else {key.AUDIENCE: key.FOR_ROWS}
        stages = self._waits or runtime.current().takes_all
        for spans in build_spans(self.scope, results, manifest, written_at=now(), with_stages=stages):
            new: list[ReadableSpan] = []
            for span in spans:
                attributes = span.attributes or {}
                unique_id = str(attributes.get(key.DBT_UNIQUE_ID, ""))
                if attributes.get(key.OPERATION) == key.OPERATION_DBT_INVOCATION:
                    failed = error_in(span)
                elif unique_id not in self._ended:
                    new.append(span)
                elif attributes.get(key.OPERATION) == key.OPERATION_DBT_NODE:
                    ended = self._ended[unique_id]
                    end_span(ended.span, {**attributes, **audience}, error_in(span), ended.at)
                elif self._waits:
                    new.append(span)
            emit([span for span in new if self._is_news(span)])
        return failed

    def _is_news(self, span: ReadableSpan) -> bool:
        """Whether no live span is to say it. One whose end was not seen ends with what the artifact says."""
        attributes = span.attributes or {}
        running = self._nodes_running.pop(str(attributes.get(key.DBT_UNIQUE_ID)), None)
        if running is None or attributes.get(key.OPERATION) != key.OPERATION_DBT_NODE:
            return True
        self._running = {node: other for node, other in self._running.items() if other is not running}
        end_span(running.span, attributes, error_in(span), now())
        return False

    def _interrupt(self) -> None:
        """What still runs when dbt is gone was cut off."""
        for (unique_id, _), running in list(self._running.items()):
            message = f"dbt ended while {label_of(unique_id)} ran"
            values = {key.STATUS: "error", key.CICD_TASK_RUN_RESULT: "error"}
            end_span(running.span, values, (key.INTERRUPTED, message), now())
        self._running.clear()
        self._nodes_running.clear()
