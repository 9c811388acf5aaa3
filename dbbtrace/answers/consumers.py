"""Who reads dbt's models: exposures and semantic models, as the mapping, a refresh or dbt's exposures say. Pure.

Of a semantic model the mapping in the settings counts first, then what its newest refresh said that it reads, then a
dbt exposure of its name. Names are compared whatever their case, spaces and punctuation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

from dbbtrace.answers.graph import CUT
from dbbtrace.graph import Rules
from dbbtrace.sources.dbt.manifest import ManifestNode

__all__ = ["BY_NAME", "DIRECT", "Exposure", "Names", "Naming", "SemanticModel", "exposures_of", "semantic_models"]

DIRECT = frozenset({"direct lake", "directquery"})
"""Modes in which a semantic model reads the tables as they are."""
_READABLE = ("model", "seed", "snapshot", "source")
"""What a semantic model may read."""


class Naming(NamedTuple):
    """How names go together, as the settings say."""

    semantic_models: Mapping[str, Mapping[str, object]] = {}
    """Name or id of a semantic model → what it ``reads``, and its ``mode``."""
    rules: Rules = Rules()
    """Which loaded table a dbt source reads."""


BY_NAME = Naming()
"""Names tell by themselves."""


class Refreshed(Protocol):
    """A refresh of a semantic model: an operation of a run, or a row."""

    @property
    def operation_id(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def depends_on(self) -> tuple[str, ...]: ...


class Exposure(NamedTuple):
    """Something outside of dbt that reads its models, as a dbt project says."""

    unique_id: str
    names: tuple[str, ...]
    """Its name and its label."""
    reads: tuple[str, ...]


@dataclass(frozen=True)
class SemanticModel:
    """A semantic model, and what it reads."""

    key: str
    """Its id where it is known, else its name."""
    name: str
    reads: tuple[str, ...]
    """unique_ids; a name where nobody knows the model."""
    told_by: str | None
    """mapping, refresh or exposure; None: nobody says what it reads."""
    mode: str | None
    """import, direct lake or directquery; None: nobody says."""
    is_refreshed: bool = False
    """Whether any refresh of it was given."""

    @property
    def is_complete(self) -> bool:
        """Whether all that it reads is known."""
        return self.told_by is not None and CUT not in self.reads

    @property
    def is_direct(self) -> bool:
        """Whether it reads the tables as they are. Nobody says, and nobody refreshes it: then it does."""
        return self.mode in DIRECT if self.mode else not self.is_refreshed


class Names:
    """Finds dbt's nodes by unique_id or by name."""

    def __init__(self, unique_ids: Iterable[str]) -> None:
        self._ids = set(unique_ids)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for unique_id in sorted(self._ids):
            if unique_id.startswith(tuple(f"{kind}." for kind in _READABLE)):
                rest = unique_id.lower().split(".", 2)[-1]
                # Without the version of a model; a source's table often has the name of a model.
                bare = rest if unique_id.startswith("source.") else rest.partition(".")[0]
                for name in {rest, bare}:
                    found.setdefault(name, []).append(unique_id)
        return found

    def of(self, said: str) -> str:
        """The unique_id that is meant; the text itself where none or several fit."""
        if said in self._ids:
            return said
        fitting = self._by_name.get(said.strip().lower(), [])
        return fitting[0] if len(fitting) == 1 else said


def exposures_of(
    manifest: Mapping[str, ManifestNode], rows: Iterable[tuple[str, tuple[str, ...]]] = ()
) -> list[Exposure]:
    """The exposures of a manifest, and those that have rows, as dbt 1.10 and newer report them.

    Args:
        rows: unique_id of a node, and what it reads.
    """
    found = {
        unique_id: Exposure(unique_id, (unique_id.rpartition(".")[2],), reads)
        for unique_id, reads in rows
        if unique_id.startswith("exposure.")
    }
    for unique_id, node in manifest.items():
        if unique_id.startswith("exposure."):
            names = tuple(name for name in (node.name, node.label) if name) or (unique_id.rpartition(".")[2],)
            found[unique_id] = Exposure(unique_id, names, tuple(node.parents))
    return list(found.values())


def semantic_models(
    refreshes: Iterable[Refreshed],
    exposures: Sequence[Exposure],
    mapping: Mapping[str, Mapping[str, object]],
    titles: Mapping[str, str],
    names: Names,
) -> tuple[list[SemanticModel], list[Exposure]]:
    """The semantic models by name, and the exposures that stand for none of them.

    Args:
        refreshes: of any runs, newest first.
        mapping: name or id → what it reads, and its mode: the setting ``semantic_models``.
        titles: id → name, where rows of refreshes don't name the model.
        names: of dbt's nodes.
    """
    by_key: dict[str, list[Refreshed]] = {}
    for refresh in refreshes:
        by_key.setdefault(refresh.operation_id.lower(), []).append(refresh)
    given = {_plain(name): (name, said) for name, said in mapping.items()}
    told = {_plain(name): exposure for exposure in exposures for name in exposure.names}
    models, used = [], set()
    for key, group in by_key.items():
        named = next((one.name for one in group if one.name.lower() != key), titles.get(key, key))
        known = {_plain(key), _plain(named)}
        models.append(_model(key, named, group, known, given, told, names))
        used |= known
    for name, (title, _) in given.items():
        if name not in used:
            models.append(_model(title, title, [], {name}, given, told, names))
            used.add(name)
    left = [exposure for exposure in exposures if not used & {_plain(name) for name in exposure.names}]
    return sorted(models, key=lambda model: (model.name.lower(), model.key)), left


def _model(
    key: str,
    name: str,
    refreshes: Sequence[Refreshed],
    known: set[str],
    given: Mapping[str, tuple[str, Mapping[str, object]]],
    told: Mapping[str, Exposure],
    names: Names,
) -> SemanticModel:
    said = next((given[one][1] for one in sorted(known) if one in given), {})
    exposure = next((told[one] for one in sorted(known) if one in told), None)
    by_refresh = next((one.depends_on for one in refreshes if one.depends_on), ())
    mapped = said.get("reads")
    choices = (
        ("mapping", mapped if isinstance(mapped, Sequence) else ()),
        ("refresh", by_refresh),
        ("exposure", exposure.reads if exposure else ()),
    )
    told_by, reads = next(((by, reads) for by, reads in choices if reads), (None, ()))
    mode = said.get("mode")
    return SemanticModel(
        key,
        name,
        tuple(dict.fromkeys(names.of(str(one)) for one in reads)),
        told_by,
        str(mode) if mode else None,
        bool(refreshes),
    )


def _plain(name: str) -> str:
    """The name without what people write differently."""
    return "".join(letter for letter in name.casefold() if letter.isalnum()) or name
