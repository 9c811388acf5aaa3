"""``dbbtrace query``: one SQL statement, its rows as a table, JSON or CSV."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from datetime import datetime
from math import isfinite
from typing import Any

import click

from dbbtrace.cli.common import console, opened_warehouse, plain, print_json, warehouse_option
from dbbtrace.cli.text import middle_cut, safe

__all__ = ["COMMANDS"]

_NARROWEST = 8
"""Columns that a column of a table gets at least; where that is too much, each row becomes a block of lines."""


@click.command()
@warehouse_option
@click.argument("sql")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"], case_sensitive=False),
    default="table",
    show_default=True,
    help="table fits the terminal, and cuts what doesn't; json and csv leave nothing out.",
)
def query(sql: str, form: str) -> None:
    """Run SQL in the warehouse.

    SQL is one statement, e.g. "SELECT table_name, status FROM meta.monitoring_integration"; - reads it from stdin.
    """
    statement = sys.stdin.read() if sql == "-" else sql
    if not statement.strip():
        raise click.BadParameter("it is empty; write a statement, e.g. SELECT * FROM meta.monitoring_integration")
    with opened_warehouse() as warehouse:
        result = warehouse.query(statement)
    if form == "json":
        print_json([dict(zip(_distinct(result.columns), map(_finite, row), strict=True)) for row in result.rows])
    elif form == "csv":
        click.echo(_csv(result.columns, result.rows), nl=False)
    else:
        _print_table(result.columns, [[_cell(value) for value in row] for row in result.rows], result.rows)


def _distinct(columns: Sequence[str]) -> list[str]:
    """The names with a number where one comes again: a JSON object keeps one value a name."""
    names: list[str] = []
    for column in columns:
        number, name = 1, column
        while name in names:
            number += 1
            name = f"{column}_{number}"
        names.append(name)
    return names


def _finite(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """RFC 4180, but for plain line ends: faithful to the letter, control characters too; NULL is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["" if value is None else _machine(value) for value in row])
    return text.getvalue()


def _machine(value: Any) -> Any:
    return value if isinstance(value, (str, int, float)) else plain(value)


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, datetime):
        return str(value.replace(tzinfo=None))
    return safe(value if isinstance(value, (str, int, float)) else plain(value))


def _print_table(columns: Sequence[str], cells: Sequence[Sequence[str]], rows: Sequence[Sequence[Any]]) -> None:
    from rich.cells import cell_len

    names = [safe(column) for column in columns]
    wanted = [max(map(cell_len, column)) for column in zip(names, *cells, strict=True)]
    width = console().width
    widths = _fitted(wanted, width - 2 * (len(names) - 1))
    if not names:
        click.echo("done")
        return
    if widths is None:
        _print_blocks(names, cells, width)
    else:
        right = [any(isinstance(row[place], (int, float)) for row in rows) for place in range(len(names))]
        _print_line(names, widths, right)
        _print_line(["-" * column for column in widths], widths, right)
        for row in cells:
            _print_line(row, widths, right)
    click.echo(f"({len(rows)} row{'' if len(rows) == 1 else 's'})")


def _fitted(wanted: Sequence[int], width: int) -> list[int] | None:
    """The widths, the widest narrowed until all fit; None if they can't."""
    if sum(min(column, _NARROWEST) for column in wanted) > width:
        return None
    limit = max(wanted, default=0)
    while sum(min(column, limit) for column in wanted) > width:
        limit -= 1
    widths = [min(column, limit) for column in wanted]
    for place, column in enumerate(wanted):  # what is left over goes to those that were narrowed, from the left
        extra = min(column - widths[place], width - sum(widths))
        widths[place] += extra
    return widths


def _print_line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> None:
    from rich.cells import cell_len

    parts = []
    for cell, width, to_right in zip(cells, widths, right, strict=True):
        text = middle_cut(cell, width)
        space = " " * (width - cell_len(text))
        parts.append(space + text if to_right else text + space)
    click.echo("  ".join(parts).rstrip())


def _print_blocks(names: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> None:
    """Each row as lines ``name  value``."""
    label = max(map(len, names))
    for number, row in enumerate(cells, 1):
        click.echo(f"-- row {number} ".ljust(min(width, 40), "-"))
        for name, cell in zip(names, row, strict=True):
            click.echo(f"{name:{label}}  {middle_cut(cell, max(width - label - 2, 20))}".rstrip())


COMMANDS = (query,)
