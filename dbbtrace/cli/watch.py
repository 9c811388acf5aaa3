"""``dbbtrace watch``: reports runs that need a person, and when all is well again."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dbbtrace.cli.alerts import BROKEN, rule_options
from dbbtrace.cli.common import opened_warehouse, settings, terms_of, warehouse_option
from dbbtrace.cli.notify import opened_outbox, send_alerts
from dbbtrace.cli.options import duration, run_choice, time_span
from dbbtrace.cli.printing import FAILURES, echo_indented, echo_line, failure_line
from dbbtrace.cli.text import counted, moment_of, one_line, safe
from dbbtrace.errors import TransientError, UsageError

if TYPE_CHECKING:
    from dbbtrace.answers import Alert
    from dbbtrace.answers.schedule import Schedule
    from dbbtrace.answers.watch import Watch
    from dbbtrace.settings import Settings

__all__ = ["COMMANDS"]


@click.command()
@warehouse_option
@run_choice
@rule_options
@click.option(
    "--expect-every",
    metavar="TIME",
    callback=duration,
    help="Report a product that has not run for this long, e.g. 26h.",
)
@click.option(
    "--schedule",
    "schedules",
    metavar="WHEN",
    multiple=True,
    help="Report a run that has not started 45 minutes after it was due: '08:00,12:30 Europe/Brussels' for the "
    "product in --data-product, or 'Sales PRD=Mon-Fri 08:00'.",
)
@click.option(
    "--since",
    metavar="TIME",
    callback=time_span,
    default="24h",
    show_default=True,
    help="Look at runs that started since then.",
)
@click.option("--every", metavar="TIME", callback=duration, default="60s", show_default=True, help="How often to look.")
@click.option(
    "--once", is_flag=True, help="Look once; exit code 1 if something is wrong, even if it was reported before."
)
@click.option(
    "--state",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that keeps what was told; default: watch.json beside the journal.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one line for each alert.")
@click.pass_context
def watch(
    context: click.Context,
    data_product: str | None,
    environment: str | None,
    max_duration: timedelta | None,
    require_refresh: bool,
    no_warnings: bool,
    allow_failures: bool,
    notify: bool,
    expect_every: timedelta | None,
    schedules: tuple[str, ...],
    since: datetime | timedelta,
    every: timedelta,
    once: bool,
    state: Path | None,
    as_json: bool,
) -> None:
    """Report runs that fail, are late, or are missing.

    Keeps looking at the warehouse until you stop it. Each problem is reported once, also by the next watch, and once
    more when the product's newest run is good again.

    \b
    Examples:
      dbbtrace watch --notify --max-duration 2h --expect-every 26h
      dbbtrace watch --once --schedule 'Sales PRD=Mon-Fri 08:00'
    """
    from dbbtrace.answers import Rules
    from dbbtrace.answers.memory import Memory
    from dbbtrace.answers.watch import Watch

    known, outbox = settings(), opened_outbox(notify)
    rules = Rules(max_duration, require_refresh, allow_failures, allow_warnings=not no_warnings, allow_running=True)
    due = [*_schedules_said(schedules, data_product, environment, known), *_schedules_set(known, data_product)]
    path = state or Path(os.path.dirname(os.path.abspath(known.journal_dir))) / "watch.json"
    with opened_warehouse() as warehouse:
        eye = Watch(
            warehouse,
            rules,
            since=since,
            data_product=data_product,
            environment=environment,
            expect_every=expect_every,
            schedules=due,
            memory=Memory(path, warehouse.name),
            terms=lambda: terms_of(known),
        )
        unsent: list[Alert] = []
        while True:
            found = _look(eye, patient=not once)
            for alert in found:
                _print_alert(alert, as_json)
            send_alerts(outbox, found)
            unsent = _remember(eye, [*unsent, *found], outbox.waiting if outbox is not None else [])
            if once:
                before = eye.wrong - sum(not alert.is_well for alert in found)
                if before > 0:
                    click.echo(f"{counted(before, 'problem')} told before", err=True)
                context.exit(BROKEN if eye.wrong else 0)
            time.sleep(max(every.total_seconds(), 1.0))


def _remember(eye: Watch, told: Iterable[Alert], waiting: Sequence[Alert]) -> list[Alert]:
    """Remember what was told; the alerts that wait for their webhook are not: after a kill they are told again."""
    told = list(told)
    eye.told([alert for alert in told if not any(alert is one for one in waiting)])
    return [alert for alert in told if any(alert is one for one in waiting)]


def _schedules_said(
    said: Iterable[str], data_product: str | None, environment: str | None, known: Settings
) -> list[Schedule]:
    from dbbtrace.answers.schedule import schedule_of, whose

    found = []
    for text in said:
        name, equals, when = text.rpartition("=")
        product, place = whose(name) if equals else (data_product, environment)
        if not product:
            raise UsageError(f"whose schedule is {text!r}? Add --data-product P, or write 'P PRD={text}'")
        found.append(schedule_of(when, product, place, known.timezone))
    return found


def _schedules_set(known: Settings, data_product: str | None) -> list[Schedule]:
    """Those of the settings."""
    from dbbtrace.answers.schedule import schedules_of

    due = schedules_of(known.schedules, known.timezone)
    return [one for one in due if data_product in (None, one.data_product)]


def _look(eye: Watch, *, patient: bool) -> list[Alert]:
    """The new alerts. A warehouse that can't answer now is asked again next time."""
    try:
        return list(eye.look())
    except TransientError as error:
        if not patient:
            raise
        click.echo(one_line(f"dbbtrace: {error}; looking again"), err=True)
        return []


def _print_alert(alert: Alert, as_json: bool) -> None:
    if as_json:
        from dbbtrace.answers.webhook import as_json as for_programs

        click.echo(json.dumps(for_programs(alert)))
        return
    run = f"run {safe(alert.run_id)}" if alert.run_id else ""
    echo_line(f"{moment_of(datetime.now(timezone.utc))}  {safe(alert.title)}", run)
    for line in _reasons(alert):
        echo_indented(line)
    if alert.page:
        click.echo(f"  {alert.page}")  # an address is never broken into lines


def _reasons(alert: Alert) -> Iterable[str]:
    for problem in alert.problems:
        yield safe(problem.text)
    for failure in alert.failures[:FAILURES]:
        yield failure_line(failure)


COMMANDS = (watch,)
