"""The text of a small file that somebody saved: UTF-8, or what Notepad and PowerShell make of it. No large files."""

from __future__ import annotations

__all__ = ["decoded"]

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def decoded(content: bytes) -> str:
    """The text: UTF-8; with a byte order mark also UTF-16.

    Raises:
        ValueError: it is neither.
    """
    return content.decode("utf-16" if content[:2] in _UTF_16 else "utf-8-sig")
