"""The rules by which a pipeline run is read: those of ``rules.toml``, with a file of the user's laid over them."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dbbtrace.errors import UsageError

__all__ = ["Rules", "captured", "matches", "read_rules"]

_OWN = Path(__file__).with_name("rules.toml")

Names = tuple[str, ...]


@dataclass(frozen=True)
class Rules:
    """Table → key → names. ``rules.toml`` says what each is for."""

    tables: Mapping[str, Mapping[str, Names]]

    def __call__(self, table: str, key: str) -> Names:
        return self.tables[table][key]


def read_rules(path: str | Path | None = None) -> Rules:
    """The rules, with those of the file laid over them.

    Raises:
        UsageError: the file can't be read, or has a table or key that there is not.
    """
    own = _tables(_OWN)
    given = _tables(Path(path)) if path else {}
    for table, keys in given.items():
        if table not in own:
            raise UsageError(f"{path}: no such table: [{table}]; there are {', '.join(f'[{name}]' for name in own)}")
        unknown = sorted(keys.keys() - own[table].keys())
        if unknown:
            raise UsageError(f"{path}: [{table}] has no key {', '.join(unknown)}; there are {', '.join(own[table])}")
    return Rules({table: {**keys, **given.get(table, {})} for table, keys in own.items()})


def _tables(path: Path) -> dict[str, dict[str, Names]]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(f"{path} can't be read: {error}") from None
    found: dict[str, dict[str, Names]] = {}
    for table, keys in content.items():
        if not isinstance(keys, dict):
            raise UsageError(f"{path}: {table} stands outside of any table: write it below a line such as [loads]")
        for key, names in keys.items():
            names = [names] if isinstance(names, str) else names
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise UsageError(f"{path}: [{table}] {key} is not a list of names")
            found.setdefault(table, {})[key] = tuple(names)
    return found


def matches(name: str | None, patterns: Names) -> bool:
    """Whether the name is one of these."""
    return captured(name, patterns) is not None


@lru_cache(maxsize=4096)
def captured(name: str | None, patterns: Names) -> str | None:
    """What * stands for in the first pattern that the name matches, '' if it has no *; None: it matches none. A run's
    activities have the same few names and types."""
    for pattern in patterns:
        match = _compiled(pattern).fullmatch((name or "").strip())
        if match:
            return match.group(1) if match.re.groups else ""
    return None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("(.*)".join(map(re.escape, pattern.split("*"))), re.IGNORECASE | re.DOTALL)
