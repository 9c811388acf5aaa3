"""``dbbtrace query``: one SQL statement, with its rows as a table, JSON or CSV."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from math import isfinite
from typing import Any

import click

from dbbtrace.cli.common import console, opened_warehouse, plain, print_json, warehouse_option
from dbbtrace.cli.text import counted, safe
from dbbtrace.errors import TerminalError, UsageError

__all__ = ["COMMANDS"]


@click.command()
@warehouse_option
@click.argument("sql")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"], case_sensitive=False),
    default="table",
    show_default=True,
    help="table is cut to the terminal's width; json and csv print everything in full.",
)
def query(sql: str, form: str) -> None:
    """Run SQL in the warehouse.

    SQL is one statement, e.g. "SELECT table_name, status FROM meta.monitoring_integration"; - reads it from stdin.

    \b
    Examples:
      dbbtrace query "SELECT table_name, status FROM meta.monitoring_integration"
      dbbtrace query --format csv - < failures.sql
    """
    statement = sys.stdin.read() if sql == "-" else sql
    if not statement.strip():
        raise click.BadParameter("the statement is empty; write e.g. SELECT * FROM meta.monitoring_integration")
    with opened_warehouse() as warehouse:
        _ = warehouse.dialect  # connects: what is wrong from here on is wrong with the statement
        try:
            result = warehouse.query(statement)
        except TerminalError as error:
            raise UsageError(str(error)) from error
    rows = [[_timed(value) for value in row] for row in result.rows]
    if form == "json":
        print_json([dict(zip(_distinct(result.columns), map(_finite, row), strict=True)) for row in rows])
    elif form == "csv":
        click.echo(_csv(result.columns, rows), nl=False, color=True)  # color: click leaves escape codes alone
    else:
        _print_table(result.columns, rows)


def _timed(value: Any) -> Any:
    """A time as a point in time, in UTC: servers have times without a zone, SQLite has texts."""
    if isinstance(value, str) and (match := _TIME.fullmatch(value)):
        with suppress(ValueError):
            value = datetime.fromisoformat(f"{match[1]}.{match[2] or '':0<6}")
    return value.replace(tzinfo=timezone.utc) if isinstance(value, datetime) and value.tzinfo is None else value


_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(\d{1,6}))?", re.ASCII)


def _distinct(columns: Sequence[str]) -> list[str]:
    """The names, with a number added to repeated ones, because a JSON object has one value per name."""
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
    """CSV as in RFC 4180, but with plain line ends. Text that is no time is unchanged. NULL is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["" if value is None else _machine(value) for value in row])
    return text.getvalue()


def _machine(value: Any) -> Any:
    if isinstance(value, datetime):
        return str(value.astimezone(timezone.utc).replace(tzinfo=None))
    return value if isinstance(value, (str, int, float)) else plain(value)


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    return safe(_machine(value))


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    from dbbtrace.cli.table import block_lines, table_lines

    if not columns:
        click.echo("done")
        return
    names, cells = [safe(column) for column in columns], [[_cell(value) for value in row] for row in rows]
    right = [any(isinstance(row[place], (int, float)) for row in rows) for place in range(len(names))]
    width = console().width
    lines = table_lines(names, cells, right, width) or block_lines(names, cells, width)
    for line in lines:
        click.echo(line)
    click.echo(f"({counted(len(rows), 'row')})")


COMMANDS = (query,)
