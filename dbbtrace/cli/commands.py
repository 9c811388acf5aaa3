"""The command group ``dbbtrace``. This is the one place where errors become one line on stderr and an exit code.

0: done. 1: it could not be done now, or a person has to act. 2: the input is invalid. 4: the warehouse could not be
asked (``common.opened_warehouse``). The line says what to do.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

import click

from dbbtrace.cli import (
    ack,
    alerts,
    asof,
    audit,
    dbt,
    dbt_run,
    delivery,
    demo,
    diff,
    doctor,
    fabric,
    failures,
    gate,
    lineage,
    query,
    ready,
    refresh,
    repair,
    report,
    runs,
    serve,
    shell,
    slowest,
    spans,
    today,
    verify,
    version,
    warehouse,
    watch,
    watermark,
)
from dbbtrace.cli.common import warehouse_option
from dbbtrace.cli.text import one_line
from dbbtrace.diagnostics import is_strict
from dbbtrace.errors import ConfigurationError, DbbtraceError, UsageError
from dbbtrace.model.masking import masked

__all__ = ["dbbtrace", "main"]

FAILED, MISUSED, INTERRUPTED = 1, 2, 130


class _OneLineFaults(click.Group):
    """A group that shows no traceback: every error is one line."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")  # a console that can't show a character shows its number
        arguments = list(sys.argv[1:] if args is None else args)
        try:
            outcome = super().main(arguments or ["--help"], "dbbtrace", complete_var, standalone_mode=False, **extra)
        except Exception as error:
            if is_strict() and not isinstance(error, (click.ClickException, click.Abort, DbbtraceError)):
                raise
            message, outcome = _explained(error)
            click.echo(one_line(masked(f"dbbtrace: {message}")), err=True)
        sys.exit(outcome if isinstance(outcome, int) else 0)


def _explained(error: Exception) -> tuple[str, int]:
    """The message for the error, and the exit code."""
    if isinstance(error, click.UsageError):
        asked = f"; see {error.ctx.command_path} --help" if error.ctx else ""
        return error.format_message().rstrip(".") + asked, MISUSED
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    if isinstance(error, click.Abort):
        return "interrupted", INTERRUPTED
    if isinstance(error, (UsageError, ConfigurationError)):
        return str(error), MISUSED
    if isinstance(error, DbbtraceError):
        return str(error), FAILED
    return f"{type(error).__name__}: {error} (DBBTRACE_STRICT=1 shows where)", FAILED


@click.group(cls=_OneLineFaults, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@warehouse_option
@click.version_option(package_name="dbbtrace", message="%(version)s")
def dbbtrace() -> None:
    """Show what happened inside every orchestration run.

    Rows are read from the warehouse in --warehouse or DBBTRACE_WAREHOUSE: sqlite:///file.db (default:
    dbb_warehouse.db in this directory), an ODBC connection string, or mssql://server/database.

    \b
    Examples:
      dbbtrace demo
      dbbtrace failures last
    """


for _module in (
    demo,
    runs,
    failures,
    gate,
    ready,
    repair,
    watermark,
    slowest,
    audit,
    diff,
    lineage,
    asof,
    report,
    alerts,
    watch,
    today,
    ack,
    verify,
    query,
    dbt_run,
    dbt,
    fabric,
    refresh,
    warehouse,
    delivery,
    doctor,
    shell,
    spans,
    serve,
    version,
):
    for _command in _module.COMMANDS:
        dbbtrace.add_command(_command)


def main() -> None:
    """Entry point of the program ``dbbtrace``."""
    logging.getLogger("azure").setLevel(logging.ERROR)  # a failed login is many lines there; ours is one
    dbbtrace()
