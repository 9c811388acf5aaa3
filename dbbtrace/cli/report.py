"""``dbbtrace report``: one run or many as a self-contained page, or a folder of linked pages."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from dbbtrace.cli.common import opened_warehouse, run_meant, settings, terms_of, warehouse_option
from dbbtrace.cli.completion import run_ids
from dbbtrace.cli.options import run_choice, since_option
from dbbtrace.cli.output import writing
from dbbtrace.cli.text import bytes_of, counted, safe
from dbbtrace.warehouse import Warehouse

__all__ = ["COMMANDS"]


@click.command()
@warehouse_option
@click.argument("run", required=False, shell_complete=run_ids)
@since_option()
@run_choice
@click.option(
    "-o",
    "--output",
    metavar="FILE|FOLDER",
    help="File to write; default run.html or overview.html; - is stdout. A folder, such as site/, gets linked pages "
    "of all runs and operations.",
)
@click.option(
    "--follow",
    metavar="SECONDS",
    type=click.FloatRange(min=1),
    help="Make the folder again every so many seconds. Open pages then show what is new. Ctrl-C ends it.",
)
@click.option(
    "--manifest",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="dbt's manifest.json: operations can then be grouped by tag.",
)
@click.option("--jaeger", metavar="URL", help="Jaeger's address, for links; overrides DBBTRACE_JAEGER_URL.")
@click.option("--open", "open_", is_flag=True, help="Open the page in the browser.")
def report(
    run: str | None,
    since: datetime | None,
    until: datetime | None,
    data_product: str | None,
    environment: str | None,
    output: str | None,
    follow: float | None,
    manifest: Path | None,
    jaeger: str | None,
    open_: bool,
) -> None:
    """Make an HTML page of one RUN or of many runs, or a folder of linked pages.

    A page is one file that loads nothing from elsewhere. RUN is a run id, its first characters, or last, previous,
    yesterday or today. Without RUN the page is an overview of all runs, or of the runs since a time.

    With -o FOLDER: an overview that leads to a page for each product, run and operation. It can be opened from the
    disk, put on any web server, or sent as an archive.

    \b
    Examples:
      dbbtrace report last --open
      dbbtrace report --since 30d -o site/ --open
    """
    if run and (since or until):
        raise click.UsageError("--since and --until select several runs: leave out RUN")
    from dbbtrace.operate.lineage import naming_of

    known = settings()
    base = jaeger or known.jaeger_url
    chosen: dict[str, Any] = {"since": since, "until": until, "data_product": data_product, "environment": environment}
    about: dict[str, Any] = {"jaeger_url": base, "naming": naming_of(known), "terms": terms_of(known)}
    about["tags"] = _tags(manifest) if manifest else {}
    path = Path(output or ("run.html" if run else "overview.html"))
    if output != "-" and not path.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no directory {safe(path.absolute().parent)}", param_hint="-o")
    if output is not None and output != "-" and _is_folder(output):
        if run:
            raise click.UsageError(f"{output} is a folder, for all runs: leave out RUN, or name a file with .html")
        _site(Path(output), chosen, follow, open_, **about)
        return
    if follow is not None:
        raise click.UsageError("--follow needs a folder: -o site/")
    from dbbtrace.pages import overview_page, run_page

    with opened_warehouse() as warehouse:
        if run:
            run_id = run_meant(warehouse, run, data_product, environment)
            html = run_page(warehouse, run_id, **about)
        else:
            html = overview_page(warehouse, jaeger_url=base, terms=about["terms"], **chosen)
    if output == "-":
        click.echo(html, nl=False)
        return
    with writing(path):
        path.write_text(html, encoding="utf-8", newline="\n")
    click.echo(f"{safe(path)}: {bytes_of(len(html.encode()))}", err=True)
    if open_:
        click.launch(path.absolute().as_uri())


def _tags(manifest: Path) -> dict[str, list[str]]:
    from dbbtrace.sources.dbt.manifest import load_manifest

    return {unique_id: node.tags for unique_id, node in load_manifest(manifest).by_id().items() if node.tags}


def _is_folder(output: str) -> bool:
    """A name that ends in a slash, or has no suffix; or a folder that is there."""
    path = Path(output)
    return output.endswith(("/", "\\")) or path.is_dir() or (path.suffix == "" and not path.exists())


def _site(folder: Path, chosen: dict[str, Any], follow: float | None, open_: bool, **about: Any) -> None:
    from dbbtrace.pages.site import Site

    site = Site(folder, follow=follow, **about)
    first = True
    with opened_warehouse() as warehouse:
        while True:
            written = _made(site, warehouse, folder, chosen)
            if first:
                click.echo(f"{safe(folder / 'index.html')}: {counted(written, 'page')}", err=True)
                if open_:
                    click.launch((folder / "index.html").absolute().as_uri())
            elif written:
                click.echo(f"{datetime.now():%H:%M:%S} {counted(written, 'page')} changed", err=True)
            if follow is None:
                return
            first = False
            try:
                time.sleep(follow)
            except KeyboardInterrupt:
                return


def _made(site: Any, warehouse: Warehouse, folder: Path, chosen: dict[str, Any]) -> int:
    """Make the folder, with a progress bar where somebody watches."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with writing(folder), Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("runs", total=None)
        told: Callable[[int, int], None] = lambda done, total: bar.update(task, completed=done, total=total)  # noqa: E731
        return int(site.make(warehouse, **chosen, told=told))


COMMANDS = (report,)
