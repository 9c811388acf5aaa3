"""The plan of the house holds: no circle, no arrow that may not be, no module that stands about in the package root.

All imports count, those inside functions and under TYPE_CHECKING too: they are arrows for whoever reads.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "dbbtrace", ROOT / "exporters" / "dbbtrace_exporters")
IN_THE_ROOT = {
    "__init__", "__main__", "configure", "diagnostics", "errors", "py.typed", "settings", "testing",
    "version",
}  # fmt: skip


def modules() -> dict[str, Path]:
    """Name → file of every module of ours."""
    found = {}
    for package in PACKAGES:
        for path in package.rglob("*.py"):
            parts = path.relative_to(package.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(source: str) -> Iterator[tuple[str, str | None]]:
    """Module and name of every import, wherever it stands; the name is None where the module itself is imported."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports name their module in full"
            yield from ((node.module or "", alias.name) for alias in node.names)


def ours(source: str) -> set[str]:
    """The modules of ours that the source imports."""
    named = {f"{module}.{name}" if f"{module}.{name}" in MODULES else module for module, name in imports(source)}
    return named & MODULES.keys()


ARROWS = {name: ours(path.read_text(encoding="utf-8")) - {name} for name, path in MODULES.items()}


def circles(arrows: Mapping[str, Iterable[str]]) -> set[frozenset[str]]:
    """Modules that lead back to themselves, each circle as one set."""

    def reached(start: str) -> set[str]:
        found, waiting = set[str](), list(arrows[start])
        while waiting:
            if (name := waiting.pop()) not in found:
                found.add(name)
                waiting.extend(arrows[name])
        return found

    reach = {name: reached(name) for name in arrows}
    return {frozenset(other for other in reach[name] if name in reach[other]) for name in arrows if name in reach[name]}


def is_in(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def test_hidden_imports_are_seen() -> None:
    """An import inside a function, or for type checkers alone, is an arrow as any other; so is one of a submodule."""
    source = """
if TYPE_CHECKING:
    from dbbtrace.job.handle import Handle

def late():
    from dbbtrace.warehouse import views
    import dbbtrace.model.times, os
"""
    assert ours(source) == {"dbbtrace.job.handle", "dbbtrace.warehouse.views", "dbbtrace.model.times"}
    assert circles({"a": "b", "b": "c", "c": "b", "d": "a"}) == {frozenset("bc")}


def test_no_circle_between_modules() -> None:
    """Whoever follows an import never comes back to where they were."""
    assert circles(ARROWS) == set()


@pytest.mark.parametrize(
    ("room", "unknown"),
    [
        ("dbbtrace.tracing", "dbbtrace.job"),
        ("dbbtrace.journal", "dbbtrace.delivery"),
        ("dbbtrace.journal", "dbbtrace_exporters"),
        ("dbbtrace.delivery", "dbbtrace_exporters"),
        ("dbbtrace.job", "dbbtrace.warehouse"),
        ("dbbtrace.warehouse", "dbbtrace.job"),
        ("dbbtrace_exporters", "dbbtrace.job"),
    ],
)
def test_rooms_that_know_nothing_of_each_other(room: str, unknown: str) -> None:
    """The first never imports the second."""
    found = {
        (name, target) for name in ARROWS if is_in(name, room) for target in ARROWS[name] if is_in(target, unknown)
    }
    assert found == set()


def test_the_vocabulary_knows_nothing_else_of_ours() -> None:
    """``model`` imports itself at most."""
    assert not {
        (name, target)
        for name in ARROWS
        if is_in(name, "dbbtrace.model")
        for target in ARROWS[name]
        if not is_in(target, "dbbtrace.model")
    }


def test_the_graph_is_pure() -> None:
    """``graph`` imports itself at most: whoever has names and edges can ask it."""
    assert not {
        (name, target)
        for name in ARROWS
        if is_in(name, "dbbtrace.graph")
        for target in ARROWS[name]
        if not is_in(target, "dbbtrace.graph")
    }


def test_exporters_are_found_by_their_entry_points() -> None:
    """Only the command line, which serves the receiver, imports ``dbbtrace_exporters``."""
    assert not {
        (name, target)
        for name in ARROWS
        if is_in(name, "dbbtrace") and not is_in(name, "dbbtrace.cli")
        for target in ARROWS[name]
        if is_in(target, "dbbtrace_exporters")
    }


def test_the_command_line_alone_knows_click_and_rich() -> None:
    """What a notebook or a job imports draws no table and parses no option."""
    assert not {
        (name, module)
        for name, path in MODULES.items()
        if not is_in(name, "dbbtrace.cli")
        for module, _ in imports(path.read_text(encoding="utf-8"))
        if module.partition(".")[0] in ("click", "rich")
    }


def tracked() -> list[str]:
    """The files of the repository."""
    return subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")


def test_the_package_root_holds_the_front_door_and_the_ground() -> None:
    """Everything else has a room."""
    files = {path.stem if path.suffix == ".py" else path.name for path in PACKAGES[0].iterdir() if path.is_file()}
    assert files <= IN_THE_ROOT
    assert {path.name for path in PACKAGES[1].iterdir() if path.is_file()} == {"__init__.py", "py.typed"}


def test_the_architecture_page_names_every_room() -> None:
    """Its table has a row for each folder, and none for a folder that is not there."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.split("| Room | What it holds |\n")[1].split("\n\n")[0]
    named = [match for row in table.splitlines()[1:] for match in re.findall(r"`([^`]+)`", row.split("|")[1])]
    rooms = [
        f"{package.relative_to(ROOT)}/{path.name}/"
        for package in PACKAGES
        for path in package.iterdir()
        if (path / "__init__.py").exists()
    ]
    assert sorted(named) == sorted([*rooms, "dbbtrace/"])


OLD_MODULES = (
    "attributes|identity|times|destinations|provider|runtime|spans|operations|handle|attempts|decorate|values|scope"
    "|runs|parameters|records|shell|opening|handover|facts|checks|closing|replay|operating|notebook|readable"
    r"|delivery[./](?:delivery|journal|reader|codec|definitions|owner|mirror|jsons|markers|settle|outlet|patience"
    r"|deadletter|keeper)|warehouse[./](?:faults|tokens|addresses|steps|values)"
)
OLD_PATHS = re.compile(
    rf"\bdbbtrace[./](?:{OLD_MODULES})(?:\.py)?(?![\w/])"
    r"|\bdbbtrace_exporters[./](?:receiver_\w+|otlp_\w+|flatten\w*|(?:warehouse|otlp|receiver)\.py)\b"
)
PATHS = re.compile(r"(?<![\w./-])(?:exporters/)?(?:dbbtrace|dbbtrace_exporters)/[\w/]+\.(?:py|sql)\b")


def test_no_file_names_a_module_that_has_moved() -> None:
    """Neither by its dotted name nor by its path; a path that is named exists."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    old = {}
    for name in tracked():
        path = ROOT / name
        if not path.is_file() or path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        named = [match[0] for match in OLD_PATHS.finditer(text)]
        named += [
            match[0]
            for match in PATHS.finditer(text)
            if not (ROOT / match[0]).exists() and not (ROOT / "exporters" / match[0]).exists()
        ]
        if named:
            old[name] = named
    assert not old
