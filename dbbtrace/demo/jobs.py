"""The demo's orchestration run, as a job author would write it: load five tables, build with dbt, reconcile, refresh.

On the platform these are four pipelines in four processes that share only the run id (see examples/). Here they run
one after another in one process. The code below does not know that it is a demo.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import NAMESPACE_URL, uuid4, uuid5

import duckdb

import dbbtrace
from dbbtrace.demo.source import NAME, TABLES

DATA_PRODUCT = "NYC-Flights"
PROJECT = Path(__file__).parent / "dbt_project"
BUILD_LOG = "dbt.log"
"""What dbt says."""
# On the platform, Fabric gives these ids.
WORKSPACE, MODEL, LOADING, BUILDING, REFRESHING = (
    str(uuid5(NAMESPACE_URL, f"dbbtrace/demo/{name}"))
    for name in ("workspace", "semantic model", "integration", "transformation", "consumption")
)


@dataclass(frozen=True)
class Outcome:
    """How the run went."""

    run_id: str
    succeeded: bool


def run(source: Path, directory: Path, run_id: str | None = None) -> Outcome:
    """The orchestration: integration, then transformation in any case, then the rest if that succeeded."""
    run_id, succeeded = run_id or str(uuid4()), False
    with (
        suppress(dbbtrace.DbtError),  # dbt failed; the rows name every failed node
        # no workspace_id: with one, the run's page would link to a page of Fabric that does not exist
        dbbtrace.orchestration_run(run_id, data_product=DATA_PRODUCT, environment="TST") as orchestration,
    ):
        all_arrived = integrate(source, directory / "flights.duckdb")
        transform(directory)
        reconcile(directory)
        refresh(directory)
        if not all_arrived:
            orchestration.fail("not every table arrived")
        succeeded = all_arrived
    return Outcome(run_id, succeeded)


def integrate(source: Path, database: Path) -> bool:
    """Load every table of the source, independently. Returns whether all arrived."""
    arrived = 0
    with dbbtrace.integration(pipeline_id=LOADING, pipeline_run_id=uuid4()), duckdb.connect(str(database)) as duck:
        duck.execute("CREATE SCHEMA IF NOT EXISTS raw")
        for table in TABLES:
            with suppress(duckdb.Error):  # the load's row says why; continue with the other tables
                load(duck, table, source / f"{table}.csv")
                arrived += 1
    return arrived == len(TABLES)


def load(duck: duckdb.DuckDBPyConnection, table: str, file: Path) -> None:
    """Load one table in full: replace it with the contents of the file."""
    with dbbtrace.table_load(table, schema="raw", source=NAME, source_type="FILE", load_type="FULL") as load:
        duck.execute(f"DROP TABLE IF EXISTS raw.{table}")
        size = bytes_used(duck)
        duck.execute(f"CREATE TABLE raw.{table} AS FROM read_csv($1, header = true, nullstr = 'NA')", [str(file)])
        load.data_read = file.stat().st_size
        load.data_written = bytes_used(duck) - size
        load.rows_read = count(duck, "read_csv($1, header = true, all_varchar = true)", [str(file)])
        load.rows_written = count(duck, f"raw.{table}")


def transform(directory: Path) -> None:
    """Build the data product with dbt. Its artifacts go to a folder of their own."""
    shutil.copytree(PROJECT, directory / "dbt_project", dirs_exist_ok=True)
    select = f"+tag:{DATA_PRODUCT}"
    with dbbtrace.transformation(select=select, pipeline_id=BUILDING, pipeline_run_id=uuid4()):
        dbt(directory, "deps")
        artifacts = f"../monitoring/transformation_dbt_{datetime.now():%Y%m%d_%H%M%S_%f}"
        dbt(directory, "build", "--select", select, "--target-path", artifacts)


def reconcile(directory: Path) -> None:
    """Compare what was built with the source. It is another dbt invocation of the same run."""
    with dbbtrace.step("reconciliation"):
        dbt(directory, "clean")
        dbt(directory, "deps")
        dbt(directory, "run", "--select", "kpi_reconciliation_history")


def dbt(directory: Path, *command: str) -> None:
    """Run dbt on the demo's project. Every node is recorded.

    Raises:
        DbtError: a node failed, or dbt itself.
    """
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    os.environ["DEMO_DATABASE"] = str(directory / "flights.duckdb")
    project = str(directory / "dbt_project")
    folders = ("--project-dir", project, "--profiles-dir", project, "--target", "demo", "--log-path", str(directory))
    said = ("--log-level", "none", "--log-level-file", "info", "--no-use-colors-file")
    try:
        dbbtrace.run_dbt([*command, *folders, *said], check=True)
    finally:
        # It would hold the file until the process ends.
        DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]


def refresh(directory: Path) -> None:
    """Refresh what the report reads: a Parquet file with the punctuality of every airline by month."""
    report = directory / "carrier_punctuality.parquet"
    with dbbtrace.consumption(pipeline_id=REFRESHING, pipeline_run_id=uuid4()):
        reads = ["carrier_punctuality"]
        with dbbtrace.model_refresh(MODEL, name="Flight punctuality", workspace_id=WORKSPACE, reads=reads) as refresh:
            with duckdb.connect(str(directory / "flights.duckdb"), read_only=True) as duck:
                duck.execute(f"COPY analytics.carrier_punctuality TO '{quoted(report)}' (FORMAT parquet)")
            refresh.status = "Completed"


def bytes_used(duck: duckdb.DuckDBPyConnection) -> int:
    """Size of the database's data in bytes."""
    duck.execute("CHECKPOINT")
    row = duck.execute("SELECT block_size * used_blocks FROM pragma_database_size()").fetchone()
    return int(row[0]) if row else 0


def count(duck: duckdb.DuckDBPyConnection, relation: str, parameters: list[str] | None = None) -> int:
    """Number of rows in a table, or in a file that is read as one."""
    row = duck.execute(f"SELECT count(*) FROM {relation}", parameters).fetchone()
    return int(row[0]) if row else 0


def quoted(path: Path) -> str:
    """The path inside a quoted SQL string."""
    return str(path).replace("'", "''")
