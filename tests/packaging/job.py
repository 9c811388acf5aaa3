"""A job of every kind of operation, run by the packaging tests where only the wheel is installed."""

from __future__ import annotations

import json
import os
import subprocess
from importlib.metadata import version

import dbbtrace

RUN = "8f14e45f-ceea-467f-a0e6-1b2c3d4e5f60"

os.environ["DBBTRACE_WAREHOUSE"] = "sqlite:///rows.db"
dbbtrace.configure(rows_timeout=30)
with dbbtrace.orchestration_run(RUN, data_product="Shop", environment="TST"):
    with dbbtrace.integration(pipeline_id="p1", pipeline_run_id="r1"):
        with dbbtrace.table_load("Customer", schema="mdm", source="MDS", source_type="SQL", load_type="FULL") as load:
            load.rows_read = load.rows_written = 10
        try:
            with dbbtrace.table_load("Order", schema="mdm", source="MDS"):
                raise ValueError("no such table")
        except ValueError:
            pass
    with dbbtrace.consumption(pipeline_id="p2", pipeline_run_id="r2"):
        with dbbtrace.model_refresh("9f14e45f-ceea-467f-a0e6-1b2c3d4e5f60", name="Finance") as refresh:
            refresh.status = "Completed"
assert dbbtrace.flush(30), "rows do not stand"


def query(sql: str) -> list[dict[str, object]]:
    """The rows, as another process reads them."""
    command = ["dbbtrace", "query", sql, "--format", "json"]
    done = subprocess.run(command, text=True, capture_output=True, check=True)
    return json.loads(done.stdout)


loads = query("SELECT table_name, status, rows_written, error_message FROM meta.monitoring_integration ORDER BY 1")
assert [tuple(row.values()) for row in loads] == [
    ("Customer", "Succeeded", 10, None),
    ("Order", "Failed", None, "no such table"),
], loads
refreshes = query(
    "SELECT semantic_model_name, status, orchestration_run_id FROM meta.monitoring_semantic_model_refresh"
)
assert [tuple(row.values()) for row in refreshes] == [("Finance", "Completed", RUN)], refreshes
print("opentelemetry", version("opentelemetry-sdk"))
