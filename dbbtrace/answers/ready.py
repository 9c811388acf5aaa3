"""May the semantic models of a run be refreshed? Judges all that comes before it: loads, dbt, reconciliation.

The platform asks whether any row of the run has the status Failed. Here a failure that left no row counts too: a table
that never came, a node that was skipped, a build that dbt did not come to the end of; and what succeeded afterwards is
no failure any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

from dbbtrace.answers import findings as judging
from dbbtrace.answers.arrivals import NOTHING_LOADED
from dbbtrace.answers.read import parts
from dbbtrace.answers.readable import one_line
from dbbtrace.answers.repair import Repair, repair
from dbbtrace.answers.repairs import chain
from dbbtrace.answers.rows import Part
from dbbtrace.answers.terms import Terms
from dbbtrace.graph import Rules
from dbbtrace.warehouse import Warehouse

__all__ = ["Ready", "ready"]


@dataclass(frozen=True)
class Ready:
    """Whether the models of a run may be refreshed."""

    repair: Repair
    problems: tuple[str, ...]
    """Why not, each a sentence."""
    waiting: tuple[str, ...]
    """Why nobody can tell yet."""

    @property
    def run_id(self) -> str:
        """The run."""
        return self.repair.run_id

    @property
    def exit_code(self) -> int:
        """0: ready. 1: not. 2: nobody knows the run. 3: something before it has not ended."""
        if self.waiting:
            return 3
        if self.repair.arrivals.run is None:
            return 2
        return 1 if self.problems else 0

    @property
    def word(self) -> str:
        """In a word: ready, not ready, unknown or waiting."""
        return {0: "ready", 1: "not ready", 2: "unknown", 3: "waiting"}[self.exit_code]

    def reasons(self) -> list[str]:
        """Why it is not ready."""
        if self.waiting:
            return list(self.waiting)
        return list(self.problems) if self.repair.arrivals.run is not None else list(self.repair.notes)


def ready(
    warehouse: Warehouse,
    run_id: str,
    *,
    rules: Rules | None = None,
    now: datetime | None = None,
    terms: Terms | None = None,
) -> Ready:
    """Whether the models of the run may be refreshed.

    Args:
        rules: which loaded table a source of dbt's reads.
        now: the present, for tests.
        terms: see ``verdict_of``.
    """
    now, terms = now or datetime.now(timezone.utc), terms or Terms()
    left = repair(warehouse, run_id, rules=rules, now=now, terms=terms, runs=chain(warehouse, run_id))
    run = left.arrivals.run
    if run is None:
        return Ready(left, (), left.arrivals.waiting)
    stages = parts(warehouse, [run_id], where="p.part = 'workload' AND p.superseded = 0")
    stages = [stage for stage in stages if stage.workload == "transformation"]
    waiting = [*left.arrivals.waiting, *("transformation has not ended" for one in stages if one.status == "Running")]
    problems = [f"{item.name}: {item.why}" for item in left.items if item.kind != "model_refresh"]
    if left.select is not None:
        problems.append(f"dbt has not built {left.select or 'the whole project'}")
    problems += [_failed(stage) for stage in stages if stage.status in ("Failed", "Interrupted") and not problems]
    problems += [one for one in left.arrivals.problems if not (one == NOTHING_LOADED and run.nodes)]
    problems += [one.text for one in judging.reconciliation(warehouse, run, terms.tolerance)]
    return Ready(left, tuple(problems), tuple(waiting))


def _failed(stage: Part) -> str:
    why = one_line(stage.error_message or stage.error_type or "no reason is recorded")[:300]
    return f"{stage.workload} failed: {why}"
