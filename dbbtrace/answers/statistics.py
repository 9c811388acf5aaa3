"""The statistics that answers use, in one place, so that SQL, terminal and pages agree. Pure."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["median", "p95"]


def median(values: Sequence[float]) -> float | None:
    """The middle value. For an even number, the mean of the middle two. None if there are no values."""
    if not values:
        return None
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def p95(values: Sequence[float]) -> float | None:
    """The smallest value that at most 5% exceed (nearest rank). None if there are no values."""
    return sorted(values)[(len(values) * 95 + 99) // 100 - 1] if values else None
