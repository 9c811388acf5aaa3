"""How far a destination has acknowledged a journal.

Acknowledgements are lines too, in a file of their own for each destination beside the segments, appended by whoever
delivers: ``{"acked":[3,120045]}``, everything before that byte of that segment is settled, or ``{"finished":true}``,
nothing more will come.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

from dbbtrace.journal import files, reader
from dbbtrace.journal.json_lines import dumps
from dbbtrace.journal.position import BEGINNING, FINISHED, Position
from dbbtrace.journal.writer import now_text

__all__ = ["acknowledge", "acknowledged"]

_COMPACT_AT = 64 * 1024
_LONGEST = 1 << 20
"""Bytes that are read, the newest; we write no file of so many."""


def acknowledged(journal: str, key: str) -> Position:
    """How far the destination has acknowledged the journal in that directory.

    Raises:
        OSError: that can't be read.
    """
    end: Position | None = None
    position = BEGINNING
    try:
        with files.open_to_read(_file(journal, key)) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LONGEST))
            for line in file:
                fields = reader.parse(line) or {}
                if fields.get("finished") is True:
                    return FINISHED
                if "acked" in fields:
                    end = end or _end(journal)
                    position = max(position, _within(fields, end))
    except FileNotFoundError:
        pass
    return position


def _within(fields: Mapping[str, object], end: Position) -> Position:
    """The position of the line; what lies behind the journal's end was never acknowledged."""
    acked = fields["acked"]
    if isinstance(acked, list) and len(acked) == 2 and all(type(number) is int for number in acked):
        position: Position = (acked[0], acked[1])
        if position <= end:
            return position
    return BEGINNING


def _end(journal: str) -> Position:
    segments = reader.segments(journal)
    return (segments[-1][0], os.stat(segments[-1][1]).st_size) if segments else BEGINNING


def acknowledge(journal: str, key: str, position: Position) -> None:
    """Append an acknowledgement.

    Raises:
        FileNotFoundError: the journal is no longer there.
        OSError: it could not be written.
    """
    fields: dict[str, object] = {"finished": True} if position >= FINISHED else {"acked": position}
    line = dumps({**fields, "at": now_text()})
    path = _file(journal, key)
    # A torn last line must not swallow this one: an empty line does no harm.
    if files.append(path, b"\n" + line) > _COMPACT_AT:
        with suppress(FileNotFoundError):
            os.unlink(path + ".new")
        files.append(path + ".new", line)
        os.replace(path + ".new", path)


def _file(journal: str, key: str) -> str:
    return os.path.join(journal, f"{key}.ack")
