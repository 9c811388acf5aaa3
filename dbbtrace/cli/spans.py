"""``dbbtrace import`` and ``dbbtrace replay``: spans in from files, and out again to a backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from dbbtrace.cli.common import console, opened_warehouse, settings, warehouse_option
from dbbtrace.cli.text import one_line
from dbbtrace.errors import DbbtraceError, TransientError, UsageError

if TYPE_CHECKING:
    from dbbtrace.sources.otlp.files import Fault

__all__ = ["COMMANDS"]

_PATIENCE = 120
"""Seconds that the command waits for its rows: a warehouse that sleeps takes a minute to answer."""
_SHOWN = 20
"""Bad lines that are named one by one."""


@click.command("import")
@warehouse_option
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
def import_(files: tuple[str, ...]) -> None:
    """Read spans from files of OTLP JSON lines.

    As the Collector's file exporter writes them: plain, gzip or zstd, of any size. Spans that are operations become
    rows. Imported twice, a span is one row. Lines that make no sense are named and passed by; then the exit code is 1.
    """
    import dbbtrace
    from dbbtrace.sources.otlp.files import import_otlp

    configured = settings()
    if (configured.warehouse or "").lower() == "none" and configured.otlp_url is None:
        raise UsageError("the spans would go nowhere: name a warehouse, or set OTEL_EXPORTER_OTLP_ENDPOINT")
    dbbtrace.configure(warehouse=configured.warehouse)
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
    click.echo(f"{done.spans:,} span{'s' if done.spans != 1 else ''}, {done.operations:,} of them operations")
    if not stored:
        raise TransientError(f"the rows wait in the journal {configured.journal_dir}: `dbbtrace flush` delivers them")
    if done.faults:
        raise DbbtraceError(f"{done.faults:,} bad line{'s' if done.faults != 1 else ''} passed by")


@click.command()
@warehouse_option
@click.argument("run")
@click.option("--to", "backend", type=click.Choice(["otlp"]), required=True, help="The kind of backend.")
@click.option("--endpoint", metavar="URL", help="Its address; else OTEL_EXPORTER_OTLP_ENDPOINT.")
@click.option("--protocol", type=click.Choice(["http/protobuf", "grpc"]), help="Else OTEL_EXPORTER_OTLP_PROTOCOL.")
def replay(run: str, backend: str, endpoint: str | None, protocol: str | None) -> None:
    """Send a run to a backend, again or for the first time.

    RUN is a run id, a trace id, the start of either, or "last". What the journal still has is sent as it was; the rest
    is made from the warehouse's rows, directly below the run. Sent twice, a span is the same.
    """
    import dbbtrace
    from dbbtrace.operate.replay import replay_run

    configured = settings()
    dbbtrace.configure(warehouse=configured.warehouse)
    with _progress("sending") as advance:
        done = replay_run(_meant(run), endpoint=endpoint, protocol=protocol, progress=advance)
    dbbtrace.shutdown()
    click.echo(
        f"{done.spans:,} span{'s' if done.spans != 1 else ''} sent: {done.from_journal:,} from the journal, "
        f"{done.from_rows:,} made from rows"
    )


def _meant(run: str) -> str:
    """The run id that is meant, where the warehouse knows the run; else the text itself: the journal may know it."""
    from dbbtrace.answers.find import find_run

    try:
        with opened_warehouse() as warehouse:
            return find_run(warehouse, run)
    except DbbtraceError as error:
        if isinstance(error, UsageError) and "fits" in str(error):
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
