"""Prints lines that fit the terminal, and a failure on one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dbbtrace.cli.common import console
from dbbtrace.cli.text import one_line, safe

if TYPE_CHECKING:
    from dbbtrace.answers import Failure

__all__ = ["FAILURES", "echo_indented", "echo_line", "failure_line"]

FAILURES = 10
"""How many failures are named."""


def failure_line(failure: Failure) -> str:
    reason = one_line(failure.operation.error_message or "no reason is recorded")
    return f"- {one_line(failure.operation.label)}: {reason[:300]}"


def echo_line(first: str, more: str) -> None:
    """Print one line where it fits, otherwise two."""
    from rich.cells import cell_len

    if not more or cell_len(f"{first}  {more}") <= console().width:
        click.echo(f"{first}  {more}".rstrip())
    else:
        click.echo(first)
        echo_indented(more)


def echo_indented(text: str) -> None:
    from dbbtrace.cli.text import wrapped

    for number, line in enumerate(wrapped(safe(text), console().width - 4, None)):
        click.echo(f"  {line}" if number == 0 else f"    {line}")
