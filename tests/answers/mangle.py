"""What happens to histories in real life: doubles, retries, killed jobs, hand-made writers, words nobody knows."""

from __future__ import annotations

import random
from datetime import timedelta

from tests.answers.expected import moment
from tests.answers.history import History, Row, text

ADDED = ("record_id", "trace_id", "span_id", "error_type", "error_message")
OLD = {
    "monitoring_integration": (*ADDED, "environment", "process_started_at", "process_completed_at"),
    "monitoring_transformation_dbt": (*ADDED, "unique_id", "resource_type", "message", "depends_on", "materialized"),
    "monitoring_semantic_model_refresh": (*ADDED, "environment", "semantic_model_name", "depends_on"),
}
"""Columns that the platform's own tables lack."""


def mangled(history: History, seed: int) -> History:
    """The history with a few of everything that can go wrong."""
    chance = random.Random(seed)
    loads, nodes, refreshes = history.loads, history.nodes, history.refreshes
    executed = [row for row in nodes if row["process_stage"] == "execute"]
    if loads:
        chance.choice(loads)["status"] = chance.choice(["Success", "success", "Weird", "ok"])
        for row in chance.sample(loads, min(2, len(loads))):
            row["duration"] = row["process_completed_at"] = None
        loads += [_retried_load(row, chance) for row in chance.sample(loads, min(3, len(loads)))]
        loads += [_interrupted(row) for row in chance.sample(loads, min(2, len(loads)))]
        loads += [_by_hand(row) for row in chance.sample(loads, min(3, len(loads)))]
        loads += [_rounded_up(row) for row in chance.sample(loads, min(2, len(loads)))]
        loads += [dict(row) for row in chance.sample(loads, min(4, len(loads)))]
        loads.append({**chance.choice(loads), "orchestration_run_id": "", "record_id": "e" * 32})
    if executed:
        chance.choice(executed)["rows_affected"] = -1
        chance.choice(executed)["environment"] = "UNKNOWN"
        chance.choice(executed)["status"] = chance.choice(["warn", "partial success", "no-op", "runtime error"])
        nodes += [_retried_node(row) for row in chance.sample(executed, min(5, len(executed)))]
        nodes += [_interrupted(row) for row in chance.sample(executed, min(3, len(executed)))]
        nodes += [_by_hand(row) for row in chance.sample(executed, min(4, len(executed)))]
        nodes += [dict(row) for row in chance.sample(nodes, min(6, len(nodes)))]
        nodes += [_alone(row) for row in chance.sample(executed, min(2, len(executed)))]
        nodes += [_broken(row) for row in chance.sample(executed, min(2, len(executed)))]
        nodes += [_without_relation(row, word) for row, word in zip(executed, ("None", "", "none", None), strict=False)]
    if refreshes:
        chance.choice(refreshes)["status"] = chance.choice(["Unknown", "Failed", "Cancelled", "Disabled"])
        row = chance.choice(refreshes)
        refreshes.append(_second_refresh(row))
        refreshes.append(_interrupted(chance.choice(refreshes)))
        refreshes.append({**row, "record_id": None, "span_id": None, "error_type": None, "error_message": None})
        refreshes.append(
            {**row, **dict.fromkeys(("record_id", "span_id", "process_completed_at")), "status": "Unknown"}
        )
        refreshes.append({**row, **dict.fromkeys(("record_id", "semantic_model_id", "semantic_model_name"))})
    for rows in history.rows.values():
        chance.shuffle(rows)
    return history


def _later(row: Row, name: str, seconds: float, digits: int = 6) -> str | None:
    at = moment(row[name])
    return text(at + timedelta(seconds=seconds), digits) if at else None


def _retried_load(row: Row, chance: random.Random) -> Row:
    return {
        **row,
        "record_id": f"retry{row['record_id'][:20]}",
        "span_id": row["span_id"][::-1],
        "status": chance.choice(["Succeeded", "Failed"]),
        "timestamp": _later(row, "timestamp", 60, 0),
        "process_started_at": _later(row, "process_started_at", 60),
        "process_completed_at": _later(row, "process_completed_at", 61),
        "rows_written": 4711,
    }


def _interrupted(row: Row) -> Row:
    """The operation given up by a recoverer, though it ended."""
    word = {"Completed": "Unknown", "Succeeded": "Failed", "Failed": "Failed"}.get(row["status"], row["status"])
    known = row["record_id"] or "nothing"
    return {
        **row,
        "record_id": f"int{known[:20]}",
        "error_type": "Interrupted",
        "error_message": "the process died",
        "status": "error" if "process_stage" in row else word,
    }


def _by_hand(row: Row) -> Row:
    """The same, written by a hand-made writer too: it rounds where we floor."""
    by_hand = {**row, **dict.fromkeys(ADDED)}
    for name in ("unique_id", "resource_type", "message", "depends_on", "materialized"):
        if name in by_hand:
            by_hand[name] = None
    if "timestamp" in row:
        by_hand |= {"process_started_at": None, "process_completed_at": None, "environment": None}
    return by_hand


def _rounded_up(row: Row) -> Row:
    """By hand, with the next full second for a start."""
    return {**_by_hand(row), "timestamp": _later(row, "timestamp", 1, 0)}


def _broken(row: Row) -> Row:
    """By hand: of a node that failed to compile dbt times no other stage."""
    return {**_alone(row), "process_stage": "compile", "status": "error", "invocation_id": "7" * 36}


def _without_relation(row: Row, word: str | None) -> Row:
    """A test by hand: several share a relation that is none."""
    return {**_alone(row), "relation_name": word, "item_name": f"test_{row['item_name']}", "status": "fail"}


def _alone(row: Row) -> Row:
    """A row of a hand-made writer in an invocation that we know nothing of."""
    return {**_by_hand(row), "invocation_id": "99999999-9999-4999-8999-999999999999"}


def _retried_node(row: Row) -> Row:
    """The node again, in a later invocation of the same run."""
    return {
        **row,
        "record_id": f"again{row['record_id'][:20]}",
        "span_id": row["span_id"][::-1],
        "invocation_id": "88888888-8888-4888-8888-888888888888",
        "generated_at": _later(row, "generated_at", 600),
        "process_started_at": _later(row, "process_started_at", 600),
        "process_completed_at": _later(row, "process_completed_at", 600),
        "status": "success",
        "error_type": None,
        "error_message": None,
    }


def _second_refresh(row: Row) -> Row:
    return {
        **row,
        "record_id": f"second{row['record_id'][:20]}",
        "span_id": row["span_id"][::-1],
        "process_started_at": _later(row, "process_started_at", 90, 3),
        "process_completed_at": _later(row, "process_completed_at", 95, 3),
    }
