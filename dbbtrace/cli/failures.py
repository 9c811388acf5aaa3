"""``dbbtrace failures``: what failed, why, and what was not built because of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from dbbtrace.cli.common import console, opened_warehouse, operation_as_dict, print_json, run_meant, warehouse_option
from dbbtrace.cli.completion import run_ids
from dbbtrace.cli.options import run_choice, since_option
from dbbtrace.cli.text import duration_of, moment_of, one_line, safe

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from dbbtrace.answers import Failure

__all__ = ["COMMANDS"]

MESSAGE_LINES = 4


@click.command()
@warehouse_option
@click.argument("run", required=False, shell_complete=run_ids)
@since_option("7d")
@run_choice
@click.option(
    "--limit", metavar="N", type=click.IntRange(min=1), default=20, show_default=True, help="Show at most this many."
)
@click.option("--all", "whole", is_flag=True, help="Show every failure and every message in full.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def failures(
    run: str | None,
    since: datetime | None,
    until: datetime | None,
    data_product: str | None,
    environment: str | None,
    limit: int,
    whole: bool,
    as_json: bool,
) -> None:
    """Show what failed, why, and what was not built because of it.

    RUN is a run id, its first characters, or last, previous, yesterday or today. Without RUN, the failures of all
    runs since a time are shown, newest first.

    \b
    Examples:
      dbbtrace failures last
      dbbtrace failures --since 7d --data-product Finance
    """
    from dbbtrace.answers import failures as ask

    with opened_warehouse() as warehouse:
        run_id = run_meant(warehouse, run, data_product, environment) if run else None
        found = ask(
            warehouse,
            run=run_id,
            since=since,
            until=until,
            data_product=data_product,
            environment=environment,
            limit=None if whole else limit + 1,
        )
    shown, more = (found, False) if whole else (found[:limit], len(found) > limit)
    if as_json:
        print_json([_failure_as_dict(failure) for failure in shown])
    elif not found:
        where = f"in run {safe(run_id)}" if run_id else f"since {moment_of(since)} UTC; --since 30d looks further back"
        click.echo(f"no failures {where}", err=True)
    else:
        _print_failures(shown, whole)
        if more:
            click.echo(f"only the newest {limit} are shown; --limit N shows more, --all shows all")


def _failure_as_dict(failure: Failure) -> dict[str, Any]:
    held_up = [
        {"operation_id": node.operation_id, "label": node.label, "status": node.status} for node in failure.held_up
    ]
    return {**operation_as_dict(failure.operation), "held_up": held_up}


def _print_failures(found: Iterable[Failure], whole: bool) -> None:
    from rich.text import Text

    from dbbtrace.cli.glyphs import glyphs

    out, run_id = console(), None
    sign = glyphs(ascii_only=out.options.ascii_only).signs["Failed"]
    for failure in found:
        operation = failure.operation
        if operation.run_id != run_id:
            if run_id is not None:
                _print(out, Text())
            run_id = operation.run_id
            whose = ", ".join(safe(fact) for fact in (operation.data_product, operation.environment) if fact)
            _print(out, Text("run ").append(safe(run_id), "bold").append(f"  {whose}" if whose else ""))
        for line in _failure_lines(failure, sign, out.width, whole):
            _print(out, line)


def _failure_lines(failure: Failure, sign: str, width: int, whole: bool) -> Iterable[Text]:
    from rich.text import Text

    from dbbtrace.cli.text import wrapped

    operation = failure.operation
    when = f"  {moment_of(operation.started_at)}" if operation.started_at else ""
    took = f"  {duration_of(operation.seconds)}" if operation.seconds is not None else ""
    yield Text(f"{sign} ").append(one_line(operation.label), "bold red").append(f"{when}{took}", "dim")
    message = operation.error_message or "no reason is recorded"
    kind = (operation.error_type or "").rpartition(".")[2]
    if operation.kind != "dbt_node" and kind and not message.startswith(kind):
        message = f"{kind}: {message}"
    for line in wrapped(message, width - 4, None if whole else MESSAGE_LINES):
        yield Text(f"    {line}")
    if failure.held_up:
        names = ", ".join(one_line(node.label) for node in failure.held_up)
        for number, line in enumerate(
            wrapped(f"held up {len(failure.held_up)}: {names}", width - 4, None if whole else 2)
        ):
            yield Text(f"    {'' if number == 0 else '  '}{line}", "yellow")


def _print(out: Console, text: Text) -> None:
    if not out.is_terminal:  # no colour needed, and rich would take ten times as long
        click.echo(text.plain)
        return
    out.print(text, no_wrap=True, overflow="ignore", crop=False)


COMMANDS = (failures,)
