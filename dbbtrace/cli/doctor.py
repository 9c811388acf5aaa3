"""``dbbtrace doctor``: check settings, warehouse, backend and journal, and print what to do."""

from __future__ import annotations

from dataclasses import asdict

import click

from dbbtrace.cli.common import chosen_warehouse, console, print_json, warehouse_option
from dbbtrace.cli.delivery import UNREADABLE
from dbbtrace.cli.text import counted

__all__ = ["COMMANDS"]


@click.command()
@warehouse_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Check settings, warehouse, backend and journal.

    Changes nothing and shows no secret. Exit code 1 if a person has to act, 3 if a part of the journal could not be
    read. The output says what to do.

    \b
    Examples:
      dbbtrace doctor
      dbbtrace doctor --warehouse mssql://server/database --json
    """
    from dbbtrace.operate.doctor import FAULT, examine
    from dbbtrace.settings import read

    findings = []
    for finding in examine(*read(warehouse=chosen_warehouse())):
        findings.append(finding)
        if not as_json:
            _print(finding.area, finding.state, finding.text, finding.remedy)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    faults = sum(finding.state == FAULT for finding in findings)
    if not as_json:
        click.echo(counted(faults, "fault") if faults else "all is well")
    context.exit(UNREADABLE if any(finding.unreadable for finding in findings) else 1 if faults else 0)


_STYLES = {"ok": "green", "note": "yellow", "FAULT": "bold red"}


def _print(area: str, state: str, text: str, remedy: str) -> None:
    """One finding: area and state, then what was found, then what to do."""
    from rich.text import Text

    from dbbtrace.cli.text import one_line, wrapped

    out = console()
    lead = f"{area:13}{state:6}"
    lines = wrapped(one_line(text), out.width - len(lead), None)
    if remedy:
        lines += wrapped(f"-> {one_line(remedy)}", out.width - len(lead), None)
    for number, line in enumerate(lines):
        shown = Text().append(f"{area:13}" if not number else " " * 13)
        shown.append(f"{state:6}" if not number else " " * 6, _STYLES[state])
        out.print(shown.append(line), no_wrap=True, overflow="ignore", crop=False)


COMMANDS = (doctor,)
