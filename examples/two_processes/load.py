"""A job that joins the run in its first argument and loads a table."""

import sys

import dbbtrace

with dbbtrace.join_run(sys.argv[1], data_product="Shop", environment="TST"):
    with dbbtrace.integration(pipeline_id="load-shop", pipeline_run_id="load-shop-1"):
        with dbbtrace.table_load("Customer", schema="shop", source="CRM", source_type="SQL", load_type="FULL") as load:
            load.rows_read = load.rows_written = 3
