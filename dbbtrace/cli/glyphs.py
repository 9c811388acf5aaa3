"""The characters and colours in which a terminal shows how things went."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["STYLES", "Glyphs", "glyphs"]

STYLES = {
    "Succeeded": "green",
    "Failed": "bold red",
    "Skipped": "yellow",
    "Warned": "yellow",
    "Unknown": "yellow",
    "Running": "cyan",
}


@dataclass(frozen=True)
class Glyphs:
    """The characters of the tree."""

    branch: str
    last: str
    trunk: str
    bar: str
    tick: str
    signs: dict[str, str]


_DRAWN = Glyphs(
    "├─ ",
    "└─ ",
    "│  ",
    "█",
    "▏",
    {
        "Succeeded": "✓",
        "Failed": "✗",
        "Skipped": "○",
        "Warned": "!",
        "Unknown": "?",
        "Running": "…",
        "Unfinished": "?",
        "Incomplete": "!",
    },
)
_TYPED = Glyphs(
    "|- ",
    "`- ",
    "|  ",
    "#",
    "|",
    {
        "Succeeded": "+",
        "Failed": "x",
        "Skipped": "o",
        "Warned": "!",
        "Unknown": "?",
        "Running": ".",
        "Unfinished": "?",
        "Incomplete": "!",
    },
)


def glyphs(*, ascii_only: bool) -> Glyphs:
    """The characters for a terminal: line characters, or ASCII if its encoding has no others."""
    return _TYPED if ascii_only else _DRAWN
