"""``dbbtrace watermark``: from when on the next load of a table reads."""

from __future__ import annotations

from dataclasses import asdict

import click

from dbbtrace.cli.common import opened_warehouse, print_json, warehouse_option
from dbbtrace.cli.text import one_line

__all__ = ["COMMANDS"]


@click.command()
@warehouse_option
@click.option("--table", metavar="T", required=True, help="Name of the table, exactly as its rows have it.")
@click.option("--schema", metavar="S", default="", help="Schema of the table.")
@click.option("--source", metavar="S", default="", help="Source system, e.g. MDS.")
@click.option(
    "--load-type",
    type=click.Choice(["INCREMENTAL", "FULL"], case_sensitive=False),
    default="INCREMENTAL",
    show_default=True,
    help="Type of the next load; FULL reads everything.",
)
@click.option("--format", "form", metavar="F", help="Print the time in this format, as for strftime: %Y/%m/%d.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def watermark(table: str, schema: str, source: str, load_type: str, form: str | None, as_json: bool) -> None:
    """Print from when on the next load of a table reads: the start of its last load that succeeded.

    The time is in UTC. 0000-00-00 00:00:00 means everything: the table was never loaded, or the load is FULL. Exit
    code 4: the warehouse could not be asked, and nothing is printed.

    \b
    Examples:
      dbbtrace watermark --source MDS --schema mdm --table Customer
      dbbtrace watermark --table Customer --load-type FULL
    """
    from dbbtrace.answers.watermark import watermark as ask
    from dbbtrace.graph import Table

    with opened_warehouse() as warehouse:
        found = ask(warehouse, Table(source, schema, table), load_type)
    value = found.text(form) if form else found.value
    if as_json:
        print_json({**asdict(found), "table": found.table._asdict(), "watermark": value})
        return
    click.echo(value)
    if found.note:
        click.echo(one_line(f"dbbtrace: {found.state}: {found.note}"), err=True)


COMMANDS = (watermark,)
