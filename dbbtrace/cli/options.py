"""Options that several commands share: points in time, durations, which runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

import click

__all__ = ["duration", "moment", "run_choice", "since_option"]

F = TypeVar("F", bound=Callable[..., Any])
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_PART = re.compile(r"(\d{1,6})\s*([smhdw])\s*")


def moment(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """A point in time, or how long ago it was."""
    from dbbtrace.model.times import to_datetime, to_unix_nanos

    if value is None:
        return None
    try:
        ago = _duration(value)
        return datetime.now(timezone.utc) - ago if ago is not None else to_datetime(to_unix_nanos(value))
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{value!r} is not a time: write 2026-11-24, 2026-11-24T16:45:00Z, 36h or 7d"
        ) from None


def duration(context: click.Context, parameter: click.Parameter, value: str | None) -> timedelta | None:
    """A duration: ``90m``, ``1h 30m``, ``45s``."""
    if value is None:
        return None
    try:
        took = _duration(value)
    except OverflowError:
        took = None
    if took is None:
        raise click.BadParameter(f"{value!r} is not a duration: write 90m, 1h30m, 45s or 2d")
    return took


def _duration(text: str) -> timedelta | None:
    text = text.strip().lower()
    if not re.fullmatch(f"(?:{_PART.pattern})+", text):
        return None
    return sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in _PART.findall(text)), timedelta())


def since_option(default: str | None = None) -> Callable[[F], F]:
    """``--since TIME``."""
    return click.option(
        "--since",
        metavar="TIME",
        callback=moment,
        default=default,
        show_default=default is not None,
        help="Only runs that started since then: 2026-11-24, 36h, 7d.",
    )


def run_choice(command: F) -> F:
    """``--data-product`` and ``--environment``."""
    command = click.option("--environment", metavar="E", help="Only runs in this environment: TST, ACC, QUAL or PRD.")(
        command
    )
    return click.option("--data-product", metavar="P", help="Only runs of this data product.")(command)
