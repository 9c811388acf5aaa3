"""``dbbtrace check`` and ``dbbtrace watch``: can a run be trusted, and report runs that can't."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import click

from dbbtrace.cli.common import (
    console,
    opened_warehouse,
    operation_as_dict,
    print_json,
    run_meant,
    settings,
    warehouse_option,
)
from dbbtrace.cli.options import duration, moment, run_argument, run_choice
from dbbtrace.cli.text import counted, duration_of, moment_of, one_line, safe
from dbbtrace.diagnostics import is_strict
from dbbtrace.errors import DbbtraceError, TransientError, UsageError

if TYPE_CHECKING:
    from dbbtrace.answers import Alert, Check, Failure
    from dbbtrace.answers.outbox import Outbox
    from dbbtrace.settings import Settings
    from dbbtrace.warehouse import Warehouse

__all__ = ["COMMANDS"]

BROKEN = 1
"""Exit code of a run that breaks a rule."""
STILL_RUNNING = 3
UNANSWERED = 4
_FAILURES = 10
"""How many failures are named."""
_LOOK_AGAIN = 5.0
"""Seconds between two looks at a run that still runs."""


def _rules(command: Any) -> Any:
    for option in (
        click.option("--allow-failures", is_flag=True, help="Accept failed operations."),
        click.option("--no-warnings", is_flag=True, help="Treat warnings as problems."),
        click.option("--require-refresh", is_flag=True, help="A refresh of a semantic model must have completed."),
        click.option(
            "--max-duration", metavar="TIME", callback=duration, help="A run that takes longer is late, e.g. 2h or 90m."
        ),
        click.option("--notify", is_flag=True, help="Send problems to the webhook in DBBTRACE_WEBHOOK_URL."),
    ):
        command = option(command)
    return command


@click.command()
@warehouse_option
@run_argument(required=False)
@_rules
@click.option(
    "--wait",
    metavar="TIME",
    callback=duration,
    help="Wait so long for a run that still runs to end: 30m, 2h.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(
    context: click.Context,
    run: str | None,
    data_product: str | None,
    environment: str | None,
    wait: timedelta | None,
    max_duration: timedelta | None,
    require_refresh: bool,
    no_warnings: bool,
    allow_failures: bool,
    notify: bool,
    as_json: bool,
) -> None:
    """Tell whether a run can be trusted.

    Exit code 0: Succeeded or Warned. 1: Failed, Unfinished or Incomplete, or it breaks a rule. 2: there is no such
    run. 3: it still runs. 4: the warehouse could not be asked.
    RUN is a run id, its first characters, or last, previous, yesterday or today; else the run id in
    DBBTRACE_ORCHESTRATION_RUN_ID.
    """
    from dbbtrace.answers import Alert, Rules
    from dbbtrace.answers import check as ask
    from dbbtrace.operate.verdict import known_here, tolerance_of

    outbox = _outbox(notify)
    rules = Rules(max_duration, require_refresh, allow_failures, allow_warnings=not no_warnings)
    with _asking(context), opened_warehouse() as warehouse:
        known = settings()
        run_id = _run_id(warehouse, run or _run_in_environment(known), data_product, environment)
        until = time.monotonic() + (wait.total_seconds() if wait is not None else 0)
        while True:
            found = ask(
                warehouse,
                run_id,
                rules,
                here=known_here(known).get(run_id),
                zone=known.timezone,
                tolerance=tolerance_of(known.reconciliation_tolerance),
                write=True,
            )
            left = until - time.monotonic()
            if found.exit_code != STILL_RUNNING or left <= 0:
                break
            time.sleep(min(_LOOK_AGAIN, left))
    if as_json:
        print_json(_check_as_dict(found))
    else:
        _print_check(found)
    if not found.ok:
        ran = found.run
        whose = (ran.data_product, ran.environment) if ran else (None, None)
        _send(outbox, [Alert(found.run_id, *whose, found.problems, ran, found.failures)])
        context.exit(found.exit_code)


@contextmanager
def _asking(context: click.Context) -> Iterator[None]:
    """An error is not a verdict: exit code 4."""
    try:
        yield
    except (click.ClickException, UsageError):
        raise
    except Exception as error:
        if is_strict():
            raise
        known = isinstance(error, DbbtraceError)
        click.echo(one_line(f"dbbtrace: {error if known else f'{type(error).__name__}: {error}'}"), err=True)
        context.exit(UNANSWERED)


def _run_in_environment(known: Settings) -> str:
    """The run that the environment names, as ``dbbtrace close`` takes it."""
    if not known.orchestration_run_id:
        raise UsageError(
            "which run is to be checked? Name it (last, for example), or set DBBTRACE_ORCHESTRATION_RUN_ID"
        )
    return known.orchestration_run_id


def _run_id(warehouse: Warehouse, text: str, data_product: str | None, environment: str | None) -> str:
    """The run id that the text means. A whole GUID is accepted even without rows, because that is reported."""
    import re

    from dbbtrace.model.identity import normalise_run_id

    try:
        return run_meant(warehouse, text, data_product, environment)
    except UsageError:
        run_id = normalise_run_id(text)
        if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", run_id):
            return run_id
        raise


def _check_as_dict(found: Check) -> dict[str, Any]:
    failed = [{**operation_as_dict(f.operation), "held_up": len(f.held_up)} for f in found.failures]
    return {
        "ok": found.ok,
        "verdict": found.verdict.word,
        "reasons": [asdict(reason) for reason in found.verdict.reasons],
        "orchestration_run_id": found.run_id,
        "run": asdict(found.run) if found.run else None,
        "problems": [asdict(problem) for problem in found.problems],
        "failures": failed,
    }


def _print_check(found: Check) -> None:
    run = found.run
    facts = [safe(fact) for fact in (run.data_product, run.environment) if fact] if run else []
    if run:
        facts += [f"{moment_of(run.started_at)} UTC", duration_of(run.seconds), counted(run.operations, "operation")]
    _echo(f"{'ok' if found.ok else 'not ok'}  {found.verdict.word}  run {safe(found.run_id)}", ", ".join(facts))
    for problem in found.problems:
        _echo_indented(f"{problem.kind}: {problem.text}")
    for failure in found.failures[:_FAILURES]:
        _echo_indented(_failure_line(failure))
    if len(found.failures) > _FAILURES:
        _echo_indented(f"and {len(found.failures) - _FAILURES:,} more: dbbtrace failures {safe(found.run_id)}")


def _failure_line(failure: Failure) -> str:
    reason = one_line(failure.operation.error_message or "no reason is recorded")
    return f"- {one_line(failure.operation.label)}: {reason[:300]}"


def _echo(first: str, more: str) -> None:
    """Print one line where it fits, otherwise two."""
    from rich.cells import cell_len

    if not more or cell_len(f"{first}  {more}") <= console().width:
        click.echo(f"{first}  {more}".rstrip())
    else:
        click.echo(first)
        _echo_indented(more)


def _echo_indented(text: str) -> None:
    from dbbtrace.cli.text import wrapped

    for number, line in enumerate(wrapped(safe(text), console().width - 4, None)):
        click.echo(f"  {line}" if number == 0 else f"    {line}")


# -- watch --------------------------------------------------------------------------------------------------


@click.command()
@warehouse_option
@run_choice
@_rules
@click.option(
    "--expect-every",
    metavar="TIME",
    callback=duration,
    help="Report a product that has not run for this long, e.g. 26h.",
)
@click.option(
    "--since",
    metavar="TIME",
    callback=moment,
    default="24h",
    show_default=True,
    help="Look at runs that started since then.",
)
@click.option("--every", metavar="TIME", callback=duration, default="60s", show_default=True, help="How often to look.")
@click.option("--once", is_flag=True, help="Look once; exit code 1 if there was something to report.")
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
    since: datetime | None,
    every: timedelta,
    once: bool,
    as_json: bool,
) -> None:
    """Report runs that fail, are late, or are missing.

    Keeps looking at the warehouse until you stop it, and reports each problem once.
    """
    from dbbtrace.answers import Rules
    from dbbtrace.answers.watch import Watch

    outbox = _outbox(notify)
    rules = Rules(max_duration, require_refresh, allow_failures, allow_warnings=not no_warnings, allow_running=True)
    begun = since or datetime.now(timezone.utc) - timedelta(hours=24)
    with opened_warehouse() as warehouse:
        eye = Watch(
            warehouse,
            rules,
            since=begun,
            data_product=data_product,
            environment=environment,
            expect_every=expect_every,
        )
        while True:
            found = _look(eye, patient=not once)
            for alert in found:
                _print_alert(alert, as_json)
            _send(outbox, found)
            if once:
                context.exit(BROKEN if found else 0)
            time.sleep(max(every.total_seconds(), 1.0))


def _look(eye: Any, *, patient: bool) -> list[Alert]:
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
    _echo(f"{moment_of(datetime.now(timezone.utc))}  {safe(alert.title)}", run)
    for line in _reasons(alert):
        _echo_indented(line)


def _reasons(alert: Alert) -> Iterable[str]:
    for problem in alert.problems:
        yield safe(problem.text)
    for failure in alert.failures[:_FAILURES]:
        yield _failure_line(failure)


# -- the webhook --------------------------------------------------------------------------------------------


def _outbox(notify: bool) -> Outbox | None:
    """Where alerts wait until they are sent; None without ``--notify``."""
    if not notify:
        return None
    from dbbtrace.answers.outbox import Outbox
    from dbbtrace.answers.webhook import check_url, send
    from dbbtrace.model.identity import trace_id_of

    known = settings()
    url = known.webhook_url
    if not url:
        raise UsageError("--notify needs a webhook: set DBBTRACE_WEBHOOK_URL")
    check_url(url)

    def post(alert: Alert) -> None:
        link = None
        if known.jaeger_url and alert.run_id:
            link = f"{known.jaeger_url.rstrip('/')}/trace/{trace_id_of(alert.run_id):032x}"
        send(alert, url, known.webhook_format, link=link)

    return Outbox(post)


def _send(outbox: Outbox | None, found: Iterable[Alert]) -> None:
    """Send these alerts and earlier ones that could not be sent. Errors are printed and do not end the command."""
    if outbox is None:
        return
    for alert in found:
        outbox.put(alert)
    for fault in outbox.send():
        click.echo(one_line(f"dbbtrace: {fault}"), err=True)


COMMANDS = (check, watch)
