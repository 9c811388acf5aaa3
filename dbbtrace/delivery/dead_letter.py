"""What a destination refused for good, kept with the reason, to be read by people and sent again.

Files of lines beside the journals, one writer each, every line complete in itself (docs/journal.md). Lines that made no
sense, of a journal or of these files, are kept there too, with their place, in files of their own: they can't be sent.
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
        self._append(_SPANS, b"".join(lines))

    def write_damaged(self, journal: str, position: Position, text: bytes) -> None:
        """Copy a line that makes no sense, with its place: the segment, and the byte behind it.

        Raises:
            OSError: it could not be written.
        """
        place = {"journal": os.path.basename(journal), "segment": SEGMENT.format(position[0]), "behind": position[1]}
        self._append(_DAMAGED, _damaged(text, **place))

    def write_senseless(self, file: str, texts: Iterable[bytes]) -> None:
        """Copy lines of a dead-letter file that make no sense.

        Raises:
            OSError: they could not be written.
        """
        lines = [_damaged(text, file=os.path.basename(file)) for text in texts]
        if lines:
            self._append(_DAMAGED, b"".join(lines))

    def _append(self, suffix: str, data: bytes) -> None:
        files.make_directory(self._folder)
        # A torn last line must not swallow this one: an empty line does no harm.
        files.append(self._path + suffix, b"\n" + data)


def _damaged(text: bytes, **place: object) -> bytes:
    return dumps({"line": text.decode("utf-8", "backslashreplace"), **place, "at": now_text()})


def dead_letters(journal_dir: str | os.PathLike[str], destination: str | None = None) -> Iterator[DeadLetter]:
    """What was set aside under the journal directory, for one destination or for all."""
    for path in _files(os.fspath(journal_dir), _SPANS):
        for _, letter in _lines(path):
            if letter is not None and (destination is None or letter.destination == destination):
                yield letter


def damaged_lines(journal_dir: str | os.PathLike[str]) -> dict[str, int]:
    """File of lines that made no sense → how many it holds."""
    found = {}
    for path in _files(os.fspath(journal_dir), _DAMAGED):
        with files.open_to_read(path) as file:
            found[path] = sum(1 for line in file if line.strip())
    return found


def _files(journal_dir: str, suffix: str) -> list[str]:
    folder = os.path.join(journal_dir, FOLDER)
    try:
        return [os.path.join(folder, name) for name in files.regular_files(folder)[0] if name.endswith(suffix)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _lines(path: str) -> Iterator[tuple[bytes, DeadLetter | None]]:
    """The lines of one file, each with its letter; None where a line has none that makes sense."""
    with files.open_to_read(path) as file:
        for line in file:
            fields = reader.parse(line) or {}
            payload = fields.get("span")
            span = reader.decode("end", payload, {}) if isinstance(payload, dict) else None
            if span is None:
                yield line, None
            else:
                destination, reason, at = (str(fields.get(name, "")) for name in ("refused_by", "reason", "at"))
                yield line, DeadLetter(destination, reason, at, span, path)


@contextmanager
def claimed_letters(journal_dir: str) -> Iterator[list[DeadLetter]]:
    """All letters, for one caller at a time: their files are renamed first, and deleted when the caller is done.

    Lines that make no sense are copied before. A file that was appended to meanwhile, by a writer that had it open, is
    left for the next caller.
    """
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
    read = {path: list(_lines(path)) for path in claimed}
    yield [letter for lines in read.values() for _, letter in lines if letter is not None]
    for path, lines in read.items():  # not reached when the caller failed: the files can be claimed again
        with suppress(OSError):
            senseless = [line for line, letter in lines if letter is None and line.strip()]
            DeadLetters(journal_dir).write_senseless(path, senseless)
            if os.stat(path).st_size == sum(len(line) for line, _ in lines):
                os.unlink(path)
