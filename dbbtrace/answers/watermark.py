"""From when on the next incremental load of a table reads: the start of its last load that succeeded.

The same answer as the platform's own query gives: the largest ``timestamp`` of the rows with exactly these names and
the status Succeeded, whatever the run, the product and the workspace. What that number leaves unsaid is said beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dbbtrace.answers import findings as judging
from dbbtrace.answers.platform import validations
from dbbtrace.answers.read import moment_of_row
from dbbtrace.answers.suggest import suggestion
from dbbtrace.answers.usual import Load
from dbbtrace.errors import UsageError
from dbbtrace.graph import Table
from dbbtrace.warehouse import Warehouse, views

__all__ = ["NEVER", "Watermark", "watermark"]

NEVER = "0000-00-00 00:00:00"
"""What the platform takes for a table that was never loaded: before everything."""


@dataclass(frozen=True)
class Watermark:
    """From when on the next load of a table reads."""

    table: Table
    at: datetime | None
    """Start of the last load that succeeded, UTC; None: everything is read."""
    state: str
    """incremental, full (a FULL load reads everything), never loaded, or empty (the table has no rows)."""
    note: str | None = None
    """What a person should know."""
    run_id: str | None = None
    """The run of that load."""
    load_type: str | None = None
    """Of that load."""

    @property
    def value(self) -> str:
        """As the platform writes it: ``2026-11-24 08:00:05.000``; ``0000-00-00 00:00:00``: everything."""
        return self.text("%Y-%m-%d %H:%M:%S.%f")[:23] if self.at is not None else NEVER

    def text(self, form: str) -> str:
        """In another form, as strftime takes it; ``0000-00-00 00:00:00``: everything."""
        return self.at.strftime(form) if self.at is not None else NEVER


def watermark(warehouse: Warehouse, table: Table, load_type: str = "INCREMENTAL") -> Watermark:
    """The watermark of a table.

    Args:
        table: its names exactly as its rows have them; '' where a row has none.
        load_type: of the load that is to come; FULL reads everything.

    Raises:
        UsageError: the load type is neither INCREMENTAL nor FULL.
    """
    if load_type.upper() not in ("INCREMENTAL", "FULL"):
        raise UsageError(f"load_type {load_type!r} is neither INCREMENTAL nor FULL")
    if load_type.upper() == "FULL":
        return Watermark(table, None, "full", "a FULL load reads everything")
    rows = views.ask(warehouse, _SUCCEEDED, [table.table, table.schema, table.source])
    found = [(at, str(run_id), kind) for when, run_id, kind in rows if (at := moment_of_row(when)) is not None]
    if not found:
        return Watermark(table, None, "never loaded", _like(warehouse, table))
    at, run_id, kind = max(found, key=lambda row: row[0])
    if _is_empty(warehouse, table, at, run_id):
        note = "the table has no rows where readers read it: what was before the watermark is not there"
        return Watermark(table, at, "empty", note, run_id, kind)
    in_full = "its last load was FULL" if str(kind or "").upper() == "FULL" else None
    return Watermark(table, at, "incremental", in_full, run_id, kind)


_SUCCEEDED = """\
SELECT l.[timestamp], l.orchestration_run_id, l.load_type
FROM meta.monitoring_integration AS l
WHERE
    l.table_name = ? AND COALESCE(l.schema_name, '') = ? AND COALESCE(l.source_name, '') = ?
    AND l.status = 'Succeeded'
    AND l.[timestamp] = (
        SELECT MAX(m.[timestamp])
        FROM meta.monitoring_integration AS m
        WHERE
            m.table_name = l.table_name
            AND COALESCE(m.schema_name, '') = COALESCE(l.schema_name, '')
            AND COALESCE(m.source_name, '') = COALESCE(l.source_name, '')
            AND m.status = 'Succeeded'
    )
"""


def _like(warehouse: Warehouse, table: Table) -> str:
    """Why there may be none."""
    others = []
    for source, schema, name, status in views.ask(warehouse, _SIMILAR, [table.table]):
        there = Table(str(source or ""), str(schema or ""), str(name))
        if there == table:
            return f"it was loaded, but never with the status Succeeded: the last word is {status}"
        if there.key == table.key:
            return f"there is {there.source} {there.name}: names are compared letter by letter"
        others.append(f"{there.source} {there.name}".strip())
    if others:
        known = ", ".join(sorted(others)[:3])
        return f"no load of it is recorded; there is {known}: source and schema are compared too"
    tables = [str(name) for (name,) in views.ask(warehouse, _TABLES, [])]
    return f"no load of it is recorded{suggestion(table.table, tables)}"


_TABLES = "SELECT DISTINCT l.table_name FROM meta.monitoring_integration AS l"

_SIMILAR = """\
SELECT l.source_name, l.schema_name, l.table_name, MAX(l.status)
FROM meta.monitoring_integration AS l
WHERE LOWER(l.table_name) = LOWER(?)
GROUP BY l.source_name, l.schema_name, l.table_name
"""


def _is_empty(warehouse: Warehouse, table: Table, at: datetime, run_id: str) -> bool:
    """Whether somebody counted after that load and found nothing."""
    load = Load(run_id, table.key, table.name, False, True, at, None, None)
    if judging.empty_tables([load], validations(warehouse, at)):
        return True
    found = judging.stored(warehouse, [run_id]).get(run_id, ())
    names = (table.name.lower(), table.table.lower())
    return any(one.by == "verify" and one.kind == "empty" and one.name.lower() in names for one in found)
