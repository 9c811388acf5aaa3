"""``dbbtrace import-refreshes``: refreshes of semantic models."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dbbtrace.cli.common import settings, warehouse_option
from dbbtrace.cli.fabric import deliver
from dbbtrace.cli.text import one_line
from dbbtrace.errors import DbbtraceError

__all__ = ["COMMANDS"]


@click.command("import-refreshes")
@warehouse_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--workspace", metavar="W", required=True, help="Id of the workspace that the model lives in.")
@click.option("--model", metavar="M", required=True, help="Id of the semantic model.")
@click.option("--name", metavar="N", help="Name of the model, for the rows.")
@click.option("--run", "run_id", metavar="ID", help="The orchestration run that the refresh belongs to.")
@click.option("--request", "request_id", metavar="R", help="Import only the refresh with this request id.")
@click.option("--data-product", metavar="P", help="Data product of the run; with --run.")
@click.option("--environment", metavar="E", help="TST, ACC, QUAL or PRD.")
def import_refreshes(file: str, workspace: str, model: str, **options: str | None) -> None:
    """Import refreshes of a semantic model.

    FILE holds what Power BI's API or sempy returned, as JSON: the refresh history of the model, or the execution
    details of one refresh; - reads standard input. Each refresh that has ended gives one row; one that still runs gives
    none yet. You can import the same file again. Without --run each refresh counts as a run by hand of its own. Exit
    code 1 if an entry could not be read.
    """
    import dbbtrace

    configured = settings()
    dbbtrace.configure(warehouse=configured.warehouse)
    content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    done = dbbtrace.import_refreshes(content, model=model, workspace=workspace, **options)
    click.echo(str(done))
    for reason in done.refused:
        click.echo(one_line(f"not read: {reason}"), err=True)
    deliver(configured)
    if done.refused:
        raise DbbtraceError("not everything could be read; the lines above say what")


COMMANDS = (import_refreshes,)
