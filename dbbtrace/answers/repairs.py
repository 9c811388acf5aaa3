"""Which runs make which right, as ``link`` rows of the runs' own record say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dbbtrace.warehouse import Warehouse, views

__all__ = ["chain", "family", "links", "repairing"]


def links(warehouse: Warehouse) -> dict[str, list[str]]:
    """Run id → the runs that it repairs, for every run that repairs any."""
    found: dict[str, list[str]] = {}
    for run_id, repaired in views.ask(warehouse, _REPAIRS):
        if run_id != repaired:
            found.setdefault(str(run_id), []).append(str(repaired))
    return found


_REPAIRS = """\
SELECT p.orchestration_run_id, p.repairs
FROM meta.monitoring_run_part AS p
WHERE p.part = 'link' AND p.repairs <> ''
GROUP BY p.orchestration_run_id, p.repairs
"""


def chain(warehouse: Warehouse, run_id: str, known: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """The run, then the runs that it repairs, then those that these repair.

    Args:
        known: all links, where they have been read.
    """
    return _followed(links(warehouse) if known is None else known, run_id)


def repairing(run_id: str, known: Mapping[str, Sequence[str]]) -> list[str]:
    """The runs that repair the run, and those that repair these."""
    turned: dict[str, list[str]] = {}
    for by, repaired in known.items():
        for each in repaired:
            turned.setdefault(each, []).append(by)
    return _followed(turned, run_id)[1:]


def family(warehouse: Warehouse, run_id: str, known: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """All runs that count together with the run: that it repairs, and that repair it."""
    known = links(warehouse) if known is None else known
    return [*_followed(known, run_id), *repairing(run_id, known)]


def _followed(edges: Mapping[str, Sequence[str]], run_id: str) -> list[str]:
    found = [run_id]
    for each in found:  # it grows meanwhile
        found += [other for other in dict.fromkeys(edges.get(each, ())) if other not in found]
    return found
