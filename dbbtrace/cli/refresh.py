"""``dbbtrace refresh`` and ``import-refreshes``: refreshes of semantic models."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dbbtrace.cli.common import console, settings, warehouse_option
from dbbtrace.cli.completion import run_ids
from dbbtrace.cli.fabric import deliver
from dbbtrace.cli.shell import of_the_run
from dbbtrace.cli.text import counted, duration_of, one_line
from dbbtrace.errors import DbbtraceError

if TYPE_CHECKING:
    from dbbtrace.sources.powerbi.details import Details

__all__ = ["COMMANDS"]

_FAILED, _STILL_RUNNING = 1, 3
_place = (
    click.option(
        "--workspace", metavar="W", required=True, help="Name or id of the workspace that the model lives in."
    ),
    click.option("--model", metavar="M", required=True, help="Name or id of the semantic model."),
)


@click.command()
@warehouse_option
@_place[0]
@_place[1]
@click.option("--table", "tables", metavar="T", multiple=True, help="Refresh only this table; may be repeated.")
@click.option(
    "--partition",
    "partitions",
    metavar="T P",
    nargs=2,
    multiple=True,
    help="Refresh only partition P of table T; may be repeated.",
)
@click.option(
    "--type",
    "refresh_type",
    metavar="TYPE",
    default="full",
    show_default=True,
    help="full, automatic, dataOnly, calculate, clearValues or defragment.",
)
@click.option(
    "--commit-mode", metavar="MODE", default="transactional", show_default=True, help="transactional or partialBatch."
)
@click.option(
    "--max-parallelism", metavar="N", type=click.IntRange(min=1), help="The service uses at most this many threads."
)
@click.option("--retries", metavar="N", type=click.IntRange(min=0), help="How often the service tries again.")
@click.option("--timeout", metavar="SECONDS", type=float, help="How long the service may take for each attempt.")
@click.option("--no-refresh-policy", is_flag=True, help="Do not apply the tables' incremental refresh policies.")
@click.option("--request", "request_id", metavar="R", help="Follow this refresh, which runs already, and start none.")
@click.option("--cancel-on-interrupt", is_flag=True, help="On Ctrl-C, cancel the refresh. Otherwise it goes on.")
@click.option(
    "--poll",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="How often to look.",
)
@click.option(
    "--run", "run_id", metavar="ID", shell_complete=run_ids, help="The run; else DBBTRACE_ORCHESTRATION_RUN_ID."
)
@of_the_run
@click.option("--pipeline-id", metavar="I", help="Pipeline that the row names.")
@click.option("--pipeline-run-id", metavar="R", help="Run of that pipeline.")
def refresh(
    run_id: str | None,
    workspace_id: str | None,
    environment: str | None,
    data_product: str | None,
    no_refresh_policy: bool,
    **options: Any,
) -> int:
    """Refresh a semantic model and wait for it to end.

    Prints how it ended, and writes the row with the service's own status and times. Exit code 0 if the model was
    refreshed, 3 if the refresh goes on and could not be followed to its end, 1 otherwise.

    \b
    Examples:
      dbbtrace refresh --workspace "Data Products" --model "Group Finance" --run "$RUN_ID"
      dbbtrace refresh --workspace W --model M --table Sales --partition Date 2026
    """
    import dbbtrace

    configured = settings()
    dbbtrace.configure(warehouse=configured.warehouse)
    run = {"workspace_id": workspace_id, "environment": environment, "data_product": data_product}
    policy = False if no_refresh_policy else None
    with dbbtrace.join_run(run_id, **run), _progress(options["model"]) as tell:
        result = dbbtrace.refresh_model(progress=tell, apply_refresh_policy=policy, **options)
    took = f" in {duration_of(result.seconds)}" if result.seconds is not None else ""
    request = f" (request {result.request_id})" if result.request_id else ""
    click.echo(one_line(f"{result.model}: {result.outcome}{took}{request}"))
    if result.message:
        click.echo(one_line(f"dbbtrace: {result.message}"), err=True)
    deliver(configured)
    return 0 if result.success else _STILL_RUNNING if result.outcome == "Running" else _FAILED


@contextmanager
def _progress(model: str) -> Iterator[Callable[[Details], None]]:
    """What tells on stderr how far the refresh is: a line that moves on a terminal, else a line for each change."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        said: list[str] = []

        def tell(details: Details) -> None:
            text = _described(details)
            if said[-1:] != [text]:
                said.append(text)
                click.echo(one_line(f"{model}: {text}"), err=True)

        yield tell
        return
    began = time.monotonic()
    from rich.text import Text

    with screen.status(Text(one_line(f"{model}: starting"))) as status:
        yield lambda details: status.update(
            Text(one_line(f"{model}: {_described(details)}, {duration_of(time.monotonic() - began)}"))
        )


def _described(details: Details) -> str:
    from dbbtrace.model.statuses import is_running

    if not details.parts:
        return details.status
    done = sum(part.status is not None and not is_running(part.status) for part in details.parts)
    return f"{details.status}, {done} of {counted(len(details.parts), 'part')}"


@click.command("import-refreshes")
@warehouse_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@_place[0]
@_place[1]
@click.option("--name", metavar="N", help="Name of the model, for the rows; with --model ID.")
@click.option(
    "--run", "run_id", metavar="ID", shell_complete=run_ids, help="The orchestration run that the refresh belongs to."
)
@click.option("--request", "request_id", metavar="R", help="Import only the refresh with this request id.")
@click.option("--data-product", metavar="P", help="Data product of the run; with --run.")
@click.option("--environment", metavar="E", help="TST, ACC, QUAL or PRD.")
def import_refreshes(file: str, workspace: str, model: str, **options: str | None) -> None:
    """Import refreshes of a semantic model.

    FILE holds what Power BI's API or sempy returned, as JSON: the refresh history of the model, or the execution
    details of one refresh; - reads standard input. Each refresh that has ended gives one row; one that still runs gives
    none yet. You can import the same file again. Without --run each refresh counts as a run by hand of its own. Exit
    code 1 if an entry could not be read. Power BI is asked only if --workspace or --model is a name.

    \b
    Examples:
      dbbtrace import-refreshes history.json --workspace "$WORKSPACE" --model "$MODEL"
      dbbtrace import-refreshes - --workspace "$WORKSPACE" --model "$MODEL" --run "$RUN_ID"
    """
    import dbbtrace

    configured = settings()
    dbbtrace.configure(warehouse=configured.warehouse)
    content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    done = dbbtrace.import_refreshes(content, model=model, workspace=workspace, **options)
    click.echo(str(done))
    for reason in done.refused:
        click.echo(one_line(f"not read: {reason}"), err=True)
    deliver(configured)
    if done.refused:
        raise DbbtraceError("not everything could be read; the lines above say what")


COMMANDS = (refresh, import_refreshes)
