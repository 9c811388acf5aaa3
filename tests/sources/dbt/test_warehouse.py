"""From the artifact to the table: SQLite holds what dbt did, once."""

from __future__ import annotations

import sqlite3

import pytest
from dbbtrace_exporters.warehouse.exporter import WarehouseSpanExporter

from tests.sources.dbt.support import ARTIFACTS, load, record


@pytest.mark.parametrize("version", ["1.5.12", "1.7.20", "1.9.11", "1.10.23", "1.12.6", "2.0.0-preview.196"])
def test_delivered_twice_each_node_stands_once(version, tmp_path):
    """Every node has its execute row, with dbt's status and the reason of its end."""
    folder = ARTIFACTS / version / "build_all"
    exporter = WarehouseSpanExporter(url=f"sqlite:///{tmp_path}/dbb.db")
    for _ in range(2):
        exporter.deliver(record(folder, environment="tst", select="+tag:lab")[1].spans)
    exporter.shutdown()
    with sqlite3.connect(tmp_path / "dbb.db") as database:
        rows = database.execute(
            "SELECT unique_id, status, build_models, environment, message, depends_on, resource_type "
            "FROM monitoring_transformation_dbt WHERE process_stage = 'execute'"
        ).fetchall()
    database.close()
    words = {result["unique_id"]: result["status"] for result in load(folder / "run_results.json")["results"]}
    assert {unique_id: status for unique_id, status, *_ in rows} == words
    assert len(rows) == len(words)
    for unique_id, status, selected, environment, message, depends_on, resource_type in rows:
        assert (selected, environment) == ("+tag:lab", "TST")
        assert resource_type == unique_id.split(".")[0]
        if status in ("skipped", "error", "fail"):
            assert message
        if resource_type in ("test", "unit_test"):
            assert depends_on
