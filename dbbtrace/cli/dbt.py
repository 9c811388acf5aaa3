"""``dbbtrace record-dbt``: write the rows of a dbt build."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click

from dbbtrace.cli.common import settings, warehouse_option
from dbbtrace.cli.completion import run_ids
from dbbtrace.cli.text import one_line
from dbbtrace.diagnostics import log
from dbbtrace.errors import TransientError, UsageError

__all__ = ["COMMANDS"]

_PATIENCE = 120
"""Seconds that the command waits for its rows. A sleeping warehouse takes a minute to answer."""


@click.command("record-dbt")
@warehouse_option
@click.argument("path", type=click.Path(exists=True))
@click.option(
    "--run",
    "run_id",
    metavar="ID",
    shell_complete=run_ids,
    required=True,
    help="The orchestration run that the build belongs to.",
)
@click.option("--data-product", metavar="P", help="Data product of the run.")
@click.option("--environment", metavar="E", help="TST, ACC, QUAL or PRD.")
@click.option("--select", metavar="S", help="Selector of the build; default: the one in the file.")
@click.option("--pipeline-id", metavar="I", help="Transformation pipeline.")
@click.option("--pipeline-run-id", metavar="R", help="Run id of that pipeline.")
@click.option("--workspace-id", metavar="W", help="Fabric workspace.")
def record_dbt(
    path: str,
    run_id: str,
    data_product: str | None,
    environment: str | None,
    select: str | None,
    pipeline_id: str | None,
    pipeline_run_id: str | None,
    workspace_id: str | None,
) -> None:
    """Write the rows of a dbt build.

    PATH is a run_results.json of any age, or the target folder that holds one. You can record the same file twice:
    each row is written once.

    \b
    Examples:
      dbbtrace record-dbt target --run "$RUN_ID"
      dbbtrace record-dbt run_results.json --run "$RUN_ID" --data-product Finance --environment PRD
    """
    import dbbtrace

    if not run_id.strip():
        raise click.BadParameter("it is empty; pass the run's id", param_hint="'--run'")
    configured = settings()
    dbbtrace.configure(warehouse=configured.warehouse, strict=True)
    with _said_once():
        invocation = dbbtrace.record_dbt(
            path,
            allow_old=True,
            select=select,
            run_id=run_id,
            data_product=data_product,
            environment=environment,
            workspace_id=workspace_id,
            pipeline_id=pipeline_id,
            pipeline_run_id=pipeline_run_id,
        )
    stored = dbbtrace.flush(max(configured.rows_timeout, _PATIENCE))
    dbbtrace.shutdown()
    if invocation.reason is not None:
        raise UsageError(invocation.reason)
    click.echo(one_line(invocation))
    if not stored:
        raise TransientError(f"the rows wait in the journal {configured.journal_dir}: `dbbtrace flush` delivers them")


@contextmanager
def _said_once() -> Iterator[None]:
    """Suppress the log warning about something that the command itself prints."""
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


COMMANDS = (record_dbt,)
