"""What something shows: which load of each table arrived there, and the sentence that sums it up. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dbbtrace.answers.ages import Age
from dbbtrace.answers.inputs import Step
from dbbtrace.answers.readable import counted, moment_of
from dbbtrace.answers.statistics import median

__all__ = ["AsOf", "ShownTable", "is_older", "usual_start"]


@dataclass(frozen=True)
class ShownTable:
    """A table as it is shown: which load of it arrived."""

    name: str
    loaded_at: datetime | None
    """Start of the load that is shown; None: nobody knows of one."""
    run_id: str | None
    age: Age | None
    """How old the table itself is; None: no load of it is known."""
    is_overdue: bool
    """Newer data should long be here by the table's usual interval, or its last load failed."""
    way: tuple[Step, ...]
    """From what was asked for, down to what reads the table."""
    stuck: str | None = None
    """Newer data was loaded and did not get past this: the label of a model."""

    def __str__(self) -> str:
        if self.loaded_at is None:
            return f"{self.name}, of which no load is known"
        if self.stuck is not None and self.age is not None:
            return f"{self.name}, loaded at {moment_of(self.age.last_success)}, not in {self.stuck} yet"
        if self.age is not None and self.age.failing_since is not None:
            return f"{self.name}, failing since {_day(self.age.failing_since)}"
        return f"{self.name}, not loaded since {_day(self.loaded_at)}"


@dataclass(frozen=True)
class AsOf:
    """What something shows."""

    name: str
    kind: str
    """semantic model, exposure, model or data product."""
    at: datetime
    as_of: datetime | None
    """Start of the oldest load that it shows, of the tables that come as often as most and are not overdue; None:
    nobody can tell."""
    tables: tuple[ShownTable, ...]
    """The oldest first."""
    mode: str | None = None
    """Of a semantic model: import, direct lake or directquery."""
    refreshed_at: datetime | None = None
    """Start of the last refresh that succeeded, of an import model."""
    failing_since: datetime | None = None
    """Start of the first refresh that failed since."""
    unknown: tuple[str, ...] = ()
    """What of its inputs nobody knows more about."""
    parts: tuple[AsOf, ...] = ()
    """Of a data product: what it consists of."""

    @property
    def overdue(self) -> tuple[ShownTable, ...]:
        """Tables whose next load should long be there, the oldest first."""
        return tuple(table for table in self.tables if table.is_overdue)

    @property
    def headline(self) -> str:
        """One sentence: ``Finance shows data as of 2026-11-24 03:12:00 UTC; overdue: mdm.Customer, failing ...``."""
        if self.as_of is not None:
            text = f"{self.name} shows data as of {moment_of(self.as_of)} UTC"
        elif self.mode == "import" and self.refreshed_at is None:
            text = f"{self.name} was never refreshed"
        else:
            text = f"nobody can tell how old the data is that {self.name} shows"
        if self.failing_since is not None:
            text += f"; its refresh is failing since {_day(self.failing_since)}"
        if self.overdue:
            more = f" and {counted(len(self.overdue) - 1, 'other')}" if len(self.overdue) > 1 else ""
            text += f"; overdue: {self.overdue[0]}{more}"
        if self.unknown:
            text += f"; unknown: {', '.join(self.unknown[:3])}"
            text += f" and {counted(len(self.unknown) - 3, 'other')}" if len(self.unknown) > 3 else ""
        return text


def _day(at: datetime) -> str:
    return f"{at:%A} {moment_of(at)[:16]}"


def usual_start(tables: Sequence[ShownTable]) -> datetime | None:
    """Start of the oldest load, of the tables that come as often as most; what is overdue is told apart."""
    loaded = [table for table in tables if table.loaded_at is not None]
    fine = [table for table in loaded if not table.is_overdue] or loaded
    usual = [table.age.usual.total_seconds() for table in fine if table.age and table.age.usual]
    middle = median(usual)
    if middle is not None:
        often = [
            table for table in fine if table.age and table.age.usual and table.age.usual.total_seconds() <= 2 * middle
        ]
        fine = often or fine
    return min((table.loaded_at for table in fine if table.loaded_at), default=None)


def is_older(one: ShownTable, other: ShownTable) -> bool:
    """Whether the first shows older data of a table; none is older than any."""
    if one.loaded_at is None or other.loaded_at is None:
        return one.loaded_at is None and other.loaded_at is not None
    return one.loaded_at < other.loaded_at
