"""``dbbtrace flush`` and ``dbbtrace recover``: deliver what waits in the journal, here and now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from dbbtrace.cli.common import console, settings, warehouse_option
from dbbtrace.cli.text import one_line
from dbbtrace.errors import TransientError

if TYPE_CHECKING:
    from dbbtrace.delivery import Recovered

__all__ = ["COMMANDS"]

_timeout = click.option(
    "--timeout",
    metavar="SECONDS",
    type=float,
    default=120.0,
    show_default=True,
    help="Go on trying for so long; negative: for ever.",
)


@click.command()
@warehouse_option
@_timeout
@click.option("--dead-letter", is_flag=True, help="Send again, too, what a backend refused for good.")
def flush(timeout: float, dead_letter: bool) -> None:
    """Deliver what waits in the journal.

    What jobs left that have ended or died goes to the warehouse and the OTLP backend that are configured; jobs that
    run deliver for themselves. Exit code 1 if something still waits for these, or was refused.
    """
    from dbbtrace.delivery import dead_letters, recover, resend_dead_letters
    from dbbtrace.operate.recover import destinations_for

    configured = settings()
    known, journal = destinations_for(configured), configured.journal_dir
    with _progress(_waiting(journal, known)) as progress:
        done = recover(journal, known, timeout=timeout, progress=progress)
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
    help="A job on another machine counts as gone when its journal was silent for so long.",
)
def recover(timeout: float, silent_after: float) -> None:
    """Take over the journals of jobs that are gone.

    What had ended is delivered; what had only started is closed as Interrupted. The next job that uses the journal
    directory does the same by itself. Exit code 1 if something still waits, or was refused.
    """
    from dbbtrace.delivery import recover as recover_
    from dbbtrace.operate.recover import destinations_for

    configured = settings()
    known, journal = destinations_for(configured), configured.journal_dir
    done = recover_(journal, known, timeout=timeout, silent_after=silent_after)
    _conclude(done, journal, known, _told(done, "delivered"))


def _waiting(journal_dir: str, known: Callable[[str], object]) -> int:
    """Spans that wait for a destination that is known here."""
    from dbbtrace.delivery import waiting

    found = waiting(journal_dir)
    return sum(each.ended + each.started for each in found if not each.is_live and known(each.destination) is not None)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None] | None]:
    """A progress bar on stderr, if that is a terminal and there is something to wait for."""
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
    """Say what was done; how many spans were refused."""
    journals = f" from {done.journals} journal{'s' if done.journals != 1 else ''}" if done.journals else ""
    interrupted = f", {done.interrupted:,} of them interrupted" if done.interrupted else ""
    count = f"{done.delivered:,} span{'s' if done.delivered != 1 else ''}"
    click.echo(f"{count} {what}{journals}{interrupted}" if done.delivered else f"nothing was {what}")
    return done.refused


def _conclude(done: Recovered, journal_dir: str, known: Callable[[str], object], refused: int) -> None:
    """Say what is left; exit code 1 if something is for a destination that is known."""
    from dbbtrace.delivery import waiting

    left = Counter(dict.fromkeys(done.errors, 0))
    for each in waiting(journal_dir):
        if not each.is_live and each.ended + each.started:
            left[each.destination] += each.ended + each.started
    for name, count in left.items():
        reason = done.errors.get(name, "") if known(name) is not None else "it is not configured here"
        number = f"{count:,} span{'s' if count != 1 else ''}" if count else "something"
        click.echo(one_line(f"{number} still waiting for {name}" + (f": {reason}" if reason else "")), err=True)
    if refused:
        click.echo(f"{refused:,} refused for good; they are kept in the dead-letter file", err=True)
    if refused or any(known(name) is not None for name in left):
        raise TransientError("not everything is delivered: `dbbtrace doctor` tells what to do")


COMMANDS = (flush, recover)
