"""Every command's --help ends with two examples that its own parser takes."""

from __future__ import annotations

import re
import shlex

import click
import pytest
from click.testing import CliRunner

from dbbtrace.cli.commands import dbbtrace

_SHELL = re.compile(r" [<>] \S+$")
"""Where input comes from and output goes to: the shell's part of an example."""


def _examples(*command: str) -> list[str]:
    """The lines below "Examples:", which must be the last paragraph before the options."""
    printed = CliRunner().invoke(dbbtrace, [*command, "--help"]).output
    paragraphs = printed.split("\nOptions:")[0].rstrip().split("\n\n")
    title, *lines = (line.strip() for line in paragraphs[-1].splitlines())
    assert title == "Examples:"
    return lines


@pytest.mark.parametrize("name", sorted(dbbtrace.commands))
def test_help_ends_with_two_examples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both name the command, with arguments and options that it has and values that it takes."""
    examples = _examples(name)
    assert len(examples) == 2
    monkeypatch.setattr(click.Path, "convert", lambda path, value, *_: (path.type or str)(value))  # need not be there
    monkeypatch.setattr(click.File, "convert", lambda file, value, *_: value)
    for example in examples:
        program, command, *arguments = shlex.split(_SHELL.sub("", example))
        assert (program, command) == ("dbbtrace", name)
        dbbtrace.commands[name].make_context(name, arguments)


def test_help_of_the_program_names_two_commands_to_begin_with() -> None:
    """Both take what the examples give them."""
    examples = [shlex.split(example) for example in _examples()]
    assert len(examples) == 2
    for program, name, *arguments in examples:
        assert program == "dbbtrace"
        dbbtrace.commands[name].make_context(name, arguments)
