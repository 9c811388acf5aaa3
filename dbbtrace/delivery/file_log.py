"""A journal as a log: lines of files, of which a destination gets the spans that ended. Reads what stands on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.delivery.queue import Entry, Part, Queue
from dbbtrace.journal.position import Position

if TYPE_CHECKING:
    from dbbtrace.journal.reader import Line

__all__ = ["FileLog", "SetAsideLine"]

SetAsideLine = Callable[[str, Position, bytes], None]
"""Copies a line that makes no sense to the dead letters: journal, position behind it, text."""


class FileLog:
    """A journal on disk.

    Args:
        path: the journal's directory.
        keep: what copies lines that make no sense to the dead letters; raises OSError where it can't.
        definitions: what its writer has defined, where that is known without reading.
    """

    def __init__(self, path: str, keep: SetAsideLine, definitions: dict[int, Any] | None = None) -> None:
        self.path = path
        self.queues: list[Queue] = []
        """Those of all destinations."""
        self.kept: set[Position] = set()
        """Where there are lines that make no sense, once they have been copied."""
        self._keep = keep
        self._learns = definitions is None
        self._definitions = {} if definitions is None else definitions
        self._defined: set[int] = set()
        """Segments of which the definitions are known."""

    def read_lines(self, position: Position, most: int, end: Position | None = None) -> Part:
        """The next spans on disk that ended behind the position, at most so many; before the end, if one is given.

        Raises:
            OSError: the very next line can't be read; what can be read before such a place is given first.
        """
        from dbbtrace.journal import reader  # a job whose destinations keep up never needs it

        self._define(position)
        entries: list[Entry] = []
        senseless: list[Line] = []
        behind = position
        try:
            for line in reader.lines(self.path, position, end):
                fields = reader.parse(line.text) or {}
                span = self._read(fields)
                if span is not None:
                    entries.append(Entry(line.position, span))
                elif line.text == b"\n":  # the line before was torn, and its writer knows
                    if senseless and senseless[-1].position == behind:
                        senseless.pop()
                elif not line.text or (not reader.makes_sense(fields) and line.text.endswith(b"\n")):
                    senseless.append(line)  # a last one that has no end may be torn
                behind = line.position
                if len(entries) == most:
                    break
            else:
                behind = max(behind, end or behind)
        except OSError:
            if behind == position or (senseless and senseless[-1].position == behind):
                raise
        for line in senseless:
            self.set_aside(*line)
        return entries, behind

    def _read(self, fields: Mapping[str, Any]) -> ReadableSpan | None:
        """The span of a line, if it ended one; remembers what a line defines."""
        from dbbtrace.journal import reader

        kind = next(iter(fields), "")
        if kind == "define" and self._learns:
            reader.define(fields, self._definitions)
        return reader.decode(kind, fields, self._definitions) if kind == "end" else None

    def _define(self, position: Position) -> None:
        """Know what has been defined before the position: each segment repeats all definitions."""
        from dbbtrace.journal import reader

        if self._learns and position[0] not in self._defined:
            for _, text in reader.lines(self.path, (position[0], 0), position):
                if text.startswith(b'{"define"'):
                    reader.define(reader.parse(text) or {}, self._definitions)
            self._defined.add(position[0])

    def set_aside(self, position: Position, text: bytes) -> None:
        """Copy a line that makes no sense to the dead letters, once; an empty one says that a segment is missing."""
        if position not in self.kept:
            self._keep(self.path, position, text or b"the segment before this one is missing")
            self.kept.add(position)
            for queue in self.queues:
                queue.lose(1)
