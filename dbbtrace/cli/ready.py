"""``dbbtrace ready``: may the semantic models be refreshed?"""

from __future__ import annotations

import time
from datetime import timedelta

import click

from dbbtrace.cli.alerts import run_id_meant
from dbbtrace.cli.common import opened_warehouse, print_json, settings, warehouse_option
from dbbtrace.cli.options import duration, run_argument
from dbbtrace.cli.printing import echo_indented
from dbbtrace.cli.text import safe

__all__ = ["COMMANDS"]

_SHOWN = 20
"""Reasons that are named."""


@click.command()
@warehouse_option
@run_argument(required=False)
@click.option("--wait", metavar="TIME", callback=duration, help="Wait this long for what has not ended: 10m, 1h.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def ready(
    context: click.Context,
    run: str | None,
    data_product: str | None,
    environment: str | None,
    wait: timedelta | None,
    as_json: bool,
) -> None:
    """Tell whether the semantic models of a run may be refreshed.

    Loads, dbt and reconciliation are judged by their last outcomes. Exit code 0: ready. 1: something failed, was not
    built, never came or differs. 2: there is no such run. 3: something has not ended. 4: the warehouse could not be
    asked. RUN is a run id, its first characters, or last, previous, yesterday or today. Without it the newest run of
    --data-product is meant, else the run id in DBBTRACE_ORCHESTRATION_RUN_ID.

    \b
    Examples:
      dbbtrace ready --data-product Finance
      dbbtrace ready "$RUN_ID" --wait 10m
    """
    from dbbtrace.operate.gate import look_ready, waited

    with opened_warehouse() as warehouse:
        known = settings()
        run_id = run_id_meant(warehouse, run or ("last" if data_product else None), data_product, environment)
        until = time.monotonic() + (wait.total_seconds() if wait is not None else 0)
        found = waited(lambda: look_ready(warehouse, run_id, known), until)
    reasons = found.reasons()
    if as_json:
        print_json(
            {
                "orchestration_run_id": found.run_id,
                "ready": found.exit_code == 0,
                "word": found.word,
                "exit_code": found.exit_code,
                "reasons": reasons,
            }
        )
    else:
        click.echo(f"{found.word}  run {safe(found.run_id)}")
        for reason in reasons[:_SHOWN]:
            echo_indented(reason)
        if len(reasons) > _SHOWN:
            echo_indented(f"and {len(reasons) - _SHOWN:,} more: --json names them all")
    context.exit(found.exit_code)


COMMANDS = (ready,)
