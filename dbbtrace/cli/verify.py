"""``dbbtrace verify``: do readers find rows in what a run loaded?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from dbbtrace.cli.alerts import BROKEN, run_id_meant
from dbbtrace.cli.common import UNANSWERED, opened_warehouse, print_json, settings, unanswered, warehouse_option
from dbbtrace.cli.options import run_argument
from dbbtrace.cli.printing import echo_indented, echo_line
from dbbtrace.cli.text import counted, safe
from dbbtrace.errors import TransientError, UsageError

if TYPE_CHECKING:
    from dbbtrace.operate.verify import Counted

__all__ = ["COMMANDS"]

_PATIENCE = 120
"""Seconds that the command waits for its rows. A sleeping warehouse takes a minute to answer."""


@click.command()
@warehouse_option
@run_argument(required=False)
@click.option("--table", "tables", metavar="T", multiple=True, help="Only this table, with or without its schema.")
@click.option(
    "--workspace", "workspace_id", metavar="W", help="Workspace of the lakehouse; else DBBTRACE_WORKSPACE_ID."
)
@click.option("--no-refresh", is_flag=True, help="Don't count an empty table again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def verify(
    context: click.Context,
    run: str | None,
    data_product: str | None,
    environment: str | None,
    tables: tuple[str, ...],
    workspace_id: str | None,
    no_refresh: bool,
    as_json: bool,
) -> None:
    """Count the tables that a run loaded, where readers read them.

    That is the SQL endpoint in DBBTRACE_SQL_ENDPOINT, else the warehouse. A table that looks empty may only be late:
    its SQL endpoint is refreshed, and it is counted once more. Exit code 1: a table is empty. 4: one could not be
    counted, or the counts could not be stored.

    \b
    Examples:
      dbbtrace verify last
      dbbtrace verify "$RUN_ID" --table mdm.Customer
    """
    import dbbtrace
    from dbbtrace.answers.read import run_keys
    from dbbtrace.operate.verify import count_tables

    known = settings()
    with opened_warehouse() as warehouse:
        run_id = run_id_meant(warehouse, run, data_product, environment)
        ran = next(iter(run_keys(warehouse, among=[run_id])), None)
    if ran is None:
        raise UsageError(f"nothing of run {run_id} is in the warehouse; `dbbtrace runs` lists the runs")
    dbbtrace.configure(warehouse=known.warehouse)
    with unanswered():
        found = count_tables(
            *tables,
            run_id=run_id,
            data_product=ran.data_product,
            environment=ran.environment,
            workspace_id=workspace_id,
            refresh=not no_refresh,
            known_only=True,
        )
    arrived = dbbtrace.flush(max(known.rows_timeout, _PATIENCE))
    dbbtrace.shutdown()
    if as_json:
        print_json([{**asdict(each), "is_empty": each.is_empty} for each in found])
    else:
        _print(found)
    with unanswered():
        if not arrived:
            raise TransientError("the counts wait in the journal: run `dbbtrace flush`")
    context.exit(UNANSWERED if any(each.rows is None for each in found) else BROKEN if any(map(_empty, found)) else 0)


def _empty(counted: Counted) -> bool:
    return counted.is_empty


def _print(found: list[Counted]) -> None:
    if not found:
        click.echo("the run has loaded no table", err=True)
    for each in sorted(found, key=lambda each: (each.rows is not None, bool(each.rows), each.table)):
        rows = "not counted" if each.rows is None else "empty" if each.is_empty else counted(each.rows, "row")
        after = " after its SQL endpoint was refreshed" if each.refreshed else ""
        echo_line(f"{safe(each.table)}: {rows}{after}", "")
        if each.problem:
            echo_indented(each.problem)
    empty = sum(map(_empty, found))
    if len(found) > 1:
        click.echo(f"{counted(len(found), 'table')}, {empty} empty")


COMMANDS = (verify,)
