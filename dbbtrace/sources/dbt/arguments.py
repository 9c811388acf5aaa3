"""What dbt's command line says, together with its environment and project file: command, selection, folders.

Only what dbbtrace has to know before dbt has written anything. dbt's own order: flag, environment, project file,
default. Runs no dbt and needs no YAML reader: of the project file it takes single lines.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from dbbtrace.model.identity import sha256

__all__ = ["BUILDING", "Arguments"]

BUILDING = frozenset({"build", "run", "run-operation", "retry", "seed", "snapshot", "source freshness", "test"})
"""Commands whose nodes give rows. Every other looks at nodes, or at none."""
_COMMANDS = frozenset({
    "build", "clean", "clone", "compile", "debug", "deps", "docs", "freshness", "init", "list", "ls", "parse",
    "retry", "run", "run-operation", "seed", "serve", "show", "snapshot", "source", "test",
})  # fmt: skip
_WITH_VALUE = frozenset({
    "-t", "--target", "--profile", "--profiles-dir", "--project-dir", "--target-path", "--log-path", "--state",
    "--defer-state", "-r", "--record-timing-info",
})  # fmt: skip
"""Options that may come before the command, with a value that may be spelled like one: a target ``test``."""
_WITH_MORE = {"source": ("freshness", "snapshot-freshness"), "docs": ("generate", "serve")}
_SELECT = ("--select", "-s", "--models", "--model", "-m")
_ENVIRONMENT_VARIABLE = re.compile(
    r"""\{\{\s*env_var\(\s*['"]([^'"]+)['"]\s*(?:,\s*['"]([^'"]*)['"]\s*)?\)\s*\}\}""",
)


class Arguments:
    """What dbt was told.

    Args:
        args: dbt's arguments, without the program: ``["build", "--select", "+customers"]``.
        environ: dbt's environment; default that of this process.
    """

    def __init__(self, args: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
        self._args = list(args)
        self._environ = os.environ if environ is None else environ

    @property
    def command(self) -> str:
        """``build``, ``source freshness``, ...; '' where there is none."""
        for place, word in enumerate(self._args):
            if word in _COMMANDS and (place == 0 or self._args[place - 1] not in _WITH_VALUE):
                following = self._args[place + 1] if place + 1 < len(self._args) else ""
                return (
                    f"{word} freshness"
                    if word == "source"
                    else (f"{word} {following}" if following in _WITH_MORE.get(word, ()) else word)
                )
        return ""

    @property
    def builds(self) -> bool:
        """Whether the command's nodes give rows."""
        return self.command in BUILDING

    @property
    def selection(self) -> str:
        """What dbt was told to select, as ``terms.selection_of`` reads it from an artifact."""
        selector = self.flag("--selector")
        return " ".join(self._after(*_SELECT)) or (f"selector:{selector}" if selector else "")

    def _after(self, *options: str) -> list[str]:
        """The values of options that take several."""
        found: list[str] = []
        for place, word in enumerate(self._args):
            name, equals, value = word.partition("=")
            if name in options:
                found += [value] if equals else self._values_after(place)
        return found

    def _values_after(self, place: int) -> list[str]:
        values = []
        for word in self._args[place + 1 :]:
            if word.startswith("-") and word != "-":
                break
            values.append(word)
        return values

    def flag(self, name: str) -> str | None:
        """The value of an option, the last one counts."""
        found = None
        for place, word in enumerate(self._args):
            if word == name and place + 1 < len(self._args):
                found = self._args[place + 1]
            elif word.startswith(f"{name}="):
                found = word[len(name) + 1 :]
        return found

    @property
    def project(self) -> Path:
        """The project's folder: the one that is named, else the nearest one above that holds a dbt_project.yml."""
        named = self.flag("--project-dir") or self._variable("PROJECT_DIR")
        if named:
            return Path(named).absolute()
        here = Path.cwd()
        return next((folder for folder in (here, *here.parents) if (folder / "dbt_project.yml").exists()), here)

    @property
    def purpose(self) -> dict[str, str]:
        """What tells invocations of one command apart, in any checkout: project, selection, operation."""
        said = {
            "project": self._of_project_file("name") or self.project.name,
            "select": self.selection,
            "exclude": " ".join(self._after("--exclude")),
        }
        if self.command == "run-operation":  # a mark, for arguments may hold secrets
            words = "\n".join(self._args[self._args.index("run-operation") :])
            said["operation"] = sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:6]
        return {name: value for name, value in said.items() if value}

    @property
    def target(self) -> Path:
        """The folder that artifacts are written to."""
        return self._folder("--target-path", "TARGET_PATH", "target-path", "target")

    @property
    def logs(self) -> Path:
        """The folder that logs are written to."""
        return self._folder("--log-path", "LOG_PATH", "log-path", "logs")

    @property
    def sources_file(self) -> Path:
        """The file that ``dbt source freshness`` writes."""
        named = self.flag("--output") or self.flag("-o")
        return self.project / named if named else self.target / "sources.json"

    def _folder(self, flag: str, variable: str, key: str, default: str) -> Path:
        named = self.flag(flag) or self._variable(variable) or self._of_project_file(key) or default
        return self.project / named

    def _variable(self, name: str) -> str | None:
        return self._environ.get(f"DBT_{name}") or self._environ.get(f"DBT_ENGINE_{name}")

    def _of_project_file(self, key: str) -> str | None:
        """A top-level text of dbt_project.yml, with the environment's variables put in."""
        try:
            text = (self.project / "dbt_project.yml").read_text(encoding="utf-8")
        except (OSError, ValueError):
            return None
        match = re.search(
            rf"""^(?:\{{.*?\b)?{key}:\s*(?:"([^"\n]*)"|'([^'\n]*)'|([^\s#,}}"'][^#,}}\n]*))""", text, re.M
        )
        if match is None:
            return None
        value = next(group for group in match.groups() if group is not None).strip()
        return _ENVIRONMENT_VARIABLE.sub(lambda found: self._environ.get(found[1], found[2] or ""), value) or None
