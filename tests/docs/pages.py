"""Code blocks of a Markdown page, and what it takes to run them in order, as a reader would.

The word after the fence decides (CONTRIBUTING.md, "Documentation"): ``python`` runs in one namespace a page,
``bash`` and ``console`` in one directory a page, ``sql`` on that directory's warehouse; data formats are parsed.
``file=NAME`` saves the block instead of running it; ``needs=WHAT`` marks one that can't run here: it is parsed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    [path for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md") for path in REPOSITORY.glob(pattern)],
    key=lambda path: path.relative_to(REPOSITORY),
)
_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)\n(?P<text>.*?)^(?P=indent)```[ ]*$", re.M | re.S)
_NUMBER = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{8,32}\b|\d[\d:.,]*")
_RULE = re.compile(r"[│├└─━█▉▊▋▌▍▎▏]+|-{3,}|\s+")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: str
    line: int
    """Line of the block's first line of text."""
    language: str
    options: dict[str, str]
    text: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str, markdown: str) -> Iterator[Block]:
    """The page's fenced blocks in order, those inside HTML comments (set-up that readers needn't see) too."""
    for fence in _FENCE.finditer(markdown):
        language, *options = shlex.split(fence["info"]) or [""]
        yield Block(
            page=page,
            line=markdown.count("\n", 0, fence.start()) + 2,
            language=language,
            options=dict(option.split("=", 1) for option in options),
            text=textwrap.dedent(fence["text"]),
        )


class Reader:
    """Does what a page says, in the current directory."""

    def __init__(self, **namespace: Any) -> None:
        self.namespace: dict[str, Any] = {"__name__": "__main__", **namespace}
        os.environ["PATH"] = os.pathsep.join([_tools(), os.environ["PATH"]])
        os.environ["COLUMNS"] = "100"

    def follow(self, block: Block) -> None:
        """Run the block, save it, or parse it; raises if it is wrong."""
        parse = getattr(self, f"_parse_{block.language}", None)
        if parse is None:
            raise ValueError(f"{block.where}: no such kind of block: {block.language!r}")
        parse(block)
        if name := block.options.get("file"):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(block.text, encoding="utf-8")
        elif "needs" not in block.options:
            getattr(self, f"_run_{block.language}", lambda block: None)(block)

    # -- programs ---------------------------------------------------------------------------------------------
    def _parse_python(self, block: Block) -> Any:
        return compile("\n" * (block.line - 1) + block.text, block.page, "exec")

    def _run_python(self, block: Block) -> None:
        exec(self._parse_python(block), self.namespace)

    def _parse_bash(self, block: Block) -> None:
        subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)

    def _run_bash(self, block: Block) -> None:
        _shell(block.where, block.text)

    def _parse_console(self, block: Block) -> None:
        for command, _ in _commands(block):
            subprocess.run(["bash", "-n"], input=command, text=True, check=True)

    def _run_console(self, block: Block) -> None:
        for command, expected in _commands(block):
            printed = iter([_comparable(line) for line in _shell(block.where, command).splitlines()])
            for line in filter(None, map(_comparable, expected)):
                pattern = re.compile(re.escape(line).replace(r"\.\.\.", ".*"))
                if not any(map(pattern.fullmatch, printed)):  # consumes what came before: order counts
                    raise AssertionError(f"{block.where}: {command!r} did not print: {line}")

    def _parse_sql(self, block: Block) -> None:
        import sqlglot

        dialects = ["tsql", "fabric"] if block.options.get("dialect") == "tsql" else ["sqlite"]
        for dialect in dialects:
            sqlglot.parse(block.text, read=dialect)

    def _run_sql(self, block: Block) -> None:
        if block.options.get("dialect") == "tsql":
            return
        import sqlglot

        for statement in sqlglot.parse(block.text, read="sqlite"):
            if statement is not None:
                _shell(block.where, f"dbbtrace query {json.dumps(statement.sql('sqlite'))}")

    # -- data -------------------------------------------------------------------------------------------------
    def _parse_json(self, block: Block) -> None:
        json.loads(block.text)

    def _parse_yaml(self, block: Block) -> None:
        import yaml

        list(yaml.safe_load_all(block.text))

    def _parse_toml(self, block: Block) -> None:
        if sys.version_info >= (3, 11):
            import tomllib
        else:
            import tomli as tomllib
        tomllib.loads(block.text)

    def _parse_text(self, block: Block) -> None:
        """Nothing to hold against it."""

    def _parse_mermaid(self, block: Block) -> None:
        first = block.text.split(maxsplit=1)[0]
        assert first in {"flowchart", "sequenceDiagram", "graph"}, f"{block.where}: {first}"


def _commands(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Each ``$ command`` (``> `` goes on) with the lines that it is said to print."""
    parts = re.split(r"^\$ ", block.text, flags=re.M)
    assert not parts[0].strip(), f"{block.where}: a console block starts with '$ '"
    for part in parts[1:]:
        command, *lines = part.splitlines()
        while lines and lines[0].startswith("> "):
            command += "\n" + lines.pop(0)[2:]
        yield command, lines


def _comparable(line: str) -> str:
    """The line without what changes from run to run: numbers, ids, times, bars, width."""
    return " ".join(_RULE.sub(" ", _NUMBER.sub("0", line)).split())


def _shell(where: str, script: str) -> str:
    """What the script printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise AssertionError(f"{where}: exit code {done.returncode} from\n{script}\n{done.stdout}")
    return done.stdout


def _tools() -> str:
    """Folders with this environment's commands, and a ``make`` that works in the repository as it is installed."""
    make = Path(".tools/make").absolute()
    make.parent.mkdir()
    fresh = "env -u ARGS -u MAKEFLAGS -u MFLAGS -u MAKELEVEL"  # whatever make runs the tests
    installed = f"VENV={sys.prefix} -o {sys.prefix}/.installed"
    make.write_text(f'#!/bin/sh\nexec {fresh} {shutil.which("make")} -s -C {REPOSITORY} {installed} "$@"\n')
    make.chmod(0o755)
    return os.pathsep.join([str(make.parent), str(Path(sys.executable).parent)])
