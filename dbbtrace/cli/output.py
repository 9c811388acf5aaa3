"""Where a command's answer goes: ``-o FILE``, or stdout, which may be a terminal."""

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
    """A file to write, whose directory is there: that is told before any work is done. ``-`` is stdout."""
    if value is None or str(value) == "-":
        return value
    parent = value.absolute().parent
    if not parent.is_dir():
        raise click.BadParameter(f"there is no directory {safe(parent)}")
    return value


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Whatever keeps the file from being written is told in a line."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"can't write {safe(path)}: {error.strerror or type(error).__name__}") from None


def echo_text(text: str) -> None:
    """Text for other programs, as it is; on a terminal nothing in it but line ends is obeyed."""
    if sys.stdout.isatty():
        text = "\n".join(map(safe, text.split("\n")))
    click.echo(text, nl=False, color=True)  # else click takes out what looks like a colour
