"""Every code block of README, CONTRIBUTING, CHANGELOG, docs/ and docstrings does what it says."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import dbbtrace
from dbbtrace.warehouse import open_warehouse
from tests.docs.pages import PAGES, REPOSITORY, Block, Reader, blocks

MODULES = sorted([*REPOSITORY.glob("dbbtrace/**/*.py"), *REPOSITORY.glob("exporters/**/*.py")])


def _name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_page_holds(page: Path) -> None:
    """The page's blocks, done in order by one reader, all work."""
    reader = Reader()
    for block in blocks(_name(page), page.read_text(encoding="utf-8")):
        reader.follow(block)


STAND_INS = {"run_id": "0f8fad5b-d9cb-469f-a165-70867728950e", "copy": lambda *_: 10}
"""What examples in docstrings take for granted."""


def _docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring in the module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        if documented and (text := ast.get_docstring(node)):
            yield node.body[0].lineno, text


def _examples() -> Iterator[Block]:
    """The indented paragraphs that are Python and use dbbtrace."""
    for path in MODULES:
        for line, text in _docstrings(path):
            for paragraph in re.findall(r"^(?:    .*\n|\n(?=    ))+", f"{text}\n", re.M):
                example = textwrap.dedent(paragraph)
                if re.match(r"\n*(import|from|with|async with|dbbtrace\.|@dbbtrace)\b", example):
                    yield Block(_name(path), line, "python", {}, example)


@pytest.mark.parametrize("example", list(_examples()), ids=lambda example: example.where)
def test_the_docstring_example_holds(example: Block) -> None:
    """An example in a docstring works as it stands, where a run has left its rows."""
    open_warehouse("sqlite:///dbb_warehouse.db").migrate(views=True)
    with dbbtrace.orchestration_run(data_product="Shop"):
        _job()
    Reader(dbbtrace=dbbtrace, run_my_job=_job, **STAND_INS).follow(example)


def _job() -> None:
    with dbbtrace.table_load("Customer") as load:
        load.rows_written = 10
