"""``dbbtrace gate``: may it be built?"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dbbtrace.cli.alerts import run_id_meant
from dbbtrace.cli.common import one_form, opened_warehouse, print_json, settings, warehouse_option
from dbbtrace.cli.options import duration, run_argument
from dbbtrace.cli.output import output_file, writing
from dbbtrace.cli.printing import echo_indented
from dbbtrace.cli.text import counted, one_line, safe

if TYPE_CHECKING:
    from dbbtrace.answers.arrivals import TableState
    from dbbtrace.answers.gate import Gate
    from dbbtrace.sources.dbt.plan import Plan

__all__ = ["COMMANDS", "dbt_arguments", "selection_options"]

F = TypeVar("F", bound=Callable[..., Any])

_SHOWN = 20
"""Tables and nodes of a kind that are named."""
_LONG = 8_000
"""Characters of dbt's arguments from which on a selectors file is recommended; Windows takes 32,000."""


def selection_options(command: F) -> F:
    """``--manifest``, and what of the project is meant."""
    for option in (
        click.option("--executable", metavar="DBT", help="The dbt of another environment, or Fusion."),
        click.option("--profiles-dir", metavar="DIR", help="dbt's profiles."),
        click.option("--project-dir", metavar="DIR", help="dbt's project; needed for a selection."),
        click.option("--selector", metavar="NAME", help="A selector of the dbt project."),
        click.option("--exclude", metavar="NODES", multiple=True, help="Nodes that dbt leaves out in any case."),
        click.option("--select", "-s", metavar="NODES", multiple=True, help="dbt's selection; needs --manifest."),
        click.option(
            "--manifest",
            metavar="FILE",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="dbt's manifest.json. With it, only what the selected nodes read counts.",
        ),
    ):
        command = option(command)
    return command


def dbt_arguments(manifest: Path | None, selection: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The selection, and where the project is, as dbt's arguments."""
    selector = selection["selector"]
    asked = {
        "--select": selection["select"],
        "--exclude": selection["exclude"],
        "--selector": (selector,) if selector else (),
    }
    args = [word for option, values in asked.items() if values for word in (option, *values)]
    if manifest is None and args:
        raise click.UsageError("a selection needs the graph: pass --manifest target/manifest.json")
    where = {"--project-dir": selection["project_dir"], "--profiles-dir": selection["profiles_dir"]}
    return args, [word for option, value in where.items() if value for word in (option, value)]


@click.command()
@warehouse_option
@run_argument(required=False)
@selection_options
@click.option("--strict", is_flag=True, help="A table that nobody monitors closes the gate.")
@click.option("--wait", metavar="TIME", callback=duration, help="Wait this long for rows that may still come: 2m, 1h.")
@click.option(
    "--selectors",
    metavar="FILE",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=output_file,
    help="Write what may be built into a selectors.yml, for command lines that get too long.",
)
@click.option("--dbt-args", is_flag=True, help="Print nothing but dbt's arguments, on one line.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def gate(
    context: click.Context,
    /,
    run: str | None,
    data_product: str | None,
    environment: str | None,
    manifest: Path | None,
    strict: bool,
    wait: timedelta | None,
    selectors: Path | None,
    dbt_args: bool,
    as_json: bool,
    **selection: Any,
) -> None:
    """Tell what may be built: which tables arrived in a run.

    Exit code 0: open. 1: a table failed, never came, is empty or overdue; with --manifest the arguments are printed
    with which dbt builds exactly what is not affected. 2: there is no such run. 3: more may still come. 4: the
    warehouse could not be asked. `dbbtrace dbt --gate build` does it all.
    RUN is a run id, its first characters, or last, previous, yesterday or today; else the run id in
    DBBTRACE_ORCHESTRATION_RUN_ID.

    \b
    Examples:
      dbbtrace gate last --data-product Finance
      dbbtrace gate --manifest target/manifest.json --select +tag:Finance
    """
    from dbbtrace.operate.gate import look, waited

    one_form(json=as_json, dbt_args=dbt_args)
    chosen, places = dbt_arguments(manifest, selection)
    if manifest is None and (selectors or dbt_args):
        raise click.UsageError("dbt's arguments need the graph: pass --manifest target/manifest.json")
    args = ["build", *chosen]
    plan: Plan | None = None
    with opened_warehouse() as warehouse:
        known = settings()
        run_id = run_id_meant(warehouse, run, data_product, environment)
        if manifest is not None:
            from dbbtrace.sources.dbt.plan import plan_of

            plan = plan_of([*args, *places], manifest, selection["executable"])
        nodes = plan.selection if plan is not None else None
        until = time.monotonic() + (wait.total_seconds() if wait is not None else 0)
        found = waited(lambda: look(warehouse, run_id, known, nodes, strict=strict), until)
    words = _arguments(plan, found, places, selectors)
    if dbt_args:
        click.echo(shlex.join(words or []))
    elif as_json:
        print_json(_as_dict(found, words))
    else:
        _print(found, words)
    if words is not None and selectors is None and len(shlex.join(words)) > _LONG:
        click.echo("dbbtrace: these arguments are long: --selectors FILE writes them into a selectors.yml", err=True)
    context.exit(found.exit_code)


def _arguments(plan: Plan | None, found: Gate, places: Sequence[str], selectors: Path | None) -> list[str] | None:
    """dbt's arguments without its command, and without where its project is; None without a selection."""
    if plan is None or found.exit_code > 1 or found.problems:
        return None
    words = plan.without(found.closed_sources, found.unaffected)
    words = [word for word in words[1:] if word not in places] if places else words[1:]
    if selectors is None:
        return words
    from dbbtrace.sources.dbt.selection import SELECTOR, selectors_file

    with writing(selectors):
        selectors.write_text(selectors_file(words), encoding="utf-8", newline="\n")
    kept = words[words.index("--indirect-selection") :] if "--indirect-selection" in words else []
    return ["--selector", SELECTOR, *kept]


def _as_dict(found: Gate, words: list[str] | None) -> dict[str, Any]:
    said: dict[str, Any] = {
        "orchestration_run_id": found.run_id,
        "gate": found.word,
        "exit_code": found.exit_code,
        "reasons": found.reasons(),
        "tables": [_table(state) for state in found.arrivals.tables],
    }
    if found.has_selection:
        said |= {
            "sources": [{"unique_id": one.source.unique_id, **_table(one.state)} for one in found.sources],
            "unaffected": list(found.unaffected),
            "left_out": dict(found.left_out),
            "dbt_arguments": words,
        }
    return said


def _table(state: TableState) -> dict[str, Any]:
    return {**asdict(state), "table": state.table._asdict(), "closed": state.closed}


def _print(found: Gate, words: list[str] | None) -> None:
    states = [one.state for one in found.sources] if found.has_selection else list(found.arrivals.tables)
    fine = sum(not state.closed for state in states)
    click.echo(f"{found.word}  run {safe(found.run_id)}  {fine} of {counted(len(states), 'table')} may be read")
    for reason in found.reasons()[:_SHOWN]:
        echo_indented(reason)
    if len(found.reasons()) > _SHOWN:
        echo_indented(f"and {len(found.reasons()) - _SHOWN:,} more: --json names them all")
    unknown = [state for state in states if state.state == "unknown" and not state.closed]
    if unknown:
        names = ", ".join(one_line(state.name) for state in unknown[:_SHOWN])
        echo_indented(f"nobody monitors {names}{', ...' if len(unknown) > _SHOWN else ''}; --strict closes for them")
    if found.has_selection and found.exit_code < 2:
        _print_nodes(found, words)


def _print_nodes(found: Gate, words: list[str] | None) -> None:
    total = len(found.unaffected) + len(found.left_out)
    click.echo(f"{len(found.unaffected):,} of {counted(total, 'node')} may be built")
    by_source: dict[str, list[str]] = {}
    for node, source in found.left_out.items():
        by_source.setdefault(source, []).append(node.split(".", 2)[-1])
    for source, nodes in list(by_source.items())[:_SHOWN]:
        shown = ", ".join(safe(name) for name in nodes[:_SHOWN]) + (", ..." if len(nodes) > _SHOWN else "")
        echo_indented(f"left out because of {safe(source)}: {shown}")
    if words is not None and found.unaffected:
        click.echo("build exactly those with")
        click.echo(f"  dbt build {shlex.join(words)}".rstrip())


COMMANDS = (gate,)
