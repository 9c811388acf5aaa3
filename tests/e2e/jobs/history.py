"""What a warehouse remembers: eight days of runs, and today. Each product is named after what is wrong with it today.

Usage: python -m tests.e2e.jobs.history DATABASE.
"""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

import dbbtrace
from tests.verdict.situations import Stage

DAYS = 8
HOSTILE = 'Shop "x" \\ {a="b"} # ü €'
"""A product that is all right but for its name."""


def run(product: str) -> dbbtrace.Run:
    """A run of the product that this process opens."""
    return dbbtrace.orchestration_run(str(uuid.uuid4()), data_product=product, environment="PRD")


def load(table: str, rows: int) -> None:
    """Load one table."""
    with dbbtrace.table_load(table, schema="crm", source="MDS", load_type="FULL") as work:
        work.rows_read = work.rows_written = rows


def stale() -> None:
    """A table does not come, and a model is built from what it held before."""
    with run("Stale"):
        try:
            with dbbtrace.table_load("Customer", schema="crm", source="MDS"):
                raise LookupError("no such table")
        except LookupError:
            pass
        with dbbtrace.transformation(), dbbtrace.dbt_node("model.shop.customers") as node:
            node.set_attribute("dbb.dbt.depends_on", ["source.shop.MDS.Customer"])


def main(path: Path) -> None:
    """Fill the database."""
    stage = Stage(path, path.with_name("journal-of-the-history"))
    for day in range(DAYS):
        stage.configure()
        for product in ("Volume", "Late", "Good"):
            with run(product):
                load("Customer", 1000 + day)
        dbbtrace.shutdown()
        stage.age(24)
    stage.configure()
    with dbbtrace.join_run(str(uuid.uuid4()), data_product="Unfinished", environment="PRD"):
        load("Customer", 1000)
    dbbtrace.shutdown()
    stage.age(7)
    stage.configure()
    stale()
    for product in ("Good", HOSTILE):
        with run(product):
            load("Customer", 1000)
    with run("Volume"):
        load("Customer", 12)
    with run("Absent"), dbbtrace.integration(expect=["crm.Customer", "crm.Vendor"]):
        load("Customer", 1000)
    dbbtrace.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
