"""What the reference pages say that the code itself states: settings, attributes, tables, views, options, Python.

``python -m tests.docs.reference`` writes it anew; a test holds the pages to it. What a column of a table or a view
holds is written in the page, and stays; its name, type and order come from the code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from dbbtrace.cli.commands import dbbtrace
from dbbtrace.model import attributes
from dbbtrace.settings import SETTINGS
from dbbtrace.warehouse import open_warehouse, views
from dbbtrace.warehouse.schema import ALL_TABLES, Column, Table
from tests.docs.python_reference import python_reference

DOCS = Path(__file__).parents[2] / "docs"


def attributes_table() -> str:
    """Every attribute under the heading it has in attributes.py, with its docstring."""
    source = Path(attributes.__file__).read_text(encoding="utf-8")
    lines: list[str] = []
    for title, section in re.findall(r"^# -- (.+?) -+$(.*?)(?=^# -- |\Z)", source, re.M | re.S):
        rows = [f"| `{value}` | {_prose(doc)} |" for value, doc in _constants(section)]
        if rows:
            lines += [f"### {title[0].upper()}{title[1:]}", "", "| Attribute | Holds |", "|---|---|", *rows, ""]
    return "\n".join(lines).rstrip()


def _constants(section: str) -> Iterator[tuple[str, str]]:
    """Value and docstring of the keys in a section; constants without docstring are values, not keys."""
    body = ast.parse(section).body
    for statement, following in pairwise(body):
        match statement, following:
            case (
                ast.AnnAssign(value=ast.Constant(value=str(value))),
                ast.Expr(value=ast.Constant(value=str(doc))),
            ) if "." in value:
                yield value, doc


def settings_table() -> str:
    """Every setting with its variables and default."""
    rows = [
        f"| `{setting.name}` | {' or '.join(f'`{name}`' for name in setting.variables)} "
        f"| {_default(setting.default)} | {_prose(setting.doc)} |"
        for setting in SETTINGS
    ]
    return "\n".join(["| Setting | Environment | Default | Says |", "|---|---|---|---|", *rows])


def _default(value: object) -> str:
    if isinstance(value, bool):
        return "`1`" if value else "`0`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`" if value else ""


def _prose(text: str) -> str:
    return " ".join(text.replace("``", "`").split()).replace("|", "\\|")


def options_table() -> str:
    """Every command with its arguments and options."""
    return "\n\n".join(_command(name, dbbtrace.commands[name]) for name in sorted(dbbtrace.commands))


def _command(name: str, command: click.Command) -> str:
    words = [_word(each) for each in command.params if isinstance(each, click.Argument)]
    parts = [f"## {name}", _prose(command.get_short_help_str(1000)), f"`{' '.join(['dbbtrace', name, *words])}`"]
    rows = [
        f"| {_spelled(option)} | {_prose(option.help or '')}{_stated(option)} |"
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden and option.name != "warehouse"
    ]
    if rows:
        parts.append("\n".join(["| Option | Says |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def _word(argument: click.Argument) -> str:
    name = (argument.metavar or (argument.name or "").upper()) + ("..." if argument.nargs == -1 else "")
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _spelled(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    if option.secondary_opts:
        names += f" or `{option.secondary_opts[0]}`"
    if option.is_flag or option.count:
        return names
    kind = option.type
    choices = "\\|".join(map(str, kind.choices)) if isinstance(kind, click.Choice) else None
    return f"{names} {option.metavar or choices or kind.name.upper()}"


def _stated(option: click.Option) -> str:
    said = " May be repeated." if option.multiple else ""
    return said + (f" Default `{option.default}`." if option.show_default is True else "")


# -- columns ----------------------------------------------------------------------------------------------------
_COLUMNS = re.compile(r"(?<=\| Holds \|\n)(\|[-|]+\|\n)((?:\|.*\n)+)")


def tables_page(page: str) -> str:
    """Each table's columns with their types: the platform's, and in a list of their own those that were added."""
    for table in ALL_TABLES:
        page = _in_section(page, table.name, _lists_of(table))
    return page


def _lists_of(table: Table) -> list[list[tuple[str, ...]]]:
    def shown(columns: Iterable[Column]) -> list[tuple[str, ...]]:
        return [(f"`{each.name}`", each.sql_type + ("" if each.nullable else " NOT NULL")) for each in columns]

    own = [each for each in table.columns if not each.added]
    added = [each for each in table.columns if each.added]
    return [shown(own), shown(added)] if own and added else [shown(table.columns)]


def views_page(page: str) -> str:
    """Each view's columns, as the database gives them."""
    with TemporaryDirectory() as folder, open_warehouse(f"sqlite:///{folder}/w.db") as warehouse:
        warehouse.migrate()
        warehouse.query("CREATE TABLE meta.kpi_reconciliation_history (orchestration_run_id, kpi_name, amount)")
        warehouse.migrate(views=True)
        for view in views.VIEWS:
            columns = warehouse.query(f"SELECT * FROM meta.{view} LIMIT 0").columns
            page = _in_section(page, view, [[(f"`{name}`",) for name in columns]])
    return page


def _in_section(page: str, name: str, lists: list[list[tuple[str, ...]]]) -> str:
    """The page with these rows in the lists of columns below the heading; what each column holds stays."""
    before, heading, rest = page.partition(f"## meta.{name}\n")
    section, mark, after = rest.partition("\n## ")
    waiting = iter(lists)

    def rows(found: re.Match[str]) -> str:
        cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in found[2].splitlines()]
        holds = {each[0].strip(): each[-1].rstrip() for each in cells}
        return found[1] + "".join(f"| {' | '.join(row)} |{holds.get(row[0], '')} |\n" for row in next(waiting))

    written = _COLUMNS.sub(rows, section)
    assert heading, f"nothing about {name}"
    assert next(waiting, None) is None, f"no list of the columns of {name}"
    return before + heading + written + mark + after


_MARKED = re.compile(r"(?<=<!-- generated -->\n).*?(?=\n<!-- end -->)", re.S)


def _between_marks(text: Callable[[], str]) -> Callable[[str], str]:
    return lambda page: _MARKED.sub(lambda _: f"\n{text()}\n", page, count=1)


GENERATED: dict[str, Callable[[str], str]] = {
    "attributes.md": _between_marks(attributes_table),
    "configuration.md": _between_marks(settings_table),
    "options.md": _between_marks(options_table),
    "python.md": _between_marks(python_reference),
    "tables.md": tables_page,
    "views.md": views_page,
}


def regenerated(page: str) -> str:
    """The page written anew."""
    return GENERATED[page]((DOCS / page).read_text(encoding="utf-8"))


if __name__ == "__main__":
    for name in GENERATED:
        (DOCS / name).write_text(regenerated(name), encoding="utf-8")
