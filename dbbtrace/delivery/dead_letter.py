"""What a destination refused for good, kept with the reason, to be read by people and sent again.

Files of lines beside the journals, one writer each, every line complete in itself (docs/journal.md). Lines of a journal
that made no sense are kept there too, with their place, in files of their own: they can't be sent.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.journal import codec, files, reader
from dbbtrace.journal.json_lines import dumps
from dbbtrace.journal.owner import Owner, this_process
from dbbtrace.journal.position import Position
from dbbtrace.journal.writer import SEGMENT, now_text

__all__ = ["FOLDER", "DeadLetter", "DeadLetters", "claimed_letters", "damaged_lines", "dead_letters"]

FOLDER = "dead-letters"
_SPANS, _DAMAGED = ".jsonl", ".damaged"


@dataclass(frozen=True)
class DeadLetter:
    """A span that a destination refused."""

    destination: str
    reason: str
    at: str
    """When it was set aside; ISO 8601."""
    span: ReadableSpan
    file: str
    """Where it is kept."""


class DeadLetters:
    """The writing side: files of this process in the journal directory, made when first needed."""

    def __init__(self, journal_dir: str) -> None:
        self._folder = os.path.join(journal_dir, FOLDER)
        self._path = os.path.join(self._folder, this_process().id)

    def write(self, destination: str, refused: Iterable[tuple[ReadableSpan, str]]) -> None:
        """Set spans aside.

        Raises:
            OSError: they could not be written.
        """
        lines = []
        for span, reason in refused:
            scope, resource = codec.definition_of(span.instrumentation_scope), codec.definition_of(span.resource)
            payload = codec.fields_of("end", span, codec.frame_of(span, {"scope": scope, "resource": resource}))
            letter = {"refused_by": destination, "reason": reason, "at": now_text(), "span": payload}
            lines.append(dumps(letter))
        files.make_directory(self._folder)
        files.append(self._path + _SPANS, b"".join(lines))

    def write_damaged(self, journal: str, position: Position, text: bytes) -> None:
        """Copy a line that makes no sense, with its place: the segment, and the byte behind it.

        Raises:
            OSError: it could not be written.
        """
        place = {"journal": os.path.basename(journal), "segment": SEGMENT.format(position[0]), "behind": position[1]}
        files.make_directory(self._folder)
        line = {"line": text.decode("utf-8", "backslashreplace"), **place, "at": now_text()}
        files.append(self._path + _DAMAGED, dumps(line))


def dead_letters(journal_dir: str | os.PathLike[str], destination: str | None = None) -> Iterator[DeadLetter]:
    """What was set aside under the journal directory, for one destination or for all."""
    for path in _files(os.fspath(journal_dir), _SPANS):
        for letter in _letters(path):
            if destination is None or letter.destination == destination:
                yield letter


def damaged_lines(journal_dir: str | os.PathLike[str]) -> dict[str, int]:
    """File of lines that made no sense → how many it holds."""
    found = {}
    for path in _files(os.fspath(journal_dir), _DAMAGED):
        with files.open_to_read(path) as file:
            found[path] = sum(1 for _ in file)
    return found


def _files(journal_dir: str, suffix: str) -> list[str]:
    folder = os.path.join(journal_dir, FOLDER)
    try:
        return [os.path.join(folder, name) for name in files.regular_files(folder)[0] if name.endswith(suffix)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _letters(path: str) -> Iterator[DeadLetter]:
    """The letters of one file."""
    with files.open_to_read(path) as file:
        for line in file:
            fields = reader.parse(line) or {}
            payload = fields.get("span")
            span = reader.decode("end", payload, {}) if isinstance(payload, dict) else None
            if span is not None:
                destination, reason, at = (str(fields.get(name, "")) for name in ("refused_by", "reason", "at"))
                yield DeadLetter(destination, reason, at, span, path)


@contextmanager
def claimed_letters(journal_dir: str) -> Iterator[list[DeadLetter]]:
    """All letters, for one caller at a time: their files are renamed first, and deleted when the caller is done."""
    claimed: list[str] = []
    for file in _files(journal_dir, _SPANS):
        folder, name = os.path.split(file.removesuffix(_SPANS))
        owner, _, holder_id = name.partition("@")
        holder = Owner.parse(holder_id)
        if holder is not None and holder.is_alive() is not False:
            continue  # somebody is sending it
        path = os.path.join(folder, f"{owner}@{this_process().id}{_SPANS}")
        with suppress(OSError):
            os.rename(file, path)
            claimed.append(path)
    yield [letter for path in claimed for letter in _letters(path)]
    for path in claimed:  # not reached when the caller failed: the files can be claimed again
        with suppress(OSError):
            os.unlink(path)
