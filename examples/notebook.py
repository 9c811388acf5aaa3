"""A notebook: cells can't share a ``with`` block, and may run again. Each ``# %%`` starts a cell."""

# %% Parameters: the platform sets the values in a cell like this one
orchestration_run_id = "0d5f2f4e-3f0b-4b52-8c73-2f3c7f0a9b10"
Data_Product = "Shop"
environment = "TST"

# %% Join the run. Parameters are found by name, in any case. Running the cell again changes nothing.
import dbbtrace  # noqa: E402

run = dbbtrace.begin_run(globals())

# %% Work. %%bash cells have the run id and TRACEPARENT in their environment
with dbbtrace.table_load("Customer", schema="shop", source="CRM", source_type="SQL", load_type="FULL") as load:
    load.rows_read = load.rows_written = 3

# %% An operation may begin in one cell ...
load = dbbtrace.table_load("Order", schema="shop", source="CRM", source_type="SQL", load_type="INCREMENTAL").start()

# %% ... and end in another
load.rows_read = load.rows_written = 7
load.end()

# %% The last cell. Kernels run no exit handlers, so end the run here
run.end()
