"""``dbbtrace check``: can a run be trusted?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from dbbtrace.cli.common import (
    opened_warehouse,
    operation_as_dict,
    print_json,
    run_meant,
    settings,
    terms_of,
    warehouse_option,
)
from dbbtrace.cli.notify import opened_outbox, send_alerts
from dbbtrace.cli.options import duration, run_argument
from dbbtrace.cli.printing import FAILURES, echo_indented, echo_line, failure_line
from dbbtrace.cli.text import counted, duration_of, moment_of, one_line, safe
from dbbtrace.errors import UsageError

if TYPE_CHECKING:
    from dbbtrace.answers import Check
    from dbbtrace.answers.shown import AsOf
    from dbbtrace.warehouse import Warehouse

__all__ = ["BROKEN", "COMMANDS", "rule_options", "run_id_meant"]

BROKEN = 1
"""Exit code of a run that breaks a rule."""
STILL_RUNNING = 3
_LOOK_AGAIN = 5.0
"""Seconds between two looks at a run that still runs."""


def rule_options(command: Any) -> Any:
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
@rule_options
@click.option(
    "--wait",
    metavar="TIME",
    callback=duration,
    help="Wait this long for the run to end: 30m, 2h.",
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

    \b
    Examples:
      dbbtrace check last --data-product Finance
      dbbtrace check --wait 30m --require-refresh --notify
    """
    from dbbtrace.answers import Alert, Rules
    from dbbtrace.answers import check as ask
    from dbbtrace.answers.asof import asof_refreshed
    from dbbtrace.answers.earlier import local_zone
    from dbbtrace.operate.lineage import naming_of

    outbox = opened_outbox(notify)
    rules = Rules(max_duration, require_refresh, allow_failures, allow_warnings=not no_warnings)
    with opened_warehouse() as warehouse:
        known = settings()
        run_id = run_id_meant(warehouse, run, data_product, environment)
        until = time.monotonic() + (wait.total_seconds() if wait is not None else 0)
        while True:
            found = ask(warehouse, run_id, rules, terms=terms_of(known), write=True)
            left = until - time.monotonic()
            if found.exit_code != STILL_RUNNING or left <= 0:
                break
            time.sleep(min(_LOOK_AGAIN, left))
        shows = asof_refreshed(warehouse, found.run, naming=naming_of(known), zone=local_zone(known.timezone))
    if as_json:
        print_json(_check_as_dict(found, shows))
    else:
        _print_check(found, shows)
    if not found.ok:
        ran = found.run
        whose = (ran.data_product, ran.environment) if ran else (None, None)
        send_alerts(outbox, [Alert(found.run_id, *whose, found.problems, ran, found.failures)])
        context.exit(found.exit_code)


def run_id_meant(warehouse: Warehouse, text: str | None, data_product: str | None, environment: str | None) -> str:
    """The run id that the text means; without a text that of the environment, as ``dbbtrace close`` takes it. A whole
    GUID is accepted even without rows, because that is reported."""
    import re

    from dbbtrace.model.identity import normalise_run_id

    text = text or settings().orchestration_run_id
    if not text:
        raise UsageError("which run? Name it (last, for example), or set DBBTRACE_ORCHESTRATION_RUN_ID")
    try:
        return run_meant(warehouse, text, data_product, environment)
    except UsageError:
        run_id = normalise_run_id(text)
        if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", run_id):
            return run_id
        raise


def _check_as_dict(found: Check, shows: Sequence[AsOf]) -> dict[str, Any]:
    failed = [{**operation_as_dict(f.operation), "held_up": len(f.held_up)} for f in found.failures]
    return {
        "ok": found.ok,
        "verdict": found.verdict.word,
        "reasons": [asdict(reason) for reason in found.verdict.reasons],
        "orchestration_run_id": found.run_id,
        "run": asdict(found.run) if found.run else None,
        "problems": [asdict(problem) for problem in found.problems],
        "failures": failed,
        "shows": [
            {"name": one.name, "headline": one.headline, "as_of": one.as_of, "overdue": [t.name for t in one.overdue]}
            for one in shows
        ],
    }


def _print_check(found: Check, shows: Sequence[AsOf]) -> None:
    run = found.run
    facts = [safe(fact) for fact in (run.data_product, run.environment) if fact] if run else []
    if run:
        facts += [f"{moment_of(run.started_at)} UTC", duration_of(run.seconds), counted(run.operations, "operation")]
    echo_line(f"{'ok' if found.ok else 'not ok'}  {found.verdict.word}  run {safe(found.run_id)}", ", ".join(facts))
    for problem in found.problems:
        echo_indented(f"{problem.kind}: {problem.text}")
    for shown in shows:
        echo_indented(one_line(shown.headline))
    for failure in found.failures[:FAILURES]:
        echo_indented(failure_line(failure))
    if len(found.failures) > FAILURES:
        echo_indented(f"and {len(found.failures) - FAILURES:,} more: dbbtrace failures {safe(found.run_id)}")


COMMANDS = (check,)
