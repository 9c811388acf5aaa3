"""``dbbtrace ack``: a person knows about a run or a table."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import click

from dbbtrace.cli.common import opened_warehouse, settings, terms_of, warehouse_option
from dbbtrace.cli.options import run_choice
from dbbtrace.cli.text import safe
from dbbtrace.errors import TransientError

__all__ = ["COMMANDS"]


def _until(context: click.Context, parameter: click.Parameter, value: str) -> datetime:
    """A point in time to come: a duration counts from now."""
    from dbbtrace.answers.earlier import local_zone
    from dbbtrace.answers.moments import duration_meant, moment_meant
    from dbbtrace.errors import UsageError

    try:
        now = datetime.now(timezone.utc)
        ahead: timedelta | None = duration_meant(value)
        until = now + ahead if ahead is not None else moment_meant(value, local_zone(settings().timezone))
    except (UsageError, OverflowError) as error:
        raise click.BadParameter(str(error)) from None
    if until <= now:
        raise click.BadParameter(f"{value!r} is over: write 7d, tomorrow or 2026-12-24 08:00 Europe/Brussels")
    return until


def _some_text(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter("it is empty: say why it does not matter, for others to read")
    return value.strip()


@click.command()
@warehouse_option
@click.argument("what", metavar="RUN|TABLE")
@run_choice
@click.option(
    "--reason", metavar="TEXT", required=True, callback=_some_text, help="Why it does not matter. Others will read it."
)
@click.option(
    "--until",
    metavar="TIME",
    callback=_until,
    default="7d",
    show_default=True,
    help="When it matters again: 7d, tomorrow 08:00, 2026-12-24.",
)
def ack(what: str, data_product: str | None, environment: str | None, reason: str, until: datetime) -> None:
    """Say that somebody knows about a run or a table.

    Until --until, what was found about the table (or anything in the run) does not count, nor does its absence. What
    failed, was lost or has not ended still counts, but is marked as known. `dbbtrace watch` does not report a run in
    which everything is known. TABLE may also be the name of a dbt node, model, step or KPI.

    \b
    Examples:
      dbbtrace ack mdm.Customer --data-product Sales --reason "source is down" --until 7d
      dbbtrace ack last --data-product Sales --reason "seen, fixed tomorrow" --until "tomorrow 12:00"
    """
    import dbbtrace
    from dbbtrace.answers import run_keys, verdict_of
    from dbbtrace.operate.ack import acknowledge, meant

    known = settings()
    with opened_warehouse() as warehouse:
        run_id, name = meant(warehouse, what, data_product=data_product, environment=environment, zone=known.timezone)
        [key] = run_keys(warehouse, among=[run_id])
    dbbtrace.configure(warehouse=known.warehouse)
    acknowledge(run_id, name, reason, until, data_product=key.data_product, environment=key.environment)
    arrived = dbbtrace.flush(known.rows_timeout)
    dbbtrace.shutdown()
    if not arrived:
        raise TransientError("the acknowledgement waits in the journal: run `dbbtrace flush`")
    what = f"run {run_id}" if name == run_id else f"{name} of {key.data_product or 'runs by hand'}"
    click.echo(f"{safe(what)} is acknowledged until {until:%Y-%m-%d %H:%M} UTC")
    with opened_warehouse() as warehouse:
        said = verdict_of(warehouse, run_id, terms=terms_of(known), write=True)
    click.echo(f"run {safe(run_id)} is {said.word}")


COMMANDS = (ack,)
