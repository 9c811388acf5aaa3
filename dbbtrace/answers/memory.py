"""What ``watch`` has told: once a run and reason, and once when a product is well again. A small file keeps it.

The file is replaced as a whole, so that a kill leaves the old one or the new one. If it can't be read, everything that
is wrong is told again: twice is better than never.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from dbbtrace.diagnostics import log

__all__ = ["Memory"]

_KEPT = timedelta(days=40)


class Memory:
    """What was told about one warehouse.

    Args:
        path: the file; None: nothing outlives the process.
        about: name of the warehouse.
    """

    def __init__(self, path: Path | None = None, about: str = "") -> None:
        self._path = path
        self._about = about
        known = self._read().get(about, {})
        self._told: dict[str, str] = dict(known.get("told", {}))
        self._ill: dict[str, str] = dict(known.get("ill", {}))

    def has_told(self, marks: Iterable[str]) -> bool:
        """Whether all of this was told before."""
        return all(mark in self._told for mark in marks)

    def tell(self, marks: Iterable[str], now: datetime) -> None:
        """Keep that this was told."""
        self._told.update(dict.fromkeys(marks, now.astimezone(timezone.utc).isoformat(timespec="seconds")))

    def fell_ill(self, whose: str, run_id: str | None) -> None:
        """Keep that the newest that was told of a product is a problem."""
        self._ill[whose] = run_id or ""

    def ill(self) -> dict[str, str]:
        """Product and environment of which a problem was told → its run; ''."""
        return dict(self._ill)

    def well(self, whose: str) -> None:
        """Keep that a product was told to be well again."""
        self._ill.pop(whose, None)

    def save(self, now: datetime) -> None:
        """Put it into the file, without what is too old to matter."""
        if self._path is None:
            return
        oldest = (now - _KEPT).astimezone(timezone.utc).isoformat(timespec="seconds")
        self._told = {mark: at for mark, at in self._told.items() if at >= oldest}
        everything = self._read()
        everything[self._about] = {"told": self._told, "ill": self._ill}
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(everything, indent=1), encoding="utf-8")
            os.replace(beside, self._path)
        except OSError as error:
            log.warning("what was told can't be kept in %s: %s; it will be told again", self._path, error)
            with suppress(OSError):
                beside.unlink()

    def _read(self) -> dict[str, Any]:
        if self._path is None:
            return {}
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
            return {
                name: {kind: {str(key): str(value) for key, value in kept.items()} for kind, kept in each.items()}
                for name, each in known.items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError) as error:
            log.warning("what was told can't be read from %s: %s; it is told again", self._path, error)
            return {}
