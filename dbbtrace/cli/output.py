"""Writes a command's output: to ``-o FILE``, or to stdout, which may be a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from dbbtrace.cli.text import safe
from dbbtrace.errors import UsageError

__all__ = ["echo_text", "output_file", "writing"]


def output_file(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """The file to write. Its directory must exist, which is checked before any work is done. ``-`` is stdout."""
    if value is None or str(value) == "-":
        return value
    parent = value.absolute().parent
    if not parent.is_dir():
        raise click.BadParameter(f"there is no directory {safe(parent)}")
    return value


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """An error that keeps the file from being written becomes one line."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"can't write {safe(path)}: {error.strerror or type(error).__name__}") from None


def echo_text(text: str) -> None:
    """Print text for other programs unchanged. On a terminal, control characters other than line ends are escaped."""
    if sys.stdout.isatty():
        text = "\n".join(map(safe, text.split("\n")))
    click.echo(text, nl=False, color=True)  # otherwise click removes what looks like a colour
