"""When runs are due: ``Mon-Fri 08:00,12:30 Europe/Brussels``. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo

from dbbtrace.answers.moments import zone_named
from dbbtrace.errors import UsageError

__all__ = ["LATE_AFTER", "Schedule", "schedule_of", "schedules_of", "whose"]

LATE_AFTER = timedelta(minutes=45)
"""A run that has not started so long after it was due is overdue; one that started so long before is that run."""
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FORM = re.compile(
    r"(?:(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))?\s+)?"
    r"(?P<times>\d{1,2}:\d{2}(?:\s*,\s*\d{1,2}:\d{2})*)(?:\s+(?P<zone>\S+))?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Schedule:
    """When the runs of a product in an environment are due."""

    data_product: str
    environment: str | None
    """None: in whichever environment it runs."""
    times: tuple[time, ...]
    days: frozenset[int]
    """0 is Monday."""
    zone: tzinfo
    zone_name: str

    def covers(self, other: Schedule) -> bool:
        """Whether it is for the product and environment of the other, too."""
        place = self.environment
        is_there = place is None or place.lower() == (other.environment or "").lower()
        return self.data_product == other.data_product and is_there

    def last_due(self, now: datetime) -> datetime | None:
        """The newest point in time before now at which a run was due; None if there was none within eight days."""
        today = now.astimezone(self.zone).date()
        found = [
            due
            for ago in range(9)
            if (day := today - timedelta(days=ago)).weekday() in self.days
            for at in self.times
            if (due := datetime.combine(day, at, self.zone)) <= now
        ]
        return max(found, default=None)


def schedule_of(text: str, data_product: str, environment: str | None, zone: str) -> Schedule:
    """The schedule that the text says.

    Args:
        text: times of day with commas; days may stand before them, and a time zone behind.
        data_product, environment: whose it is.
        zone: the time zone where the text names none.

    Raises:
        UsageError: it makes no sense.
    """
    wrong = UsageError(f"{text!r} is not a schedule: write '08:00,12:30 Europe/Brussels' or 'Mon-Fri 08:00'")
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise wrong
    try:
        times = tuple(time(int(hour), int(minute)) for hour, minute in re.findall(r"(\d{1,2}):(\d{2})", found["times"]))
        first = _DAYS.index(found["first"].lower()) if found["first"] else 0
        last = _DAYS.index(found["last"].lower()) if found["last"] else first if found["first"] else 6
    except ValueError:
        raise wrong from None
    days = frozenset((first + ahead) % 7 for ahead in range((last - first) % 7 + 1))
    name = found["zone"] or zone
    return Schedule(data_product, environment, times, days, zone_named(name), name)


def schedules_of(said: Mapping[str, str], zone: str) -> list[Schedule]:
    """Those of the settings: whose → when.

    Raises:
        UsageError: one makes no sense.
    """
    return [schedule_of(when, *whose(text), zone) for text, when in said.items()]


def whose(text: str) -> tuple[str, str | None]:
    """Product and environment: ``Group-Sales PRD``, ``Group-Sales``."""
    product, _, place = text.strip().rpartition(" ")
    return (product.strip(), place) if product else (place, None)
