"""T-SQL: rows per second of the exporter, compared with pyodbc's fast_executemany of the same tuples.

Runs only if DBBTRACE_TEST_MSSQL holds the connection string of a database that tests may write to, with Microsoft's
driver. FreeTDS crashes on fast_executemany. Both write to meta.monitoring_integration, which dbbtrace creates there,
and delete their rows afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import count
from time import perf_counter
from typing import Any
from uuid import uuid4

from benchmarks.figures import Effort, Figure, Pair, alternate, at_least, compared, missing
from benchmarks.processes import fresh
from benchmarks.samples import batches, loads

__all__ = ["measure"]

_SERVER = "DBBTRACE_TEST_MSSQL"


def measure(effort: Effort) -> Iterable[Figure]:
    """The figures."""
    what, against, goal = "T-SQL: spans → rows", "pyodbc fast_executemany of ready tuples", at_least(1.5)
    url = os.environ.get(_SERVER)
    if not url:
        yield missing(what, against, goal, f"{_SERVER} is not set")
        return
    if "freetds" in url.lower():
        yield missing(what, against, goal, "FreeTDS can't do this; use Microsoft's driver")
        return
    pairs = fresh(rates, effort.scratch, url, effort.size(20_000, 5_000), effort.size(9, 3))
    yield compared(what, against, pairs, goal, "rows/s")


def rates(url: str, rows: int, repeats: int) -> list[Pair]:
    """Rows per second."""
    import pyodbc
    from dbbtrace_exporters.warehouse.exporter import WarehouseSpanExporter
    from dbbtrace_exporters.warehouse.flatten import rows_of

    from dbbtrace.warehouse.schema import LOADS

    exporter = WarehouseSpanExporter(url)
    exporter.warehouse.migrate()
    connection = pyodbc.connect(url, autocommit=True)
    cursor = connection.cursor()
    cursor.fast_executemany = True
    names = ", ".join(f"[{column.name}]" for column in LOADS.columns)
    sql = f"INSERT INTO meta.{LOADS.name} ({names}) VALUES ({', '.join('?' * len(LOADS.columns))})"
    run, number = str(uuid4()), count()

    def spans() -> list[list[Any]]:
        return batches(list(loads(rows, next(number) * rows, run)))

    def exported() -> float:
        given = spans()
        began = perf_counter()
        for batch in given:
            exporter.deliver(batch)
        return rows / (perf_counter() - began)

    def executemany() -> float:
        given = [[row.values for span in batch for row in rows_of(span)] for batch in spans()]
        began = perf_counter()
        for batch in given:
            cursor.executemany(sql, batch)
        return rows / (perf_counter() - began)

    try:
        return list(alternate(exported, executemany, repeats))
    finally:
        cursor.execute(f"DELETE FROM meta.{LOADS.name} WHERE orchestration_run_id = ?", run)
        exporter.shutdown()
