"""The rows of the table, one module each. Its docstring says what it compares."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from benchmarks.figures import Effort, Figure
from benchmarks.rows import (
    dbt,
    dbt_live,
    dbt_replayed,
    fabric,
    growth,
    leaving,
    load,
    long_history,
    questions,
    receiver,
    recovery,
    sqlite,
    start,
    tsql,
)

__all__ = ["ROWS"]

ROWS: dict[str, Callable[[Effort], Iterable[Figure]]] = {
    "load": load.measure,
    "sqlite": sqlite.measure,
    "dbt": dbt.measure,
    "dbt-replayed": dbt_replayed.measure,
    "dbt-live": dbt_live.measure,
    "fabric": fabric.measure,
    "start": start.measure,
    "leaving": leaving.measure,
    "recovery": recovery.measure,
    "receiver": receiver.measure,
    "questions": questions.measure,
    "long-history": long_history.measure,
    "growth": growth.measure,
    "tsql": tsql.measure,
}
