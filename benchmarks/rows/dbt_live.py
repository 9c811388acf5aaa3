"""``run_dbt`` of 500 models: CPU time in dbbtrace's callback against the CPU time of the same process.

A real dbt-core with DuckDB on four threads; models are views that select from one another, so dbt itself has little
to do: where models take long, the share is smaller. Counted is all time in the callback, of all threads, as each
thread's own clock tells it; against it stands the whole process, dbt's import and parsing included.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from threading import get_ident
from time import process_time, thread_time
from typing import Any

from benchmarks.figures import Effort, Figure, at_most, missing
from benchmarks.processes import fresh
from benchmarks.samples import PRODUCT, RUN

__all__ = ["dbt_is_here", "make_project", "measure"]


def dbt_is_here() -> bool:
    """Whether dbt can build into DuckDB here."""
    return all(importlib.util.find_spec(name) is not None for name in ("dbt", "duckdb"))


def measure(effort: Effort) -> Iterable[Figure]:
    """The figure."""
    count = effort.size(500, 100)
    what, against = f"dbt build of {count} models, live: CPU in the callback", "CPU of the same process"
    if not dbt_is_here():
        yield missing(what, against, at_most(3.0), "dbt-duckdb is not installed")
        return
    times = [fresh(built, effort.scratch, count) for _ in range(effort.size(5, 3))]
    yield Figure(
        what,
        against,
        [100 * ours / whole for ours, whole, _ in times],
        unit="%",
        goal=at_most(3.0),
        ours=median(ours for ours, _, _ in times),
        baseline=median(whole for _, whole, _ in times),
        measured_in="s",
        details={"events": [events for _, _, events in times]},
    )


def built(count: int) -> tuple[float, float, int]:
    """CPU seconds in the callback, those of the process, and how many events there were."""
    import dbbtrace
    from dbbtrace.sources.dbt.events import Events

    make_project(Path.cwd(), [f"m{number}" for number in range(count)])
    spent: Counter[int] = Counter()
    calls: Counter[int] = Counter()
    call = Events.__call__

    def timed(self: Events, event: Any) -> None:
        thread, began = get_ident(), thread_time()
        call(self, event)
        spent[thread] += thread_time() - began  # type: ignore[assignment]
        calls[thread] += 1

    Events.__call__ = timed  # type: ignore[method-assign]
    with dbbtrace.orchestration_run(RUN, data_product=PRODUCT, environment="PRD"):
        ended = dbbtrace.run_dbt(["--quiet", "build", "--threads", "4", "--profiles-dir", "."])
        whole = process_time()
    assert ended.invocation is not None
    assert ended.invocation.nodes == {"success": count}
    return float(sum(spent.values())), whole, sum(calls.values())


def make_project(folder: Path, names: Sequence[str]) -> None:
    """A project with DuckDB; each model but the first selects from one before it."""
    (folder / "models").mkdir()
    (folder / "dbt_project.yml").write_text("{name: shop, profile: shop, flags: {send_anonymous_usage_stats: false}}")
    (folder / "profiles.yml").write_text("shop: {target: dev, outputs: {dev: {type: duckdb, path: shop.duckdb}}}")
    for number, name in enumerate(names):
        above = f"{{{{ ref('{names[number // 2]}') }}}}" if number else "(select 1 as id)"
        (folder / "models" / f"{name}.sql").write_text(f"select id from {above}")
