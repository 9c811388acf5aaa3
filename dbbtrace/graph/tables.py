"""Which loaded table a source of dbt's reads: by the names of both, or as somebody said. Pure.

The platform calls the table ``MDS__mdm_Customer`` that was loaded from ``mdm.Customer`` of the source system MDS. Other
names are compared as they are, whatever the case.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

__all__ = ["PATTERN", "DbtSource", "Rules", "Table", "TableKey", "Tables"]

T = TypeVar("T")
TableKey = tuple[str, str, str]
"""Source, schema and table, in lower case."""
PATTERN = "{source}__{schema}_{table}"
"""What the platform calls a loaded table."""


class Table(NamedTuple):
    """A table that is loaded, as its loads name it."""

    source: str
    """The source system; '' where nobody says."""
    schema: str
    table: str

    @property
    def key(self) -> TableKey:
        """The same whatever the case."""
        return self.source.lower(), self.schema.lower(), self.table.lower()

    @property
    def name(self) -> str:
        """For people: ``mdm.Customer``."""
        return f"{self.schema}.{self.table}" if self.schema else self.table


class DbtSource(NamedTuple):
    """A table that dbt reads: a source of its manifest."""

    unique_id: str
    source_name: str
    name: str
    schema: str | None = None
    identifier: str | None = None
    """What the table is called in the database, where the name is not."""

    @classmethod
    def of_id(cls, unique_id: str) -> DbtSource:
        """What the id alone says: ``source.project.mds.Customer``."""
        _, _, rest = unique_id.split(".", 2) if unique_id.count(".") > 1 else ("", "", unique_id)
        source, _, name = rest.rpartition(".")
        return cls(unique_id, source, name)

    @property
    def selector(self) -> str:
        """How dbt's command line names it: ``mds.Customer``."""
        return f"{self.source_name}.{self.name}"


@dataclass(frozen=True)
class Rules:
    """How the names of loaded tables and of dbt's sources go together."""

    pattern: str = PATTERN
    """What a loaded table is called where dbt reads it."""
    given: Mapping[str, str] = field(default_factory=dict)
    """dbt's ``source.table`` → ``source.schema.table`` of its load, where names don't tell."""

    def called(self, table: Table) -> str:
        """The table's name by the pattern, in lower case."""
        said = self.pattern
        for word, value in zip(("{source}", "{schema}", "{table}"), table, strict=True):
            said = said.replace(word, value)
        return said.lower()


class Tables(Generic[T]):
    """Loaded tables, to be found by the sources that read them.

    Args:
        tables: a table, and what is known of it; a table may come more than once.
        rules: how names go together.
    """

    def __init__(self, tables: Iterable[tuple[Table, T]], rules: Rules | None = None) -> None:
        self._rules = rules or Rules()
        self._given = {name.lower(): said.lower() for name, said in self._rules.given.items()}
        self._by_name: dict[str, list[tuple[Table, T]]] = defaultdict(list)
        for table, known in tables:
            names = {table.table.lower(), self._rules.called(table), ".".join(table).lower()}
            for name in names:
                self._by_name[name].append((table, known))

    def of(self, source: DbtSource) -> list[T]:
        """What is known of the table that the source reads. It is several only where names don't tell them apart."""
        given = self._given.get(source.selector.lower())
        if given is not None:
            return [known for table, known in self._by_name.get(given, ()) if ".".join(table).lower() == given]
        ranked: dict[int, list[T]] = defaultdict(list)
        for place, name in enumerate(dict.fromkeys(filter(None, (source.identifier, source.name)))):
            for table, known in self._by_name.get(name.lower(), ()):
                ranked[4 * place + self._rank(table, name.lower(), source)].append(known)
        return ranked[min(ranked)] if ranked else []

    def _rank(self, table: Table, name: str, source: DbtSource) -> int:
        """How well the table fits: 0 best."""
        if self._rules.called(table) == name:
            return 0
        said = {source.source_name.lower(), (source.schema or "").lower()} - {""}
        return 1 if table.source.lower() in said else 2 if table.schema.lower() in said else 3
