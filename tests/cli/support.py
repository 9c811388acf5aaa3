"""How the tests run commands: in this process with click's runner, and as the program that users have."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

from click.testing import CliRunner

from dbbtrace.cli.commands import dbbtrace

HOSTILE = "Cust[red]omer\x1b[31m\n\u202etable\x07"
"""A name that would colour, break, mirror and ring, if anything obeyed it."""
HOSTILE_SHOWN = r"Cust[red]omer\x1b[31m\n\u202etable\x07"


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str


def run(*arguments: str, columns: int = 80, given: str | None = None) -> Done:
    """``dbbtrace`` with these arguments, in this process."""
    result = CliRunner().invoke(dbbtrace, list(arguments), env={"COLUMNS": str(columns)}, input=given)
    return Done(result.exit_code, result.stdout, result.stderr)


def run_program(*arguments: str, **environment: str) -> Done:
    """The program ``dbbtrace`` with these arguments and variables, its output in pipes."""
    done = subprocess.run(
        [sys.executable, "-m", "dbbtrace", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def assert_one_line(done: Done, *words: str, code: int = 2) -> None:
    """The command refused in one line on stderr that has these words, and printed nothing else."""
    assert done.code == code, done
    assert done.out == "", done
    assert done.err.count("\n") == 1, done.err
    assert done.err.startswith("dbbtrace: "), done.err
    for word in words:
        assert word in done.err
