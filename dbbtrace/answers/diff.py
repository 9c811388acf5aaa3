"""Compares two runs: operations that are new or gone, or whose outcome, duration or row counts changed."""

from __future__ import annotations

from dataclasses import dataclass

from dbbtrace.answers.read import operations, run_rows
from dbbtrace.answers.rows import Operation, Run
from dbbtrace.answers.terms import Terms
from dbbtrace.answers.verdict import judged
from dbbtrace.errors import UsageError
from dbbtrace.warehouse import Warehouse

__all__ = ["Change", "Diff", "diff"]

NOTICED_SECONDS = 1.0
NOTICED_RATIO = 1.25
"""A duration has changed if it differs by at least this many seconds and this ratio. Less is noise."""


@dataclass(frozen=True)
class Change:
    """One operation that differs between the runs. ``before`` or ``after`` is None if it is not in that run."""

    kind: str
    name: str
    operation_id: str
    changes: tuple[str, ...]
    """new, gone, status, slower, faster, rows."""
    before: Operation | None
    after: Operation | None


@dataclass(frozen=True)
class Diff:
    """What differs between two runs."""

    before: Run
    after: Run
    changes: tuple[Change, ...]
    """Changed outcomes first, then new and gone operations, then the largest differences in time."""
    same: int
    """Number of operations that are unchanged."""


def diff(warehouse: Warehouse, before: str, after: str, *, terms: Terms | None = None) -> Diff:
    """What differs between two runs, by their run ids, judged by these terms.

    Raises:
        UsageError: a run does not exist.
    """
    runs = {run.run_id: run for run in judged(warehouse, run_rows(warehouse, {before, after}), terms=terms)}
    for run_id in (before, after):
        if run_id not in runs:
            raise UsageError(f"no run {run_id!r} in the warehouse; `dbbtrace runs` lists the runs")
    sides: dict[str, dict[tuple[str, str], Operation]] = {before: {}, after: {}}
    for operation in operations(warehouse, {before, after}, where="o.superseded = 0"):
        sides[operation.run_id][operation.kind, operation.operation_id] = operation
    changes, same = [], 0
    for which in {**sides[before], **sides[after]}:
        was, now = sides[before].get(which), sides[after].get(which)
        found = _changes(was, now)
        same += not found
        if found:
            known = now or was
            assert known is not None
            changes.append(Change(known.kind, known.label, known.operation_id, found, was, now))
    return Diff(runs[before], runs[after], tuple(sorted(changes, key=_weight)), same)


def _changes(was: Operation | None, now: Operation | None) -> tuple[str, ...]:
    if was is None or now is None:
        return ("gone",) if now is None else ("new",)
    found = ["status"] if was.status != now.status else []
    if was.seconds is not None and now.seconds is not None and "Skipped" not in (was.status, now.status):
        less, more = sorted((was.seconds, now.seconds))
        if more - less >= NOTICED_SECONDS and more >= less * NOTICED_RATIO:
            found.append("slower" if now.seconds > was.seconds else "faster")
    if (was.rows_read, was.rows_written) != (now.rows_read, now.rows_written):
        found.append("rows")
    return tuple(found)


def _weight(change: Change) -> tuple[int, float, str, str]:
    first = {"status": 0, "new": 1, "gone": 1, "slower": 2, "faster": 2}.get(change.changes[0], 3)
    took = abs(((change.after and change.after.seconds) or 0.0) - ((change.before and change.before.seconds) or 0.0))
    return first, -took, change.kind, change.operation_id
