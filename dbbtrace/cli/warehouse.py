"""``dbbtrace migrate``: the three tables, made or completed, and the views over them."""

from __future__ import annotations

import click

from dbbtrace.cli.common import opened_warehouse, warehouse_option

__all__ = ["COMMANDS"]

_END_OF_BATCH = "\nGO"
"""How the tools for T-SQL tell one batch from the next: CREATE SCHEMA must be alone in its own."""


@click.command()
@warehouse_option
@click.option("--dry-run", is_flag=True, help="Print the SQL alone, for someone who has the rights.")
@click.option("--views", is_flag=True, help="Make the views over them too, anew where they stand already.")
def migrate(dry_run: bool, views: bool) -> None:
    """Create the tables, or add missing columns.

    Schema meta too, and the indexes. Never drops or alters a table; safe to repeat.
    """
    from dbbtrace.cli.text import safe

    with opened_warehouse(create=True) as warehouse:  # nothing is created by a dry run all the same
        done = warehouse.migrate(dry_run=dry_run, views=views)
        batches = warehouse.name.startswith("mssql:")
    for line in done:
        click.echo(f"{line};{_END_OF_BATCH if batches else ''}" if dry_run else safe(line))
    if not done:
        click.echo("nothing to do: schema, tables and columns are all there", err=dry_run)


COMMANDS = (migrate,)
