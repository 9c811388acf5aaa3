"""``dbbtrace asof``: how old the data is that something shows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dbbtrace.cli.common import opened_warehouse, print_json, settings, warehouse_option
from dbbtrace.cli.completion import data_products, environments
from dbbtrace.cli.lineage import manifest_option
from dbbtrace.cli.options import moment
from dbbtrace.cli.printing import echo_indented, echo_line
from dbbtrace.cli.table import print_table
from dbbtrace.cli.text import counted, duration_of, moment_of, one_line

if TYPE_CHECKING:
    from dbbtrace.answers.shown import AsOf, ShownTable

__all__ = ["COMMANDS"]

_SHOWN = 20
"""Tables that are listed, the oldest first."""


@click.command()
@warehouse_option
@click.argument("name", required=False)
@click.option(
    "--data-product",
    metavar="P",
    shell_complete=data_products,
    help="All semantic models of this data product, instead of NAME.",
)
@click.option(
    "--environment",
    metavar="E",
    shell_complete=environments,
    help="Only rows of this environment: TST, ACC, QUAL or PRD.",
)
@manifest_option
@click.option("--at", metavar="TIME", callback=moment, help="As of this time: yesterday 18:00, 36h; default: now.")
@click.option("--all", "whole", is_flag=True, help="List every table.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def asof(
    name: str | None,
    data_product: str | None,
    environment: str | None,
    manifest: Path | None,
    at: datetime | None,
    whole: bool,
    as_json: bool,
) -> None:
    """Tell how old the data in a report or a model is, and which of its tables are overdue.

    NAME is a semantic model, an exposure or a dbt model. A table is overdue by its own usual interval: one that is
    loaded once a year is not overdue after a day.

    \b
    Examples:
      dbbtrace asof carrier_punctuality --all
      dbbtrace asof --data-product Finance --at yesterday
    """
    from dbbtrace.answers.asof import asof as ask
    from dbbtrace.answers.earlier import local_zone
    from dbbtrace.operate.lineage import manifest_in, naming_of

    known = settings()
    with opened_warehouse() as warehouse:
        found = ask(
            warehouse,
            name,
            data_product=data_product,
            environment=environment,
            manifest=manifest_in(manifest),
            naming=naming_of(known),
            at=at,
            zone=local_zone(known.timezone),
        )
    if as_json:
        print_json(_as_dict(found))
    else:
        _print(found, whole)


def _as_dict(found: AsOf) -> dict[str, Any]:
    return {
        "name": found.name,
        "kind": found.kind,
        "at": found.at,
        "headline": found.headline,
        "as_of": found.as_of,
        "mode": found.mode,
        "refreshed_at": found.refreshed_at,
        "failing_since": found.failing_since,
        "overdue": [table.name for table in found.overdue],
        "unknown": list(found.unknown),
        "tables": [_table_as_dict(table) for table in found.tables],
        "parts": [_as_dict(part) for part in found.parts],
    }


def _table_as_dict(table: ShownTable) -> dict[str, Any]:
    age = table.age
    return {
        "name": table.name,
        "loaded_at": table.loaded_at,
        "orchestration_run_id": table.run_id,
        "is_overdue": table.is_overdue,
        "usual_seconds": age.usual.total_seconds() if age and age.usual else None,
        "last_loaded_at": age.last_success if age else None,
        "failing_since": age.failing_since if age else None,
        "stuck": table.stuck,
        "way": [{"name": step.name, "work": step.work._asdict() if step.work else None} for step in table.way],
    }


def _print(found: AsOf, whole: bool) -> None:
    echo_line(one_line(found.headline), "")
    if found.refreshed_at is not None:
        echo_indented(f"{found.mode}, refreshed at {moment_of(found.refreshed_at)} UTC")
    elif found.mode not in (None, "import"):
        echo_indented(f"{found.mode}: it reads the tables as they are")
    for part in found.parts:
        echo_indented(one_line(part.headline))
    tables = found.tables if whole else found.tables[:_SHOWN]
    if tables:
        click.echo()
        print_table(
            ["table", "data of (UTC)", "usual", "", "through"],
            [list(_cells(one, found.name)) for one in tables],
            right=(),
        )
    if len(tables) < len(found.tables):
        click.echo(f"and {counted(len(found.tables) - len(tables), 'newer table')}; --all lists them")


def _cells(table: ShownTable, asked: str) -> Iterable[str]:
    usual = table.age.usual if table.age else None
    yield one_line(table.name)
    yield moment_of(table.loaded_at) or "unknown"
    yield f"every {duration_of(usual.total_seconds())}" if usual else ""
    yield "overdue" if table.is_overdue else ""
    built = [step for step in table.way if step.work is not None and step.name != asked]
    yield one_line(
        ", ".join(f"{_short(step.name)} {moment_of(step.work.started_at)[5:16]}" for step in built if step.work)
    )


def _short(name: str) -> str:
    return name.split(".", 2)[-1]


COMMANDS = (asof,)
