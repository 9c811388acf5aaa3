"""What the answers must be, computed in plain Python from the same rows, the slow and obvious way."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from dbbtrace.warehouse.schema import DBT_NODES, LOADS, REFRESHES

Row = dict[str, Any]

SUCCEEDED = {"succeeded", "success", "completed", "pass", "no-op", "reused", "ok"}
FAILED = {
    "failed", "failure", "error", "fail", "runtime error", "partial success", "cancelled", "canceled", "timedout"
}  # fmt: skip
SKIPPED = {"skipped", "disabled"}
WARNED = {"warn", "warned"}
RUNNING = {"unknown", "inprogress", "notstarted", "running", "queued", "started", "compiling", "executing"}


def moment(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value.rstrip("Z"))


def status(word: str | None, error_type: str | None) -> str:
    if word is None:
        return "Unknown"
    for name, words in (
        ("Succeeded", SUCCEEDED), ("Failed", FAILED), ("Skipped", SKIPPED), ("Warned", WARNED),
    ):  # fmt: skip
        if word.lower() in words:
            return name
    if word.lower() in RUNNING:
        return "Unknown" if error_type == "Interrupted" else "Running"
    return word


def interrupted(row: Row) -> bool:
    return row.get("error_type") == "Interrupted"


def seconds(start: datetime | None, end: datetime | None, duration: int | None) -> float | None:
    if start is not None and end is not None:
        return (end - start).total_seconds()
    return None if duration is None else float(duration)


def end_of(start: datetime | None, end: datetime | None, duration: int | None) -> datetime | None:
    if end is None and start is not None and duration is not None:
        return start + timedelta(seconds=duration)
    return end


def operations(rows: Mapping[str, Sequence[Row]]) -> list[Row]:
    """Every operation that the views must show."""
    return [
        *_loads([row for row in rows[LOADS.name] if row["orchestration_run_id"]]),
        *_nodes([row for row in rows[DBT_NODES.name] if row["orchestration_run_id"]]),
        *_refreshes([row for row in rows[REFRESHES.name] if row["orchestration_run_id"]]),
    ]


def _operation(row: Row, workload: str, **more: Any) -> Row:
    return {
        "orchestration_run_id": row["orchestration_run_id"],
        "data_product": row["data_product"],
        "workload": workload,
        "status": status(row["status"], row.get("error_type")),
        "status_word": row["status"],
        "error_type": row.get("error_type"),
        "record_id": row.get("record_id"),
        "environment": row.get("environment"),
        "rows_read": None,
        "rows_written": None,
        "bytes_read": None,
        "bytes_written": None,
        "depends_on": None,
        "materialized": None,
        "superseded": 0,
        **more,
    }


def _loads(rows: Iterable[Row]) -> Iterable[Row]:
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        key = tuple(row[name] for name in ("orchestration_run_id", "source_name", "schema_name", "table_name"))
        groups[key].append(row)
    for group in groups.values():
        best, *others = sorted(group, key=_load_rank, reverse=True)
        yield _load(best)
        before = best
        for row in others:
            if not interrupted(row) and _is_another_load(row, before):
                yield {**_load(row), "superseded": 1}
            before = row


def _load_rank(row: Row) -> tuple[Any, ...]:
    own = row.get("record_id") is not None
    start = _load_start(row) if own else _load_start(row) - timedelta(seconds=1)  # by hand, it may be rounded
    return not interrupted(row), start, own


def _is_another_load(row: Row, before: Row) -> bool:
    """Not the same record, nor a hand-made row of the same load."""
    if row.get("record_id") and before.get("record_id"):
        return bool(row["record_id"] != before["record_id"])
    return _load_start(before) - _load_start(row) > timedelta(seconds=1)


def _load(best: Row) -> Row:
    start, end = _load_start(best), moment(best.get("process_completed_at"))
    schema = best["schema_name"]
    return _operation(
        best,
        "integration",
        operation=f"{schema}.{best['table_name']}" if schema else best["table_name"],
        operation_id=f"{best['source_name'] or ''}/{schema or ''}/{best['table_name']}",
        start_time=start,
        end_time=end_of(start, end, best["duration"]),
        seconds=seconds(start, end, best["duration"]),
        rows_read=best["rows_read"],
        rows_written=best["rows_written"],
        bytes_read=best["data_read"],
        bytes_written=best["data_written"],
        error_message=best.get("error_message"),
    )


def _load_start(row: Row) -> datetime:
    start = moment(row.get("process_started_at") or row["timestamp"])
    assert start is not None
    return start


def _nodes(rows: Sequence[Row]) -> Iterable[Row]:
    by_hand: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        if not row.get("record_id"):
            by_hand[_natural(row)].append(row)
    broken = {
        natural
        for natural, group in by_hand.items()
        if all(row["process_stage"] == "compile" and (row["status"] or "").lower() != "success" for row in group)
    }
    executed = [
        row
        for row in rows
        if row["process_stage"] != "compile" or (not row.get("record_id") and _natural(row) in broken)
    ]
    ended = {(row["orchestration_run_id"], row.get("span_id")) for row in executed if not interrupted(row)}
    own = {_natural(row) for row in executed if row.get("record_id")}
    seen, standing = set(), []
    for row in executed:
        if interrupted(row) and (row["orchestration_run_id"], row.get("span_id")) in ended:
            continue
        if not row.get("record_id") and _natural(row) in own:
            continue
        mark = (*_thing(row), row.get("record_id") or row["generated_at"])
        if mark not in seen:
            seen.add(mark)
            standing.append(row)
    newest: dict[Any, Any] = {}
    for row in standing:
        newest[_thing(row)] = max(newest.get(_thing(row), ("", "", False)), _recency(row))
    for row in standing:
        start, end = moment(row["process_started_at"]), moment(row["process_completed_at"])
        took = row["execution_time"]
        outcome = status(row["status"], row.get("error_type"))
        said = row.get("message") or row.get("error_message")
        yield _operation(
            row,
            "transformation",
            operation=_node_name(row),
            operation_id=_thing(row)[1],
            environment=None if row["environment"] == "UNKNOWN" else row["environment"],
            start_time=start,
            end_time=end_of(start, end, row["duration"]),
            seconds=float(took) if took is not None else seconds(start, end, row["duration"]),
            rows_written=row["rows_affected"] if (row["rows_affected"] or 0) >= 0 else None,
            error_message=None if outcome == "Succeeded" and not row.get("error_type") else said,
            depends_on=row.get("depends_on"),
            materialized=row.get("materialized"),
            superseded=int(_recency(row) < newest[_thing(row)]),
        )


def _natural(row: Row) -> tuple[Any, ...]:
    return row["orchestration_run_id"], row["invocation_id"], row["item_name"], row["relation_name"] or ""


def _node_name(row: Row) -> str:
    """The name of a generic test, which stands before the hash in its unique_id; else the item's."""
    head, *rest = (row.get("unique_id") or "").split(".")
    return str(rest[1]) if head == "test" and len(rest) > 2 else str(row["item_name"])


def _thing(row: Row) -> tuple[Any, ...]:
    relation = row["relation_name"]
    if (relation or "").lower() in ("", "none", "null"):
        relation = None
    return row["orchestration_run_id"], row.get("unique_id") or relation or row["item_name"]


def _recency(row: Row) -> tuple[Any, ...]:
    return row["generated_at"] or "", row["process_started_at"] or "", not interrupted(row)


def _refreshes(rows: Sequence[Row]) -> Iterable[Row]:
    ended = {
        (row["orchestration_run_id"], row["span_id"]) for row in rows if row.get("span_id") and not interrupted(row)
    }
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        if not (interrupted(row) and (row["orchestration_run_id"], row.get("span_id")) in ended):
            second = (row["process_started_at"] or row.get("record_id") or "")[:19]
            groups[row["orchestration_run_id"], row["semantic_model_id"], second].append(row)
    chosen = [
        max(
            group,
            key=lambda row: (
                not interrupted(row),
                status(row["status"], None) != "Running",
                bool(row.get("record_id")),
                row["process_completed_at"] or "",
            ),
        )
        for group in groups.values()
    ]
    for row in chosen:
        same = [other for other in chosen if _model(other) == _model(row)]
        start, end = moment(row["process_started_at"]), moment(row["process_completed_at"])
        yield _operation(
            row,
            "consumption",
            operation=row.get("semantic_model_name") or row["semantic_model_id"] or "(no name)",
            operation_id=row["semantic_model_id"] or row.get("semantic_model_name") or "(no name)",
            start_time=start,
            end_time=end_of(start, end, row["duration"]),
            seconds=seconds(start, end, row["duration"]),
            error_message=row.get("error_message"),
            superseded=int(
                any((other["process_started_at"] or "") > (row["process_started_at"] or "") for other in same)
            ),
        )


def _model(row: Row) -> tuple[Any, ...]:
    return row["orchestration_run_id"], row["semantic_model_id"]


# -- runs ---------------------------------------------------------------------------------------------------


def runs(found: Iterable[Row]) -> dict[str, Row]:
    """Run id → what monitoring_runs must say."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for operation in found:
        groups[operation["orchestration_run_id"]].append(operation)
    return {run_id: _run(group) for run_id, group in groups.items()}


def _run(group: list[Row]) -> Row:
    outcomes = [operation for operation in group if not operation["superseded"]]
    loads = [operation for operation in outcomes if operation["workload"] == "integration"]
    start = min((o["start_time"] for o in group if o["start_time"]), default=None)
    end = max((o["end_time"] for o in group if o["end_time"]), default=None)
    words = [operation["status"] for operation in outcomes]
    known = {"Succeeded", "Failed", "Warned", "Skipped", "Running"}
    return {
        "data_product": max((o["data_product"] for o in group if o["data_product"]), default=None),
        "environment": max((o["environment"] for o in group if o["environment"]), default=None),
        # Others recorded the run long ago: it has ended, by falling silent.
        "status": next(
            (
                word
                for word, is_so in (
                    ("Failed", "Failed" in words),
                    ("Unfinished", "Running" in words or bool(set(words) - known)),
                    ("Incomplete", bool(words) and set(words) == {"Skipped"}),
                    ("Incomplete", _count(outcomes, "consumption", "Skipped") > 0),
                    ("Warned", "Warned" in words),
                )
                if is_so
            ),
            "Succeeded",
        ),
        "start_time": start,
        "end_time": end,
        "seconds": seconds(start, end, None),
        "operations": len(outcomes),
        "loads": len(loads),
        "loads_failed": sum(o["status"] == "Failed" for o in loads),
        "nodes": _count(outcomes, "transformation"),
        "nodes_failed": _count(outcomes, "transformation", "Failed"),
        "nodes_skipped": _count(outcomes, "transformation", "Skipped"),
        "nodes_warned": _count(outcomes, "transformation", "Warned"),
        "refreshes": _count(outcomes, "consumption"),
        "refreshes_succeeded": _count(outcomes, "consumption", "Succeeded"),
        "failed": words.count("Failed"),
        "skipped": words.count("Skipped"),
        "rows_written": _sum(o["rows_written"] for o in loads),
        "bytes_written": _sum(o["bytes_written"] for o in loads),
        "loads_without_end": sum(o["end_time"] is None or o["error_type"] == "Interrupted" for o in loads),
        "interrupted": sum(o["error_type"] == "Interrupted" for o in outcomes),
        "slowest_seconds": max((o["seconds"] for o in outcomes if o["seconds"] is not None), default=None),
        "without_refresh": int(_count(outcomes, "consumption", "Succeeded") == 0),
    }


def _count(outcomes: Iterable[Row], workload: str, word: str | None = None) -> int:
    return sum(o["workload"] == workload and word in (None, o["status"]) for o in outcomes)


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


# -- statistics and graphs ----------------------------------------------------------------------------------


def median(values: Iterable[float]) -> float | None:
    ordered = sorted(values)
    if not ordered:
        return None
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def p95(values: Iterable[float]) -> float | None:
    ordered = sorted(values)
    return ordered[math.ceil(0.95 * len(ordered)) - 1] if ordered else None


def known_nodes(rows: Mapping[str, Sequence[Row]]) -> dict[tuple[Any, str], str]:
    """(product, the name that other writers give a node) → its unique_id, where it is but one."""
    found: dict[tuple[Any, str], set[str]] = defaultdict(set)
    for row in rows[DBT_NODES.name]:
        if row.get("unique_id"):
            found[row["data_product"], _thing({**row, "unique_id": None})[1]].add(row["unique_id"])
    return {name: ids.pop() for name, ids in found.items() if len(ids) == 1}


def edges(found: Iterable[Row]) -> list[tuple[str, str, str]]:
    """(run id, node, what it selects from) of every node's outcome."""
    return [
        (o["orchestration_run_id"], o["operation_id"], parent)
        for o in found
        if not o["superseded"] and o["depends_on"]
        for parent in json.loads(o["depends_on"])
    ]
