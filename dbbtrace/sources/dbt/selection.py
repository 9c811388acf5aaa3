"""What a dbt command line selects, as dbt itself says (``dbt ls``), and the command line that leaves some of it out.

The syntax of selections is dbt's own: nothing here reads it. Starts dbt as a child, since ``dbt ls`` prints.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec

from dbbtrace.errors import DbtError, UsageError
from dbbtrace.graph import DbtSource
from dbbtrace.sources.dbt.arguments import Arguments
from dbbtrace.sources.dbt.manifest import ManifestNode
from dbbtrace.sources.dbt.terms import without_colours

__all__ = ["KINDS", "SELECTOR", "listed", "selectors_file", "selects", "without"]

_SELECTING = ("--select", "-s", "--models", "--model", "-m")
_MANY = (*_SELECTING, "--exclude", "--resource-type", "--resource-types", "--exclude-resource-type")
"""Options that take words up to the next option."""
_ONE = (
    "--selector", "--indirect-selection", "--project-dir", "--profiles-dir", "--profile", "--target", "-t", "--vars",
    "--target-path", "--log-path", "--state", "--defer-state",
)  # fmt: skip
"""Options that ``dbt ls`` shares with the commands that build."""
KINDS = {
    "build": ("model", "seed", "snapshot", "test", "unit_test", "saved_query", "function"),
    "run": ("model",),
    "seed": ("seed",),
    "snapshot": ("snapshot",),
    "test": ("test", "unit_test"),
}
"""Command that builds what it selects → the kinds of nodes that it builds."""
SELECTOR = "dbbtrace_gate"
"""What the selector is called that ``selectors_file`` defines."""
_FRAMES = re.compile(r"\n\s*\d+: [^\n]*(?:\n\s+at \S+)?")
"""The stack that Fusion prints below each error."""
_NOT_IN_A_NAME = str.maketrans(" ,", "??")
"""dbt splits a selection at these; a question mark stands for any character."""


def listed(args: Sequence[str], *, executable: str | os.PathLike[str] | None = None, write: bool = True) -> list[str]:
    """unique_ids of the nodes that a command of dbt's would build, as dbt says.

    Args:
        args: dbt's arguments, without the program: ``["build", "--select", "+tag:Finance"]``.
        executable: the ``dbt`` of another environment; default: dbt of this environment, else the one on the PATH.
        write: dbt may write its manifest.

    Raises:
        DbtError: dbt could not say; the message is dbt's own.
        UsageError: there is no dbt, or the command builds nothing that could be left out.
    """
    command = Arguments(args).command
    if command not in KINDS:
        raise UsageError(f"dbt {command}: nothing can be left out of it; there are {', '.join(sorted(KINDS))}")
    program = _program(executable)
    asked = ["ls", *_shared(args), "--output", "json", "--output-keys", "unique_id", "--quiet"]
    asked += [] if write else ["--no-write-json"]
    try:
        done = subprocess.run([*program, *asked], capture_output=True, text=True, encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"{program[0]} can't be started: {error.strerror or error}") from None
    if done.returncode != 0:
        said = _FRAMES.sub("", without_colours(f"{done.stdout}\n{done.stderr}")).strip()
        raise DbtError(f"dbt ls could not say what is selected: {said or f'exit code {done.returncode}'}")
    kinds = KINDS[command]
    return [unique_id for unique_id in _ids(done.stdout) if unique_id.split(".", 1)[0] in kinds]


def selects(args: Sequence[str]) -> bool:
    """Whether the arguments choose among the project's nodes."""
    chosen = {"--selector", "--exclude", "--resource-type", "--resource-types", "--exclude-resource-type", *_SELECTING}
    return any(option in chosen for option, _ in _options(args))


def _program(executable: str | os.PathLike[str] | None) -> list[str]:
    if executable is None and find_spec("dbt") is not None and find_spec("dbt.cli") is not None:
        return [sys.executable, "-c", "from dbt.cli.main import cli; cli()"]
    found = shutil.which(os.fspath(executable) if executable is not None else "dbt")
    if found is None:
        raise UsageError(f"there is no {executable or 'dbt on the PATH'}: install dbt, or name its program")
    return [found]


def _ids(text: str) -> Iterator[str]:
    for line in text.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue  # a warning, say
        if isinstance(said, dict) and isinstance(said.get("unique_id"), str):
            yield said["unique_id"]


def _shared(args: Sequence[str]) -> list[str]:
    """The arguments that ``dbt ls`` takes, too."""
    found: list[str] = []
    for option, values in _options(args):
        if option in _MANY or option in _ONE:
            found += ["--select" if option in _SELECTING else option, *values]
        elif option in ("--defer", "--favor-state"):
            found.append(option)
    return found


def _options(args: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Every option with its values, as far as ``dbt ls`` takes it, too; other words by themselves."""
    place = 0
    while place < len(args):
        option, equals, value = args[place].partition("=")
        place += 1
        values = [value] if equals else []
        if option in _MANY and not equals:
            while place < len(args) and not args[place].startswith("-"):
                values.append(args[place])
                place += 1
        elif option in _ONE and not equals and place < len(args):
            values.append(args[place])
            place += 1
        yield option, values


# -- the command line that leaves some out ---------------------------------------------------------------------


def without(
    args: Sequence[str],
    closed: Collection[DbtSource],
    unaffected: Sequence[str],
    manifest: Mapping[str, ManifestNode],
    *,
    default_selector: bool = False,
) -> list[str]:
    """The arguments that build exactly what is unaffected.

    They are the user's own, and an ``--exclude`` of all below each closed source. With a selector dbt ignores
    ``--exclude``: then every node is named.

    Args:
        args: dbt's own.
        closed: sources from which nothing may be built.
        unaffected: what is left of the selection.
        manifest: the graph, for the names.
        default_selector: the project has a selector that dbt takes where nothing is selected.
    """
    if not closed:
        return list(args)
    if _has_selector(args, default_selector):
        named = [_selector_of(unique_id, manifest) for unique_id in unaffected]
        kept = _dropped(args, "--selector", "--indirect-selection")
        return [*kept, "--select", *named, "--indirect-selection", "empty"]
    return [*args, "--exclude", *_below(closed, manifest)]


def _has_selector(args: Sequence[str], default_selector: bool) -> bool:
    options = {option for option, _ in _options(args)}
    return "--selector" in options or (default_selector and not options.intersection((*_SELECTING, "--exclude")))


def _below(closed: Iterable[DbtSource], manifest: Mapping[str, ManifestNode]) -> list[str]:
    """What names each source and all below it."""
    names: dict[str, int] = {}
    for unique_id in manifest:
        if unique_id.startswith("source."):
            name = DbtSource.of_id(unique_id).selector
            names[name] = names.get(name, 0) + 1
    found = []
    for source in closed:
        package = source.unique_id.split(".")[1]
        name = f"{package}.{source.selector}" if names.get(source.selector, 0) > 1 else source.selector
        found.append(f"source:{name.translate(_NOT_IN_A_NAME)}+")
    return found


def _selector_of(unique_id: str, manifest: Mapping[str, ManifestNode]) -> str:
    kind, package, name = unique_id.split(".", 2)
    if kind == "unit_test":
        return f"unit_test:{package}.{name.rpartition('.')[2]}"
    if kind == "saved_query":
        return f"saved_query:{package}.{name}"
    node = manifest.get(unique_id)
    return "fqn:" + ".".join((node.fqn if node is not None else None) or [name]).translate(_NOT_IN_A_NAME)


def _dropped(args: Sequence[str], *names: str) -> list[str]:
    """The arguments without these options and their values."""
    found, skip = [], False
    for word in args:
        if skip:
            skip = False
        elif word in names:
            skip = True
        elif not word.startswith(tuple(f"{name}=" for name in names)):
            found.append(word)
    return found


def selectors_file(args: Sequence[str]) -> str:
    """A selectors.yml, for command lines that get too long: it defines one selector of what these arguments select.

    JSON, which is YAML, too.
    """
    included: list[object] = []
    excluded: list[object] = []
    for option, values in _options(args):
        if option in _SELECTING or option == "--exclude":
            into = excluded if option == "--exclude" else included
            into += [_union_of(each) for value in values for each in value.split(" ") if each]
    definition: list[object] = included or [{"method": "fqn", "value": "*"}]
    if excluded:
        definition = [*definition, {"exclude": excluded}]
    selector = {
        "name": SELECTOR,
        "description": "What may be built, as dbbtrace gate says.",
        "definition": {"union": definition},
    }
    return json.dumps({"selectors": [selector]}, indent=2, ensure_ascii=False) + "\n"


def _union_of(said: str) -> object:
    parts = said.split(",")
    return {"intersection": parts} if len(parts) > 1 else said
