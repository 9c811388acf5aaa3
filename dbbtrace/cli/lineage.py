"""``dbbtrace lineage``: what a run touched, from tables to semantic models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dbbtrace.cli.common import console, one_form, opened_warehouse, print_json, run_meant, settings, warehouse_option
from dbbtrace.cli.options import run_argument
from dbbtrace.cli.output import echo_text, output_file, writing
from dbbtrace.cli.printing import echo_indented
from dbbtrace.cli.text import bytes_of, counted, moment_of, one_line, safe

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from dbbtrace.answers.things import Lineage, Thing

__all__ = ["COMMANDS", "manifest_option"]


def manifest_option(command: Any) -> Any:
    """``--manifest FILE``."""
    return click.option(
        "--manifest",
        metavar="FILE",
        type=click.Path(exists=True, path_type=Path),
        help="dbt's manifest.json or its target folder, which knows more than the rows.",
    )(command)


@click.command()
@warehouse_option
@run_argument()
@manifest_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--mermaid", "as_mermaid", is_flag=True, help="Print a Mermaid flowchart.")
@click.option(
    "--openlineage",
    "openlineage_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, writable=True, allow_dash=True, path_type=Path),
    callback=output_file,
    help="Write OpenLineage events to FILE, one a line; - is stdout.",
)
@click.option(
    "--send-openlineage", "send_", is_flag=True, help="Send the events where OPENLINEAGE_URL or openlineage.yml says."
)
@click.option("--namespace", metavar="NS", help="OpenLineage namespace of the tables; default the warehouse's server.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, writable=True, allow_dash=True, path_type=Path),
    callback=output_file,
    help="File for the flowchart; - is stdout.",
)
def lineage(
    run: str,
    data_product: str | None,
    environment: str | None,
    manifest: Path | None,
    as_json: bool,
    as_mermaid: bool,
    openlineage_file: Path | None,
    send_: bool,
    namespace: str | None,
    output: Path | None,
) -> None:
    """Show what a run touched: table loads, dbt's sources and models, exposures and semantic models.

    Shows models that were built from tables which this run did not load, loads that nobody used, and models that were
    built after a failure above them.

    RUN is a run id, its first characters, or last, previous, yesterday or today.

    \b
    Examples:
      dbbtrace lineage last
      dbbtrace lineage last --mermaid -o lineage.md
    """
    from dbbtrace.answers import openlineage
    from dbbtrace.answers.earlier import local_zone
    from dbbtrace.answers.lineage import lineage as ask
    from dbbtrace.operate.lineage import manifest_in, naming_of

    one_form(json=as_json, mermaid=as_mermaid, openlineage=openlineage_file)
    if output and not as_mermaid:
        raise click.UsageError("-o writes the flowchart: add --mermaid; --openlineage FILE names a file of its own")
    known = settings()
    with opened_warehouse() as warehouse:
        found = ask(
            warehouse,
            run_meant(warehouse, run, data_product, environment),
            manifest=manifest_in(manifest),
            naming=naming_of(known),
            zone=local_zone(known.timezone),
        )
        namespace = namespace or openlineage.warehouse_namespace(warehouse)
    if openlineage_file or send_:
        made = openlineage.events(found, namespace=namespace, jobs=known.openlineage_namespace)
        if openlineage_file:
            _write(openlineage.as_json_lines(made), openlineage_file)
        if send_:
            by = openlineage.send(made)
            click.echo(f"{counted(len(made), 'event')} sent by {safe(by)}", err=True)
    elif as_mermaid:
        from dbbtrace.answers.mermaid import mermaid

        _write(mermaid(found), output)
    elif as_json:
        print_json(_as_dict(found))
    else:
        _print(found)


def _write(text: str, path: Path | None) -> None:
    if path is None or str(path) == "-":
        echo_text(text)
        return
    with writing(path):
        path.write_text(text, encoding="utf-8", newline="\n")
    click.echo(f"{safe(path)}: {bytes_of(len(text.encode()))}", err=True)


def _as_dict(found: Lineage) -> dict[str, Any]:
    return {
        "orchestration_run_id": found.run.run_id,
        "run": asdict(found.run),
        "things": [_thing_as_dict(thing) for thing in found.things.values()],
        "facts": [asdict(fact) for fact in found.facts],
    }


def _thing_as_dict(thing: Thing) -> dict[str, Any]:
    operation, age = thing.operation, thing.age
    return {
        "id": thing.id,
        "kind": thing.kind,
        "label": thing.label,
        "status": thing.status,
        "reads": list(thing.reads),
        "is_complete": thing.is_complete,
        "relation": thing.relation,
        "started_at": operation.started_at if operation else None,
        "ended_at": operation.ended_at if operation else None,
        "rows_written": operation.rows_written if operation else None,
        "error_message": operation.error_message if operation else None,
        "last_loaded_at": age.last_success if age else None,
        "is_overdue": age.overdue if age else None,
    }


# -- the tree -----------------------------------------------------------------------------------------------


def _print(found: Lineage) -> None:
    from rich.text import Text
    from rich.tree import Tree

    out = console()
    whose = ", ".join(safe(fact) for fact in (found.run.data_product, found.run.environment) if fact)
    tree = Tree(Text("run ").append(safe(found.run.run_id), "bold").append(f"  {whose}"))
    _grow(tree, found, out.options.ascii_only)
    out.print(tree, no_wrap=True, overflow="ignore", crop=False)
    for fact in found.facts:
        echo_indented(f"{fact.kind}: {one_line(fact.text)}")
    if not found.things:
        click.echo("the run has no table load, dbt node or refresh")


def _grow(tree: Tree, found: Lineage, ascii_only: bool) -> None:
    """Add what reads each thing below it; what stands in the tree already is named, and not drawn again."""
    readers: dict[str, list[str]] = defaultdict(list)
    for thing in found.things.values():
        for name in dict.fromkeys(thing.reads):
            readers[name].append(thing.id)
    drawn: set[str] = set()
    waiting = [
        (tree, thing.id) for thing in reversed(list(found.things.values())) if not _is_below(thing, found.things)
    ]
    while waiting:
        branch, name = waiting.pop()
        again = name in drawn and bool(readers[name])
        below = branch.add(_line(found.things[name], again, ascii_only))
        if name not in drawn:
            drawn.add(name)
            waiting += [(below, reader) for reader in reversed(readers[name])]


def _is_below(thing: Thing, things: Mapping[str, Thing]) -> bool:
    return any(name in things for name in thing.reads)


def _line(thing: Thing, again: bool, ascii_only: bool) -> Text:
    from rich.text import Text

    from dbbtrace.cli.glyphs import STYLES, glyphs

    sign = glyphs(ascii_only=ascii_only).signs.get(thing.status or "", " ")
    text = Text(
        f"{sign} {one_line(thing.label)}", STYLES.get(thing.status or "", "dim" if thing.kind != "source" else "")
    )
    notes = list(_notes(thing))
    if again:
        notes.append("see above")
    return text.append(f"  {', '.join(notes)}" if notes else "", "dim")


def _notes(thing: Thing) -> Iterable[str]:
    if thing.status not in (None, "Succeeded"):
        yield safe(thing.status)
    if thing.kind == "table" and thing.status == "Succeeded" and thing.operation and thing.operation.started_at:
        yield f"loaded {moment_of(thing.operation.started_at)}"
    if thing.age is not None:
        yield (
            f"not loaded in this run, of {moment_of(thing.age.last_success)}"
            if thing.age.last_success
            else "never loaded"
        )
    elif thing.operation is None and thing.kind in ("node", "semantic model"):
        yield "not built in this run" if thing.kind == "node" else "not refreshed in this run"
    if not thing.is_complete and thing.kind != "source":
        yield "reads more than is known"
    if thing.kind == "source" and not thing.reads:
        yield "no load is known"


COMMANDS = (lineage,)
