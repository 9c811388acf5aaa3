"""A journal as a log: lines of files, of which a destination gets the spans that ended. Reads what stands on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.delivery.queue import Damaged, Entry, Part, Queue
from dbbtrace.journal.position import Position

__all__ = ["FileLog", "SetAsideLine"]

SetAsideLine = Callable[[str, Position, bytes], None]
"""Copies a line that makes no sense to the dead letters: journal, position behind it, text."""


class FileLog:
    """A journal on disk.

    Args:
        path: the journal's directory.
        keep: what copies lines that make no sense to the dead letters.
    """

    def __init__(self, path: str, keep: SetAsideLine) -> None:
        self.path = path
        self.queues: list[Queue] = []
        """Those of all destinations."""
        self._keep = keep
        self._kept: set[Position] = set()
        self._definitions: dict[int, Any] = {}
        self._defined: set[int] = set()
        """Segments of which the definitions are known."""

    def read_lines(self, position: Position, most: int, end: Position | None) -> Part:
        """The next spans on disk that ended behind the position, at most so many; before the end, if one is given.

        Raises:
            OSError: the very next line can't be read; what can be read before such a place is given first.
        """
        from dbbtrace.journal import reader  # a job whose destinations keep up never needs it

        self._define(position)
        entries: list[Entry] = []
        damaged: list[Damaged] = []
        senseless: Damaged | None = None
        behind = position
        try:
            for behind, text in reader.lines(self.path, position, end):
                if text == b"\n":  # the line before was torn, and its writer knows
                    senseless = None
                    continue
                if senseless is not None:
                    damaged.append(senseless)
                    senseless = None
                if not text:
                    damaged.append(Damaged(behind, b"the segment before this one is missing"))
                    continue
                fields = reader.parse(text) or {}
                span = self._read(fields)
                if span is not None:
                    entries.append(Entry(behind, span))
                    if len(entries) == most:
                        return Part(entries, damaged, behind, False)
                elif not reader.makes_sense(fields) and text.endswith(b"\n"):  # a last line may be torn
                    senseless = Damaged(behind, text)
        except OSError:
            if behind == position or senseless is not None:
                raise
            return Part(entries, damaged, behind, False)
        if senseless is not None:
            damaged.append(senseless)
        return Part(entries, damaged, behind if end is None else max(behind, end), True)

    def _read(self, fields: Mapping[str, Any]) -> ReadableSpan | None:
        """The span of a line, if it ended one; remembers what a line defines."""
        from dbbtrace.journal import reader

        kind = next(iter(fields), "")
        if kind == "define":
            self._learn(fields)
        return reader.decode(kind, fields, self._definitions) if kind == "end" else None

    def _define(self, position: Position) -> None:
        """Know what has been defined before the position: each segment repeats all definitions."""
        from dbbtrace.journal import reader

        if position[0] not in self._defined:
            for _, text in reader.lines(self.path, (position[0], 0), position):
                if text.startswith(b'{"define"'):
                    self._learn(reader.parse(text) or {})
            self._defined.add(position[0])

    def _learn(self, fields: Mapping[str, Any]) -> None:
        from dbbtrace.journal import reader

        reader.define(fields, self._definitions)

    def set_aside(self, line: Damaged) -> bool:
        if line.position in self._kept:
            return False
        self._keep(self.path, line.position, line.text)
        self._kept.add(line.position)
        return True
