"""Every code block of README, CONTRIBUTING, CHANGELOG, docs/ and docstrings does what it says."""

from __future__ import annotations

import ast
import doctest
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, REPOSITORY, Reader, blocks

MODULES = sorted([*REPOSITORY.glob("dbbtrace/**/*.py"), *REPOSITORY.glob("exporters/**/*.py")])


def _name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_page_holds(page: Path) -> None:
    """The page's blocks, done in order by one reader, all work."""
    reader = Reader()
    for block in blocks(_name(page), page.read_text(encoding="utf-8")):
        reader.follow(block)


def _docstrings(path: Path) -> Iterator[tuple[str, int, str]]:
    """Name, line and text of each docstring in the module, those of constants too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for statement in getattr(node, "body", []) if not isinstance(node, (ast.Lambda, ast.IfExp)) else []:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                if isinstance(statement.value.value, str):
                    name = getattr(node, "name", path.stem)
                    yield name, statement.lineno, ast.unparse(statement.value) and statement.value.value


def _examples() -> Iterator[object]:
    """Docstrings with an example: after ``::``, in a fence, or with ``>>>``."""
    for path in MODULES:
        for name, line, text in _docstrings(path):
            if re.search(r"^\s*(>>>|```)|::\n\n\s+(import|with|dbbtrace|from)", text, re.M):
                yield pytest.param(_name(path), line, text, id=f"{_name(path)}:{name}")


@pytest.mark.parametrize(("module", "line", "text"), _examples())
def test_the_docstring_example_holds(module: str, line: int, text: str) -> None:
    """An example in a docstring works as it stands."""
    reader = Reader()
    for block in blocks(module, _fenced(text)):
        reader.follow(block)
    example = doctest.DocTestParser().get_doctest(text, {}, module, module, line)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert runner.run(example).failed == 0


def _fenced(text: str) -> str:
    """Python after ``::`` as a fenced block."""
    literal = re.compile(r"::\n\n((?:[ ]+.*\n|\n)+)")
    return literal.sub(lambda match: f":\n\n```python\n{_dedent(match[1])}\n```\n", text + "\n")


def _dedent(text: str) -> str:
    import textwrap

    return textwrap.dedent(text).strip("\n")
