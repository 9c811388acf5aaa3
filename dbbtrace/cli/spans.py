"""``dbbtrace import`` and ``dbbtrace replay``: read spans from files; send a run to a backend again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dbbtrace.cli.common import console, opened_warehouse, run_meant, settings, warehouse_option
from dbbtrace.cli.completion import run_ids
from dbbtrace.cli.text import counted, one_line
from dbbtrace.errors import DbbtraceError, TransientError, UsageError

if TYPE_CHECKING:
    from dbbtrace.sources.dbt import DbtInvocation
    from dbbtrace.sources.otlp.files import Fault

__all__ = ["COMMANDS"]

_PATIENCE = 120
"""Seconds that the command waits for its rows. A sleeping warehouse takes a minute to answer."""
_SHOWN = 20
"""How many bad lines are reported one by one."""


@click.command("import")
@warehouse_option
@click.option(
    "--run",
    "run_id",
    metavar="ID",
    shell_complete=run_ids,
    help="Run of a dbt Fusion file; default: the run that Fusion joined.",
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
def import_(files: tuple[str, ...], run_id: str | None) -> None:
    """Read spans from OTLP files, and from the telemetry files of dbt Fusion (--otel-file-name).

    OTLP files hold JSON, a document a line, pretty-printed or in a list, or protobuf. They may be plain, gzip or zstd,
    and of any size. Spans that are operations become rows. If you import a span twice, it still has one row. Bad
    lines are reported and skipped, and so are operations without a run id, or without what their row needs. The exit
    code is then 1, and also if no span was found.

    \b
    Examples:
      dbbtrace import spans.jsonl older.jsonl.zst
      dbbtrace import --run "$RUN_ID" fusion.jsonl
    """
    import dbbtrace
    from dbbtrace.sources.dbt.fusion import is_telemetry
    from dbbtrace.sources.otlp.files import import_otlp

    configured = settings()
    if (configured.warehouse or "").lower() == "none" and configured.otlp_url is None:
        raise UsageError("the spans have no destination: set DBBTRACE_WAREHOUSE or OTEL_EXPORTER_OTLP_ENDPOINT")
    dbbtrace.configure(warehouse=configured.warehouse)
    told = [file for file in files if is_telemetry(Path(file))]
    invocations = [_recorded(file, run_id or configured.orchestration_run_id) for file in told]
    files = tuple(file for file in files if file not in told)
    shown = 0

    def tell(fault: Fault) -> None:
        nonlocal shown
        shown += 1
        if shown <= _SHOWN:
            click.echo(one_line(str(fault)), err=True)

    with _progress("reading") as advance:
        done = import_otlp(*files, on_fault=tell, on_progress=lambda _, read, size: advance(read, size))
    stored = dbbtrace.flush(max(configured.rows_timeout, _PATIENCE))
    dbbtrace.shutdown()
    for invocation in invocations:
        click.echo(one_line(invocation))
    if files or not invocations:
        click.echo(
            f"{counted(done.spans, 'span')}, of which {counted(done.operations, 'is an operation', 'are operations')}"
        )
    if not stored:
        raise TransientError(f"the rows wait in the journal {configured.journal_dir}: `dbbtrace flush` delivers them")
    if done.faults:
        more = f"; {_without_rows(done.without_rows)}" if done.without_rows else ""
        raise DbbtraceError(f"{counted(done.faults, 'bad line was', 'bad lines were')} skipped{more}")
    if done.without_rows:
        raise DbbtraceError(_without_rows(done.without_rows))
    if files and not done.spans:
        others = (
            f": there is only {counted(done.others, 'document')} of metrics, logs or profiles" if done.others else ""
        )
        raise DbbtraceError(f"no span was found in {', '.join(files)}{others}")


def _without_rows(number: int) -> str:
    return f"{counted(number, 'span claims an operation and gives', 'spans claim an operation and give')} no row"


def _recorded(file: str, run_id: str | None) -> DbtInvocation:
    """What a telemetry file of Fusion's tells, recorded."""
    import dbbtrace
    from dbbtrace.sources.dbt.fusion import read_telemetry

    about = read_telemetry(Path(file)).about
    run_id = run_id or (about.invocation_id if about.joined_to else None)
    if not run_id:
        raise UsageError(f"{file} names no run: dbt Fusion was joined to none; say which one, with --run ID")
    return dbbtrace.record_dbt(file, run_id=run_id, allow_old=True)


@click.command()
@warehouse_option
@click.argument("run", shell_complete=run_ids)
@click.option("--to", "backend", type=click.Choice(["otlp"]), required=True, help="The kind of backend.")
@click.option("--endpoint", metavar="URL", help="Its address; default: OTEL_EXPORTER_OTLP_ENDPOINT.")
@click.option(
    "--protocol", type=click.Choice(["http/protobuf", "http/json", "grpc"]), help="Else OTEL_EXPORTER_OTLP_PROTOCOL."
)
def replay(run: str, backend: str, endpoint: str | None, protocol: str | None) -> None:
    """Send a run to a backend, again or for the first time.

    RUN is a run id, a trace id, the first characters of either, or the word last. Spans that are still in the journal
    are sent unchanged. The others are rebuilt from the warehouse's rows, directly below the run. If you replay a run
    twice, the spans are identical.

    \b
    Examples:
      dbbtrace replay last --to otlp
      dbbtrace replay "$RUN_ID" --to otlp --endpoint http://localhost:4318
    """
    import dbbtrace
    from dbbtrace.operate.replay import replay_run

    configured = settings()
    dbbtrace.configure(warehouse=configured.warehouse)
    with _progress("sending") as advance:
        done = replay_run(_meant(run), endpoint=endpoint, protocol=protocol, progress=advance)
    dbbtrace.shutdown()
    click.echo(
        f"{counted(done.spans, 'span')} sent: {done.from_journal:,} from the journal, "
        f"{done.from_rows:,} rebuilt from rows"
    )


def _meant(run: str) -> str:
    """The run id that the text means; the text itself if only the journal may know the run."""
    try:
        with opened_warehouse() as warehouse:
            return run_meant(warehouse, run)
    except (UsageError, click.ClickException) as error:
        if "matches" in str(error):
            raise
        return run


@contextmanager
def _progress(doing: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, if that is a terminal."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield lambda done, total: None
        return
    from rich.progress import Progress

    with Progress(console=screen, transient=True) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


COMMANDS = (import_, replay)
