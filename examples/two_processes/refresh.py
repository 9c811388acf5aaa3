"""Another job that joins the same run and refreshes a model."""

import sys

import dbbtrace

with dbbtrace.join_run(sys.argv[1], data_product="Shop", environment="TST"):
    with dbbtrace.consumption(pipeline_id="refresh-shop", pipeline_run_id="refresh-shop-1"):
        with dbbtrace.model_refresh("5f8a1f0e-7c7e-4a53-9a0d-6f1f9a7d1c11", name="Shop") as refresh:
            refresh.status = "Completed"
