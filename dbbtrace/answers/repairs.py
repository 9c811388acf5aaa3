"""Which runs make which right, as ``link`` rows of the runs' own record say."""

from __future__ import annotations

from collections.abc import Collection

from dbbtrace.warehouse import Warehouse, views

__all__ = ["chain", "repaired_by", "repairs_of"]

_DEEPEST = 20
"""Repairs of repairs that are followed."""


def repairs_of(warehouse: Warehouse, runs: Collection[str]) -> dict[str, list[str]]:
    """Run id → the runs that it repairs, for those of the runs that repair any."""
    found: dict[str, list[str]] = {}
    for run_id, repaired in views.ask(warehouse, _REPAIRS, runs=runs):
        found.setdefault(str(run_id), []).append(str(repaired))
    return found


def repaired_by(warehouse: Warehouse, runs: Collection[str]) -> dict[str, list[str]]:
    """Run id → the runs that repair it, for those of the runs that are repaired."""
    wanted, found = set(runs), dict[str, list[str]]()
    for run_id, repaired in views.ask(warehouse, _REPAIRS):
        if repaired in wanted and run_id != repaired:
            found.setdefault(str(repaired), []).append(str(run_id))
    return found


_REPAIRS = """\
SELECT p.orchestration_run_id, p.repairs
FROM meta.monitoring_run_part AS p
WHERE p.part = 'link' AND p.repairs <> ''
GROUP BY p.orchestration_run_id, p.repairs
"""


def chain(warehouse: Warehouse, run_id: str) -> list[str]:
    """The run, then the runs that it repairs, then those that these repair."""
    found, level = [run_id], [run_id]
    for _ in range(_DEEPEST):
        links = repairs_of(warehouse, level)
        level = [each for group in links.values() for each in dict.fromkeys(group) if each not in found]
        if not level:
            break
        found += level
    return found
