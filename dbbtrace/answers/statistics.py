"""The few statistics that answers use, in one place, so that SQL, terminal and page mean the same by a word. Pure."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["median", "p95"]


def median(values: Sequence[float]) -> float | None:
    """The middle one; of an even number the mean of the middle two; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def p95(values: Sequence[float]) -> float | None:
    """The least that at most 5 in 100 exceed (nearest rank); None of none."""
    return sorted(values)[(len(values) * 95 + 99) // 100 - 1] if values else None
