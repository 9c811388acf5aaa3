"""Lays out text for a terminal. ``dbbtrace.answers.readable`` formats the values. Pure."""

from __future__ import annotations

from io import StringIO

from dbbtrace.answers.readable import bytes_of, count_of, counted, duration_of, moment_of, one_line, safe

__all__ = [
    "bytes_of",
    "count_of",
    "counted",
    "duration_of",
    "end_cut",
    "middle_cut",
    "moment_of",
    "one_line",
    "safe",
    "wrapped",
]


def wrapped(text: object, width: int, limit: int | None) -> list[str]:
    """The text in lines of at most ``width`` columns, keeping its own line ends. After ``limit`` lines comes ``…``."""
    from rich.cells import cell_len

    lines = []
    for line in str(text).replace("\r\n", "\n").split("\n"):
        line = safe(line.replace("\t", " ").rstrip())
        if line.strip():
            lines += [line] if cell_len(line) <= width else _broken(line, max(width, 10))
    if limit is not None and len(lines) > limit:
        lines = [*lines[: limit - 1], middle_cut(lines[limit - 1] + " …", width)]
    return lines


def _broken(line: str, width: int) -> list[str]:
    from rich.console import Console
    from rich.text import Text

    return [part.plain.rstrip() for part in Text(line).wrap(Console(file=StringIO(), width=width), width)]


def end_cut(text: str, width: int) -> str:
    """The text in at most ``width`` columns. A longer text keeps its start: a sentence says first what it is about."""
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= width else set_cell_size(text, max(width - 1, 0)).rstrip() + "…"[:width]


def middle_cut(text: str, width: int) -> str:
    """The text in at most ``width`` columns. A longer text keeps its start and end, which make names distinct."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    if width <= 1:
        return "…"[:width]
    tail = (width - 1) // 2
    end = text
    while cell_len(end) > tail:
        end = end[1:]
    return set_cell_size(text, width - 1 - cell_len(end)) + "…" + end
