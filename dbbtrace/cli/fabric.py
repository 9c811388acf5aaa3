"""``dbbtrace record-copy``, ``import-run``, ``follow`` and ``import-jobs``: what Fabric's pipelines did."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dbbtrace.cli.common import settings, warehouse_option
from dbbtrace.cli.completion import run_ids
from dbbtrace.cli.shell import repairs_option
from dbbtrace.cli.text import one_line
from dbbtrace.errors import DbbtraceError, RunFailedError, TransientError

if TYPE_CHECKING:
    from dbbtrace.settings import Settings
    from dbbtrace.sources.fabric.runs import ImportedRun

__all__ = ["COMMANDS", "deliver"]

_PATIENCE = 120
"""Seconds that a command waits for its rows. A sleeping warehouse takes a minute to answer."""


@click.command("record-copy")
@warehouse_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option(
    "--run",
    "run_id",
    metavar="ID",
    shell_complete=run_ids,
    required=True,
    help="The orchestration run that the load belongs to.",
)
@click.option("--table", metavar="T", required=True, help="The table that was loaded.")
@click.option("--schema", metavar="S", help="Its schema.")
@click.option("--source", metavar="X", help="The source system, e.g. MDS.")
@click.option("--source-type", metavar="K", help="SQL, API or FILE.")
@click.option("--load-type", metavar="L", help="FULL or INCREMENTAL.")
@click.option("--started-at", metavar="TIME", help="Start of the load, for an output that has none.")
@click.option("--data-product", metavar="P", help="Data product of the run.")
@click.option("--environment", metavar="E", help="TST, ACC, QUAL or PRD.")
@click.option("--pipeline-id", metavar="I", help="Pipeline that the integration pipeline invoked.")
@click.option("--pipeline-run-id", metavar="R", help="Run id of that pipeline.")
@click.option("--workspace-id", metavar="W", help="Fabric workspace.")
def record_copy(file: str, run_id: str, table: str, **options: str | None) -> None:
    """Write the row of a Copy activity.

    FILE holds the activity's output or the whole activity as JSON; - reads standard input. A list holds the attempts of
    one Copy. A Copy that failed gives a row with status Failed. You can record the same file twice: the row is written
    once.

    \b
    Examples:
      dbbtrace record-copy copy.json --run "$RUN_ID" --table Customer --schema mdm --source MDS
      dbbtrace record-copy - --run "$RUN_ID" --table Customer --load-type FULL
    """
    import dbbtrace
    from dbbtrace.sources.fabric.copies import attempts_of
    from dbbtrace.sources.fabric.record import period_of

    for name, value in (("--run", run_id), ("--table", table)):
        if not value.strip():
            raise click.BadParameter("it is empty", param_hint=f"'{name}'")
    configured = settings()
    dbbtrace.configure(warehouse=configured.warehouse)
    content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    outcome = attempts_of(content)[-1]
    period_of(outcome, options["started_at"])
    if not dbbtrace.record_copy(content, table, run_id=run_id, **options):
        raise DbbtraceError("nothing was recorded; the log line says why")
    click.echo(f"{options['schema'] + '.' if options['schema'] else ''}{table}: {outcome.status}")
    deliver(configured)


_rules = click.option(
    "--rules",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="File of rules; else DBBTRACE_FABRIC_RULES.",
)
_environment = click.option("--environment", metavar="E", help="TST, ACC, QUAL or PRD.")


@click.command("import-run")
@warehouse_option
@click.option("--workspace", "workspace_id", metavar="W", help="Workspace of the pipeline; else DBBTRACE_WORKSPACE_ID.")
@click.option("--run", "run_id", metavar="R", help="Run id of the pipeline; with --file, the only run in it.")
@click.option("--pipeline", "pipeline_id", metavar="I", help="Id of the pipeline; default: Fabric is asked.")
@click.option(
    "--file",
    metavar="PATH",
    type=click.Path(exists=True),
    help="Saved responses, a file or a folder, instead of the API.",
)
@click.option("--orchestration-run", "orchestration_run_id", metavar="ID", help="The run that R is only a part of.")
@click.option(
    "--child", "children", metavar="NAME=RUN", multiple=True, help="Run of an invoked pipeline: [WORKSPACE/]RUN."
)
@_rules
@click.option("--data-product", metavar="P", help="Data product; default: from the name of the orchestration pipeline.")
@_environment
@repairs_option
@click.option("--follow", is_flag=True, help="Go on until the run has ended.")
@click.option(
    "--poll",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=15.0,
    show_default=True,
    help="With --follow: how often to look.",
)
@click.option("--raise-on-failure", is_flag=True, help="Exit code 1 if the run failed.")
def import_run(children: tuple[str, ...], follow: bool, poll: float, raise_on_failure: bool, **options: Any) -> None:
    """Import a pipeline run and everything below it.

    Reads the activity runs, down through invoked pipelines, and writes the rows of its table loads and refreshes.
    You can import a run again, or while it still runs: each row is written once. Exit code 1 if something could not be
    read.

    \b
    Examples:
      dbbtrace import-run --workspace "$WORKSPACE" --run "$PIPELINE_RUN"
      dbbtrace import-run --workspace "$WORKSPACE" --run "$PIPELINE_RUN" --follow --raise-on-failure
    """
    import dbbtrace
    from dbbtrace.sources.fabric.runs import Importer

    configured = settings()
    dbbtrace.configure(warehouse=configured.warehouse)
    importer = Importer(children=_pairs(children), **options)
    if follow:
        done = importer.follow(poll, progress=lambda done: click.echo(one_line(str(done)), err=True))
    else:
        done = importer.once()
    click.echo(one_line(str(done)))
    for reason in done.reasons:
        click.echo(one_line(f"not read: {reason}"), err=True)
    deliver(configured, ended=done.run_id if done.is_over else None)
    if raise_on_failure and done.is_over and done.status != "Succeeded":
        raise RunFailedError(f"the run {done.status.lower()}: {done.reason}")
    if done.reasons:
        raise DbbtraceError("not everything could be read; the lines above say what")


@click.command()
@warehouse_option
@click.option("--workspace", "workspace_id", metavar="W", help="The workspace; else DBBTRACE_WORKSPACE_ID.")
@_rules
@_environment
@click.option(
    "--hours",
    metavar="N",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    help="Only runs that started within this many hours.",
)
@click.option(
    "--poll",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="How often to look.",
)
@click.option("--once", is_flag=True, help="Look once, and end.")
def follow(once: bool, poll: float, **options: Any) -> None:
    """Import the orchestration runs of a workspace as they come.

    For pipelines without a notebook of dbbtrace. Looks for runs of the orchestration pipelines until it is interrupted.

    \b
    Examples:
      dbbtrace follow --workspace "$WORKSPACE" --poll 60
      dbbtrace follow --workspace "$WORKSPACE" --hours 48 --once
    """
    import dbbtrace
    from dbbtrace.sources.fabric.following import Follower

    configured = settings()
    dbbtrace.configure(warehouse=configured.warehouse)
    follower = Follower(**options)
    said: dict[str, str] = {}

    def tell(done: ImportedRun) -> None:
        if said.get(done.run_id) != str(done):
            said[done.run_id] = str(done)
            click.echo(one_line(str(done)))
            for reason in done.reasons:
                click.echo(one_line(f"not read: {reason}"), err=True)

    try:
        if once:
            for done in follower.once():
                tell(done)
        else:
            follower.run(tell, poll=poll)
    finally:
        deliver(configured)


@click.command("import-jobs")
@warehouse_option
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--table", metavar="NAME", help="A table of job events, e.g. dbo.dbb_orchestration_run_data.")
@click.option("--from", "url", metavar="URL", help="Where that table is; else the warehouse.")
@click.option("--workspace", "workspace_id", metavar="W", help="Ask Fabric's API for the jobs of this workspace.")
@_rules
@_environment
def import_jobs(
    file: str | None,
    table: str | None,
    url: str | None,
    workspace_id: str | None,
    rules: str | None,
    environment: str | None,
) -> None:
    """Import job events: how runs were started, when, and that they were cancelled.

    FILE holds job events as JSON lines or as a JSON list; - reads standard input. Instead of a file, name a --table or
    a --workspace. Runs of orchestration pipelines are recorded, also those that never started. Jobs of other pipelines
    are recorded if rows in the warehouse say which run they are part of. Exit code 1 if an event could not be read.

    \b
    Examples:
      dbbtrace import-jobs events.jsonl
      dbbtrace import-jobs --workspace "$WORKSPACE" --environment PRD
    """
    import dbbtrace
    from dbbtrace.sources.fabric import job_events

    if sum(each is not None for each in (file, table, workspace_id)) != 1:
        raise click.UsageError("name a FILE, a --table or a --workspace")
    configured = settings()
    dbbtrace.configure(warehouse=configured.warehouse)
    if table is not None:
        events = job_events.jobs_in_table(table, url)
    elif workspace_id is not None:
        from dbbtrace.sources.fabric.http import from_settings

        events = job_events.jobs_in_service(from_settings(), workspace_id, rules=rules)
    elif file == "-":
        events = job_events.jobs_in_text(sys.stdin.read(), "standard input")
    else:
        events = job_events.jobs_in_file(str(file))
    done = dbbtrace.import_jobs(events, rules=rules, environment=environment)
    click.echo(one_line(str(done)))
    deliver(configured)
    if done.refused:
        raise DbbtraceError("not everything could be read; the lines above say what")


def _pairs(given: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in given:
        name, separator, run = text.rpartition("=")
        if not separator or not name.strip() or not run.strip():
            raise click.BadParameter(f"{text!r}: write NAME=RUN", param_hint="'--child'")
        pairs[name.strip()] = run.strip()
    return pairs


def deliver(configured: Settings, *, ended: str | None = None) -> None:
    """Wait for the rows; then the run that has ended is judged.

    Raises:
        TransientError: some still wait.
    """
    import dbbtrace
    from dbbtrace.tracing import runtime

    stored = dbbtrace.flush(max(configured.rows_timeout, _PATIENCE))
    if stored and ended is not None:
        runtime.judge(ended, _PATIENCE)
    dbbtrace.shutdown()
    if not stored:
        raise TransientError(f"the rows wait in the journal {configured.journal_dir}: `dbbtrace flush` delivers them")


COMMANDS = (record_copy, import_run, follow, import_jobs)
