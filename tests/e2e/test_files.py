"""What the Collector's file exporter writes, ``dbbtrace import`` reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.programs import Programs, eventually
from tests.e2e.runs import building_job, rows

CONFIG = """\
receivers:
  otlp:
    protocols:
      grpc: {endpoint: "${env:OTELCOL_GRPC}"}
      http: {endpoint: "${env:OTELCOL_HTTP}"}
exporters:
  file: {path: "${env:OTELCOL_FILE}", compression: "${env:OTELCOL_COMPRESSION}"}
extensions:
  health_check: {endpoint: "${env:OTELCOL_HEALTH}"}
service:
  extensions: [health_check]
  pipelines:
    traces: {receivers: [otlp], exporters: [file]}
  telemetry:
    metrics: {level: none}
"""


@pytest.mark.parametrize("compression", ["", "zstd"])
def test_a_run_that_went_into_a_file_is_imported_once(programs: Programs, tmp_path: Path, compression: str) -> None:
    """A real job, a real file, plain and compressed: all its rows, and again no more."""
    config, file = tmp_path / "file.yaml", tmp_path / "spans.jsonl"
    config.write_text(CONFIG)
    collector = programs.collector(config, OTELCOL_FILE=str(file), OTELCOL_COMPRESSION=compression)
    run_id = str(uuid4())
    building_job(run_id, collector)
    eventually(lambda: file.stat().st_size)
    assert collector.stop() == 0

    warehouse = f"sqlite:///{tmp_path}/warehouse.db"
    command = [sys.executable, "-m", "dbbtrace", "--warehouse", warehouse, "import", str(file)]
    for _ in range(2):
        done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=120, check=True)
        assert done.stdout == "7 spans, of which 4 are operations\n"
        assert sorted((each.kind, each.status) for each in rows(warehouse, run_id)) == [
            ("dbt_node", "Failed"),
            ("dbt_node", "Skipped"),
            ("dbt_node", "Succeeded"),
            ("model_refresh", "Succeeded"),
        ]
