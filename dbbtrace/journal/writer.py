"""The journal, written: a directory of one process, in it segments of lines (docs/journal.md).

Append-only, one writer, one ``os.write`` an event, so that what returned has reached the operating system and
outlives the process. Never reads, never waits for a backend. Not for several threads at once: that is the caller's
business.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.journal import codec, files
from dbbtrace.journal.definitions import Definitions
from dbbtrace.journal.json_lines import dumps
from dbbtrace.journal.owner import parent_pid, this_process
from dbbtrace.journal.position import BEGINNING, Position
from dbbtrace.model.identity import sha256
from dbbtrace.model.times import iso_utc
from dbbtrace.version import __version__

__all__ = [
    "FORMAT",
    "NOBODY",
    "SEGMENT",
    "SEGMENT_BYTES",
    "SILENT_AFTER",
    "Journal",
    "SpanKey",
    "TakenError",
    "claim_key",
    "is_segment",
    "now_text",
    "remove",
    "span_key",
]

FORMAT = 1
"""Version of the format; a reader leaves journals of a higher one alone."""
SEGMENT = "{:06d}.jsonl"
_LONGEST_NUMBER = 9
"""Digits of a segment's number: a petabyte of journal has no more."""
NOBODY = "nobody"
"""Holder of a journal that its adopter gave back."""

SpanKey = tuple[int, int]
"""Trace id and span id."""

SILENT_AFTER = 900.0
"""Seconds of silence after which an owner that can't be asked for counts as gone; 15 heartbeats and more."""
SEGMENT_BYTES = 16 * 1024 * 1024


def now_text() -> str:
    """The time, as lines tell it."""
    return iso_utc(time.time_ns())


def claim_key(destination: str) -> str:
    """File-name-safe key of a destination's name."""
    return sha256(destination.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def is_segment(name: str) -> bool:
    """Whether a file of that name is a segment of its journal: its number as we write it, and none beyond reason."""
    stem, _, suffix = name.partition(".")
    if suffix != "jsonl" or not (stem.isascii() and stem.isdigit()) or len(stem) > _LONGEST_NUMBER:
        return False
    return name == SEGMENT.format(int(stem))


def remove(path: str) -> None:
    """Delete a journal, as far as that is possible. Nothing in it but segments and acknowledgements, and no link is
    followed.

    The oldest segment first and acknowledgements last: whatever is left of it after a kill is known to be delivered.
    """
    with suppress(OSError):
        if os.path.islink(path):
            return
        names = files.regular_files(path)[0]
        segments = [name for name in names if is_segment(name)]
        for name in [*segments, *(name for name in names if name.endswith((".ack", ".ack.new")))]:
            os.unlink(os.path.join(path, name))
        os.rmdir(path)


def span_key(span: ReadableSpan) -> SpanKey:
    """What tells the span apart."""
    key: SpanKey = span._context[:2]  # type: ignore[index]  # a tuple that begins with the two
    return key


class TakenError(OSError):
    """After a long silence the journal turned out to be somebody else's; nothing was written."""


class Journal:
    """This process's journal under ``root``; made, with its first segment, when constructed.

    Args:
        look_after: seconds without a write after which the next one makes sure first that the journal is still ours.

    Raises:
        TakenError: from any method that writes, after such a silence.
        OSError: from any method that writes: the line may then be torn or missing. Writing may go on after it.
    """

    def __init__(
        self,
        root: str,
        destinations: Sequence[tuple[str, bool]],
        *,
        fsync: bool = False,
        segment_bytes: int = SEGMENT_BYTES,
        look_after: float = 450.0,
        continues: Journal | None = None,
    ) -> None:
        owner = this_process()
        self.owner = owner.id
        self.path = os.path.join(root, owner.id)
        self.definitions: Definitions = Definitions(self._append, continues.definitions if continues else None)
        self.open: dict[SpanKey, tuple[bytes, dict[str, Any]]] = dict(continues.open) if continues else {}
        """Start line, or last saved one, of every span that runs, and the part of it that the end line repeats."""
        self._destinations = destinations
        self._fsync = fsync
        self._segment_bytes = segment_bytes
        self._file = (-1, 0)
        """Descriptor and number of the segment that is written; replaced as a whole."""
        self._limit = self._oldest = 0
        self._torn = False
        self.position: Position = BEGINNING
        """Behind the last line. Replaced as a whole: other threads read it."""
        self.verified: Position = BEGINNING
        """What stands before this was here while the journal was still ours: whoever adopts it will find it."""
        self._look_after = look_after
        self._look_at = 0.0
        files.make_directory(root)
        files.new_directory(self.path)
        try:
            self._rotate()
        except BaseException:
            self.delete()
            raise

    def start(self, span: ReadableSpan, kind: str = "start") -> None:
        """A span started, or (``save``) is still running with other attributes."""
        frame = codec.frame_of(span, self.definitions.shared_of(span))
        line = codec.line(kind, span, frame)
        self.open[span_key(span)] = (line, frame)  # first: what can't be written now the next segment carries
        self._append(line)

    def end(self, span: ReadableSpan) -> Position:
        """A span ended; the position behind its line."""
        opened = self.open.pop(span_key(span), None)
        frame = opened[1] if opened is not None else codec.frame_of(span, self.definitions.shared_of(span))
        self._append(codec.line("end", span, frame))
        return self.position

    def emit(self, spans: Sequence[ReadableSpan]) -> list[Position]:
        """Spans that arrive finished: one line each, one write. The position behind each."""
        lines = [codec.line("end", span, codec.frame_of(span, self.definitions.shared_of(span))) for span in spans]
        self._append(b"".join(lines))
        segment, behind = self.position
        positions = []
        for line in reversed(lines):
            positions.append((segment, behind))
            behind -= len(line)
        return positions[::-1]

    def beat(self) -> None:
        """Show that the owner lives."""
        self._append(dumps({"alive": now_text()}))

    def release(self) -> None:
        """Leave the directory to whoever wants it. Spans that still run go on in a journal that ``continues`` this
        one; here they are marked as moved, so that nobody takes them for interrupted."""
        if self.open:
            moved = [[f"{span:016x}", f"{trace:032x}"] for trace, span in self.open]
            self._append(dumps({"moved": moved}))
        self.close()
        os.rename(self.path, f"{self.path}@{NOBODY}")

    def trim(self, acknowledged: Position) -> None:
        """Delete the segments that every destination has acknowledged."""
        while self._oldest < min(acknowledged[0], self.position[0]):
            with suppress(OSError):
                os.unlink(os.path.join(self.path, SEGMENT.format(self._oldest)))
            self._oldest += 1

    @property
    def is_deleted(self) -> bool:
        """Whether somebody removed the files, rather than adopting them; also where that can't be told."""
        try:
            return os.fstat(self._file[0]).st_nlink == 0
        except OSError:
            return True

    def is_ours(self) -> bool:
        """Whether the directory is still where it was made: adoption is by rename. Yes, where that can't be told."""
        position = self.position
        try:
            os.stat(os.path.join(self.path, SEGMENT.format(position[0])))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        self.verified = position
        return True

    def resynchronise(self) -> None:
        """After an interruption amid a write: believe the file, not the books."""
        self._torn = True
        fd, segment = self._file
        with suppress(OSError):
            self.position = (segment, os.fstat(fd).st_size)

    def close(self) -> None:
        """Let go of the file; the directory stays."""
        fd, segment = self._file
        self._file = (-1, segment)
        if fd >= 0:
            with suppress(OSError):
                os.close(fd)

    def delete(self) -> None:
        """Close, and remove the directory."""
        self.close()
        remove(self.path)

    # -- writing ----------------------------------------------------------------------------------------------

    def _append(self, data: bytes) -> None:
        if self._torn or self.position[1] >= self._limit:
            data = self._mend(data)
        now = time.time()  # a clock that goes on while the machine sleeps
        if now > self._look_at and self._look_at and not self.is_ours():
            raise TakenError(self.path)
        self._look_at = now + self._look_after
        fd = self._file[0]
        self._torn = True  # until all of it is there: Ctrl-C may strike anywhere
        try:
            written = os.write(fd, data)
            if written < len(data):  # a disk that is all but full takes a part, and says so the next time
                files.write(fd, data[written:])
            if self._fsync:
                os.fsync(fd)
        except OSError:
            self.resynchronise()
            raise
        segment, offset = self.position
        self.position = (segment, offset + len(data))
        self._torn = False

    def _mend(self, data: bytes) -> bytes:
        """Before a write: a new segment where one is due; after a torn line a fresh one."""
        if self._torn:
            self.resynchronise()
        if self.position[1] >= self._limit:
            try:
                self._rotate()
            except OSError:  # no room for a new file: the old one may still have some
                self._limit += self._segment_bytes
        if self._torn:
            return b"\n\n" + data  # an empty line behind a torn one: it is known here, and nobody's loss
        return data

    def _rotate(self) -> None:
        """Begin the next segment: header, definitions, and the start lines of spans that still run."""
        segment = self.position[0] + 1
        head = {
            "dbbtrace_journal": FORMAT,
            "segment": segment,
            "owner": self.owner,
            "parent": parent_pid(),
            "by": f"dbbtrace {__version__}",
            "at": now_text(),
            "destinations": [{"key": claim_key(name), "name": name, "rows": rows} for name, rows in self._destinations],
        }
        running = (line for line, _ in self.open.values())
        data = b"".join([dumps(head), *self.definitions.lines, *running])
        path = os.path.join(self.path, SEGMENT.format(segment))
        fd = files.open_to_append(path, new=True)
        try:
            files.write(fd, data)
            if self._fsync:
                os.fsync(fd)
                _sync_directory(self.path)
        except BaseException:
            os.close(fd)
            with suppress(OSError):
                os.unlink(path)
            raise
        last = self._file[0]
        self._file = (fd, segment)
        self.position = (segment, len(data))
        self._limit = len(data) + self._segment_bytes
        self._oldest = self._oldest or 1
        self._torn = False
        if last >= 0:
            os.close(last)


def _sync_directory(path: str) -> None:
    with suppress(OSError):  # Windows has no such thing
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
