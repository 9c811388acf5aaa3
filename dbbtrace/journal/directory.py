"""The journals of a directory: whose they are, whether anybody delivers them, and what is odd among them.

Looks, and changes nothing. Whatever can't be looked at raises OSError: it is unknown then what is there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from dbbtrace.journal import files, reader
from dbbtrace.journal.checkpoint import acknowledged
from dbbtrace.journal.owner import Owner, this_process
from dbbtrace.journal.position import FINISHED
from dbbtrace.journal.reader import Claim, Header
from dbbtrace.journal.writer import is_segment
from dbbtrace.model.times import to_unix_nanos

__all__ = ["CLAIM_DAYS", "Found", "Silence", "find", "odd_entries"]

_DOTS = 5
"""Dots in a journal's name."""
CLAIM_DAYS = 7
"""Days that a journal waits for an OTLP backend. For the warehouse it waits for ever."""


class Silence:
    """How long a journal was silent, by the clock of its file system: that of the writer is no guide.

    Args:
        longest: seconds of silence after which an owner that can't be asked for counts as gone.
    """

    def __init__(self, journal_dir: str, longest: float) -> None:
        self._journal_dir = journal_dir
        self._longest = longest
        self._now: float | None = None

    @property
    def is_local(self) -> bool:
        """Whether the journals are on a disk that no other machine can have."""
        return files.is_local(self._journal_dir)

    def is_too_long(self, path: str) -> bool:
        """Whether the journal was silent too long."""
        if self._now is None:
            probe = os.path.join(self._journal_dir, f"{this_process().random}.probe")
            try:
                os.close(files.open_to_append(probe, new=True))
                self._now = os.stat(probe).st_mtime
            finally:
                with suppress(OSError):
                    os.unlink(probe)
        return self._now - reader.last_write(path) > self._longest


@dataclass
class Found:
    """A journal in a journal directory. Everything that looks into it may raise OSError."""

    path: str
    owner: Owner
    holder: Owner | None
    """Who delivers it: its owner, or its adopter; None when nobody does."""
    _header: Header | None = field(default=None, repr=False)

    def header(self) -> Header | None:
        """None where there is none that makes sense."""
        self._header = self._header or reader.header_of(self.path)
        return self._header

    def open_claims(self) -> list[Claim]:
        """The destinations that have not acknowledged everything, and whose claim has not expired."""
        header = self.header()
        if header is None:
            return []
        return [
            claim
            for claim in header.claims
            if (claim.rows or not self._expired(header)) and acknowledged(self.path, claim.key) < FINISHED
        ]

    def _expired(self, header: Header) -> bool:
        with suppress(ValueError):
            began = to_unix_nanos(header.at)
            # By its last write too: a process may run for longer than a claim lasts.
            newest = max(began / 1e9, reader.last_write(self.path, segments_only=True))
            return time.time() - newest > CLAIM_DAYS * 86400
        return False

    def is_gone(self, silence: Silence) -> bool:
        """Whether nobody delivers this journal any more."""
        if self.holder is None:
            return True
        alive = self.holder.is_alive()
        if alive is not None:
            return not alive
        return (self.holder.is_of_earlier_boot and silence.is_local) or silence.is_too_long(self.path)

    @property
    def holds_anything(self) -> bool:
        """Whether it has any whole line."""
        return any(text.endswith(b"\n") for _, text in reader.lines(self.path))

    def problem(self) -> str:
        """Why nobody can deliver it; empty where that is not so."""
        header = self.header()
        if header is None:
            return "its header makes no sense" if self.holds_anything else ""
        return "it was written by a newer dbbtrace; upgrade" if header.is_newer else ""


def find(journal_dir: str) -> Iterator[Found]:
    """Every journal in the directory.

    Raises:
        OSError: the directory can't be listed; where it is not there, nothing is in it.
    """
    try:
        names, _ = files.directories(journal_dir)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        owner_id, at, holder_id = name.partition("@")
        owner = Owner.parse(owner_id)
        if owner is not None:
            yield Found(os.path.join(journal_dir, name), owner, Owner.parse(holder_id) if at else owner)


def odd_entries(journal_dir: str) -> list[str]:
    """Names in the directory, and in its journals, that are those of a journal's files, and aren't such files; and
    of directories that hold segments under a name that no journal has.

    Raises:
        OSError: see ``find``.
    """
    try:
        names, others = files.directories(journal_dir)
    except (FileNotFoundError, NotADirectoryError):
        return []
    odd = [name for name in others if Owner.parse(name.partition("@")[0]) is not None]
    for name in names:
        is_journal = Owner.parse(name.partition("@")[0]) is not None
        if is_journal or name.count(".") >= _DOTS:
            with suppress(OSError):
                regular, irregular = files.regular_files(os.path.join(journal_dir, name))
                if is_journal:
                    unknown = [each for each in regular if each.endswith(".jsonl") and not is_segment(each)]
                    odd += [f"{name}{os.sep}{each}" for each in sorted([*irregular, *unknown])]
                elif any(map(is_segment, regular)):
                    odd.append(name)
    return odd
