"""``dbbtrace demo``: a real orchestration run to look at."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dbbtrace.cli.common import chosen_warehouse, warehouse_option
from dbbtrace.cli.text import one_line, safe
from dbbtrace.errors import DbbtraceError, TransientError

if TYPE_CHECKING:
    from dbbtrace.demo import DemoRun

__all__ = ["COMMANDS"]


@click.command()
@warehouse_option
@click.option("--fail", is_flag=True, help="Make a load and a dbt test fail, to show errors and skipped nodes.")
@click.option("--fabric", is_flag=True, help="Import a run of Fabric pipelines, which a local server plays.")
@click.option(
    "--dir",
    "directory",
    metavar="DIR",
    default=".demo",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Everything the demo writes goes here.",
)
@click.option("--run-id", metavar="ID", help="Run id, a GUID; default: a new one.")
def demo(fail: bool, fabric: bool, directory: Path, run_id: str | None) -> None:
    """Run a real, small orchestration and show it.

    Loads a year of flights, builds them with dbt and refreshes a report.
    Takes about ten seconds and uses no network. Exit code 0: the run went as expected; with --fail, it failed.
    With --fabric, a local server plays a run of Fabric pipelines, in which something fails. It is imported meanwhile.

    \b
    Examples:
      dbbtrace demo
      dbbtrace demo --fail --dir /tmp/demo
    """
    from dbbtrace.demo import NO_WAREHOUSE, prepare, run_demo
    from dbbtrace.model.identity import trace_id_of

    if fabric:
        done, fail = _fabric(directory, run_id), True
    else:
        prepare(directory)
        click.echo(f"Loading, building and refreshing in {safe(directory)} ...", err=True)
        done = run_demo(directory, fail=fail, run_id=run_id, warehouse=chosen_warehouse())
    if not done.stored:
        where = "at the OTLP backend" if done.warehouse == NO_WAREHOUSE else f"in {done.warehouse}"
        raise TransientError(f"not everything has arrived {where} yet: `dbbtrace doctor` says why")
    if done.warehouse == NO_WAREHOUSE:
        click.echo(f"run   {done.run_id}\ntrace {trace_id_of(done.run_id):032x}, with the OTLP backend")
    else:
        _show(done)
    if done.succeeded == fail:
        raise DbbtraceError("the run did not go as expected; see " + str(done.log))


def _fabric(directory: Path, run_id: str | None) -> DemoRun:
    from dbbtrace.demo.fabric_run import run_fabric_demo

    click.echo("Importing a run of Fabric pipelines while it goes on ...", err=True)
    return run_fabric_demo(
        directory,
        run_id=run_id,
        warehouse=chosen_warehouse(),
        progress=lambda seen: click.echo(one_line(str(seen)), err=True),
    )


def _show(done: DemoRun) -> None:
    """The run as a tree, and commands to try next."""
    from dbbtrace.answers import operations, verdict_of
    from dbbtrace.answers.read import parts
    from dbbtrace.cli.runs import show_run
    from dbbtrace.warehouse import open_warehouse

    warehouse = open_warehouse(done.warehouse, create=False)
    try:
        found, recorded = operations(warehouse, [done.run_id]), parts(warehouse, [done.run_id])
        show_run(done.run_id, found, verdict=verdict_of(warehouse, done.run_id), parts=recorded)
    finally:
        warehouse.close()
    click.echo("\nLook further:")
    if done.own_warehouse:
        click.echo(f"  export DBBTRACE_WAREHOUSE={shlex.quote(_shortest(done.warehouse))}")
    for command in (
        "dbbtrace runs",
        f"dbbtrace show {done.run_id[:8]} --json",
        'dbbtrace query "SELECT table_name, status, rows_written, error_message\n    FROM meta.monitoring_integration"',
    ):
        click.echo(f"  {command}")


def _shortest(url: str) -> str:
    """The URL, relative if the file is below the working directory."""
    path = Path(url.removeprefix("sqlite:///"))
    try:
        return f"sqlite:///{path.relative_to(Path.cwd()).as_posix()}"
    except ValueError:
        return url


COMMANDS = (demo,)
