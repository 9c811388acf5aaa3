"""What a destination refused for good, kept with the reason, to be read by people and sent again.

Files of lines beside the journals, one writer each, every line complete in itself (docs/journal.md).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.journal import codec, reader
from dbbtrace.journal.json_lines import dumps
from dbbtrace.journal.owner import Owner, this_process
from dbbtrace.journal.writer import now_text

__all__ = ["DeadLetter", "DeadLetters", "claimed_letters", "dead_letters"]

_FOLDER = "dead-letters"


@dataclass(frozen=True)
class DeadLetter:
    """A span that a destination refused."""

    destination: str
    reason: str
    at: str
    """When it was set aside; ISO 8601."""
    span: ReadableSpan
    file: str
    """Where it stands."""


class DeadLetters:
    """The writing side: a file of this process in the journal directory, made when first needed."""

    def __init__(self, journal_dir: str) -> None:
        self._folder = os.path.join(journal_dir, _FOLDER)
        self._path = os.path.join(self._folder, f"{this_process().id}.jsonl")

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
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        try:
            data = b"".join(lines)
            while data:
                data = data[os.write(fd, data) :]
        finally:
            os.close(fd)


def dead_letters(journal_dir: str | os.PathLike[str], destination: str | None = None) -> Iterator[DeadLetter]:
    """What was set aside under the journal directory, for one destination or for all."""
    folder = os.path.join(os.fspath(journal_dir), _FOLDER)
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(folder)):
            if name.endswith(".jsonl"):
                for letter in read_letters(os.path.join(folder, name)):
                    if destination is None or letter.destination == destination:
                        yield letter


def read_letters(path: str) -> Iterator[DeadLetter]:
    """The letters of one file."""
    for offset, line in reader.lines(path):
        fields = reader.parse(line) or {}
        payload = fields.get("span")
        if isinstance(payload, dict):
            span = reader.decode(reader.Record((0, offset), "end", payload), {})
            if span is not None:
                yield DeadLetter(
                    str(fields.get("refused_by", "")),
                    str(fields.get("reason", "")),
                    str(fields.get("at", "")),
                    span,
                    path,
                )


@contextmanager
def claimed_letters(journal_dir: str) -> Iterator[list[DeadLetter]]:
    """All letters, for one caller at a time: their files are renamed first, and deleted when the caller is done."""
    folder = os.path.join(journal_dir, _FOLDER)
    claimed: list[str] = []
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(folder)):
            stem, _, suffix = name.rpartition(".")
            holder = Owner.parse(stem.partition("@")[2])
            if suffix != "jsonl" or (holder is not None and holder.is_alive() is not False):
                continue  # somebody is sending it
            path = os.path.join(folder, f"{stem.partition('@')[0]}@{this_process().id}.jsonl")
            with suppress(OSError):
                os.rename(os.path.join(folder, name), path)
                claimed.append(path)
    yield [letter for path in claimed for letter in read_letters(path)]
    for path in claimed:  # not reached when the caller failed: the files can be claimed again
        with suppress(OSError):
            os.unlink(path)
