"""``dbbtrace repair``: what makes a run right again."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dbbtrace.cli.alerts import run_id_meant
from dbbtrace.cli.common import one_form, opened_warehouse, print_json, settings, warehouse_option
from dbbtrace.cli.gate import dbt_arguments, selection_options
from dbbtrace.cli.options import run_argument
from dbbtrace.cli.printing import echo_indented
from dbbtrace.cli.text import counted, safe

if TYPE_CHECKING:
    from dbbtrace.answers.repair import Repair

__all__ = ["COMMANDS"]

_SHOWN = 30
"""Things of a kind that are named."""
_KINDS = {
    "table_load": ("load again", "table"),
    "dbt_node": ("build", "node"),
    "model_refresh": ("refresh", "semantic model"),
}


@click.command()
@warehouse_option
@run_argument(required=False)
@selection_options
@click.option("--dbt-args", is_flag=True, help="Print nothing but dbt's arguments, on one line.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def repair(
    context: click.Context,
    /,
    run: str | None,
    data_product: str | None,
    environment: str | None,
    manifest: Path | None,
    dbt_args: bool,
    as_json: bool,
    **selection: Any,
) -> None:
    """Print the least work that makes a run right. Runs nothing: loading again may append twice.

    Prints the loads to repeat, what dbt must build, and the models to refresh, in this order. Without --manifest
    the rows of the run's nodes tell what they are made of. Exit code 0: there is nothing to do. 1: there is
    something to do. 2: there is no such run. 4: the warehouse could not be asked. RUN is a run id, its first
    characters, or last, previous, yesterday or today; else the run id in DBBTRACE_ORCHESTRATION_RUN_ID.

    \b
    Examples:
      dbbtrace repair last
      dbbtrace repair "$RUN_ID" --dbt-args
    """
    from dbbtrace.answers.repair import repair as ask
    from dbbtrace.operate.gate import rules_of
    from dbbtrace.operate.verdict import terms_of

    one_form(json=as_json, dbt_args=dbt_args)
    args, places = dbt_arguments(manifest, selection)
    with opened_warehouse() as warehouse:
        known = settings()
        run_id = run_id_meant(warehouse, run, data_product, environment)
        chosen = None
        if manifest is not None:
            from dbbtrace.sources.dbt.plan import plan_of

            chosen = plan_of(["build", *args, *places], manifest, selection["executable"]).selection
        found = ask(warehouse, run_id, chosen, rules=rules_of(known), terms=terms_of(known))
    if dbt_args:
        nothing = found.select is None and not found.of("dbt_node")
        click.echo(shlex.join(_NOTHING if nothing else found.dbt_arguments()))
    elif as_json:
        print_json(_as_dict(found))
    else:
        _print(found)
    context.exit(2 if found.arrivals.run is None else 0 if found.is_right else 1)


_NOTHING = ["--select", "nothing_is_to_be_built"]
"""An empty line in ``dbt build $(dbbtrace repair ...)`` would build everything; of this dbt says that nothing fits."""


def _as_dict(found: Repair) -> dict[str, Any]:
    return {
        "orchestration_run_id": found.run_id,
        "right": found.is_right,
        "runs": list(found.runs),
        "loads": [asdict(item) for item in found.of("table_load")],
        "nodes": [asdict(item) for item in found.of("dbt_node")],
        "refreshes": [asdict(item) for item in found.of("model_refresh")],
        "whole_selection": found.select,
        "dbt_arguments": found.dbt_arguments(),
        "waiting": list(found.arrivals.waiting),
        "notes": list(found.notes),
    }


def _print(found: Repair) -> None:
    if found.is_right:
        click.echo(f"nothing to do  run {safe(found.run_id)}")
    for kind, (verb, noun) in _KINDS.items():
        items = found.of(kind)
        if kind == "dbt_node" and found.select is not None:
            click.echo(f"build {safe(found.select) or 'the whole project'}: dbt did not finish it")
        if items:
            click.echo(f"{verb} {counted(len(items), noun)}")
        for item in items[:_SHOWN]:
            echo_indented(f"{item.name}: {item.why}")
        if len(items) > _SHOWN:
            echo_indented(f"and {len(items) - _SHOWN:,} more: --json names them all")
        if kind == "dbt_node" and (items or found.select is not None):
            click.echo(f"  dbt build {shlex.join(found.dbt_arguments())}".rstrip())
    for note in (*found.arrivals.waiting, *found.notes):
        click.echo(f"note: {safe(note)}")
    if len(found.runs) > 1:
        click.echo(f"together with {', '.join(safe(run) for run in found.runs[1:])}")


COMMANDS = (repair,)
