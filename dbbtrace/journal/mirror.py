"""A copy of the journal where it outlives the machine: the lakehouse mount of a Fabric notebook, a shared directory.

A thread of its own appends to the copy what the journal has gained, whole lines only; a span never waits for it, and a
mount that hangs holds up nothing else. The copy is a journal like any other: whoever recovers from that directory
adopts it once its owner is silent. Only appends, creates and deletes files there, and never reads them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

from dbbtrace.diagnostics import warn_once
from dbbtrace.journal import files
from dbbtrace.journal.writer import remove
from dbbtrace.tracing.threads import Answer, Bell, ours

__all__ = ["EVERY", "Mirror"]

EVERY = 5.0
"""Seconds between two copies."""
_CHUNK = 1024 * 1024


class Mirror:
    """Copies the journals of one process.

    Args:
        current: path of the journal that is written now; None while there is none.
        directory: where the copies go.
    """

    def __init__(self, current: Callable[[], str | None], directory: str, every: float = EVERY) -> None:
        self._current = current
        self._directory = directory
        self._every = every
        self._copied: dict[str, dict[str, int]] = {}
        """Path of a journal → file in it → bytes copied."""
        self._bell = Bell()
        self._closing = False
        self._asked: list[Answer] = []
        threading.Thread(target=self._run, name="dbbtrace mirror", daemon=True).start()

    def copy_now(self, timeout: float) -> bool:
        """Copy what there is; False if that takes longer than so many seconds."""
        answer = Answer()
        self._asked.append(answer)
        self._bell.ring()
        return answer.get(timeout)

    def close(self) -> None:
        """End once the journals are delivered, and with them their copies gone."""
        self._closing = True
        self._bell.ring()

    def _run(self) -> None:
        with ours():
            while not self._closing or self._copied:
                asked, self._asked = self._asked, []
                try:
                    self._copy()
                except OSError as error:
                    warn_once(
                        f"mirror:{self._directory}",
                        "the journal can't be copied to %s (%s): what waits doesn't outlive this machine",
                        self._directory,
                        error,
                    )
                for answer in asked:
                    answer.give(True)
                if not self._asked:
                    self._bell.wait(self._every)

    def _copy(self) -> None:
        current = self._current()
        if current is not None:
            self._copied.setdefault(current, {})
        for path, copied in list(self._copied.items()):
            target = os.path.join(self._directory, os.path.basename(path))
            here = _where(path)
            if here is None:  # delivered and deleted
                remove(target)
                del self._copied[path]
            elif copied and not files.exists(target):  # adopted from there: the copy is somebody else's now
                del self._copied[path]
            elif files.exists(target) and os.path.samefile(here, target):  # what is appended would be copied again
                del self._copied[path]
                raise OSError("it is the journal's own directory")
            else:
                files.make_directory(target)
                self._copy_files(here, target, copied)

    def _copy_files(self, here: str, target: str, copied: dict[str, int]) -> None:
        names = [name for name in files.regular_files(here)[0] if name.endswith((".jsonl", ".ack"))]
        names.sort(key=lambda name: (not name.endswith(".ack"), name))  # nothing is acknowledged that is not there yet
        for name in names:
            copied[name] = _append(os.path.join(here, name), os.path.join(target, name), copied.get(name, 0))
        for name in set(copied) - set(names):  # acknowledged by all
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(target, name))
            del copied[name]


def _where(path: str) -> str | None:
    """Where the journal stands now: as it was made, or adopted; None when it is gone."""
    if files.exists(path):
        return path
    folder, name = os.path.split(path)
    with suppress(FileNotFoundError):
        for entry in files.directories(folder)[0]:
            if entry.startswith(f"{name}@"):
                return os.path.join(folder, entry)
    return None


def _append(source: str, target: str, done: int) -> int:
    """Append what the source has gained behind ``done``, to the end of its last whole line; how far that is."""
    with suppress(FileNotFoundError), files.open_to_read(source) as file:
        if os.fstat(file.fileno()).st_size < done:  # acknowledgements made compact: the old ones do no harm
            done = 0
        file.seek(done)
        while chunk := file.read(_CHUNK):
            whole = chunk.rfind(b"\n") + 1 or (len(chunk) if len(chunk) == _CHUNK else 0)
            if not whole:
                break
            files.append(target, chunk[:whole])
            done += whole
            file.seek(done)
    return done
