"""dbt-core's events → a ``Watch``: the callback of a dbtRunner, and the lines of a JSON log.

Nothing raised here reaches dbt: an exception in a callback hangs dbt, or turns a success into an error. Most events
are of no interest, so what an event costs then is one look at its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dbbtrace.diagnostics import warn_once
from dbbtrace.sources.dbt.artifacts import AdapterResponse, NodeResult, Timing

if TYPE_CHECKING:
    from dbbtrace.sources.dbt.live import Watch

__all__ = ["Events", "Record"]

_COUNTING = ("pass", "fail", "warn")
"""Status words of tests that counted failures."""
_NEVER_COMPILED = frozenset({"seed", "exposure", "saved_query", "source"})
_WITH_RELATION = frozenset({"model", "snapshot", "test", "function"})
_VERSION = re.compile(r"(\d+)\.(\d+)")


class Record(dict[str, Any]):
    """An object of a JSON log, read as dbt's own events are; what is missing is empty."""

    def __getattr__(self, name: str) -> Any:
        return self.get(name, _NOTHING)


_NOTHING = Record()


class Events:
    """The callback: ``dbtRunner(callbacks=[Events(watch)])``."""

    def __init__(self, watch: Watch) -> None:
        self.artifacts: list[str] = []
        """Files that dbt says it wrote, in their order."""
        self._watch = watch
        self._has_compiled = True
        """Whether artifacts of this dbt say what was compiled, and where a node's relation is: since 1.7."""
        self._hooks: dict[str, str] = {}
        """What hooks are called → their unique_ids."""
        self._batches: set[str] = set()
        """unique_ids of models that are built in batches."""
        self._handlers: dict[str, Callable[[Any], None]] = {
            "MainReportVersion": self._begin,
            "NodeStart": self._node_started,
            "NodeFinished": self._node_finished,
            "LogStartBatch": self._batch_started,
            "LogHookStartLine": self._hook_started,
            "LogHookEndLine": self._hook_ended,
            "EndRunResult": self._run_ended,
            "MainEncounteredError": self._failed,
            "ArtifactWritten": self._written,
        }

    def __call__(self, event: Any) -> None:
        try:
            handler = self._handlers.get(event.info.name)
            if handler is not None:
                handler(event)
        except Exception as error:
            warn_once(
                f"dbt:event:{type(error).__name__}",
                "dbbtrace could not follow what dbt does, and goes on: %s: %s",
                type(error).__name__,
                error,
            )

    def _begin(self, event: Any) -> None:
        version = event.data.version.lstrip("=")
        numbers = _VERSION.match(version)
        self._has_compiled = numbers is None or (int(numbers[1]), int(numbers[2])) >= (1, 7)
        self._watch.begin(event.info.invocation_id, version)

    def _node_started(self, event: Any) -> None:
        node = event.data.node_info
        if node.materialized != "ephemeral":  # its SQL goes into others, and artifacts don't name it
            self._watch.node_started(node.unique_id, node.node_started_at)

    def _batch_started(self, event: Any) -> None:
        node = event.data.node_info
        self._batches.add(node.unique_id)
        self._watch.batch_named(node.unique_id, node.node_started_at, event.data.description)

    def _node_finished(self, event: Any) -> None:
        node, result = event.data.node_info, self._result(event.data)
        if node.materialized != "ephemeral":
            self._watch.node_ended(node.node_started_at, result)
        elif result.status == "error":
            self._watch.node_without_span(result)

    def _result(self, data: Any) -> NodeResult:
        """The node as an artifact would tell of it."""
        node, run = data.node_info, data.run_result
        kind, status = node.resource_type, run.status
        timing = [_timing(stage) for stage in run.timing_info]
        is_test = kind in ("test", "unit_test")
        failures = (run.num_failures or 0) if is_test and status in _COUNTING else None
        if kind == "model" and node.unique_id in self._batches:
            failures = run.num_failures or 0
        return NodeResult(
            unique_id=node.unique_id,
            status=status,
            timing=timing,
            thread_id=run.thread or None,
            execution_time=run.execution_time or 0.0,
            adapter_response=_response(run.adapter_response),
            message=run.message or None,
            failures=failures,
            compiled=self._compiled(node, status, timing),
            relation_name=self._relation(node),
        )

    def _compiled(self, node: Any, status: str, timing: list[Timing]) -> bool | None:
        kind = node.resource_type
        if not self._has_compiled or kind in _NEVER_COMPILED or (kind == "unit_test" and status == "skipped"):
            return None
        return node.unique_id not in self._batches and any(stage.name == "execute" for stage in timing)

    def _relation(self, node: Any) -> str | None:
        if not self._has_compiled or node.resource_type not in _WITH_RELATION:
            return None
        return node.node_relation.relation_name or None

    def _hook_started(self, event: Any) -> None:
        node = event.data.node_info
        self._hooks[event.data.statement] = node.unique_id
        self._watch.node_started(node.unique_id, node.node_started_at)

    def _hook_ended(self, event: Any) -> None:
        node, data = event.data.node_info, event.data
        word = "success" if data.status in ("success", "OK") else str(data.status).lower()
        ended = {"success": "passed", "skipped": "skipped"}.get(word, "failed")
        ran = word != "skipped" and bool(node.node_finished_at)
        self._watch.node_ended(
            node.node_started_at,
            NodeResult(
                unique_id=node.unique_id,
                status=word,
                timing=[Timing("execute", _utc(node.node_started_at), _utc(node.node_finished_at))] if ran else [],
                thread_id="main",
                execution_time=_exact(data.execution_time),
                adapter_response=AdapterResponse(),
                message=f"{data.statement} {ended}",
                failures=0 if word in ("success", "skipped") else 1,
                compiled=ran if self._has_compiled else None,
            ),
        )

    def _run_ended(self, event: Any) -> None:
        """Only here are the stages of hooks; results have no unique_id, and hooks' messages begin with their names."""
        for run in event.data.results if self._hooks else ():
            unique_id = self._hooks.get((run.message or "").partition(" ")[0])
            if unique_id is not None and run.thread == "main":
                timing = [_timing(stage) for stage in run.timing_info]
                self._watch.retimed(unique_id, timing, _exact(run.execution_time))

    def _failed(self, event: Any) -> None:
        self._watch.message = event.data.exc or None

    def _written(self, event: Any) -> None:
        self.artifacts.append(event.data.artifact_path)


def _timing(stage: Any) -> Timing:
    return Timing(stage.name, _moment(stage.started_at), _moment(stage.completed_at))


def _moment(value: Any) -> str | None:
    """A point in time as an artifact spells it, from text or from protobuf's own type."""
    if not value:
        return None
    if isinstance(value, str):
        return value
    text: str = value.ToJsonString()
    return None if text.startswith("1970-01-01T00:00:00Z") else text


def _exact(seconds: float) -> float:
    """Events hold 32 bits of it: the number that dbt meant, which has microseconds."""
    return float(f"{seconds or 0.0:.7g}")


def _utc(text: str) -> str:
    return text if text.endswith("Z") else f"{text}Z"


def _response(given: Any) -> AdapterResponse:
    found = {name: given[name] for name in ("_message", "rows_affected") if name in given}
    message = found.get("_message")
    return AdapterResponse(message if isinstance(message, str) else None, found.get("rows_affected"))
