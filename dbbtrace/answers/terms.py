"""What verdicts depend on besides the warehouse: settings, and what this machine's journal knows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dbbtrace.answers.reasons import Here

__all__ = ["Terms", "Tolerance"]


@dataclass(frozen=True)
class Tolerance:
    """How far the sources of a KPI may differ. The larger of the two counts."""

    absolute: float = 0.0
    relative: float = 1e-9
    """Share of the larger amount."""
    by_kpi: dict[str, float] = field(default_factory=dict)
    """KPI → absolute difference that is allowed for it alone."""

    def allows(self, kpi: str, low: float, high: float) -> bool:
        """Whether the difference is small enough."""
        allowed = self.by_kpi.get(kpi)
        if allowed is None:
            allowed = max(self.absolute, self.relative * max(abs(low), abs(high)))
        return high - low <= allowed


@dataclass(frozen=True)
class Terms:
    """The terms by which runs are judged; by default those without any setting."""

    zone: str = "Europe/Brussels"
    """Where the platform's slots are local time."""
    tolerance: Tolerance = field(default_factory=Tolerance)
    here: Mapping[str, Here] = field(default_factory=dict)
    """Run id → what the journal of this machine knows of it."""
    unread: tuple[str, ...] = ()
    """Journals of this machine that could not be read, and why: nobody knows what waits in them."""
