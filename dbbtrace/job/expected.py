"""What a job says belongs into the run: names, or the platform's list of a source's tables. Pure but for that file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from dbbtrace.diagnostics import complain
from dbbtrace.job.values import shown

__all__ = ["WORKLOADS", "Expected", "expected_of"]

WORKLOADS = ("integration", "transformation", "consumption")


class Expected(NamedTuple):
    """One thing that belongs into the run."""

    name: str
    """Of a table (``mdm.Customer`` or ``Customer``), a dbt node, a semantic model (or its id), or a workload."""
    workload: str | None
    """None: nobody says which."""


def expected_of(value: object, workload: str | None = None) -> list[Expected]:
    """What the value says is expected; nothing, with a warning, where it makes no sense. A file that can't be read is
    expected itself: else a run of which nobody knows what belongs into it would read as right.

    Args:
        value: names; workload → names; or the path of a file of ``integration_source_list.csv``'s form, whose enabled
            tables are expected.
        workload: that the names are of.
    """
    if value is None:
        return []
    try:
        if isinstance(value, (str, os.PathLike)):
            return _of_file(os.fspath(value)) if _is_file(value) else _of_names([str(value)], workload)
        if isinstance(value, Mapping):
            return [one for stage, names in value.items() for one in expected_of(names, str(stage).strip().lower())]
        if isinstance(value, Iterable):
            return _of_names([str(name) for name in value], workload)
    except (OSError, ValueError) as error:
        if isinstance(value, (str, os.PathLike)):
            complain(f"expect = {shown(value)} can't be read, so the run is Incomplete: {error}")
            return [Expected(os.path.basename(os.fsdecode(value)), workload)]
        complain(f"expect = {shown(value)} is left out: {error}")
        return []
    complain(f"expect = {shown(value)} is left out: give names, or the path of integration_source_list.csv")
    return []


def _of_names(names: list[str], workload: str | None) -> list[Expected]:
    """The names; a blank one among others is left out. If all are blank, something is expected of which nobody knows
    what it is."""
    found = [one for one in (_named(name, workload) for name in names) if one.name]
    if names and not found:
        complain(f"expect = {shown(names)} names nothing, so the run is Incomplete: give names, or leave it out")
        return [Expected("(no name)", workload)]
    return found


_QUOTES = str.maketrans("", "", '[]"`')


def _named(name: str, workload: str | None) -> Expected:
    name = name.translate(_QUOTES).strip()  # ``[mdm].[Customer]`` is the table mdm.Customer
    if workload is None and name.lower() in WORKLOADS:
        return Expected(name.lower(), name.lower())
    return Expected(name, workload)


def _is_file(value: str | os.PathLike[str]) -> bool:
    return isinstance(value, os.PathLike) or value.lower().endswith(".csv")


_NOT_ENABLED = ("no", "false", "0", "n", "off")
"""A table of which the list says anything else is expected."""


def _of_file(path: str | bytes) -> list[Expected]:
    """The enabled tables of a source.

    Raises:
        ValueError: the file has no column table_name, or nothing in it.
    """
    import csv

    found = []
    with open(path, encoding="utf-8-sig", newline="") as file:
        head = file.read(4096)
        file.seek(0)
        delimiter = ";" if head.partition("\n")[0].count(";") > head.partition("\n")[0].count(",") else ","
        rows = csv.DictReader(file, delimiter=delimiter)
        if "table_name" not in [name.strip().lower() for name in rows.fieldnames or ()]:
            raise ValueError("it has no column table_name, as integration_source_list.csv has")
        named = 0
        for row in rows:
            known = {str(name).strip().lower(): (value or "").strip() for name, value in row.items() if name}
            named += bool(known["table_name"])
            if known["table_name"] and known.get("load_enabled", "").lower() not in _NOT_ENABLED:
                schema = known.get("schema_name", "")
                name = f"{schema}.{known['table_name']}" if schema else known["table_name"]
                found.append(Expected(name, "integration"))
    if not named:
        raise ValueError("it names no table")
    return found
