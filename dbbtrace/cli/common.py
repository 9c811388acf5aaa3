"""What commands share: the option that names the warehouse, opening it, and the console."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dbbtrace.diagnostics import is_strict
from dbbtrace.errors import DbbtraceError, UsageError
from dbbtrace.settings import Settings, resolve

if TYPE_CHECKING:
    from rich.console import Console

    from dbbtrace.answers import Operation
    from dbbtrace.answers.terms import Terms
    from dbbtrace.warehouse import Warehouse

__all__ = [
    "UNANSWERED",
    "chosen_warehouse",
    "console",
    "one_form",
    "opened_warehouse",
    "operation_as_dict",
    "plain",
    "print_json",
    "run_meant",
    "settings",
    "terms_of",
    "unanswered",
    "warehouse_in",
    "warehouse_option",
]

F = TypeVar("F", bound=Callable[..., Any])
_WAREHOUSE = "dbbtrace.cli.warehouse"
_UNREAD = "dbbtrace.cli.unread"
UNANSWERED = 4
"""Exit code of every command where the warehouse could not be asked: that is not an answer."""


class _UnansweredError(click.ClickException):
    exit_code = UNANSWERED


def _remember(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.meta[_WAREHOUSE] = value


def warehouse_option(command: F) -> F:
    """``--warehouse URL``, before or after the command's name."""
    return click.option(
        "--warehouse",
        metavar="URL",
        callback=_remember,
        expose_value=False,
        help="The warehouse; overrides DBBTRACE_WAREHOUSE.",
    )(command)


def chosen_warehouse() -> str | None:
    """The value of --warehouse; None if it was not given."""
    return warehouse_in(click.get_current_context())


def warehouse_in(context: click.Context) -> str | None:
    """The same of a command that is not run, but completed."""
    url: str | None = context.meta.get(_WAREHOUSE)
    return url


def settings() -> Settings:
    """The settings in force, with the command line's warehouse."""
    return resolve(warehouse=chosen_warehouse())


def terms_of(known: Settings) -> Terms:
    """The terms by which runs are judged. Says once which journals of this machine can't be read."""
    from dbbtrace.cli.text import one_line
    from dbbtrace.operate.verdict import terms_of as terms_said

    terms, context = terms_said(known), click.get_current_context()
    for journal in terms.unread:
        if journal not in context.meta.setdefault(_UNREAD, set()):
            context.meta[_UNREAD].add(journal)
            text = "nobody knows what waits in a journal of this machine that can't be read"
            click.echo(one_line(f"dbbtrace: {text}: {journal}; see `dbbtrace doctor`"), err=True)
    return terms


def run_meant(warehouse: Warehouse, text: str, data_product: str | None = None, environment: str | None = None) -> str:
    """The run id that RUN means: see ``answers.find``."""
    from dbbtrace.answers.find import find_run

    zone = settings().timezone
    return find_run(warehouse, text, data_product=data_product, environment=environment, zone=zone)


@contextmanager
def opened_warehouse(*, create: bool = False) -> Iterator[Warehouse]:
    """The warehouse from the command line or the settings. Whatever keeps it from answering ends the command with 4."""
    from dbbtrace.warehouse import open_warehouse

    url = settings().warehouse
    if url is None or url.lower() == "none":
        raise UsageError("no warehouse is set: pass --warehouse URL or set DBBTRACE_WAREHOUSE")
    with unanswered(), open_warehouse(url, create=create) as warehouse:
        yield warehouse


@contextmanager
def unanswered() -> Iterator[None]:
    """Whatever keeps the warehouse from answering in the block ends the command with 4; wrong input, with 2."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort, UsageError):
        raise
    except DbbtraceError as error:
        raise _UnansweredError(str(error)) from error
    except Exception as error:
        if is_strict():
            raise
        raise _UnansweredError(f"{type(error).__name__}: {error} (DBBTRACE_STRICT=1 shows where)") from error


def one_form(**chosen: object) -> None:
    """Refuse options that each ask for another form of the answer: ``one_form(json=as_json, mermaid=as_mermaid)``."""
    given = [f"--{name.replace('_', '-')}" for name, value in chosen.items() if value]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} are different forms of the answer: choose one")


def console(*, stderr: bool = False) -> Console:
    """The console for text: no markup, no highlighting of numbers and paths, and no colour if it is off."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def operation_as_dict(operation: Operation) -> dict[str, Any]:
    """The operation for JSON."""
    return {**asdict(operation), "depends_on": list(operation.depends_on), "label": operation.label}


def print_json(value: Any) -> None:
    """Print the value as indented JSON, with control and format characters escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=plain)
    click.echo(_UNSAFE.sub(_escaped, text))


_UNSAFE = re.compile(r"[^\n\x20-\x7e]")


def _escaped(match: re.Match[str]) -> str:
    letter = match.group()
    if unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return letter
    return json.dumps(letter)[1:-1]


def plain(value: object) -> Any:
    """Values that JSON lacks: times become ISO 8601 in UTC, decimals become numbers, bytes become hex digits."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    return str(value)
