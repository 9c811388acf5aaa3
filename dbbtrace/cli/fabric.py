"""``dbbtrace record-copy``: write the row of a Copy activity."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dbbtrace.cli.common import settings, warehouse_option
from dbbtrace.errors import DbbtraceError, TransientError

__all__ = ["COMMANDS"]

_PATIENCE = 120
"""Seconds that a command waits for its rows. A sleeping warehouse takes a minute to answer."""


@click.command("record-copy")
@warehouse_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--run", "run_id", metavar="ID", required=True, help="The orchestration run that the load belongs to.")
@click.option("--table", metavar="T", required=True, help="The table that was loaded.")
@click.option("--schema", metavar="S", help="Its schema.")
@click.option("--source", metavar="X", help="The source system, e.g. MDS.")
@click.option("--source-type", metavar="K", help="SQL, API or FILE.")
@click.option("--load-type", metavar="L", help="FULL or INCREMENTAL.")
@click.option("--started-at", metavar="TIME", help="Start of the load, for an output that has none.")
@click.option("--data-product", metavar="P", help="Data product of the run.")
@click.option("--environment", metavar="E", help="TST, ACC, QUAL or PRD.")
@click.option("--pipeline-id", metavar="I", help="Pipeline that the integration pipeline invoked.")
@click.option("--pipeline-run-id", metavar="R", help="Run id of that pipeline.")
@click.option("--workspace-id", metavar="W", help="Fabric workspace.")
def record_copy(file: str, run_id: str, table: str, **options: str | None) -> None:
    """Write the row of a Copy activity.

    FILE holds the activity's output or the whole activity as JSON; - reads standard input. A list holds the attempts of
    one Copy. A Copy that failed gives a row with status Failed. You can record the same file twice: the row is written
    once.
    """
    import dbbtrace
    from dbbtrace.sources.fabric.copies import attempts_of
    from dbbtrace.sources.fabric.record import period_of

    for name, value in (("--run", run_id), ("--table", table)):
        if not value.strip():
            raise click.BadParameter("it is empty", param_hint=f"'{name}'")
    configured = settings()
    dbbtrace.configure(warehouse=configured.warehouse)
    content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    outcome = attempts_of(content)[-1]
    period_of(outcome, options["started_at"])
    if not dbbtrace.record_copy(content, table, run_id=run_id, **options):
        raise DbbtraceError("nothing was recorded; the log line says why")
    stored = dbbtrace.flush(max(configured.rows_timeout, _PATIENCE))
    dbbtrace.shutdown()
    click.echo(f"{options['schema'] + '.' if options['schema'] else ''}{table}: {outcome.status}")
    if not stored:
        raise TransientError(f"the rows wait in the journal {configured.journal_dir}: `dbbtrace flush` delivers them")


COMMANDS = (record_copy,)
