"""What a type checker must not let pass: behind each line what mypy says of it (tests/types/test_types.py)."""

import dbbtrace

with dbbtrace.table_load("Customer") as load:
    load.rows_writen = 3  # maybe "rows_written"?
    load.attempts("3")  # expected "int"
dbbtrace.begin_run(globals(), produkt="x")  # Unexpected keyword argument "produkt"
dbbtrace.orchestration_run(data_product=3)  # expected "str | None"
dbbtrace.step("y")(3)  # cannot be "int"
