"""``dbbtrace flush``, ``recover`` and ``set-aside``: deliver the spans that wait in the journal, now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from dbbtrace.cli.common import console, settings, warehouse_option
from dbbtrace.cli.text import counted, one_line
from dbbtrace.errors import TransientError, UsageError

if TYPE_CHECKING:
    from dbbtrace.delivery import Recovered

__all__ = ["COMMANDS"]

UNREADABLE = 3
"""Exit code where something could not be read."""

_timeout = click.option(
    "--timeout",
    metavar="SECONDS",
    type=float,
    default=120.0,
    show_default=True,
    help="How long to try, in seconds; negative: for ever.",
)


@click.command()
@warehouse_option
@_timeout
@click.option("--dead-letter", is_flag=True, help="Also send the dead letters again: spans that a backend refused.")
@click.option(
    "--from",
    "wrong_name",
    metavar="NAME",
    help="Also deliver to the configured warehouse the rows that were recorded for NAME, a wrong destination.",
)
def flush(timeout: float, dead_letter: bool, wrong_name: str | None) -> None:
    """Deliver the spans that wait in the journal.

    Spans of jobs that have ended or died go to the configured warehouse and OTLP backend. Running jobs deliver their
    own spans. Exit code 1 if a span still waits for these destinations or was refused, 3 if something could not be
    read.

    \b
    Examples:
      dbbtrace flush
      dbbtrace flush --dead-letter --timeout 300
    """
    from dbbtrace.configure import resolve
    from dbbtrace.delivery import dead_letters, recover, resend_dead_letters
    from dbbtrace.operate.recover import destinations_for

    configured = settings()
    known, journal = destinations_for(configured, wrong_name), configured.journal_dir
    if wrong_name is not None:
        _check(wrong_name, known, journal)
    with _progress(_waiting(journal, known)) as progress:
        done = recover(journal, known, timeout=timeout, resolve=resolve, progress=progress)
    refused = _told(done, "delivered")
    if dead_letter:
        with _progress(sum(known(letter.destination) is not None for letter in dead_letters(journal))) as progress:
            again = resend_dead_letters(journal, known, timeout=timeout, progress=progress)
        refused += _told(again, "sent again")
        done.errors.update(again.errors)
    _conclude(done, journal, known, refused)


@click.command()
@warehouse_option
@_timeout
@click.option(
    "--silent-after",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=900.0,
    show_default=True,
    help="Treat a job on another machine as gone when its journal has been silent this long.",
)
def recover(timeout: float, silent_after: float) -> None:
    """Take over the journals of jobs that are gone.

    Spans that had ended are delivered. Spans that had only started are closed as Interrupted. Power BI is asked what
    became of a refresh. The next job that uses the journal directory does the same by itself. Exit code 1 if a span
    still waits or was refused, 3 if something could not be read.

    \b
    Examples:
      dbbtrace recover
      dbbtrace recover --silent-after 0 --timeout 300
    """
    from dbbtrace.configure import resolve
    from dbbtrace.delivery import recover as recover_
    from dbbtrace.operate.recover import destinations_for

    configured = settings()
    known, journal = destinations_for(configured), configured.journal_dir
    done = recover_(journal, known, timeout=timeout, silent_after=silent_after, resolve=resolve)
    _conclude(done, journal, known, _told(done, "delivered"))


@click.command("set-aside")
@click.argument("name")
def set_aside(name: str) -> None:
    """Move a journal that can't be read out of the way.

    NAME is what `dbbtrace doctor` prints: a name in the journal directory. It is moved into set-aside/ there. Nothing
    is deleted.

    \b
    Examples:
      dbbtrace set-aside vm.3fa9c1d2.5e6f7a8b.12345.96206.a1b2c3d4
      dbbtrace set-aside "$NAME"
    """
    from dbbtrace.delivery import set_aside as set_aside_

    journal_dir = settings().journal_dir
    try:
        click.echo(f"moved to {set_aside_(journal_dir, name)}; nothing was deleted")
    except OSError as error:
        raise TransientError(f"{name} could not be moved: {error}") from error


def _check(wrong_name: str, known: Callable[[str], object], journal_dir: str) -> None:
    """There must be rows of that name, and a warehouse to send them to."""
    from dbbtrace.delivery import waiting

    names = {each.destination for each in waiting(journal_dir) if not each.problem}
    if wrong_name not in names:
        there = ", ".join(sorted(names)) or "no destination"
        raise UsageError(f"no spans wait for {wrong_name!r} in {journal_dir}; spans wait for {there}")
    if known(wrong_name) is None:
        raise UsageError("no warehouse is named: pass --warehouse URL or set DBBTRACE_WAREHOUSE")


def _waiting(journal_dir: str, known: Callable[[str], object]) -> int:
    """How many spans wait for a destination that is configured here."""
    from dbbtrace.delivery import waiting

    found = waiting(journal_dir)
    return sum(each.ended + each.started for each in found if not each.is_live and known(each.destination) is not None)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None] | None]:
    """A progress bar on stderr, if stderr is a terminal and there are spans to wait for."""
    screen = console(stderr=True)
    if not total or not screen.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task("delivering spans", total=total)
        yield lambda count: bar.advance(task, count)


def _told(done: Recovered, what: str) -> int:
    """Print what was done; returns how many spans were refused."""
    journals = f" from {counted(done.journals, 'journal')}" if done.journals else ""
    interrupted = f", {done.interrupted:,} of them interrupted" if done.interrupted else ""
    count = counted(done.delivered, "span")
    click.echo(f"{count} {what}{journals}{interrupted}" if done.delivered else f"nothing was {what}")
    return done.refused


def _conclude(done: Recovered, journal_dir: str, known: Callable[[str], object], refused: int) -> None:
    """Print what still waits; exit code 1 if some of it is for a configured destination."""
    from dbbtrace.delivery import waiting

    left = Counter(dict.fromkeys(done.errors, 0))
    for each in waiting(journal_dir):
        if not each.is_live and each.ended + each.started:
            left[each.destination] += each.ended + each.started
    for name, count in left.items():
        reason = done.errors.get(name, "") if known(name) is not None else "it is not configured here"
        number = counted(count, "span") if count else "something"
        click.echo(one_line(f"{number} still waiting for {name}" + (f": {reason}" if reason else "")), err=True)
    if refused:
        click.echo(f"{counted(refused, 'span was', 'spans were')} refused and put into the dead letters", err=True)
    for path, problem in done.unreadable.items():
        click.echo(one_line(f"{path} can't be read: {problem}; it is kept as it is"), err=True)
    if done.damaged:
        lines = counted(done.damaged, "line of a journal makes", "lines of journals make")
        click.echo(f"{lines} no sense; a copy is in the dead letters", err=True)
    if done.unreadable or done.damaged:
        click.echo("dbbtrace: not everything could be read: `dbbtrace doctor` says what to do", err=True)
        click.get_current_context().exit(UNREADABLE)
    if refused or any(known(name) is not None for name in left):
        raise TransientError("not everything was delivered: `dbbtrace doctor` says what to do")


COMMANDS = (flush, recover, set_aside)
