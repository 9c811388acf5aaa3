"""Tables of the documentation that the code itself states: attributes and settings.

``python -m tests.docs.reference`` writes them anew between their markers; a test holds the pages to them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from dbbtrace.model import attributes
from dbbtrace.settings import SETTINGS

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


GENERATED: dict[str, Callable[[], str]] = {
    "attributes.md": attributes_table,
    "configuration.md": settings_table,
}
_MARKED = re.compile(r"(?<=<!-- generated -->\n\n).*?(?=\n\n<!-- end -->)", re.S)


def regenerated(page: str) -> str:
    """The page with its tables written anew."""
    return _MARKED.sub(lambda _: GENERATED[page](), (DOCS / page).read_text(encoding="utf-8"), count=1)


if __name__ == "__main__":
    for name in GENERATED:
        (DOCS / name).write_text(regenerated(name), encoding="utf-8")
