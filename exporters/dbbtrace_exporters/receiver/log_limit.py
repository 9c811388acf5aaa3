"""At most so many log lines of one kind a minute: what senders do must not fill the receiver's disk.

A kind is a logger and the text before its arguments are put in. What was kept back is counted and said in one line.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dbbtrace.diagnostics import log

__all__ = ["LogLimit", "limited"]

LINES, SECONDS = 5, 60.0
"""Lines of one kind, and the seconds in which they may come."""
_KINDS = 100
"""Kinds that are told apart; all further ones count as one."""
_LOGGERS = ("dbbtrace", "uvicorn.error", "asyncio")


class LogLimit(logging.Filter):
    """Lets the first lines of each kind through, and counts the others."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: dict[str, int] = {}
        self._since = time.monotonic()
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        kind = f"{record.name}: {str(record.msg)[:100]}"
        with self._lock:
            kind = kind if kind in self._lines or len(self._lines) < _KINDS else "other lines"
            self._lines[kind] = self._lines.get(kind, 0) + 1
            return self._lines[kind] <= LINES

    def tell(self, *, now: bool = False) -> None:
        """Once a minute, or now: say what was kept back, and begin anew."""
        with self._lock:
            if not now and time.monotonic() < self._since + SECONDS:
                return
            kept_back = {kind: count - LINES for kind, count in self._lines.items() if count > LINES}
            self._lines, self._since = {}, time.monotonic()
        if kept_back:
            count = sum(kept_back.values())
            most = max(kept_back, key=lambda kind: kept_back[kind])
            log.warning("%d more log line%s left out, most of them: %s", count, "s" * (count != 1), most)


@contextmanager
def limited() -> Iterator[LogLimit]:
    """Limit what dbbtrace, uvicorn and asyncio log in the block."""
    limit = LogLimit()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(limit)
    try:
        yield limit
    finally:
        limit.tell(now=True)
        for logger in loggers:
            logger.removeFilter(limit)
