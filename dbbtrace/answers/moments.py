"""Reads the points in time that people write: ``36h``, ``yesterday 18:00``, ``2026-11-24 08:00 Europe/Brussels``. Pure.

A written time without a zone is UTC, because every answer shows UTC. ``today``, ``yesterday`` and a bare ``08:00`` are
local: days and times of day in the time zone in which runs are scheduled.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, timezone, tzinfo

from dbbtrace.answers.suggest import suggestion
from dbbtrace.errors import UsageError
from dbbtrace.model.times import to_datetime, to_unix_nanos

__all__ = ["day_of", "duration_meant", "moment_meant", "zone_named"]

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_PART = re.compile(r"(\d{1,6})\s*([smhdw])\s*")
_ZONE = re.compile(r"(?P<time>.*?)\s+(?P<zone>UTC|[A-Za-z]+(?:/[A-Za-z0-9_+-]+)+)", re.DOTALL)
_DAY = re.compile(r"(?P<day>now|today|yesterday|tomorrow)?\s*(?P<clock>\d{1,2}:\d{2}(?::\d{2})?)?", re.IGNORECASE)


def moment_meant(text: str, zone: tzinfo, now: datetime | None = None) -> datetime:
    """The point in time that the text means.

    Args:
        text: a time, how long ago, or ``now``, ``today``, ``yesterday`` with or without a time of day; a zone may
            stand behind it.
        zone: for days and times of day where the text names no zone.
        now: the present, for tests.

    Raises:
        UsageError: it means none.
    """
    now = now or datetime.now(timezone.utc)
    named = _ZONE.fullmatch(text.strip())
    if named is not None:
        zone = zone_named(named["zone"])
    try:
        ago = duration_meant(text)
        if ago is not None:
            return now - ago
        if named is None:
            return _on_a_day(text, zone, now) or to_datetime(to_unix_nanos(text))
        return _on_a_day(named["time"], zone, now) or _local(datetime.fromisoformat(named["time"].strip()), zone)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is not a time: write 2026-11-24, 2026-11-24T16:45:00Z, 2026-11-24 08:00 Europe/Brussels, "
            "yesterday, 36h or 7d"
        ) from None


def duration_meant(text: str) -> timedelta | None:
    """``90m``, ``1h 30m``, ``45s``; None for anything else."""
    text = text.strip().lower()
    if not re.fullmatch(f"(?:{_PART.pattern})+", text):
        return None
    return sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in _PART.findall(text)), timedelta())


def zone_named(name: str) -> tzinfo:
    """The time zone of that name.

    Raises:
        UsageError: there is none.
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

    if name.upper() == "UTC":
        return timezone.utc
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = available_timezones()
        hint = suggestion(name, known) if known else "; this Python has no time zones: pip install tzdata"
        raise UsageError(f"no time zone {name!r}{hint}") from None


def day_of(text: str, zone: tzinfo, now: datetime) -> tuple[datetime, datetime] | None:
    """Start and end of the day that ``today`` or ``yesterday`` means; None for any other text."""
    days = {"today": 0, "yesterday": 1}.get(text.strip().lower())
    if days is None:
        return None
    day = now.astimezone(zone).date() - timedelta(days=days)
    return _midnight(day, zone), _midnight(day + timedelta(days=1), zone)


def _midnight(day: date, zone: tzinfo) -> datetime:
    return _local(datetime.combine(day, time()), zone)


def _on_a_day(text: str, zone: tzinfo, now: datetime) -> datetime | None:
    """``yesterday 18:00``, ``today``, ``08:00``, ``now``; None for any other text."""
    found = _DAY.fullmatch(text.strip())
    if found is None or not (found["day"] or found["clock"]):
        return None
    word = (found["day"] or "today").lower()
    if word == "now":
        if found["clock"]:
            raise ValueError(text)
        return now
    day = now.astimezone(zone).date() - timedelta(days={"yesterday": 1, "tomorrow": -1}.get(word, 0))
    hour, _, rest = (found["clock"] or "0:00").partition(":")
    return _local(datetime.combine(day, time.fromisoformat(f"{hour:0>2}:{rest}")), zone)


def _local(at: datetime, zone: tzinfo) -> datetime:
    return (at if at.tzinfo is not None else at.replace(tzinfo=zone)).astimezone(timezone.utc)
