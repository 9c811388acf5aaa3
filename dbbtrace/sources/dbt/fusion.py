"""Fusion's telemetry file (``--otel-file-name``): JSON lines of its own, not OTLP → what dbt would say of its nodes.

A better source than Fusion's run_results.json: that gives compile and execute the same times, and lacks failed
microbatch models and hooks. Read as a whole (``read_telemetry``), or line by line while Fusion writes it
(``Telemetry``).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Protocol

from dbbtrace.diagnostics import log
from dbbtrace.errors import UsageError
from dbbtrace.model.times import NANOS, iso_utc
from dbbtrace.sources.dbt.artifacts import (
    AdapterResponse,
    Arguments,
    Metadata,
    NodeResult,
    Results,
    Timing,
)
from dbbtrace.sources.dbt.terms import NO_OP, moment

__all__ = ["Listener", "Telemetry", "is_telemetry", "read_telemetry"]

_EVENTS = "v1.public.events.fusion."
_INVOCATION, _NODE, _PHASE, _HOOK = (
    f"{_EVENTS}{name}"
    for name in ("invocation.Invocation", "node.NodeProcessed", "node.NodeEvaluated", "hook.HookProcessed")
)
_STAGES = {"EXECUTION_PHASE_RENDER": "compile", "EXECUTION_PHASE_RUN": "execute"}
_ERROR = 17
"""Severity of errors."""
_STACK = re.compile(r"\n\s*(?:--> |0: ).*", re.S)
"""Where in a message the program's own stack begins."""
_SAYINGS = {"success": "Succeeded", "pass": "Pass", "fail": "Error", "warn": "Warn", NO_OP: "Skipped"}
"""What Fusion's run_results.json says where there is no message."""
_EPHEMERAL = "NODE_MATERIALIZATION_EPHEMERAL"
_WITHOUT_RELATION = (_EPHEMERAL, "NODE_MATERIALIZATION_UNIT")


class Listener(Protocol):
    """Who is told."""

    def begin(self, invocation_id: str, version: str) -> None:
        """Fusion began."""

    def node_started(self, unique_id: str, started_at: str) -> None:
        """A node began."""

    def node_ended(self, started_at: str, result: NodeResult) -> None:
        """A node ended."""


class Telemetry:
    """Takes the lines of a file in their order, and tells the listener what they mean."""

    def __init__(self, listener: Listener) -> None:
        self.invocation_id = ""
        self.version = ""
        self.command = ""
        self.selection: tuple[str, ...] = ()
        self.parent: str | None = None
        """Span that the invocation hangs on, where Fusion was told."""
        self.ended_at = 0
        self.message: str | None = None
        """The first error that is no node's."""
        self._listener = listener
        self._stages: dict[str, list[Timing]] = {}
        self._errors: dict[str, str] = {}
        self._words: dict[str, str] = {}
        """How nodes ended."""

    def take(self, line: bytes | str) -> None:
        """The next line. One that makes no sense is ignored: a file that is being written ends in a torn one."""
        try:
            record = json.loads(line)
            kind, event, attributes = record["record_type"], record["event_type"], record["attributes"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        if not isinstance(attributes, dict):
            return
        if kind == "LogRecord":
            self._logged(record, attributes)
        elif event == _INVOCATION:
            self._invocation(record, attributes, kind)
        elif event in (_NODE, _HOOK):
            self._node(record, attributes, kind, event)
        elif event == _PHASE and kind == "SpanEnd":
            self._staged(record, attributes)

    def _logged(self, record: dict[str, Any], attributes: dict[str, Any]) -> None:
        body = record.get("body")
        if isinstance(body, str) and record.get("severity_number", 0) >= _ERROR:
            message, unique_id = _STACK.sub("", body), attributes.get("unique_id")
            if unique_id:
                self._errors.setdefault(str(unique_id), message)
            else:
                self.message = self.message or message

    def _invocation(self, record: dict[str, Any], attributes: dict[str, Any], kind: str) -> None:
        if kind == "SpanEnd":
            self.ended_at = _nanos(record.get("end_time_unix_nano"))
            return
        told = attributes.get("eval_args") or {}
        selected = told.get("select") or ()
        self.invocation_id = str(attributes.get("invocation_id") or "")
        self.version = str((attributes.get("process_info") or {}).get("version") or "")
        self.command = str(told.get("command") or "")
        self.selection = (selected,) if isinstance(selected, str) else tuple(map(str, selected))
        self.parent = record.get("parent_span_id") or None
        self._listener.begin(self.invocation_id, self.version)

    def _staged(self, record: dict[str, Any], attributes: dict[str, Any]) -> None:
        stage = _STAGES.get(str(attributes.get("phase")))
        ran = attributes.get("node_outcome") != "NODE_OUTCOME_SKIPPED"
        if stage is not None and ran and attributes.get("unique_id"):
            self._stages.setdefault(str(attributes["unique_id"]), []).append(_timing(stage, record))

    def _node(self, record: dict[str, Any], attributes: dict[str, Any], kind: str, event: str) -> None:
        unique_id, started_at = attributes.get("unique_id"), str(record.get("start_time_unix_nano"))
        if not unique_id or attributes.get("in_selection") is False:
            return
        if kind == "SpanStart":
            self._listener.node_started(str(unique_id), started_at)
        else:
            made = self._hook if event == _HOOK else self._result
            self._listener.node_ended(started_at, made(str(unique_id), record, attributes))

    def _result(self, unique_id: str, record: dict[str, Any], attributes: dict[str, Any]) -> NodeResult:
        word, counted = _outcome(attributes)
        above = (attributes.get("node_skip_upstream_detail") or {}).get("upstream_unique_id")
        if word == "skipped" and not above and attributes.get("materialization") == _EPHEMERAL:
            word = NO_OP  # see ``with_no_ops``
        self._words[unique_id] = word
        timing = self._stages.pop(unique_id, []) if word not in ("skipped", NO_OP) else []
        executed = [stage for stage in timing if stage.name == "execute"] or timing
        tested = attributes.get("node_test_detail")
        rows = attributes.get("rows_affected") if tested is None else None
        difference = (tested or {}).get("diff_table")
        message = self._errors.pop(unique_id, None) or difference or _SAYINGS.get(word)
        if word == "skipped":
            message = f"Skipped due to upstream failure: {above} ({self._words.get(above, 'error')})" if above else None
        return NodeResult(
            unique_id=unique_id,
            status=word,
            timing=timing,
            execution_time=sum(map(_seconds, executed)),
            adapter_response=AdapterResponse(rows_affected=rows),
            message=message,
            failures=counted,
            relation_name=_relation(attributes),
        )

    def _hook(self, unique_id: str, record: dict[str, Any], attributes: dict[str, Any]) -> NodeResult:
        word = str(attributes.get("hook_outcome") or "").removeprefix("HOOK_OUTCOME_").lower()
        timing = [_timing("execute", record)]
        return NodeResult(
            unique_id=unique_id,
            status=word,
            timing=timing if word != "skipped" else [],
            execution_time=_seconds(timing[0]),
            message=self._errors.pop(unique_id, None),
        )


def _outcome(attributes: dict[str, Any]) -> tuple[str, int | None]:
    """dbt's word, and how many failures a test counted."""
    word = str(attributes.get("node_outcome") or "").removeprefix("NODE_OUTCOME_").lower()
    tested = attributes.get("node_test_detail")
    if word != "success" or not isinstance(tested, dict):
        return word, None
    of_test = {"TEST_OUTCOME_FAILED": "fail", "TEST_OUTCOME_WARNED": "warn"}
    if attributes.get("node_type") == "NODE_TYPE_UNIT_TEST":  # in the artifact they are errors, and count nothing
        return {"TEST_OUTCOME_FAILED": "error"}.get(str(tested.get("test_outcome")), "pass"), None
    return of_test.get(str(tested.get("test_outcome")), "pass"), int(tested.get("failing_rows") or 0)


def _relation(attributes: dict[str, Any]) -> str | None:
    """As Fusion's artifact quotes it."""
    stored = (attributes.get("node_test_detail") or {}).get("store_failures")
    is_test = str(attributes.get("node_type")).endswith("TEST")
    if attributes.get("materialization") in _WITHOUT_RELATION or (is_test and not stored):
        return None
    names = [attributes.get(part) for part in ("database", "schema", "identifier")]
    return ".".join(f'"{name}"' for name in names if name) or None


def _nanos(value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        return 0


def _timing(stage: str, record: dict[str, Any]) -> Timing:
    start, end = (_nanos(record.get(f"{edge}_time_unix_nano")) for edge in ("start", "end"))
    return Timing(stage, _text(start), _text(end))


def _text(nanos: int) -> str | None:
    return f"{iso_utc(nanos)[:19]}.{nanos % NANOS:09d}Z" if nanos > 0 else None


def _seconds(stage: Timing) -> float:
    start, end = moment(stage.started_at), moment(stage.completed_at)
    return max(end - start, 0) / NANOS if start is not None and end is not None else 0.0


# -- a whole file -----------------------------------------------------------------------------------------------


class _Nodes:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.results: list[NodeResult] = []

    def begin(self, invocation_id: str, version: str) -> None:
        self.results.clear()  # a file that is appended to: the last invocation counts

    def node_started(self, unique_id: str, started_at: str) -> None:
        pass

    def node_ended(self, started_at: str, result: NodeResult) -> None:
        self.results.append(result)


def is_telemetry(path: Path) -> bool:
    """Whether the file is Fusion's telemetry, by its first line. No pipe is: what is read from one is gone."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            first = json.loads(file.readline(1 << 20))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(first, dict) and "record_type" in first and str(first.get("event_type", "")).startswith("v1.")


def read_telemetry(file: Path) -> Results:
    """The results of the file's last invocation.

    Raises:
        UsageError: it can't be read, or tells of no invocation.
    """
    nodes = _Nodes()
    telemetry = Telemetry(nodes)
    try:
        with file.open("rb") as lines:
            for line in lines:
                telemetry.take(line)
    except OSError as error:
        raise UsageError(f"{file} can't be read: {error.strerror or error}") from None
    if not telemetry.invocation_id:
        raise UsageError(f"{file} tells of no invocation of dbt Fusion: name the file that --otel-file-name wrote")
    if not telemetry.ended_at:
        log.warning("%s has no end: Fusion was killed, or still writes it; what ended so far is recorded", file)
    written_at = telemetry.ended_at or file.stat().st_mtime_ns
    about = Metadata(
        dbt_schema_version="/dbt/run-results/v6.json",
        dbt_version=telemetry.version,
        generated_at=iso_utc(written_at),
        invocation_id=telemetry.invocation_id,
        joined_to=telemetry.parent,
    )
    arguments = Arguments(which=telemetry.command, select=telemetry.selection)
    return Results(about, arguments, results=list(nodes.results))
