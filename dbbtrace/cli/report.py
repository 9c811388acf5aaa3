"""``dbbtrace report``: one run or many as a self-contained page."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from dbbtrace.cli.common import opened_warehouse, run_meant, settings, terms_of, warehouse_option
from dbbtrace.cli.options import run_choice, since_option
from dbbtrace.cli.output import output_file, writing
from dbbtrace.cli.text import bytes_of, safe

__all__ = ["COMMANDS"]


@click.command()
@warehouse_option
@click.argument("run", required=False)
@since_option()
@run_choice
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=output_file,
    help="File to write; default run.html or overview.html; - is stdout.",
)
@click.option("--jaeger", metavar="URL", help="Jaeger's address, for links; overrides DBBTRACE_JAEGER_URL.")
@click.option("--open", "open_", is_flag=True, help="Open the page in the browser.")
def report(
    run: str | None,
    since: datetime | None,
    until: datetime | None,
    data_product: str | None,
    environment: str | None,
    output: Path | None,
    jaeger: str | None,
    open_: bool,
) -> None:
    """Make an HTML page of one RUN or of many runs.

    The page is one file that loads nothing from elsewhere. RUN is a run id, its first characters, or last, previous,
    yesterday or today. Without RUN the page is an overview of all runs, or of the runs since a time.
    """
    from dbbtrace.operate.lineage import naming_of
    from dbbtrace.pages import overview_page, run_page

    if run and (since or until):
        raise click.UsageError("--since and --until select several runs: leave out RUN")
    known = settings()
    base, terms = jaeger or known.jaeger_url, terms_of(known)
    with opened_warehouse() as warehouse:
        if run:
            run_id = run_meant(warehouse, run, data_product, environment)
            html = run_page(warehouse, run_id, jaeger_url=base, naming=naming_of(known), terms=terms)
        else:
            html = overview_page(
                warehouse,
                since=since,
                until=until,
                data_product=data_product,
                environment=environment,
                jaeger_url=base,
                terms=terms,
            )
    path = output or Path("run.html" if run else "overview.html")
    if str(path) == "-":
        click.echo(html, nl=False)
        return
    with writing(path):
        path.write_text(html, encoding="utf-8", newline="\n")
    click.echo(f"{safe(path)}: {bytes_of(len(html.encode()))}", err=True)
    if open_:
        click.launch(path.absolute().as_uri())


COMMANDS = (report,)
