"""``dbbtrace exec`` and ``dbbtrace set``: run any command as part of the run. ``dbbtrace close``: end the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dbbtrace.cli.common import chosen_warehouse, settings, warehouse_option
from dbbtrace.cli.completion import data_products, environments, run_ids

if TYPE_CHECKING:
    from dbbtrace.job.handle import Handle

__all__ = ["COMMANDS", "of_the_run", "repairs_option"]

F = TypeVar("F", bound=Callable[..., Any])


def of_the_run(command: F) -> F:
    """Options that describe the run if the environment does not."""
    for name, metavar, meaning, completion in (
        ("--workspace-id", "W", "Fabric workspace; default: DBBTRACE_WORKSPACE_ID.", None),
        ("--environment", "E", "TST, ACC, QUAL or PRD; default: DBBTRACE_ENVIRONMENT.", environments),
        ("--data-product", "P", "Data product; default: DBBTRACE_DATA_PRODUCT.", data_products),
    ):
        command = click.option(name, metavar=metavar, help=meaning, shell_complete=completion)(command)
    return command


repairs_option = click.option(
    "--repairs", metavar="RUN", shell_complete=run_ids, help="Run id of the run that this one makes right."
)


@click.command("exec", context_settings={"allow_interspersed_args": False})
@warehouse_option
@click.option("--load", metavar="TABLE", help="Table that the command loads: schema.table, or use --schema.")
@click.option("--step", metavar="NAME", help="Name of a step: work that gives no row.")
@click.option("--schema", metavar="S", help="Schema of the table.")
@click.option("--source", metavar="S", help="Source system, e.g. MDS.")
@click.option("--source-type", metavar="T", help="SQL, API or FILE.")
@click.option("--load-type", metavar="T", help="FULL or INCREMENTAL.")
@click.option(
    "--run", "run_id", metavar="ID", shell_complete=run_ids, help="Run id; default: DBBTRACE_ORCHESTRATION_RUN_ID."
)
@of_the_run
@repairs_option
@click.option("--pipeline-id", metavar="I", help="Pipeline id for the row.")
@click.option("--pipeline-run-id", metavar="R", help="Run id of that pipeline.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(
    load: str | None,
    step: str | None,
    schema: str | None,
    source: str | None,
    source_type: str | None,
    load_type: str | None,
    run_id: str | None,
    command: tuple[str, ...],
    pipeline_id: str | None,
    pipeline_run_id: str | None,
    **run: str | None,
) -> int:
    """Run a command as a table load or a step.

    Input, output, signals and exit code pass through unchanged. The command gets TRACEPARENT and the run id in its
    environment, so the processes it starts join the trace. Inside it, `dbbtrace set rows_read=10` adds values. Any
    exit code but 0 is a failure.

    \b
    Examples:
      dbbtrace exec --load mdm.Customer --source MDS -- ./copy.sh --full
      dbbtrace exec --step "fetch rates" -- curl -fsS -o rates.json https://...
    """
    import dbbtrace
    from dbbtrace.job.shell import execute

    if (load is None) == (step is None):
        raise click.UsageError("pass --load TABLE or --step NAME")
    work: Handle
    if load is not None:
        named, _, table = load.partition(".") if schema is None else (schema, "", load)
        work = dbbtrace.table_load(
            table or load,
            schema=named if table or schema else None,
            source=source,
            source_type=source_type,
            load_type=load_type,
            pipeline_id=pipeline_id,
            pipeline_run_id=pipeline_run_id,
        )
    elif any((schema, source, source_type, load_type)):
        raise click.UsageError("--schema, --source, --source-type and --load-type need --load")
    else:
        work = dbbtrace.step(step or "")
    dbbtrace.configure(warehouse=chosen_warehouse())  # a setting that makes no sense is said, and the command is run
    with dbbtrace.join_run(run_id, pipeline_id=pipeline_id, pipeline_run_id=pipeline_run_id, **run):
        code = execute(command, work)
    dbbtrace.shutdown()
    return code


@click.command("set")
@click.argument("values", metavar="NAME=VALUE...", nargs=-1, required=True)
def set_(values: tuple[str, ...]) -> None:
    """Add values to the command that `dbbtrace exec` runs.

    A load takes rows_read, rows_written, data_read, data_written, throughput, status, source, load_type, ... A step
    takes any attribute.

    \b
    Examples:
      dbbtrace set rows_read=31 rows_written=31
      dbbtrace set shop.matched=9
    """
    from dbbtrace.job.shell import set_values

    pairs = {}
    for each in values:
        name, equals, value = each.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(f"{each!r} is not NAME=VALUE, e.g. rows_read=10", param_hint="'NAME=VALUE...'")
        pairs[name.strip()] = value
    set_values(pairs)


@click.command()
@warehouse_option
@click.argument("run", required=False, shell_complete=run_ids)
@click.option(
    "--status", type=click.Choice(["Succeeded", "Failed"], case_sensitive=False), help="Default: from its rows."
)
@click.option("--started-at", metavar="TIME", help="Start of the run; default: that of its first row.")
@click.option("--ended-at", metavar="TIME", help="End of the run; default: now, or that of its last row.")
@click.option("--raise-on-failure", is_flag=True, help="Exit code 1 if the run failed.")
@of_the_run
def close(run: str | None, status: str | None, started_at: str | None, ended_at: str | None, **of_run: Any) -> None:
    """End a run that no job opened.

    Make this the last activity if the orchestrator is a pipeline. Sends the run's root span, and compares the run with
    earlier ones. RUN is the run id; default: DBBTRACE_ORCHESTRATION_RUN_ID. Closing a run again changes nothing.

    \b
    Examples:
      dbbtrace close "$RUN_ID" --raise-on-failure
      dbbtrace close --status Failed --data-product Finance --environment PRD
    """
    import dbbtrace
    from dbbtrace.operate.close import close_run

    configured = settings()
    backend = configured.otlp_url is not None and configured.forward
    if not backend and (configured.warehouse or "").lower() == "none":
        click.echo(
            "nothing to close: neither a warehouse nor an OTLP backend is set "
            "(DBBTRACE_WAREHOUSE, OTEL_EXPORTER_OTLP_ENDPOINT)"
        )
        return
    dbbtrace.configure(warehouse=configured.warehouse)
    try:
        closed = close_run(run, status=status, started_at=started_at, ended_at=ended_at, **of_run)
    finally:
        dbbtrace.shutdown()
    name = run or configured.orchestration_run_id
    click.echo(f"closed {name}" if closed else f"{name} is already closed")


COMMANDS = (exec_, set_, close)
