"""``dbbtrace runs`` and ``dbbtrace show``: list the runs, and show one in full."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from dbbtrace.cli.common import (
    console,
    opened_warehouse,
    operation_as_dict,
    print_json,
    run_meant,
    settings,
    terms_of,
    warehouse_option,
)
from dbbtrace.cli.completion import statuses
from dbbtrace.cli.options import run_argument, run_choice, since_option

if TYPE_CHECKING:
    from dbbtrace.answers import Operation, Run, Verdict

__all__ = ["COMMANDS", "show_run"]


@click.command()
@warehouse_option
@run_choice
@click.option(
    "--status", metavar="S", shell_complete=statuses, help="Only runs with this status: Succeeded, Failed, ..."
)
@since_option()
@click.option(
    "--limit", metavar="N", type=click.IntRange(min=1), default=20, show_default=True, help="Show at most this many."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def runs(
    data_product: str | None,
    environment: str | None,
    status: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the runs, newest first.

    \b
    Examples:
      dbbtrace runs --since 7d
      dbbtrace runs --data-product Finance --environment PRD --status Failed
    """
    from dbbtrace.answers import runs as ask

    with opened_warehouse() as warehouse:
        found = ask(
            warehouse,
            limit=limit,
            data_product=data_product,
            environment=environment,
            status=status,
            since=since,
            until=until,
            terms=terms_of(settings()),
        )
    if as_json:
        print_json([asdict(run) for run in found])
    elif found:
        _print_runs(found)
    elif any(each is not None for each in (data_product, environment, status, since, until)):
        click.echo("no run matches; without options `dbbtrace runs` lists the newest", err=True)
    else:
        click.echo(
            "no runs yet; `dbbtrace demo` makes one, and `dbbtrace --warehouse URL runs` looks in another warehouse",
            err=True,
        )


@click.command()
@warehouse_option
@run_argument()
@click.option("--all", "whole", is_flag=True, help="Show every operation and every message in full.")
@click.option("--failed", is_flag=True, help="Show what did not succeed, all of it, and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every field of every operation.")
def show(run: str, data_product: str | None, environment: str | None, whole: bool, failed: bool, as_json: bool) -> None:
    """Show one run as a tree.

    Shows bars on one time axis, statuses, rows, bytes, and the reasons for failed and skipped operations.

    RUN is a run id, a trace id, the first characters of either, or last, previous, yesterday or today.

    \b
    Examples:
      dbbtrace show last --failed
      dbbtrace show 4f3a --json
    """
    with opened_warehouse() as warehouse:
        from dbbtrace.answers import operations, verdict_of
        from dbbtrace.answers.read import parts
        from dbbtrace.answers.rows import attempts_of

        run_id = run_meant(warehouse, run, data_product, environment)
        found = operations(warehouse, [run_id])
        said = verdict_of(warehouse, run_id, terms=terms_of(settings()))
        recorded = parts(warehouse, [run_id])
        attempts = attempts_of(recorded)
    if failed and as_json:
        found = [each for each in found if each.status != "Succeeded"]
    if as_json:
        print_json(
            {
                "orchestration_run_id": run_id,
                "verdict": said.word,
                "reasons": [asdict(reason) for reason in said.reasons],
                "parts": [asdict(part) for part in recorded],
                "operations": [
                    {
                        **operation_as_dict(each),
                        "attempts": [asdict(one) for one in attempts.get(each.span_id or "", ())],
                    }
                    for each in found
                ],
            }
        )
    else:
        show_run(run_id, found, verdict=said, whole=whole, failed=failed, parts=recorded)


def show_run(run_id: str, operations: Sequence[Operation], *, verdict: Verdict | None = None, **options: Any) -> None:
    """Print the run's tree, as wide as the terminal is; the options are those of ``run_tree``."""
    from dbbtrace.cli.tree import run_tree

    out = console()
    plain = out.options.ascii_only
    for line in run_tree(run_id, operations, verdict=verdict, width=out.width, ascii_only=plain, **options):
        out.print(line, no_wrap=True, overflow="ignore", crop=False)


def _print_runs(found: Sequence[Run]) -> None:
    from dbbtrace.cli.glyphs import glyphs
    from dbbtrace.cli.text import count_of, duration_of, moment_of, safe

    out = console()
    signs = glyphs(ascii_only=out.options.ascii_only).signs
    rows = [
        [
            safe(run.run_id),
            moment_of(run.started_at)[:16],
            f"{signs.get(run.status, ' ')} {safe(run.status)}",
            duration_of(run.seconds),
            f"{count_of(run.failed)} of {count_of(run.operations)}",
            safe(run.data_product or ""),
            safe(run.environment or ""),
        ]
        for run in found
    ]
    for line in _laid_out(rows, _telling_apart(found), out.width):
        click.echo(line)


_NAMES = ("run", "started (UTC)", "status", "time", "failed", "product", "env")
_PRODUCT = _NAMES.index("product")
_LAYOUTS = (_NAMES, _NAMES[:_PRODUCT] + _NAMES[_PRODUCT + 1 :], _NAMES[:_PRODUCT])
"""The columns, in the order in which they are dropped if there is no room."""
_LEAST = 12
"""Width to which the name of a product is cut."""


def _laid_out(rows: Sequence[list[str]], telling: int, width: int) -> Iterable[str]:
    """A table that fits, with whole ids if there is room; otherwise each run as a block of lines."""
    from rich.cells import cell_len

    from dbbtrace.cli.table import block_lines, table_lines
    from dbbtrace.cli.text import middle_cut

    short = [[row[0][:telling], *row[1:]] for row in rows]
    for names, cells in ((_NAMES, rows), *((layout, short) for layout in _LAYOUTS)):
        columns = [[row[_NAMES.index(name)] for row in cells] for name in names]
        wanted = [max(map(cell_len, (name, *column))) for name, column in zip(names, columns, strict=True)]
        room = width - sum(wanted) - 2 * (len(names) - 1)
        if "product" in names and room < 0:
            room += wanted[_PRODUCT]
            columns[_PRODUCT] = [middle_cut(cell, max(room, 0)) for cell in columns[_PRODUCT]]
            room -= _LEAST
        if room >= 0:
            right = [name in ("time", "failed") for name in names]
            return table_lines(names, list(zip(*columns, strict=True)), right, width) or []
    return block_lines(_NAMES, rows, width)


def _telling_apart(found: Sequence[Run]) -> int:
    """How many characters make the run ids distinct. `dbbtrace show` accepts ids of that length."""
    ids = {run.run_id for run in found}
    return next(length for length in range(8, max(map(len, ids)) + 9) if len({id_[:length] for id_ in ids}) == len(ids))


COMMANDS = (runs, show)
