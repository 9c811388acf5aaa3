"""Who was first: a name that one process of all that share a journal directory may claim, for a week.

A marker is a file that is created exclusively. Without a directory that can be written the promise holds for this
process alone.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

from dbbtrace.journal import files
from dbbtrace.model.identity import sha256

__all__ = ["Markers"]

_FOLDER = "claims"
_KEPT = 7 * 86400


class Markers:
    """The claims under one journal directory."""

    def __init__(self, journal_dir: str | None) -> None:
        self._folder = os.path.join(journal_dir, _FOLDER) if journal_dir is not None else None
        self._here: set[str] = set()

    def claim(self, name: str) -> bool:
        """True for the first caller of this name."""
        if name in self._here:
            return False
        self._here.add(name)
        if self._folder is None:
            return True
        path = os.path.join(self._folder, sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32])
        try:
            files.make_directory(self._folder)
            self._forget_old()
            fd = files.open_to_append(path, new=True)
            try:
                files.write(fd, f"{name}\n".encode(errors="backslashreplace"))
            finally:
                os.close(fd)
        except FileExistsError:
            return False
        except OSError:
            return True
        return True

    def _forget_old(self) -> None:
        assert self._folder is not None
        with suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    if time.time() - entry.stat().st_mtime > _KEPT:
                        os.unlink(entry.path)
