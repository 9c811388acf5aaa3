"""Ephemeral models, of which nothing is built: Fusion's artifact calls them skipped, dbt-core's don't name them."""

from __future__ import annotations

import json
from pathlib import Path

import dbbtrace
from tests.sources.dbt.projects import RUN

RESULTS = {
    "metadata": {
        "dbt_schema_version": "https://schemas.getdbt.com/dbt/run-results/v6.json",
        "dbt_version": "2.0.0-preview.196",
        "generated_at": "2026-11-20T08:00:10Z",
        "invocation_id": RUN,
    },
    "args": {"which": "build"},
    "results": [
        {"unique_id": "model.shop.shared", "status": "skipped", "message": "Skipped", "timing": []},
        {
            "unique_id": "model.shop.below",
            "status": "skipped",
            "message": "Skipped due to upstream failure",
            "timing": [],
        },
        {"unique_id": "model.shop.torn", "status": "error", "message": "no column x", "timing": []},
        {"unique_id": "model.shop.orders", "status": "success", "message": "Succeeded", "timing": []},
    ],
}
WRITTEN_WITH_IT = {
    "dbt_schema_version": "https://schemas.getdbt.com/dbt/manifest/v12.json",
    "dbt_version": "2.0.0-preview.196",
    "generated_at": "2026-11-20T08:00:05Z",
    "invocation_id": RUN,
}
KINDS = {"shared": "ephemeral", "below": "ephemeral", "torn": "ephemeral", "orders": "table"}


def test_an_ephemeral_model_that_nothing_held_up_is_a_no_op(tmp_path: Path) -> None:
    """What reads it would else be called stale in every good run."""
    (tmp_path / "run_results.json").write_text(json.dumps(RESULTS))
    nodes = {
        f"model.shop.{name}": {"resource_type": "model", "config": {"materialized": kind}}
        for name, kind in KINDS.items()
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"metadata": WRITTEN_WITH_IT, "nodes": nodes}))
    recorded = dbbtrace.record_dbt(tmp_path, run_id=RUN, data_product="P", environment="TST", allow_old=True)
    assert recorded.nodes == {"no-op": 1, "skipped": 1, "error": 1, "success": 1}


def test_without_a_manifest_nobody_knows_that_it_is_ephemeral(tmp_path: Path) -> None:
    """Then it is recorded as the artifact says."""
    (tmp_path / "run_results.json").write_text(json.dumps(RESULTS))
    recorded = dbbtrace.record_dbt(tmp_path, run_id=RUN, data_product="P", environment="TST", allow_old=True)
    assert recorded.nodes == {"skipped": 2, "error": 1, "success": 1}
