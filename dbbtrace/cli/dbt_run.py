"""``dbbtrace dbt``: dbt as part of the run, recorded as it goes."""

from __future__ import annotations

import sys
import traceback

import click

from dbbtrace.cli.common import UNANSWERED, chosen_warehouse, warehouse_option
from dbbtrace.cli.completion import run_ids
from dbbtrace.cli.shell import of_the_run, repairs_option
from dbbtrace.cli.text import one_line
from dbbtrace.errors import DbbtraceError, GateClosed, UsageError

__all__ = ["COMMANDS"]

_TALK = frozenset({"--help", "-h", "--version", "-v", "-V"})
"""With these dbt does nothing but talk."""


@click.command("dbt", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
@warehouse_option
@click.option("--executable", metavar="DBT", help="The dbt of another environment, or Fusion.")
@click.option("--gate", is_flag=True, help="Leave out what reads tables that did not arrive in the run.")
@click.option("--strict", is_flag=True, help="With --gate: a table that nobody monitors has not arrived.")
@click.option(
    "--run", "run_id", metavar="ID", shell_complete=run_ids, help="The run; else DBBTRACE_ORCHESTRATION_RUN_ID."
)
@of_the_run
@repairs_option
@click.option("--pipeline-id", metavar="I", help="Transformation pipeline.")
@click.option("--pipeline-run-id", metavar="R", help="Run of that pipeline.")
@click.argument("arguments", metavar="COMMAND [ARGS]...", nargs=-1, type=click.UNPROCESSED)
def dbt(
    executable: str | None,
    gate: bool,
    strict: bool,
    run_id: str | None,
    pipeline_id: str | None,
    pipeline_run_id: str | None,
    arguments: tuple[str, ...],
    **run: str | None,
) -> int:
    """Run dbt and record it as it goes.

    Takes any command and flag of dbt. Options of dbbtrace come before the command; --gate may also come after it.
    Output, colours and exit code are dbt's own. Each node is a span while it runs, and has its rows when dbt has ended,
    also if dbt is killed.

    \b
    Examples:
      dbbtrace dbt build --gate --select +tag:Finance
      dbbtrace dbt --run "$RUN_ID" build --target-path ../monitoring
    """
    import dbbtrace
    from dbbtrace.sources.dbt.run import run_and_record, run_plainly

    if not arguments or not _TALK.isdisjoint(arguments):
        return run_plainly(arguments, executable)
    gate = gate or "--gate" in arguments
    arguments = tuple(word for word in arguments if word != "--gate")
    dbbtrace.configure(warehouse=chosen_warehouse())  # a setting that makes no sense is said, and dbt is run
    pipeline = {"pipeline_id": pipeline_id, "pipeline_run_id": pipeline_run_id}
    before, sys.argv = sys.argv, ["dbt", *arguments]  # dbt writes it into its artifacts
    try:
        with dbbtrace.join_run(run_id, **pipeline, **run):
            ended, _ = run_and_record(arguments, executable, None, {}, gate=gate, strict=strict)
    except dbbtrace.DbbtraceError as error:  # the gate's: nothing else raises one here
        click.echo(one_line(f"dbbtrace: dbt is not run: {error}"), err=True)
        dbbtrace.shutdown()
        return _exit_code(error)
    finally:
        sys.argv = before
    dbbtrace.shutdown()
    if ended.is_misused:
        return run_plainly(arguments, executable)  # which says what is wrong, as dbt's own command line does
    if not ended.is_told:
        traceback.print_exception(ended.exception)
    if ended.message and ended.exception is None and (ended.invocation is None or gate):
        click.echo(f"dbbtrace: {ended.message}", err=True)
    return ended.exit_code


def _exit_code(error: DbbtraceError) -> int:
    if isinstance(error, GateClosed):
        return error.exit_code
    return 2 if isinstance(error, UsageError) else UNANSWERED


COMMANDS = (dbt,)
