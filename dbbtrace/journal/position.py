"""A place in a log, and two that are in every one."""

from __future__ import annotations

__all__ = ["BEGINNING", "FINISHED", "Position"]

Position = tuple[int, int]
"""Number of a segment and an offset in it: what stands before has been read, or acknowledged."""

BEGINNING: Position = (0, 0)
FINISHED: Position = (1 << 62, 0)
"""Behind everything: what ended, and what was interrupted."""
