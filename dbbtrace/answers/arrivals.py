"""Which tables arrived in a run: each by its last outcome in it, and in the runs that it repairs.

A table failed, is empty, or never came though it was expected: by somebody who said so, or because it usually comes in
runs like this one. Where something may still come, nobody can say yet.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone, tzinfo

from dbbtrace.answers import findings as judging
from dbbtrace.answers.ages import loaded_tables
from dbbtrace.answers.earlier import Earlier, read_earlier
from dbbtrace.answers.graph import table_of
from dbbtrace.answers.platform import validations
from dbbtrace.answers.read import operations, parts, run_rows
from dbbtrace.answers.readable import counted, moment_of, one_line
from dbbtrace.answers.reasons import Here
from dbbtrace.answers.repairs import chain
from dbbtrace.answers.rows import Operation, Part, Run
from dbbtrace.answers.usual import Load, absences
from dbbtrace.graph import Table, TableKey
from dbbtrace.warehouse import Warehouse, views
from dbbtrace.warehouse.schema import PARTS

__all__ = ["NOTHING_LOADED", "Arrivals", "TableState", "arrivals"]

NOTHING_LOADED = "no table was loaded in this run"
_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)
_CLOSING = frozenset({"failed", "absent", "empty", "overdue"})


@dataclass(frozen=True)
class TableState:
    """One table, and whether it may be read."""

    table: Table
    state: str
    """loaded, failed, absent (it was expected and never came), empty, fresh or overdue (others load it), or unknown."""
    text: str
    """A sentence about it."""
    at: datetime | None = None
    """Start of the load that decided."""
    strict: bool = False
    """Whether nothing may be built from a table that is unknown."""
    learned: bool = False
    """It is absent, and only earlier runs say that it was expected."""

    @property
    def name(self) -> str:
        """For people, with the source system."""
        return f"{self.table.source} {self.table.name}".strip()

    @property
    def closed(self) -> bool:
        """Whether nothing may be built from it."""
        return self.state in _CLOSING or (self.strict and self.state == "unknown")


@dataclass(frozen=True)
class Arrivals:
    """What arrived in a run."""

    run_id: str
    run: Run | None
    """None: nothing of it is in the warehouse."""
    tables: tuple[TableState, ...]
    """Those that failed, never came or are empty first."""
    problems: tuple[str, ...]
    """What is wrong with the run's integration as a whole."""
    waiting: tuple[str, ...]
    """Why more may still come."""
    loads: Mapping[TableKey, Operation] = field(default_factory=dict, repr=False)
    """The load that decided, of each table that has one."""
    earlier: Earlier | None = field(default=None, repr=False)
    """The runs before."""

    def by_key(self) -> dict[TableKey, TableState]:
        """The tables by their names."""
        return {state.table.key: state for state in self.tables}


def arrivals(
    warehouse: Warehouse,
    run_id: str,
    *,
    now: datetime,
    here: Here | None,
    zone: tzinfo,
    runs: Sequence[str] | None = None,
) -> Arrivals:
    """What arrived in the run.

    Args:
        here: what this machine's journal knows of the run.
        runs: the runs that count together; default: it and those that it repairs.
    """
    found = run_rows(warehouse, [run_id])
    run = found[0] if found else None
    waiting = _waiting_here(here)
    if run is None:
        return Arrivals(run_id, None, (), (), tuple(waiting))
    runs = runs or chain(warehouse, run_id)
    loads = _outcomes(operations(warehouse, runs, where="o.kind = 'table_load' AND o.superseded = 0"))
    stages = _integration(warehouse, run_id)
    earlier = read_earlier(warehouse, run_rows(warehouse, runs), now, zone)
    states = {key: _state(load) for key, load in loads.items()}
    states |= _empty(warehouse, loads, runs)
    states |= _absent(warehouse, runs, earlier, loads, now, zone)
    problems = [
        f"{part.workload} failed: {one_line(part.error_message or part.error_type or 'no reason is recorded')[:300]}"
        for part in stages
        if part.status in ("Failed", "Interrupted")
    ]
    if not loads and not any(part.status == "Succeeded" for part in stages):
        problems.append(NOTHING_LOADED)
    waiting += _waiting(run, loads.values(), stages)
    ordered = sorted(states.values(), key=lambda state: (not state.closed, state.state, state.name))
    return Arrivals(run_id, run, tuple(ordered), tuple(problems), tuple(waiting), loads, earlier)


def _outcomes(loads: Sequence[Operation]) -> dict[TableKey, Operation]:
    """The last outcome of each table, in whichever of the runs."""
    found: dict[TableKey, Operation] = {}
    for load in sorted(loads, key=lambda load: (load.error_type != "Interrupted", load.started_at or _LONG_AGO)):
        found[table_of(load).key] = load
    return found


def _state(load: Operation) -> TableState:
    at = f"at {moment_of(load.started_at)} UTC"
    if load.status == "Succeeded":
        return TableState(table_of(load), "loaded", f"loaded {at}", load.started_at)
    why = f": {one_line(load.error_message)[:300]}" if load.error_message else ", and no reason is recorded"
    return TableState(
        table_of(load), "failed", f"its load {at} ended as {load.word or load.status}{why}", load.started_at
    )


def _empty(warehouse: Warehouse, loads: dict[TableKey, Operation], runs: Collection[str]) -> dict[TableKey, TableState]:
    """Tables that were loaded and in which readers find nothing: as the platform counted, or the job itself."""
    starts = [load.started_at for load in loads.values() if load.started_at is not None]
    if not starts:
        return {}
    as_loads = [
        Load(load.run_id, key, load.name, False, load.status == "Succeeded", load.started_at, load.rows_written, None)
        for key, load in loads.items()
        if load.started_at is not None
    ]
    counted_so = {one.name for one in judging.empty_tables(as_loads, validations(warehouse, min(starts)))}
    verified = {
        (run_id, one.name.lower())
        for run_id, found in judging.stored(warehouse, runs).items()
        for one in found
        if one.by == "verify" and one.kind == "empty"
    }
    text = "it has no rows where readers read it, though its load succeeded"
    return {
        key: TableState(table_of(load), "empty", text, load.started_at)
        for key, load in loads.items()
        if load.status == "Succeeded" and (load.name in counted_so or _was_found_empty(load, verified))
    }


def _was_found_empty(load: Operation, verified: Collection[tuple[str, str]]) -> bool:
    names = (load.name.lower(), load.name.lower().rpartition(".")[2])
    return any((load.run_id, name) in verified for name in names)


# -- what never came ------------------------------------------------------------------------------------------


def _absent(
    warehouse: Warehouse,
    runs: Sequence[str],
    earlier: Earlier,
    loads: dict[TableKey, Operation],
    now: datetime,
    zone: tzinfo,
) -> dict[TableKey, TableState]:
    """Tables that were expected in one of the runs and came in none."""
    known = {load.key: load for group in earlier.by_run.values() for load in group}
    acks = judging.acks(warehouse, now) if PARTS.name in warehouse.columns() else []
    found: dict[TableKey, TableState] = {}
    for run in run_rows(warehouse, runs):
        said = _said(warehouse, run, known)
        expected = {table.key: f"{by} says that it belongs into the run" for table, by in said}
        past = earlier.past_run(run.run_id, earlier.usual_select(run))
        for absence in absences(past, earlier.before(run), zone) if past is not None else ():
            expected.setdefault(absence.key, f"it came {absence.usual}")
        missing = {key: why for key, why in expected.items() if not any(_is_same(key, loaded) for loaded in loads)}
        loaded_once = loaded_tables(warehouse) if missing else []
        named = {table.key: table for table, _ in said}
        for key, why in missing.items():
            fitting = [table for table in loaded_once if _is_same(key, table.key)]
            table = fitting[0] if len(fitting) == 1 else named.get(key) or Table(*key)
            if not any(ack.holds_for(run, table.name) for ack in acks):
                found[table.key] = TableState(table, "absent", f"it never came; {why}", learned=key not in named)
    return found


def _is_same(expected: TableKey, loaded: TableKey) -> bool:
    """Whether a load is of the table that is expected, of which not everything need be said."""
    return all(said in ("", there) for said, there in zip(expected, loaded, strict=True))


def _said(warehouse: Warehouse, run: Run, known: Collection[TableKey]) -> list[tuple[Table, str]]:
    """Tables of which somebody says that they belong into the run.

    A name without its workload counts if it is a table's: one that was loaded before, or with a schema.
    """
    names = {name for key in known for name in (key[2], f"{key[1]}.{key[2]}")}
    found = []
    for name, workload, by in views.ask(warehouse, _EXPECTED, runs=[run.run_id]):
        low = str(name).lower()
        if (workload == "integration" and low != "integration") or (not workload and (low in names or "." in low)):
            schema, _, table = str(name).rpartition(".")
            found.append((Table("", schema, table), str(by or "somebody")))
    return found


_EXPECTED = """\
SELECT p.name, p.workload, MAX(p.expected_by)
FROM meta.monitoring_run_part AS p
WHERE p.part = 'expected'
GROUP BY p.name, p.workload
"""


# -- what may still come --------------------------------------------------------------------------------------


def _integration(warehouse: Warehouse, run_id: str) -> list[Part]:
    """What became of the run's integration stage."""
    where = "p.part = 'workload' AND p.workload = 'integration' AND p.superseded = 0"
    return parts(warehouse, [run_id], where=where)


def _waiting_here(here: Here | None) -> list[str]:
    if here is None or not here.waiting:
        return []
    text = f"{counted(here.waiting, 'span waits', 'spans wait')} in the journal here"
    return [f"{text}; the job is gone: run `dbbtrace recover`" if here.gone and not here.alive else text]


def _waiting(run: Run, loads: Collection[Operation], stages: Collection[Part]) -> list[str]:
    found = [f"{load.label} has not ended" for load in loads if load.status == "Running"]
    found += ["integration has not ended" for part in stages if part.status == "Running"]
    if run.loads_lost:
        lost = counted(run.loads_lost, "table load that a job recorded is", "table loads that a job recorded are")
        found.append(f"{lost} not in the table yet")
    return found
