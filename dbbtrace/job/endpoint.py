"""What a loaded table is called where readers read it: the SQL endpoint of the lakehouse. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["Loaded", "name_at_endpoint"]

_USUAL = "{source}__{schema}_{table}"
_PLACE = re.compile(r"\{(source|schema|table)\}")


class Loaded(NamedTuple):
    """A table, as its load names it."""

    table: str
    schema: str | None = None
    source: str | None = None
    loaded_at: str | None = None
    """When its newest load started: ISO 8601, UTC."""

    @property
    def label(self) -> str:
        """``schema.table``, for people."""
        return f"{self.schema}.{self.table}" if self.schema else self.table


def name_at_endpoint(loaded: Loaded, names: Mapping[str, str], usual: str = _USUAL) -> tuple[str, ...]:
    """The table's name there, in its parts: ``("Dynamics__dbo_cdm_company",)``, ``("lakehouse", "dbo", "company")``.

    Args:
        loaded: the table.
        names: ``schema.table``, a source or ``*`` → the name, in which {source}, {schema} and {table} stand for the
            load's; the first of these that is there counts.
        usual: the name of all others. Of ``{source}__{schema}_{table}`` what is not known is left out.
    """
    known = {name.lower(): pattern for name, pattern in names.items()}
    said = [known[each.lower()] for each in (loaded.label, loaded.source or "", "*") if each.lower() in known]
    pattern = said[0] if said else _known_part(loaded) if usual == _USUAL else usual
    values = {"source": loaded.source or "", "schema": loaded.schema or "", "table": loaded.table}
    # Split first: a dot in a table's own name separates nothing.
    return tuple(_PLACE.sub(lambda place: values[place[1]], part.strip()) for part in pattern.split("."))


def _known_part(loaded: Loaded) -> str:
    return f"{'{source}__' if loaded.source else ''}{'{schema}_' if loaded.schema else ''}{{table}}"
