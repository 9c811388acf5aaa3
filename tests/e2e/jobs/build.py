"""Another job of the run, which shares the run id with the first and nothing else: dbt nodes and a refresh.

Usage: build.py RUN_ID.
"""

import sys

from opentelemetry import trace

import dbbtrace

MODEL = "44444444-4444-4444-8444-444444444444"


def main(run_id: str) -> None:
    """Build and refresh."""
    with dbbtrace.join_run(run_id, data_product="Shop", environment="TST"):
        with dbbtrace.transformation(select="+tag:Shop"):
            with dbbtrace.dbt_node("model.shop.customers") as node:
                node.rows_affected = 8
            with dbbtrace.dbt_node("test.shop.unique_customers.0123456789") as test:
                test.status, test.failures, test.message = "fail", 3, "Got 3 results, configured to fail if != 0"
            with dbbtrace.dbt_node("model.shop.report") as node:
                node.status, node.message = "skipped", "depends on test.shop.unique_customers"
        with dbbtrace.consumption():
            with dbbtrace.model_refresh(MODEL, name="Finance") as refresh:
                with dbbtrace.step("wait for the service"):
                    pass
                refresh.status = "Completed"


main(sys.argv[1])
assert trace.get_tracer_provider().force_flush(120_000), "the Collector has not taken everything"
