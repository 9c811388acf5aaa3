"""``dbbtrace failures``, ``slowest``, ``audit`` and ``diff``: the answers of ``dbbtrace.answers``, printed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dbbtrace.cli.common import console, opened_warehouse, operation_as_dict, print_json, warehouse_option
from dbbtrace.cli.options import run_choice, since_option
from dbbtrace.cli.text import count_of, duration_of, moment_of, one_line, safe

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from dbbtrace.answers import Audit, Change, Diff, Failure, Operation, Run, Timing

__all__ = ["COMMANDS"]

MESSAGE_LINES = 4


# -- failures -----------------------------------------------------------------------------------------------


@click.command()
@warehouse_option
@click.argument("run", required=False)
@since_option("7d")
@run_choice
@click.option(
    "--limit", metavar="N", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many."
)
@click.option("--all", "whole", is_flag=True, help="Every failure and every message in full.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def failures(
    run: str | None,
    since: datetime | None,
    data_product: str | None,
    environment: str | None,
    limit: int,
    whole: bool,
    as_json: bool,
) -> None:
    """What failed, why, and what it held up.

    Of one RUN (a run id, its start, or the word last), or of all runs since a time, newest first.
    """
    from dbbtrace.answers import failures as ask
    from dbbtrace.answers.find import find_run

    with opened_warehouse() as warehouse:
        run_id = find_run(warehouse, run) if run else None
        found = ask(
            warehouse,
            run=run_id,
            since=since,
            data_product=data_product,
            environment=environment,
            limit=None if whole else limit + 1,
        )
    shown, more = (found, False) if whole else (found[:limit], len(found) > limit)
    if as_json:
        print_json([_failure_as_dict(failure) for failure in shown])
    elif not found:
        where = f"in run {safe(run_id)}" if run_id else f"since {moment_of(since)} UTC; --since 30d looks further back"
        click.echo(f"no failures {where}", err=True)
    else:
        _print_failures(shown, whole)
        if more:
            click.echo(f"the newest {limit} are shown; --limit N shows more, --all every one")


def _failure_as_dict(failure: Failure) -> dict[str, Any]:
    held_up = [
        {"operation_id": node.operation_id, "label": node.label, "status": node.status} for node in failure.held_up
    ]
    return {**operation_as_dict(failure.operation), "held_up": held_up}


def _print_failures(found: Iterable[Failure], whole: bool) -> None:
    from rich.text import Text

    from dbbtrace.cli.tree import glyphs

    out, run_id = console(), None
    sign = glyphs(ascii_only=out.options.ascii_only).signs["Failed"]
    for failure in found:
        operation = failure.operation
        if operation.run_id != run_id:
            if run_id is not None:
                _print(out, Text())
            run_id = operation.run_id
            whose = ", ".join(safe(fact) for fact in (operation.data_product, operation.environment) if fact)
            _print(out, Text("run ").append(safe(run_id), "bold").append(f"  {whose}"))
        for line in _failure_lines(failure, sign, out.width, whole):
            _print(out, line)


def _failure_lines(failure: Failure, sign: str, width: int, whole: bool) -> Iterable[Text]:
    from rich.text import Text

    from dbbtrace.cli.text import wrapped

    operation = failure.operation
    when = f"  {moment_of(operation.started_at)}" if operation.started_at else ""
    took = f"  {duration_of(operation.seconds)}" if operation.seconds is not None else ""
    yield Text(f"{sign} ").append(one_line(operation.label), "bold red").append(f"{when}{took}", "dim")
    message = operation.error_message or "no reason is recorded"
    kind = (operation.error_type or "").rpartition(".")[2]
    if operation.kind != "dbt_node" and kind and not message.startswith(kind):
        message = f"{kind}: {message}"
    for line in wrapped(message, width - 4, None if whole else MESSAGE_LINES):
        yield Text(f"    {line}")
    if failure.held_up:
        names = ", ".join(one_line(node.label) for node in failure.held_up)
        for number, line in enumerate(
            wrapped(f"held up {len(failure.held_up)}: {names}", width - 4, None if whole else 2)
        ):
            yield Text(f"    {'' if number == 0 else '  '}{line}", "yellow")


def _print(out: Console, text: Text) -> None:
    out.print(text, no_wrap=True, overflow="ignore", crop=False)


# -- slowest ------------------------------------------------------------------------------------------------


@click.command()
@warehouse_option
@click.argument("run", required=False)
@since_option("30d")
@run_choice
@click.option("--history", metavar="N", type=click.IntRange(min=1), default=20, show_default=True, help="Earlier runs.")
@click.option("--by-change", is_flag=True, help="Those that grew most against their median first.")
@click.option(
    "--limit", metavar="N", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def slowest(
    run: str | None,
    since: datetime | None,
    data_product: str | None,
    environment: str | None,
    history: int,
    by_change: bool,
    limit: int,
    as_json: bool,
) -> None:
    """What takes longest, against its own history.

    The operations of one RUN (a run id, its start, or the word last); without it, the newest time of everything that
    ran since then. Median and p95 are those of the same operation in the runs before it, of the same product in the
    same environment; the change is against the median.
    """
    from dbbtrace.answers import slowest as ask
    from dbbtrace.answers.find import find_run

    with opened_warehouse() as warehouse:
        found = ask(
            warehouse,
            run=find_run(warehouse, run) if run else None,
            since=since,
            data_product=data_product,
            environment=environment,
            history=history,
            by_change=by_change,
            limit=limit,
        )
    if as_json:
        print_json([{**asdict(timing), "earlier": list(timing.earlier)} for timing in found])
    elif found:
        _print_timings(found)
    else:
        click.echo("nothing that took time; --since 90d looks further back", err=True)


def _print_timings(found: Sequence[Timing]) -> None:
    names = ["operation", "time", "median", "p95", "change", "of", "product", "env"]
    whose = {(timing.data_product, timing.environment) for timing in found}
    cells = [
        [
            one_line(timing.name),
            duration_of(timing.seconds),
            duration_of(timing.median),
            duration_of(timing.p95),
            "" if timing.change is None else _change(timing.change),
            str(len(timing.earlier)),
            safe(timing.data_product or ""),
            safe(timing.environment or ""),
        ]
        for timing in found
    ]
    columns = len(names) if len(whose) > 1 else len(names) - 2
    _print_table(names[:columns], [row[:columns] for row in cells], right=range(1, 6))


def _change(change: float) -> str:
    return f"x{change + 1:.1f}" if change >= 9.995 else f"{change:+.0%}"


def _print_table(names: Sequence[str], cells: Sequence[Sequence[str]], right: Iterable[int]) -> None:
    from dbbtrace.cli.table import block_lines, table_lines

    to_right = [place in set(right) for place in range(len(names))]
    width = console().width
    for line in table_lines(names, cells, to_right, width) or block_lines(names, cells, width):
        click.echo(line)


# -- audit --------------------------------------------------------------------------------------------------


@click.command()
@warehouse_option
@since_option()
@run_choice
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "csv", "json", "parquet"], case_sensitive=False),
    default="text",
    show_default=True,
    help="csv and parquet have one row for each run; parquet needs -o.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write it to a file."
)
def audit(
    since: datetime | None,
    data_product: str | None,
    environment: str | None,
    form: str,
    as_json: bool,
    output: Path | None,
) -> None:
    """The complete record of the runs, and its gaps.

    By data product and environment. Gaps: runs without a completed refresh, loads without an end, operations that
    were interrupted or never ended, failures without a reason, runs without a data product.
    """
    from dbbtrace.answers import audit as ask
    from dbbtrace.answers.export import as_csv, as_dict, write_parquet

    form = "json" if as_json else form.lower()
    if form == "parquet" and output is None:
        raise click.BadParameter("parquet is no text: name a file with -o audit.parquet")
    with opened_warehouse() as warehouse:
        found = ask(warehouse, since=since, data_product=data_product, environment=environment)
    if form == "parquet":
        assert output is not None
        write_parquet(found, output)
    elif form == "csv":
        _write(as_csv(found), output)
    elif form == "json":
        _write_json(as_dict(found), output)
    else:
        _write("".join(f"{line}\n" for line in _audit_lines(found)), output)
    if output is not None:
        click.echo(f"{len(found.runs)} runs, {len(found.gaps)} gaps: {output}", err=True)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8", newline="")


def _write_json(value: Any, output: Path | None) -> None:
    if output is None:
        print_json(value)
    else:
        import json

        from dbbtrace.cli.common import plain

        output.write_text(json.dumps(value, indent=2, default=plain) + "\n", encoding="utf-8")


def _audit_lines(found: Audit) -> Iterable[str]:
    from dbbtrace.cli.table import block_lines, table_lines

    width = console().width
    names = ["product", "env", "runs", "succeeded", "failed", "with gaps", "last run (UTC)"]
    cells = [
        [
            safe(record.data_product or "(none)"),
            safe(record.environment or ""),
            count_of(record.runs),
            count_of(record.succeeded),
            count_of(record.failed),
            count_of(record.with_gaps),
            moment_of(record.last_started_at)[:16],
        ]
        for record in found.products
    ]
    right = [2 <= place <= 5 for place in range(len(names))]
    yield from table_lines(names, cells, right, width) or block_lines(names, cells, width)
    runs = {run.run_id: run for run in found.runs}
    yield ""
    yield f"{len(found.runs)} runs, {len(found.gaps)} gaps" + (":" if found.gaps else "")
    for gap in found.gaps:
        about = f": {one_line(gap.operation)}" if gap.operation else ""
        started = moment_of(runs[gap.run_id].started_at)[:16]
        yield f"{safe(gap.run_id)}  {started:16}  {gap.gap}{about}"


# -- diff ---------------------------------------------------------------------------------------------------


@click.command()
@warehouse_option
@click.argument("before")
@click.argument("after")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def diff(before: str, after: str, as_json: bool) -> None:
    """What differs between two runs.

    What turned out otherwise, is new or gone, took longer or shorter, or moved other numbers of rows. Both are run
    ids, their starts, or the word last.
    """
    from dbbtrace.answers import diff as ask
    from dbbtrace.answers.find import find_run

    with opened_warehouse() as warehouse:
        found = ask(warehouse, find_run(warehouse, before), find_run(warehouse, after))
    if as_json:
        print_json(_diff_as_dict(found))
    else:
        _print_diff(found)


def _diff_as_dict(found: Diff) -> dict[str, Any]:
    def side(operation: Operation | None) -> dict[str, Any] | None:
        return None if operation is None else operation_as_dict(operation)

    changes = [
        {**asdict(change), "changes": list(change.changes), "before": side(change.before), "after": side(change.after)}
        for change in found.changes
    ]
    return {"before": asdict(found.before), "after": asdict(found.after), "changes": changes, "same": found.same}


def _print_diff(found: Diff) -> None:
    for word, run in (("before", found.before), ("after", found.after)):
        click.echo(f"{word:6}  {_run_line(run)}")
    click.echo()
    cells = [[", ".join(change.changes), one_line(change.name), *_sides(change)] for change in found.changes]
    if cells:
        _print_table(["what", "operation", "before", "after"], cells, right=())
    click.echo(f"{len(found.changes)} changed, {found.same} the same")


def _run_line(run: Run) -> str:
    whose = ", ".join(safe(fact) for fact in (run.data_product, run.environment) if fact)
    return f"{safe(run.run_id)}  {moment_of(run.started_at)}  {safe(run.status)}  {duration_of(run.seconds)}  {whose}"


def _sides(change: Change) -> tuple[str, str]:
    """What the two runs say, as far as it differs."""

    def said(operation: Operation | None) -> str:
        if operation is None:
            return "-"
        facts = []
        if {"status", "new", "gone"} & set(change.changes):
            facts.append(safe(operation.status))
        if {"slower", "faster", "new", "gone"} & set(change.changes):
            facts.append(duration_of(operation.seconds))
        if "rows" in change.changes:
            facts.append(f"{count_of(operation.rows_written) or 'unknown'} rows")
        return " ".join(filter(None, facts))

    return said(change.before), said(change.after)


COMMANDS = (failures, slowest, audit, diff)
