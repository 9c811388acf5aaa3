"""``dbbtrace diff``: two runs, side by side."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from dbbtrace.cli.common import (
    opened_warehouse,
    operation_as_dict,
    print_json,
    run_meant,
    settings,
    terms_of,
    warehouse_option,
)
from dbbtrace.cli.completion import run_ids
from dbbtrace.cli.table import print_table
from dbbtrace.cli.text import counted, duration_of, moment_of, one_line, safe

if TYPE_CHECKING:
    from dbbtrace.answers import Change, Diff, Operation, Run

__all__ = ["COMMANDS"]


@click.command()
@warehouse_option
@click.argument("before", shell_complete=run_ids)
@click.argument("after", shell_complete=run_ids)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def diff(before: str, after: str, as_json: bool) -> None:
    """Show what differs between two runs.

    Lists operations whose outcome, duration or row counts changed, and operations that are new or gone. BEFORE and
    AFTER are run ids, their first characters, or last, previous, yesterday or today.

    \b
    Examples:
      dbbtrace diff previous last
      dbbtrace diff yesterday today --json
    """
    from dbbtrace.answers import diff as ask

    with opened_warehouse() as warehouse:
        found = ask(warehouse, run_meant(warehouse, before), run_meant(warehouse, after), terms=terms_of(settings()))
    if as_json:
        print_json(_diff_as_dict(found))
    else:
        _print_diff(found)


def _diff_as_dict(found: Diff) -> dict[str, Any]:
    def side(operation: Operation | None) -> dict[str, Any] | None:
        return None if operation is None else operation_as_dict(operation)

    changes = [
        {**asdict(change), "changes": list(change.changes), "before": side(change.before), "after": side(change.after)}
        for change in found.changes
    ]
    return {"before": asdict(found.before), "after": asdict(found.after), "changes": changes, "same": found.same}


def _print_diff(found: Diff) -> None:
    for word, run in (("before", found.before), ("after", found.after)):
        click.echo(f"{word:6}  {_run_line(run)}")
    click.echo()
    cells = [[", ".join(change.changes), one_line(change.name), *_sides(change)] for change in found.changes]
    if cells:
        print_table(["what", "operation", "before", "after"], cells, right=())
    click.echo(f"{len(found.changes)} changed, {found.same} the same")


def _run_line(run: Run) -> str:
    whose = ", ".join(safe(fact) for fact in (run.data_product, run.environment) if fact)
    return f"{safe(run.run_id)}  {moment_of(run.started_at)}  {safe(run.status)}  {duration_of(run.seconds)}  {whose}"


def _sides(change: Change) -> tuple[str, str]:
    """The values of the two runs that differ."""

    def said(operation: Operation | None) -> str:
        if operation is None:
            return "-"
        facts = []
        if {"status", "new", "gone"} & set(change.changes):
            facts.append(safe(operation.status))
        if {"slower", "faster", "new", "gone"} & set(change.changes):
            facts.append(duration_of(operation.seconds))
        if "rows" in change.changes:
            facts.append("unknown rows" if operation.rows_written is None else counted(operation.rows_written, "row"))
        return " ".join(filter(None, facts))

    return said(change.before), said(change.after)


COMMANDS = (diff,)
