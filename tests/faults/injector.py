"""Makes the file operations of this process fail below one directory: the n-th of a kind, and as many after it as told.

Works on the functions of ``os`` and on ``open``, so it knows nothing of how dbbtrace is built. Linux only: which file
a descriptor belongs to is asked of /proc.
"""

from __future__ import annotations

import builtins
import io
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["KINDS", "Injector"]

KINDS: dict[str, tuple[str, ...]] = {
    "open": ("open",),
    "read": ("read", "pread"),
    "write": ("write", "writev", "pwrite"),
    "rename": ("rename", "replace"),
    "unlink": ("unlink", "remove", "rmdir"),
    "list": ("listdir", "scandir"),
    "make": ("mkdir",),
    "sync": ("fsync", "fdatasync"),
    "stat": ("stat", "lstat", "fstat", "access"),
    "touch": ("utime", "chmod", "truncate", "ftruncate"),
}
"""Kind of operation → functions of ``os`` that carry it out."""


class Injector:
    """Counts the operations below ``root`` and fails some.

    Args:
        root: files outside of it are left alone.
        kind: one of KINDS.
        number: the errno to fail with.
        first: the first operation of the kind to fail, from 1; 0: none fails.
        count: how many fail in a row.
    """

    def __init__(self, root: Path, kind: str, number: int, first: int, count: int) -> None:
        self._root = os.path.realpath(root) + os.sep
        self.kind, self._number, self._first, self._count = kind, number, first, count
        self._readlink, self._open = os.readlink, builtins.open
        self.seen: Counter[str] = Counter()
        self.failed = 0

    def install(self) -> None:
        """From now on, for the rest of this process."""
        for kind, names in KINDS.items():
            for name in names:
                if hasattr(os, name):
                    setattr(os, name, self._wrapped(kind, getattr(os, name)))
        builtins.open = io.open = self._opened

    def stop(self) -> None:
        """Fail no more."""
        self._first = 0

    def _wrapped(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(target: Any = ".", *arguments: Any, **keywords: Any) -> Any:
            self._met(kind, target)
            return function(target, *arguments, **keywords)

        return call

    def _opened(self, file: Any, mode: str = "r", *arguments: Any, **keywords: Any) -> Any:
        if not self._is_ours(file):
            return self._open(file, mode, *arguments, **keywords)
        if not isinstance(file, int):  # else it is open, and has been met
            self._met("open", file)
        if "b" not in mode or "opener" in keywords:
            return self._open(file, mode, *arguments, **keywords)
        raw = _File(file if isinstance(file, int) else os.fspath(file), mode.replace("b", ""))
        raw.met = lambda kind: self._met(kind, file)
        buffering = arguments[0] if arguments else keywords.get("buffering", -1)
        if buffering == 0:
            return raw
        return io.BufferedReader(raw) if "r" in mode and "+" not in mode else io.BufferedWriter(raw)

    def _met(self, kind: str, target: Any) -> None:
        if not self._is_ours(target):
            return
        self.seen[kind] += 1
        if kind == self.kind and self._first and self._first <= self.seen[kind] < self._first + self._count:
            self.failed += 1
            raise OSError(self._number, os.strerror(self._number), target if isinstance(target, str) else None)

    def _is_ours(self, target: Any) -> bool:
        if isinstance(target, int):
            try:
                target = self._readlink(f"/proc/self/fd/{target}")
            except OSError:
                return False
        if isinstance(target, bytes):
            target = os.fsdecode(target)
        path = os.path.join(os.getcwd(), os.fspath(target))
        return (path + os.sep).startswith(self._root)


class _File(io.FileIO):
    """A file whose reads and writes are met, too."""

    met: Callable[[str], None] = staticmethod(lambda kind: None)  # type: ignore[assignment]

    def readinto(self, buffer: Any) -> int | None:
        self.met("read")
        return super().readinto(buffer)

    def readall(self) -> bytes:
        self.met("read")
        return super().readall()

    def read(self, size: int | None = -1) -> bytes | None:
        self.met("read")
        return super().read(-1 if size is None else size)

    def write(self, data: Any) -> int | None:
        self.met("write")
        return super().write(data)


if sys.platform != "linux":
    raise ImportError("the injector asks /proc which file a descriptor belongs to: Linux only")
