"""Links: a node leads to the loads and nodes it selects from, a refresh to the models it reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import dbbtrace
from dbbtrace.model import attributes as key
from dbbtrace.testing import capture
from tests.sources.dbt.support import RUN, nodes

INVOCATION = "5d0f0b2c-52cd-4d9b-8a0b-2f1c8f0f7a11"
GRAPH = {
    "model.shop.stg_customer": ["source.shop.MDS.customer"],
    "model.shop.stg_rates": ["source.shop.bank.rates"],
    "model.shop.short": ["model.shop.stg_customer"],
    "model.shop.sales": ["model.shop.short", "model.shop.stg_rates", "model.shop.elsewhere"],
}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A build of three models, one of which selects through an ephemeral one."""
    about = {"invocation_id": INVOCATION, "generated_at": "2026-11-24T16:45:00Z", "dbt_version": "1.11.2"}
    schema = "https://schemas.getdbt.com/dbt"
    results = [
        {"unique_id": unique_id, "status": "success", "timing": [], "execution_time": 1.0}
        for unique_id in GRAPH
        if unique_id != "model.shop.short"
    ]
    manifest = {
        "nodes": {unique_id: {"depends_on": {"nodes": parents}} for unique_id, parents in GRAPH.items()},
        "sources": {
            "source.shop.MDS.customer": {"identifier": "mdm_Customer", "name": "customer"},
            "source.shop.bank.rates": {"name": "rates"},
        },
        "exposures": {
            "exposure.shop.finance": {
                "name": "finance", "label": "Finance", "depends_on": {"nodes": ["model.shop.sales"]}
            }
        },
    }  # fmt: skip
    run_results = {"metadata": {**about, "dbt_schema_version": f"{schema}/run-results/v6.json"}, "results": results}
    (tmp_path / "run_results.json").write_text(json.dumps({**run_results, "args": {"which": "build"}}))
    about = {**about, "dbt_schema_version": f"{schema}/manifest/v12.json"}
    (tmp_path / "manifest.json").write_text(json.dumps({"metadata": about, **manifest}))
    return tmp_path


def links(span) -> dict[str, int]:
    """Where the span's links lead: span ids by name."""
    return {link.attributes["upstream.name"]: link.context.span_id for link in span.links}


def test_links_lead_to_loads_and_nodes_that_this_process_knows(target):
    """To a load by the source's identifier or name and the system; through what has no span; not to what is unknown."""
    with capture() as captured, dbbtrace.orchestration_run(RUN):
        with dbbtrace.table_load("mdm_Customer", schema="mdm", source="CRM"):
            pass
        with dbbtrace.table_load("mdm_Customer", schema="mdm", source="MDS"):
            pass
        dbbtrace.record_load("Rates", source="bank", started_at="2025-11-24T15:00:00Z")
        dbbtrace.record_dbt(target, allow_old=True)
        with dbbtrace.model_refresh("7c9e6679-7425-40de-944b-e07fc1f90ae7", name="Finance"):
            pass
        with dbbtrace.model_refresh("7c9e6679-7425-40de-944b-e07fc1f90ae8", reads=["stg_rates", "unknown"]):
            pass
        dbbtrace.record_refresh(
            "7c9e6679-7425-40de-944b-e07fc1f90ae9", started_at="2025-11-24T15:00:00Z", reads=["sales", "unknown"]
        )
    found = nodes(captured)
    loads = {
        (span.attributes[key.TABLE_NAME], span.attributes[key.SOURCE_NAME]): span.context.span_id
        for span in captured.operations(key.OPERATION_LOAD)
    }
    assert links(found["model.shop.stg_customer"]) == {"source.shop.MDS.customer": loads["mdm_Customer", "MDS"]}
    assert links(found["model.shop.stg_rates"]) == {"source.shop.bank.rates": loads["Rates", "bank"]}
    assert links(found["model.shop.sales"]) == {
        "model.shop.stg_rates": found["model.shop.stg_rates"].context.span_id,
        "model.shop.stg_customer": found["model.shop.stg_customer"].context.span_id,
    }
    by_exposure, by_name, recorded = captured.operations(key.OPERATION_REFRESH)
    assert links(by_exposure) == {"model.shop.sales": found["model.shop.sales"].context.span_id}
    assert links(by_name) == {"model.shop.stg_rates": found["model.shop.stg_rates"].context.span_id}
    assert by_exposure.attributes[key.MODEL_READS] == ("model.shop.sales",)
    assert by_name.attributes[key.MODEL_READS] == ("model.shop.stg_rates", "unknown")
    assert recorded.attributes[key.MODEL_READS] == ("model.shop.sales", "unknown")


def test_another_run_is_not_linked_to(target):
    """What happened in one run is unknown in another, though the process saw it."""
    with capture() as captured:
        with dbbtrace.orchestration_run(RUN):
            with dbbtrace.table_load("rates", source="bank"):
                pass
        dbbtrace.record_dbt(target, run_id="another run", allow_old=True)
    assert links(nodes(captured)["model.shop.stg_rates"]) == {}
