"""Formats values for people, and makes text from anywhere safe to print. Pure."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime, timezone

__all__ = ["bytes_of", "count_of", "counted", "duration_of", "moment_of", "not_in_the_table", "one_line", "safe"]

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_POINTERS = re.compile(r"\n[ \t]*[~-]*\^[~^-]*[ \t\r]*(?=\n|$)")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def safe(text: object) -> str:
    r"""The text with control and invisible characters escaped: ``\x1b``, ``\n``."""
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_spelled(letter) for letter in text)


def _spelled(letter: str) -> str:
    if unicodedata.category(letter) not in _HIDDEN:
        return letter
    if letter in _SHORT:
        return _SHORT[letter]
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def one_line(text: object) -> str:
    """The text on one line: white space becomes one space, and the rest is made ``safe``.

    Lines that only point into the line above, as databases print them (``^^^^``), are left out.
    """
    return safe(re.sub(r"\s+", " ", _POINTERS.sub("", str(text))).strip())


def duration_of(seconds: float | None) -> str:
    """``0.05 s``, ``12.4 s``, ``3 min 05 s``, ``2 h 04 min``; '' when unknown."""
    if seconds is None:
        return ""
    if seconds < 9.995:
        return f"{max(seconds, 0):.2f} s"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def count_of(number: int | None) -> str:
    """``336,776``; '' when unknown."""
    return "" if number is None else f"{number:,}"


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """``1 gap``, ``2 gaps``; with ``plural`` for more than an "s": ``1 span waits``, ``2 spans wait``."""
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"


def not_in_the_table(number: int, thing: str) -> str:
    """That so many rows were lost, in a sentence."""
    things = thing if number == 1 else "model refreshes" if thing.endswith("h") else f"{thing}s"
    return f"{number:,} {things} that a job recorded {'is' if number == 1 else 'are'} not in the table"


def bytes_of(number: int | None) -> str:
    """``386 B``, ``9.2 MB``, ``31 MB``, decimal units; '' when unknown."""
    if number is None:
        return ""
    if abs(number) < 1000:
        return f"{number} B"
    power = min((len(str(abs(number))) - 1) // 3, len(_UNITS) - 1)
    size = number / 1000**power
    return f"{size:.1f} {_UNITS[power]}" if abs(size) < 9.95 else f"{size:.0f} {_UNITS[power]}"


def moment_of(moment: datetime | None) -> str:
    """``2026-11-24 16:45:00``, in UTC; '' when unknown."""
    if moment is None:
        return ""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
    return aware.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
