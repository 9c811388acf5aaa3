"""The panels of grafana/warehouse.json over a warehouse, asked as Grafana asks: each shows what is in the tables.

Grafana's macro of time is written out as its SQL Server plugin does it: two texts in RFC 3339. SQLite compares texts:
there they have its own form.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from dbbtrace_exporters.warehouse.flatten import rows_of

from dbbtrace.warehouse import Warehouse
from tests.warehouse.spans import RUN, load, node, refresh, skipped

DASHBOARD = Path(__file__).parents[2] / "collector-config" / "grafana" / "warehouse.json"
PRODUCT = "Group-FinancialStatements"
EARLIER = "5f1c1e0a-54c8-4b0e-9d5c-2f7a9d3a1b77"
FROM, TO = datetime(2026, 11, 24, tzinfo=timezone.utc), datetime(2026, 11, 25, tzinfo=timezone.utc)


def asked(warehouse: Warehouse) -> dict[str, list[dict[str, Any]]]:
    """Title of each panel → its rows, for the day."""
    form = "%Y-%m-%d %H:%M:%S" if warehouse.name.startswith("sqlite") else "%Y-%m-%dT%H:%M:%SZ"
    between = rf"\1 BETWEEN '{FROM:{form}}' AND '{TO:{form}}'"
    found = {}
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        [target] = panel["targets"]
        sql = re.sub(r"\$__timeFilter\((\w+)\)", between, target["rawSql"])
        assert "$" not in sql
        answer = warehouse.query(sql)
        found[panel["title"]] = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    return found


@pytest.mark.parametrize("warehouse", ["sqlite", "live"], indirect=True)
def test_each_panel_shows_what_is_in_the_tables(migrated: Warehouse) -> None:
    """A run with a failed load, of one day; the run of another day is not in it."""
    migrated.migrate(views=True)
    spans = [
        load("Customer", span_id=1),
        load("Vendor", span_id=2, STATUS="Failed", ROWS_WRITTEN=None, ERROR_TYPE="LookupError", ERROR_MESSAGE="gone"),
        load("Country", span_id=7, STATUS="Failed", ROWS_WRITTEN=None),
        node(span_id=3),
        skipped(span_id=4),
        refresh(span_id=5),
        load("Old", span_id=6, RUN_ID=EARLIER, start="2026-11-20T02:00:00Z", end="2026-11-20T02:00:30Z"),
    ]
    migrated.write([row for span in spans for row in rows_of(span)])
    shown = asked(migrated)

    [run] = shown["Runs"]
    assert (run["orchestration_run_id"], run["data_product"], run["status"]) == (RUN, PRODUCT, "Failed")
    assert (run["operations"], run["failed"], run["skipped"]) == (6, 2, 1)
    assert run["reason"] == "2 of 6 operations failed"
    failures = {(row["operation"], row["error_type"], row["error_message"]) for row in shown["Failed operations"]}
    assert failures == {("mdm.Vendor", "LookupError", "gone"), ("mdm.Country", None, None)}
    seconds = {row["workload"]: row["seconds"] for row in shown["Seconds by workload"]}
    expected = {"integration": 3 * 11.512, "transformation": 4.25, "consumption": 11.512}
    assert seconds == pytest.approx(expected, abs=0.002)  # a refresh has milliseconds
    [gap] = shown["What is missing"]
    assert (gap["operation"], gap["gap"]) == ("mdm.Country", "failed without a reason")
    [rows] = shown["Rows written by loads"]
    assert (rows["metric"], rows["value"]) == (PRODUCT, 9)
    assert str(rows["time"]).startswith("2026-11-24")
