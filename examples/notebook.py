"""A notebook: its cells share no ``with``, and are run again and again. Each ``# %%`` starts a cell."""

# %% Parameters: the platform puts its values into a cell like this one
orchestration_run_id = "0d5f2f4e-3f0b-4b52-8c73-2f3c7f0a9b10"
Data_Product = "Shop"
environment = "TST"

# %% Join the run. Parameters are found by name, whatever their case; running the cell again changes nothing.
import dbbtrace  # noqa: E402

run = dbbtrace.begin_run(globals())

# %% Work; %%bash cells find the run id and TRACEPARENT in their environment
with dbbtrace.table_load("Customer", schema="shop", source="CRM", source_type="SQL", load_type="FULL") as load:
    load.rows_read = load.rows_written = 3

# %% An operation may begin in one cell ...
load = dbbtrace.table_load("Order", schema="shop", source="CRM", source_type="SQL", load_type="INCREMENTAL").start()

# %% ... and end in another
load.rows_read = load.rows_written = 7
load.end()

# %% The last cell: kernels run nothing at exit, so say that the work is done
run.end()
