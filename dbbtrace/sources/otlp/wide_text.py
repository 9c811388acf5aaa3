"""Files in UTF-16 or UTF-32 → the same text in UTF-8: PowerShell's ``>`` writes the former. Constant memory.

It knows nothing of what the text says, and leaves every other file as it is.
"""

from __future__ import annotations

import codecs
import io
from typing import Any

__all__ = ["as_utf8"]

_CHUNK = 64 << 10
_BEGINNINGS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"{\0", "utf-16-le"),
)


def as_utf8(file: io.BufferedReader) -> io.BufferedReader:
    """The file, in UTF-8 where it says that it is UTF-16 or UTF-32. It is at its beginning."""
    begin = file.peek(4)[:4]
    for bytes_, encoding in _BEGINNINGS:
        if begin.startswith(bytes_):
            return io.BufferedReader(_Transcoded(file, encoding))
    return file


class _Transcoded(io.RawIOBase):
    def __init__(self, file: io.BufferedReader, encoding: str) -> None:
        self._file = file
        self._decode = codecs.getincrementaldecoder(encoding)("replace").decode
        self._rest = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As of any file."""
        while not self._rest:
            chunk = self._file.read1(_CHUNK)
            self._rest = self._decode(chunk, not chunk).encode("utf-8", "replace")
            if not chunk:
                break
        part = self._rest[: len(buffer)]
        buffer[: len(part)] = part
        self._rest = self._rest[len(part) :]
        return len(part)
