"""Every data product in one line: its verdict, since when, and the one reason that matters."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from dbbtrace.answers.read import run_keys, run_rows
from dbbtrace.answers.reasons import VERDICTS, Reason
from dbbtrace.answers.terms import Terms
from dbbtrace.answers.verdict import verdicts
from dbbtrace.warehouse import Warehouse

__all__ = ["Today", "today"]

KNOWN_FOR = timedelta(days=35)
"""A product that ran within this time has a line."""
_LOOKED_AT = 10
"""Runs of a product that may tell since when its verdict is what it is."""


@dataclass(frozen=True)
class Today:
    """A data product in an environment, as its newest run leaves it."""

    data_product: str | None
    environment: str | None
    verdict: str
    since: datetime | None
    """Start of the first of the newest runs that all have this verdict."""
    runs: int
    """How many they are."""
    run_id: str
    """The newest run."""
    started_at: datetime | None
    reason: Reason | None
    """What made the verdict so; None where nothing is wrong."""


def today(
    warehouse: Warehouse,
    *,
    data_product: str | None = None,
    environment: str | None = None,
    now: datetime | None = None,
    terms: Terms | None = None,
) -> list[Today]:
    """One line for each product and environment, the worst first. Runs by hand, which have no product, are left out.

    Args:
        warehouse: where to look.
        data_product, environment: see ``run_keys``.
        now: the present, for tests.
        terms: see ``verdict_of``.
    """
    now = now or datetime.now(timezone.utc)
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    keys = run_keys(warehouse, data_product=data_product, environment=environment, since=now - KNOWN_FOR)
    for key in keys:
        group = groups[key.data_product or "", key.environment or ""]
        if key.data_product is not None and len(group) < _LOOKED_AT:
            group.append(key.run_id)
    wanted = [run_id for group in groups.values() for run_id in group]
    found = run_rows(warehouse, wanted)
    newest = {group[0] for group in groups.values() if group}
    found.sort(key=lambda run: run.run_id not in newest)  # those are judged first
    said = verdicts(warehouse, found, now=now, terms=terms)
    started = {run.run_id: run.started_at for run in found}
    lines = []
    for (product, place), group in groups.items():
        known = [run_id for run_id in group if run_id in said]
        if not known:
            continue
        verdict = said[known[0]]
        same = next((number for number, each in enumerate(known) if said[each].word != verdict.word), len(known))
        reason = next((one for one in verdict.reasons if one.verdict), None)
        first = known[same - 1]
        lines.append(
            Today(product, place or None, verdict.word, started[first], same, known[0], started[known[0]], reason)
        )
    rank = {word: number for number, word in enumerate(VERDICTS)}
    return sorted(lines, key=lambda line: (rank.get(line.verdict, 0), line.data_product or "", line.environment or ""))
