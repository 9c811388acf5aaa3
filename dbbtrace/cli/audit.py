"""``dbbtrace audit``: all runs, and what is missing from their record."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dbbtrace.cli.common import console, one_form, opened_warehouse, print_json, settings, terms_of, warehouse_option
from dbbtrace.cli.options import run_choice, since_option
from dbbtrace.cli.output import echo_text, output_file, writing
from dbbtrace.cli.text import count_of, counted, moment_of, one_line, safe

if TYPE_CHECKING:
    from dbbtrace.answers import Audit

__all__ = ["COMMANDS"]


@click.command()
@warehouse_option
@since_option()
@run_choice
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "csv", "json", "parquet"], case_sensitive=False),
    default="text",
    show_default=True,
    help="csv and parquet have one row for each run; parquet needs -o.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=output_file,
    help="Write to this file; - is stdout.",
)
def audit(
    since: datetime | None,
    until: datetime | None,
    data_product: str | None,
    environment: str | None,
    form: str,
    as_json: bool,
    output: Path | None,
) -> None:
    """Count all runs and list what is missing.

    Runs are counted by data product and environment. Gaps are: runs without a completed refresh, loads
    without an end, operations that were interrupted or never ended, failures without a reason, and runs without a
    data product.

    \b
    Examples:
      dbbtrace audit --since 90d
      dbbtrace audit --since 2026-01-01 --format csv -o audit.csv
    """
    from dbbtrace.answers import audit as ask
    from dbbtrace.answers.export import as_csv, as_dict, write_parquet

    one_form(json=as_json, format=form.lower() not in ("text", "json"))
    form = "json" if as_json else form.lower()
    if output is not None and str(output) == "-":
        output = None
    if form == "parquet" and output is None:
        raise click.BadParameter("parquet is a binary format: name a file with -o audit.parquet")
    with opened_warehouse() as warehouse:
        found = ask(
            warehouse,
            since=since,
            until=until,
            data_product=data_product,
            environment=environment,
            terms=terms_of(settings()),
        )
    if form == "parquet":
        assert output is not None
        with writing(output):
            write_parquet(found, output)
    elif form == "csv":
        _write(as_csv(found), output)
    elif form == "json":
        _write_json(as_dict(found), output)
    else:
        _write("".join(f"{line}\n" for line in _audit_lines(found)), output)
    if output is not None:
        click.echo(f"{_summary(found)}: {safe(output)}", err=True)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        echo_text(text)
    else:
        with writing(output):
            output.write_text(text, encoding="utf-8", newline="")


def _write_json(value: Any, output: Path | None) -> None:
    if output is None:
        print_json(value)
    else:
        import json

        from dbbtrace.cli.common import plain

        with writing(output):
            output.write_text(json.dumps(value, indent=2, default=plain) + "\n", encoding="utf-8")


def _summary(found: Audit) -> str:
    return f"{counted(len(found.runs), 'run')}, {counted(len(found.gaps), 'gap')}"


def _audit_lines(found: Audit) -> Iterable[str]:
    from dbbtrace.cli.table import block_lines, table_lines

    width = console().width
    names = ["product", "env", "runs", "succeeded", "failed", "with gaps", "last run (UTC)"]
    cells = [
        [
            safe(record.data_product or "(none)"),
            safe(record.environment or ""),
            count_of(record.runs),
            count_of(record.succeeded),
            count_of(record.failed),
            count_of(record.with_gaps),
            moment_of(record.last_started_at)[:16],
        ]
        for record in found.products
    ]
    right = [2 <= place <= 5 for place in range(len(names))]
    yield from table_lines(names, cells, right, width) or block_lines(names, cells, width)
    runs = {run.run_id: run for run in found.runs}
    yield ""
    yield _summary(found) + (":" if found.gaps else "")
    for gap in found.gaps:
        about = f": {one_line(gap.operation)}" if gap.operation else ""
        started = moment_of(runs[gap.run_id].started_at)[:16]
        yield f"{safe(gap.run_id)}  {started:16}  {gap.gap}{about}"


COMMANDS = (audit,)
