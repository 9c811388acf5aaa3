"""What waits under a journal directory, and what can't be read there: looked at for ``dbbtrace doctor``.

Delivers nothing and deletes nothing. ``set_aside`` moves what is in the way of the others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from dbbtrace.errors import UsageError
from dbbtrace.journal import directory, files, reader
from dbbtrace.journal.checkpoint import acknowledged
from dbbtrace.journal.directory import Found, Silence
from dbbtrace.journal.owner import Owner
from dbbtrace.journal.writer import SILENT_AFTER

__all__ = ["ODD", "Waiting", "set_aside", "waiting"]

ODD = "it is not what a journal has: a link, a device, another name or the like"
_SET_ASIDE = "set-aside"


@dataclass(frozen=True)
class Waiting:
    """What waits in one journal for one destination."""

    journal: str
    """Path of the directory."""
    destination: str
    rows: bool
    ended: int
    """Spans that ended and are not acknowledged. Those that the destination does not want are among them."""
    started: int
    """Spans that had only started."""
    last_sign: int
    """Last sign of life in the journal; nanoseconds since the Unix epoch, 0 when there is none."""
    is_live: bool
    """Its owner, or an adopter, delivers it."""
    problem: str = ""
    """Why it can't be read."""


def waiting(journal_dir: str | os.PathLike[str], *, silent_after: float = SILENT_AFTER) -> Iterator[Waiting]:
    """What waits under the journal directory, for each journal and destination. Reads everything; changes nothing."""
    journal_dir = os.path.abspath(os.fspath(journal_dir))
    silence = Silence(journal_dir, silent_after)
    try:
        for name in directory.odd_entries(journal_dir):
            yield _broken(os.path.join(journal_dir, name), ODD)
        for found in directory.find(journal_dir):
            yield from _waiting_in(found, silence)
    except OSError as error:
        yield _broken(journal_dir, str(error))


def _broken(path: str, problem: str, live: bool = False) -> Waiting:
    return Waiting(path, "", False, 0, 0, 0, live, problem)


def _waiting_in(found: Found, silence: Silence) -> list[Waiting]:
    try:
        problem, live = found.problem(), not found.is_gone(silence)
        if problem:
            return [_broken(found.path, problem, live)]
        survey = reader.Survey(found.path)
        ended = [position for position, _ in survey.ended()]
        places = [(claim, acknowledged(found.path, claim.key)) for claim in found.open_claims()]
    except FileNotFoundError:  # delivered meanwhile
        return []
    except OSError as error:
        return [_broken(found.path, str(error))]
    started = len(survey.started())
    return [
        Waiting(found.path, claim.name, claim.rows, sum(each > done for each in ended), started, survey.last_sign, live)
        for claim, done in places
    ]


def _is_odd(journal_dir: str, name: str) -> bool:
    return name in directory.odd_entries(journal_dir)


def set_aside(journal_dir: str | os.PathLike[str], name: str, *, silent_after: float = SILENT_AFTER) -> str:
    """Move a journal, or what looks like one, out of the way of the others; nothing is deleted. Where it is now.

    Raises:
        UsageError: there is none of that name, or a job that runs still writes it.
        OSError: it can't be moved.
    """
    journal_dir = os.path.abspath(os.fspath(journal_dir))
    owner = Owner.parse(name.partition("@")[0])
    path = os.path.join(journal_dir, name)
    if os.path.basename(name) != name or not files.exists(path) or (owner is None and not _is_odd(journal_dir, name)):
        raise UsageError(f"no journal {name!r} in {journal_dir}: `dbbtrace doctor` names those that can't be read")
    holder = Owner.parse(name.partition("@")[2]) if "@" in name else owner
    if (
        owner is not None
        and not os.path.islink(path)
        and not Found(path, owner, holder).is_gone(Silence(journal_dir, silent_after))
    ):
        raise UsageError(f"{name} belongs to a job that runs; it delivers for itself")
    files.make_directory(os.path.join(journal_dir, _SET_ASIDE))
    to = os.path.join(journal_dir, _SET_ASIDE, name)
    while files.exists(to):
        to += "_"
    os.rename(path, to)
    return to
