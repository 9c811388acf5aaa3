"""``dbbtrace runs`` and ``dbbtrace show``: which runs there are, and one of them in full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from dbbtrace.cli.common import console, opened_warehouse, print_json, warehouse_option

if TYPE_CHECKING:
    from dbbtrace.warehouse.questions import Operation, RunSummary

__all__ = ["COMMANDS", "show_run"]


@click.command()
@warehouse_option
@click.option("--data-product", metavar="P", help="Only runs of this data product.")
@click.option("--environment", metavar="E", help="Only runs in this environment: TST, ACC, QUAL or PRD.")
@click.option("--status", metavar="S", help="Only runs with this status: Succeeded, Failed, ...")
@click.option("--since", metavar="TIME", help="Only runs that started then or later: 2026-11-24, 36h, 7d.")
@click.option(
    "--limit", metavar="N", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def runs(
    data_product: str | None, environment: str | None, status: str | None, since: str | None, limit: int, as_json: bool
) -> None:
    """List the runs, newest first."""
    from dbbtrace.warehouse.questions import runs as ask

    with opened_warehouse() as warehouse:
        found = ask(
            warehouse,
            limit=limit,
            data_product=data_product,
            environment=environment,
            status=status,
            since=_since(since),
        )
    if as_json:
        print_json([asdict(run) for run in found])
    elif found:
        _print_runs(found)
    else:
        click.echo("no runs; `dbbtrace demo` makes one, `dbbtrace --warehouse URL runs` looks elsewhere", err=True)


@click.command()
@warehouse_option
@click.argument("run")
@click.option("--all", "whole", is_flag=True, help="Every operation and every message in full.")
@click.option("--json", "as_json", is_flag=True, help="As JSON: every operation with all that is known of it.")
def show(run: str, whole: bool, as_json: bool) -> None:
    """Show one run as a tree.

    With bars on a common time axis, statuses, rows, bytes, and why what failed or was skipped.

    RUN is a run id, a trace id, the start of either that fits only one, or the word last.
    """
    with opened_warehouse() as warehouse:
        from dbbtrace.warehouse.questions import find_run, operations

        run_id = find_run(warehouse, run)
        found = operations(warehouse, run_id)
    if as_json:
        print_json({"orchestration_run_id": run_id, "operations": [_as_dict(operation) for operation in found]})
    else:
        show_run(run_id, found, whole=whole)


def show_run(run_id: str, operations: Sequence[Any], *, whole: bool = False) -> None:
    """Print the run's tree, as wide as the terminal is."""
    from dbbtrace.cli.tree import run_tree

    out = console()
    for line in run_tree(run_id, operations, width=out.width, ascii_only=out.options.ascii_only, whole=whole):
        out.print(line, no_wrap=True, overflow="ignore", crop=False)


def _print_runs(found: Sequence[RunSummary]) -> None: ...


def _since(text: str | None) -> datetime | None: ...


def _as_dict(operation: Operation) -> dict[str, Any]:
    return asdict(operation)


COMMANDS = (runs, show)
