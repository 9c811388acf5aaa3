"""How the journals of a process are kept, and where what can't be delivered goes. Opens nothing by itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.diagnostics import log, warn_once
from dbbtrace.journal.position import Position

if TYPE_CHECKING:
    from dbbtrace.delivery.adopted_log import Resolve

__all__ = ["Options"]


def _absolute(path: str | os.PathLike[str] | None) -> str | None:
    return os.path.abspath(os.fspath(path)) if path is not None else None


class Options:
    """How a journal is kept; see ``Delivery``."""

    def __init__(
        self,
        journal_dir: str | os.PathLike[str] | None,
        mirror: str | os.PathLike[str] | None,
        fsync: bool,
        heartbeat: float,
        silent_after: float,
        segment_bytes: int,
        resolve: Resolve | None,
    ) -> None:
        self.journal_dir = _absolute(journal_dir)
        self.mirror_dir = _absolute(mirror)
        self.fsync = fsync
        self.heartbeat = heartbeat
        self.silent_after = silent_after
        self.segment_bytes = segment_bytes
        self.resolve = resolve

    def set_aside(self, destination: str, refused: Sequence[tuple[ReadableSpan, str]]) -> None:
        """Write what a destination refused to the dead letters; without a directory it is lost."""
        if self.journal_dir is None:
            spans, reason = "1 span is" if len(refused) == 1 else f"{len(refused)} spans are", refused[0][1]
            log.error("%s refused by %s and lost, as there is no journal directory: %s", spans, destination, reason)
            return
        from dbbtrace.delivery.dead_letter import DeadLetters

        DeadLetters(self.journal_dir).write(destination, refused)

    def keep_damaged(self, journal: str, position: Position, text: bytes) -> None:
        """Copy a line of a journal that makes no sense to the dead letters."""
        from dbbtrace.delivery.dead_letter import DeadLetters

        DeadLetters(str(self.journal_dir)).write_damaged(journal, position, text)
        warn_once(
            f"damaged:{journal}",
            "the journal %s has lines that make no sense; they are kept in %s/dead-letters, the rest is delivered",
            journal,
            self.journal_dir,
        )
