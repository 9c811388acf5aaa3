"""``dbbtrace migrate``: create or complete the three tables, and the views on them."""

from __future__ import annotations

import click

from dbbtrace.cli.common import opened_warehouse, warehouse_option

__all__ = ["COMMANDS"]

_END_OF_BATCH = "\nGO"
"""Separates batches in T-SQL tools. CREATE SCHEMA must be in a batch of its own."""


@click.command()
@warehouse_option
@click.option("--dry-run", is_flag=True, help="Only print the SQL, for someone who has the rights to run it.")
@click.option("--views", is_flag=True, help="Also create the views, and replace existing ones.")
def migrate(dry_run: bool, views: bool) -> None:
    """Create the tables, or add missing columns.

    Also creates schema meta and the indexes. Never drops or alters a table. You can safely run it again.

    \b
    Examples:
      dbbtrace migrate --dry-run
      dbbtrace migrate --views
    """
    from dbbtrace.cli.text import safe

    with opened_warehouse(create=True) as warehouse:  # a dry run still creates nothing
        done = warehouse.migrate(dry_run=dry_run, views=views)
        batches = warehouse.name.startswith("mssql:")
    for line in done:
        click.echo(f"{line};{_END_OF_BATCH if batches else ''}" if dry_run else safe(line))
    if not done:
        click.echo("nothing to do: schema, tables and columns exist", err=dry_run)


COMMANDS = (migrate,)
