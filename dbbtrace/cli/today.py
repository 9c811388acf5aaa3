"""``dbbtrace today``: every data product in one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from dbbtrace.cli.common import console, opened_warehouse, print_json, settings, terms_of, warehouse_option
from dbbtrace.cli.options import run_choice
from dbbtrace.model.times import in_zone

if TYPE_CHECKING:
    from dbbtrace.answers.today import Today

__all__ = ["COMMANDS"]


@click.command()
@warehouse_option
@run_choice
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def today(data_product: str | None, environment: str | None, as_json: bool) -> None:
    """Show every data product in one line: its verdict, since when, and the reason.

    The verdict is that of the newest run of the last 35 days. Since: the start of the first of the newest runs that
    all have this verdict. The worst come first. `dbbtrace check last --data-product P` gives all reasons.

    \b
    Examples:
      dbbtrace today
      dbbtrace today --environment PRD
    """
    from dbbtrace.answers.today import today as ask

    known = settings()
    with opened_warehouse() as warehouse:
        found = ask(warehouse, data_product=data_product, environment=environment, terms=terms_of(known))
    if as_json:
        print_json([asdict(line) for line in found])
    elif found:
        _print(found, known.timezone)
    else:
        click.echo("no data product ran in the last 35 days; `dbbtrace runs` lists older runs", err=True)


def _print(found: Sequence[Today], zone: str) -> None:
    from rich.text import Text

    from dbbtrace.answers.earlier import local_zone
    from dbbtrace.cli.glyphs import STYLES, glyphs
    from dbbtrace.cli.text import end_cut, middle_cut, one_line, safe

    out = console()
    signs = glyphs(ascii_only=out.options.ascii_only).signs
    local = local_zone(zone)
    names = [middle_cut(safe(" ".join(filter(None, (line.data_product, line.environment)))), 30) for line in found]
    width = max(map(len, names))
    for line, name in zip(found, names, strict=True):
        since = in_zone(line.since, local).strftime("%a %d %b %H:%M %Z") if line.since else "?"
        head = f"{signs.get(line.verdict, ' ')} {line.verdict:10}  "
        rest = f"{name:{width}}  since {since}"
        reason = one_line(line.reason.text) if line.reason else ""
        room = out.width - len(head) - len(rest) - 2
        text = Text(head, STYLES.get(line.verdict, "")).append(rest)
        if reason and room >= 20:
            text.append("  " + end_cut(reason, room))
        out.print(text, no_wrap=True, overflow="ignore", crop=False)
        if reason and room < 20:
            out.print("    " + end_cut(reason, out.width - 4), no_wrap=True, overflow="ignore", crop=False)


COMMANDS = (today,)
