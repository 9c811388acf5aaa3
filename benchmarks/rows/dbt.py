"""record_dbt of 20,000 nodes, to rows in SQLite, against json.load of the file and executemany of naive tuples.

Memory is the peak of the whole process. Time excludes imports on both sides. The file has the format of dbt 1.10: half
of it models with 3 kB of compiled code, half tests with 300 bytes. The baseline does what a quick script would do: one
row per timing entry, unchanged values, no error handling, no identities, and no protection from duplicates.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.figures import Effort, Figure, alternate, at_most, compared
from benchmarks.processes import fresh, peak_megabytes
from benchmarks.samples import PIPELINE, PIPELINE_RUN, PRODUCT, RUN, WORKSPACE

__all__ = ["measure", "write_naively"]


def measure(effort: Effort) -> Iterable[Figure]:
    """The figures."""
    count = effort.size(20_000, 5_000)
    file = effort.scratch / "run_results.json"
    document = {"metadata": _METADATA, "results": list(_results(count)), "elapsed_time": 99.0, "args": _ARGS}
    file.write_text(json.dumps(document))
    what, against = f"record_dbt, {count:,} nodes, to rows in SQLite", "json.load + executemany of naive tuples"
    peaks: dict[float, float] = {}

    def run(function: Any) -> float:
        seconds, peaks[seconds] = fresh(function, effort.scratch, str(file))
        return seconds

    times = list(alternate(lambda: run(recorded), lambda: run(naive), effort.size(9, 3)))
    yield compared(f"{what}: time", against, times, at_most(2), "s")
    memory = [(peaks[ours], peaks[theirs]) for ours, theirs in times]
    yield compared(f"{what}: peak memory", against, memory, at_most(1.5), "MB")


def recorded(file: str) -> tuple[float, float]:
    """With dbbtrace: seconds until every row is written, and the process's peak memory."""
    import dbbtrace_exporters.warehouse.exporter  # noqa: F401

    import dbbtrace
    import dbbtrace.sources.dbt.artifacts
    import dbbtrace.sources.dbt.build

    with dbbtrace.orchestration_run(RUN, data_product=PRODUCT, environment="PRD", workspace_id=WORKSPACE):
        with dbbtrace.transformation("+tag:Group", pipeline_id=PIPELINE, pipeline_run_id=PIPELINE_RUN):
            dbbtrace.flush(-1)
            began = perf_counter()
            dbbtrace.record_dbt(file, allow_old=True)
            assert dbbtrace.flush(-1)
            took = perf_counter() - began
    _check("dbb_warehouse.db")
    return took, peak_megabytes()


def naive(file: str) -> tuple[float, float]:
    """The same with a quick script."""
    took = write_naively(file, perf_counter)
    return took, peak_megabytes()


def write_naively(file: str, clock: Callable[[], float]) -> float:
    """What a quick script does; returns seconds by the clock."""
    from dbbtrace.warehouse.schema import DBT_NODES

    columns = [column for column in DBT_NODES.columns if not column.added]
    connection = sqlite3.connect("naive.db")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(
        f"CREATE TABLE {DBT_NODES.name} ({', '.join(f'{column.name} {column.sql_type}' for column in columns)})"
    )
    began = clock()
    with open(file, encoding="utf-8") as opened:
        document = json.load(opened)
    connection.executemany(
        f"INSERT INTO {DBT_NODES.name} VALUES ({', '.join('?' * len(columns))})", list(_naive_rows(document))
    )
    connection.commit()
    took = clock() - began
    _check("naive.db")
    return took


def _naive_rows(document: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    metadata = document["metadata"]
    for result in document["results"]:
        response = result["adapter_response"]
        for timing in result["timing"]:
            yield (
                result["unique_id"].split(".")[-1],
                metadata["invocation_id"],
                result["status"],
                result["thread_id"],
                result["execution_time"],
                result["failures"],
                result["compiled"],
                result["relation_name"],
                response.get("_message"),
                response.get("rows_affected"),
                timing["name"],
                timing["started_at"],
                timing["completed_at"],
                0,
                metadata["generated_at"],
                "PRD",
                "+tag:Group",
                RUN,
                PRODUCT,
                PIPELINE_RUN,
                WORKSPACE,
                PIPELINE,
            )


def _check(file: str) -> None:
    rows = sqlite3.connect(Path(file).resolve().as_uri(), uri=True).execute(
        "SELECT COUNT(*), COUNT(DISTINCT item_name) FROM monitoring_transformation_dbt"
    )
    count, nodes = rows.fetchone()
    assert count == 2 * nodes, (count, nodes)


_METADATA = {
    "dbt_schema_version": "https://schemas.getdbt.com/dbt/run-results/v6.json",
    "dbt_version": "1.10.23",
    "generated_at": "2026-11-24T16:01:44.001826Z",
    "invocation_id": "af718ec4-e939-4923-9204-d52213f15694",
    "invocation_started_at": "2026-11-24T15:58:21.103313Z",
    "env": {},
}
_ARGS = {"which": "build", "select": ["+tag:Group"], "invocation_command": "dbt build --select +tag:Group"}


def _results(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        name = f"m_{number // 2:05d}"
        is_model = number % 2 == 0
        yield {
            "status": "success" if is_model else "pass",
            "timing": [
                {"name": "compile", "started_at": _at(number), "completed_at": _at(number + 1)},
                {"name": "execute", "started_at": _at(number + 1), "completed_at": _at(number + 3)},
            ],
            "thread_id": f"Thread-{number % 4 + 1} (worker)",
            "execution_time": 0.15537452697753906,
            "adapter_response": {"_message": "OK", "rows_affected": -1} if is_model else {"_message": "OK"},
            "message": "OK" if is_model else None,
            "failures": None if is_model else 0,
            "unique_id": f"model.shop.{name}" if is_model else f"test.shop.not_null_{name}_id.{number:010x}",
            "compiled": True,
            "compiled_code": "select id, name, amount from some_table_of_it\n" * (66 if is_model else 7),
            "relation_name": f'"shop"."main"."{name}"' if is_model else None,
            "batch_results": None,
        }


def _at(number: int) -> str:
    return f"2026-11-24T15:{number // 1000 % 60:02d}:{number % 60:02d}.{number % 1000:03d}123Z"
