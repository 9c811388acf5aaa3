"""``dbbtrace slowest``: what took long, compared with its own history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import click

from dbbtrace.cli.common import opened_warehouse, print_json, run_meant, warehouse_option
from dbbtrace.cli.completion import run_ids
from dbbtrace.cli.options import run_choice, since_option
from dbbtrace.cli.table import print_table
from dbbtrace.cli.text import duration_of, one_line, safe

if TYPE_CHECKING:
    from dbbtrace.answers import Timing

__all__ = ["COMMANDS"]


@click.command()
@warehouse_option
@click.argument("run", required=False, shell_complete=run_ids)
@since_option("30d")
@run_choice
@click.option("--history", metavar="N", type=click.IntRange(min=1), default=20, show_default=True, help="Earlier runs.")
@click.option("--by-change", is_flag=True, help="Sort by the largest increase over the median.")
@click.option(
    "--limit", metavar="N", type=click.IntRange(min=1), default=20, show_default=True, help="Show at most this many."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def slowest(
    run: str | None,
    since: datetime | None,
    until: datetime | None,
    data_product: str | None,
    environment: str | None,
    history: int,
    by_change: bool,
    limit: int,
    as_json: bool,
) -> None:
    """Show what takes longest, compared with its own history.

    RUN is a run id, its first characters, or last, previous, yesterday or today. Without RUN, the newest success of
    every operation since a time is shown. Median and p95 are those of the same operation in earlier runs, however
    long ago, of the same product and environment. The change is the difference from the median.

    \b
    Examples:
      dbbtrace slowest last --limit 5
      dbbtrace slowest --since 7d --by-change
    """
    from dbbtrace.answers import slowest as ask

    with opened_warehouse() as warehouse:
        found = ask(
            warehouse,
            run=run_meant(warehouse, run, data_product, environment) if run else None,
            since=since,
            until=until,
            data_product=data_product,
            environment=environment,
            history=history,
            by_change=by_change,
            limit=limit,
        )
    if as_json:
        print_json([{**asdict(timing), "earlier": list(timing.earlier)} for timing in found])
    elif found:
        _print_timings(found)
    else:
        click.echo("no operation has a duration; --since 90d looks further back", err=True)


def _print_timings(found: Sequence[Timing]) -> None:
    names = ["operation", "time", "median", "p95", "change", "of", "product", "env"]
    whose = {(timing.data_product, timing.environment) for timing in found}
    cells = [
        [
            one_line(timing.name),
            duration_of(timing.seconds),
            duration_of(timing.median),
            duration_of(timing.p95),
            "" if timing.change is None else _change(timing.change),
            str(len(timing.earlier)),
            safe(timing.data_product or ""),
            safe(timing.environment or ""),
        ]
        for timing in found
    ]
    columns = len(names) if len(whose) > 1 else len(names) - 2
    print_table(names[:columns], [row[:columns] for row in cells], right=range(1, 6))


def _change(change: float) -> str:
    return f"x{change + 1:.1f}" if change >= 9.995 else f"{round(change, 2) + 0.0:+.0%}"  # + 0.0: there is no -0%


COMMANDS = (slowest,)
