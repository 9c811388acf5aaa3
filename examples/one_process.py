"""A whole orchestration run in one script: python examples/one_process.py"""

import sqlite3
from pathlib import Path
from uuid import uuid4

import dbbtrace

CUSTOMERS = [("1", "Ann"), ("2", "Bob"), ("3", "Cleo")]


def copy(database: sqlite3.Connection, rows: list[tuple[str, str]]) -> int:
    """Replace this with your own copy. Returns the number of rows written."""
    database.execute("DROP TABLE IF EXISTS customer")
    database.execute("CREATE TABLE customer (id TEXT, name TEXT)")
    return database.executemany("INSERT INTO customer VALUES (?, ?)", rows).rowcount


def main() -> None:
    database = sqlite3.connect(":memory:")
    flaky = iter([ConnectionError("the source is waking up"), None])

    with dbbtrace.orchestration_run(uuid4(), data_product="Shop", environment="TST"):
        with dbbtrace.integration(pipeline_id="load-shop", pipeline_run_id=uuid4()):
            with dbbtrace.table_load(
                "Customer", schema="shop", source="CRM", source_type="API", load_type="FULL"
            ) as load:
                for attempt in load.attempts(3):  # each is a child span; the row shows the one that succeeded
                    with attempt:
                        if error := next(flaky):
                            raise error
                        load.rows_read = len(CUSTOMERS)
                        load.rows_written = copy(database, CUSTOMERS)

            with dbbtrace.table_load("Order", schema="shop", source="CRM", source_type="API", load_type="FULL") as load:
                load.fail("the source answered 503")  # Failed, without an exception

        with dbbtrace.step("tidy up"):  # any other work: a span, no row
            Path("customer.csv").unlink(missing_ok=True)

        with dbbtrace.consumption(pipeline_id="refresh-shop", pipeline_run_id=uuid4()):
            with dbbtrace.model_refresh("5f8a1f0e-7c7e-4a53-9a0d-6f1f9a7d1c11", name="Shop") as refresh:
                refresh.status = "Completed"

    if not dbbtrace.flush(30):  # the end of the run has already waited DBBTRACE_ROWS_TIMEOUT
        raise SystemExit("rows wait in the journal; run dbbtrace doctor")


if __name__ == "__main__":
    main()
