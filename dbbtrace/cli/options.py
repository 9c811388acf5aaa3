"""Options that several commands share: points in time, durations, which runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import click

from dbbtrace.cli.completion import data_products, environments, run_ids
from dbbtrace.errors import UsageError

__all__ = ["duration", "moment", "run_argument", "run_choice", "since_option", "time_span"]

F = TypeVar("F", bound=Callable[..., Any])


def moment(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """A point in time, or how long ago it was."""
    from dbbtrace.answers.earlier import local_zone
    from dbbtrace.answers.moments import moment_meant
    from dbbtrace.settings import read

    if value is None:
        return None
    try:
        return moment_meant(value, local_zone(read()[0].timezone))
    except UsageError as error:
        raise click.BadParameter(str(error)) from None


def time_span(context: click.Context, parameter: click.Parameter, value: str) -> datetime | timedelta | None:
    """A point in time; how long ago something was stays a duration, which moves with the clock."""
    from dbbtrace.answers.moments import duration_meant

    try:
        return duration_meant(value) or moment(context, parameter, value)
    except OverflowError:
        return moment(context, parameter, value)


def duration(context: click.Context, parameter: click.Parameter, value: str | None) -> timedelta | None:
    """A duration: ``90m``, ``1h 30m``, ``45s``."""
    from dbbtrace.answers.moments import duration_meant

    if value is None:
        return None
    try:
        took = duration_meant(value)
    except OverflowError:
        took = None
    if took is None:
        raise click.BadParameter(f"{value!r} is not a duration: write 90m, 1h30m, 45s or 2d")
    return took


def since_option(default: str | None = None) -> Callable[[F], F]:
    """``--since TIME`` and ``--until TIME``."""

    def options(command: F) -> F:
        command = click.option(
            "--until", metavar="TIME", callback=moment, help="Only runs that started before then: yesterday, 2h."
        )(command)
        return click.option(
            "--since",
            metavar="TIME",
            callback=moment,
            default=default,
            show_default=default is not None,
            help="Only runs that started since then: 2026-11-24, yesterday, 36h, 7d.",
        )(command)

    return options


def run_choice(command: F) -> F:
    """``--data-product`` and ``--environment``."""
    command = click.option(
        "--environment",
        metavar="E",
        shell_complete=environments,
        help="Only runs in this environment: TST, ACC, QUAL or PRD.",
    )(command)
    return click.option(
        "--data-product", metavar="P", shell_complete=data_products, help="Only runs of this data product."
    )(command)


def run_argument(*, required: bool = True) -> Callable[[F], F]:
    """``RUN``, and which runs a word such as ``last`` chooses among."""

    def argument(command: F) -> F:
        return click.argument("run", required=required, shell_complete=run_ids)(run_choice(command))

    return argument
