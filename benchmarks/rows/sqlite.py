"""100,000 finished spans through the warehouse exporter, compared with sqlite3 writing ready tuples.

Both fill the same table in a new file (created by dbbtrace, with its unique index on record_id), with 1,000 rows per
transaction, as in delivery. The exporter turns spans into rows and writes only new rows. The baseline is an INSERT with
``executemany`` and the tuples that the exporter would have bound.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from time import perf_counter

from benchmarks.figures import Effort, Figure, Pair, alternate, at_least, compared
from benchmarks.processes import fresh
from benchmarks.samples import batches, loads

__all__ = ["measure"]


def measure(effort: Effort) -> Iterable[Figure]:
    """The figures."""
    count = effort.size(100_000, 20_000)
    pairs = fresh(rates, effort.scratch, count, effort.size(9, 5))
    yield compared(
        f"spans → rows → SQLite, {count:,} spans", "sqlite3 executemany of ready tuples", pairs, at_least(0.6), "rows/s"
    )


def rates(count: int, repeats: int) -> list[Pair]:
    """Rows per second."""
    from dbbtrace_exporters.warehouse.flatten import rows_of

    spans = list(loads(count))
    tuples = [row.values for span in spans for row in rows_of(span)]
    return list(
        alternate(
            lambda: count / _exported(batches(spans)),
            lambda: count / _executemany(batches(tuples)),
            repeats,
        )
    )


def _exported(spans: list[list]) -> float:
    from dbbtrace_exporters.warehouse.exporter import WarehouseSpanExporter

    exporter = WarehouseSpanExporter("sqlite:///bench.db")
    exporter.warehouse.shapes()  # the file is created beforehand
    began = perf_counter()
    for batch in spans:
        exporter.deliver(batch)
    took = perf_counter() - began
    exporter.shutdown()
    _remove()
    return took


def _executemany(rows: list[list]) -> float:
    from dbbtrace.warehouse import open_warehouse
    from dbbtrace.warehouse.schema import LOADS

    open_warehouse("sqlite:///bench.db").shapes()
    connection = sqlite3.connect("bench.db", isolation_level=None)
    sql = f"INSERT INTO {LOADS.name} VALUES ({', '.join('?' * len(LOADS.columns))})"
    began = perf_counter()
    for batch in rows:
        connection.execute("BEGIN")
        connection.executemany(sql, batch)
        connection.execute("COMMIT")
    took = perf_counter() - began
    connection.close()
    _remove()
    return took


def _remove() -> None:
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(f"bench.db{suffix}"):
            os.unlink(f"bench.db{suffix}")
