"""What takes history or the run's graph to see: absent and empty tables, odd volumes, stale models, new warnings.

``find`` judges one run, ``stored`` reads what was judged before, ``store`` writes it as findings of the run's own
record, where that may be written.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone, tzinfo
from typing import Any

from dbbtrace.answers.earlier import Earlier
from dbbtrace.answers.graph import RunGraph
from dbbtrace.answers.lost import lost_rows
from dbbtrace.answers.platform import Validation, active_models
from dbbtrace.answers.read import moment_of_row, operations, parts
from dbbtrace.answers.readable import bytes_of, count_of, moment_of, not_in_the_table, one_line
from dbbtrace.answers.repeated import not_done_again
from dbbtrace.answers.rows import Run, outcomes
from dbbtrace.answers.silence import Silence
from dbbtrace.answers.terms import Tolerance
from dbbtrace.answers.usual import Load, absences, volume_of
from dbbtrace.errors import DbbtraceError
from dbbtrace.model.identity import record_id, trace_id_of
from dbbtrace.warehouse import Warehouse, views
from dbbtrace.warehouse.cleaning import cleaner
from dbbtrace.warehouse.schema import PARTS, Row

__all__ = [
    "Ack",
    "Finding",
    "acks",
    "empty_tables",
    "few",
    "find",
    "finding_row",
    "not_acknowledged",
    "reconciliation",
    "same",
    "store",
    "stored",
]

_NAMED = 5
"""Names that a sentence lists."""
_MOST = 20
"""Findings of a kind that a run gets; the last one says how many more there are."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found."""

    kind: str
    """absent, volume, empty, not counted, skipped, nothing selected, stale, warning, reconciliation or not done
    again."""
    verdict: str
    """Failed, Incomplete or Warned: what it makes of the run."""
    name: str
    """The table, node, model or KPI."""
    text: str
    """A sentence that names what to look at."""
    figures: dict[str, Any] = field(default_factory=dict, compare=False)
    by: str = "judge"
    """verify: the job itself found it; import-run ...: it could not be read from Fabric."""


@dataclass(frozen=True)
class Ack:
    """Somebody knows already."""

    run_id: str
    """The run that it is about, or in which the table was seen."""
    name: str
    """Of the table, dbt node or model; the run id for a whole run."""
    until: datetime | None
    reason: str = ""
    data_product: str | None = None
    environment: str | None = None

    def holds_for(self, run: Run, name: str) -> bool:
        """Whether it says that what was found about this name in the run is known."""
        if self.name == self.run_id:
            return self.run_id == run.run_id
        return (
            self.name.lower() == name.lower()
            and self.data_product in (None, run.data_product)
            and self.environment in (None, run.environment)
        )


def find(
    warehouse: Warehouse,
    run: Run,
    earlier: Earlier,
    counted: Iterable[Validation],
    zone: tzinfo,
    tolerance: Tolerance,
) -> list[Finding]:
    """What is odd about a run."""
    loads = earlier.by_run[run.run_id]
    found = [
        *(_absent(run, earlier, zone) if run.is_open == 0 else ()),
        *_volumes(loads, earlier, zone),
        *empty_tables(loads, counted),
    ]
    if run.jobs and run.is_open == 0:
        found += _lost(warehouse, run)
    if run.nodes and (run.failed or run.skipped or run.unknown):
        found += _stale(warehouse, run, earlier)
    if run.warned:
        found += _warnings(warehouse, run, earlier)
    if run.reconciliation_results:
        found += reconciliation(warehouse, run, tolerance)
    if run.parts_repeated or run.parts_begun_again:
        found += _repeated(warehouse, run)
    if run.parts_without_nodes:
        found += _without_nodes(warehouse, run)
    if run.is_open == 0 and not run.failed and not run.parts_failed:
        found += _skipped(warehouse, run) if 0 < run.skipped < run.operations else []
        found += _models(warehouse, run) if run.data_product else []
    return found


def _absent(run: Run, earlier: Earlier, zone: tzinfo) -> list[Finding]:
    past = earlier.past_run(run.run_id, earlier.usual_select(run))
    if past is None:
        return []
    names = {load.key: load.name for loads in earlier.by_run.values() for load in loads}
    found = []
    for absence in absences(past, earlier.before(run), zone):
        name = names.get(absence.key, absence.key[2])
        text = f"{name} was not loaded; it came {absence.usual}"
        found.append(Finding("absent", "Warned", name, text, {"came": absence.came, "of": absence.of}))
    return few(found)


def _lost(warehouse: Warehouse, run: Run) -> list[Finding]:
    return [
        Finding("lost", "Incomplete", thing, not_in_the_table(number, thing), {"lost": number})
        for thing, number in lost_rows(warehouse, run).items()
    ]


def _rows(number: int) -> str:
    return f"{count_of(number)} {'row' if number == 1 else 'rows'}"


def _volumes(loads: Iterable[Load], earlier: Earlier, zone: tzinfo) -> list[Finding]:
    found = []
    for load in loads:
        odd = volume_of(load, earlier.loads_before(load), zone)
        if odd is not None:
            shown: Callable[[int], str] = bytes_of if odd.what == "bytes" else _rows
            text = (
                f"{load.name} brought {shown(odd.value)}; usual are {shown(round(odd.low))} to {shown(round(odd.high))}"
            )
            figures = {"what": odd.what, "value": odd.value, "low": round(odd.low), "high": round(odd.high)}
            found.append(Finding("volume", "Warned", load.name, text, figures))
    return few(found)


def empty_tables(loads: Iterable[Load], counted: Iterable[Validation]) -> list[Finding]:
    """Tables that were loaded and in which readers find nothing."""
    last = {(one.source.lower(), one.table): one for one in counted}
    found = []
    for load in loads:
        count = last.get((load.key[0], f"{load.key[1]}.{load.key[2]}")) or last.get((load.key[0], load.key[2]))
        if (
            load.succeeded
            and count is not None
            and count.rows == 0
            and count.at >= load.started_at.replace(microsecond=0)
        ):
            text = f"{load.name} has no rows where readers read it, though its load succeeded"
            found.append(
                Finding("empty", "Warned", load.name, text, {"loaded": load.rows, "counted_at": str(count.at)})
            )
    return few(found)


def _stale(warehouse: Warehouse, run: Run, earlier: Earlier) -> list[Finding]:
    graph = RunGraph(operations(warehouse, [run.run_id]))
    found = []
    for node, cause in graph.stale():
        age = ""
        if cause.kind == "table_load" and cause.started_at is not None:
            schema, _, table = cause.name.rpartition(".")
            key = ((cause.source_name or "").lower(), schema.lower(), table.lower())
            last = earlier.last_success(key, cause.started_at)
            age = f", whose data is of {moment_of(last)} UTC" if last else ", which has not been loaded for weeks"
        verb = "failed" if cause.status == "Failed" else "was skipped"
        text = f"{node.label} was built on old data: {cause.label} {verb} in this run{age}"
        found.append(Finding("stale", "Warned", node.label, text, {"because_of": cause.label}))
    for node in graph.unknown_parents():
        text = f"{node.label} selects from more than its row has room for: nobody can tell whether its data is old"
        found.append(Finding("stale", "Warned", node.label, text, {"because_of": None}))
    return few(found)


def _warnings(warehouse: Warehouse, run: Run, earlier: Earlier) -> list[Finding]:
    """Tests that warn for the first time, or of more than the time before."""
    before = [one.run_id for one in earlier.before(run) if one.ended][:3]
    rows = views.ask(warehouse, _WARNED, runs=[run.run_id, *before])
    known: dict[str, int] = {}
    now: dict[str, int] = {}
    for run_id, unique_id, item, failures in rows:
        count = int(failures) if str(failures or "").isdigit() else 0
        into = now if run_id == run.run_id else known
        name = str(unique_id or item)
        into[name] = max(into.get(name, 0), count)
    warned = operations(warehouse, [run.run_id], where="o.superseded = 0 AND o.status = 'Warned'")
    found = []
    for one in warned:
        count = now.get(one.operation_id, 0)
        if one.operation_id not in known:
            said = "warns, as it did not before" if before else "warns"
        elif count > known[one.operation_id]:
            said = f"warns of {count_of(count)}, after {count_of(known[one.operation_id])}"
        else:
            continue
        message = f": {one.error_message}" if one.error_message else ""
        found.append(Finding("warning", "Warned", one.label, f"{one.label} {said}{message}", {"failures": count}))
    return few(found)


_WARNED = """\
SELECT d.orchestration_run_id, d.unique_id, d.item_name, d.failures
FROM meta.monitoring_transformation_dbt AS d
WHERE LOWER(d.status) IN ('warn', 'warned') AND COALESCE(d.process_stage, 'execute') = 'execute'
"""


def reconciliation(warehouse: Warehouse, run: Run, tolerance: Tolerance) -> list[Finding]:
    """KPIs on which the sources differ; one that only one source tells is not reconciled, and no finding."""
    results = operations(warehouse, [run.run_id], where="o.kind = 'reconciliation_result'")
    groups: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in results:
        pipeline = one.pipeline_run_id or ""
        if one.amount is not None and pipeline.lower() != "unknown":
            groups[pipeline, one.name][one.source_name or ""].append(one.amount)
    found = []
    for (_, kpi), amounts in sorted(groups.items()):
        every = [amount for of_source in amounts.values() for amount in of_source]
        low, high = min(every), max(every)
        if len(amounts) > 1 and not tolerance.allows(kpi, low, high):
            said = ", ".join(
                f"{source or '?'} {amount:,.2f}"
                for source, of_source in sorted(amounts.items())
                for amount in sorted(set(of_source))
            )
            text = f"{kpi} differs by {high - low:,.2f}: {said}"
            found.append(Finding("reconciliation", "Failed", kpi, text, {"difference": high - low}))
    return few(found)


def _models(warehouse: Warehouse, run: Run) -> list[Finding]:
    """Models that the platform says belong to the product and that were not refreshed."""
    wanted = active_models(warehouse, run.data_product or "", run.environment)
    if not wanted:
        return []
    done = outcomes(operations(warehouse, [run.run_id], where="o.kind = 'model_refresh'"))
    there = {one.operation_id.lower() for one in done}
    return few(
        [
            Finding("absent", "Incomplete", name, f"{name} was not refreshed; meta.data_product_models says it must be")
            for model, name in sorted(wanted.items())
            if model not in there
        ]
    )


def _skipped(warehouse: Warehouse, run: Run) -> list[Finding]:
    """What was skipped, though nothing failed: what failed above it was done again later, and it was not; or a refresh
    that is disabled."""
    found = []
    for one in operations(warehouse, [run.run_id], where="o.superseded = 0 AND o.status = 'Skipped'"):
        text = f"{one.label} was skipped, and was not built later"
        if one.kind == "model_refresh":
            text = f"{one.label} was not refreshed: the service says {one.word}"
        found.append(Finding("skipped", "Incomplete", one.label, text))
    return few(found)


def _repeated(warehouse: Warehouse, run: Run) -> list[Finding]:
    """Failed parts that began again, and of which nothing tells that they were made good."""
    found = []
    for one in not_done_again(parts(warehouse, [run.run_id]), operations(warehouse, [run.run_id])):
        name = one.part.name or "dbt" if one.is_of_dbt else f"{one.part.part} {one.part.name}"
        text = f"{name} failed: {one.part.error_type or 'Failed'}: {one_line(one.part.error_message or '')[:300]}; "
        text += (
            "it began again with other arguments" if one.part.begun_again and not one.is_of_dbt else "it began again"
        )
        if one.left:
            text += f", and did nothing again of what it had done: {', '.join(one.left[:_NAMED])}"
        elif one.certain and one.part.status == "Interrupted":
            text += ", and did not go on where it had stopped"
        elif one.certain:
            text += ", and did not do what had failed again"
        else:
            text += ", and nothing tells that what had failed was done again"
        found.append(Finding("not done again", "Failed" if one.certain else "Warned", name, text))
    return few(found)


def _without_nodes(warehouse: Warehouse, run: Run) -> list[Finding]:
    """Invocations of dbt that had nothing to do. A build or run does not do what it was to do; of tests, seeds and
    snapshots there may be none, and nobody knows what a selector of the project's selects."""
    found = []
    for part in parts(warehouse, [run.run_id], where="p.selected_nothing = 1 AND p.superseded = 0"):
        name, said = part.name or "dbt", _figures(part.detail)
        select = str(said.get("select") or "")
        is_selector = select.startswith("selector:")
        verdict = "Incomplete" if name in ("dbt", "dbt build", "dbt run") and not is_selector else "Warned"
        if select:
            name = f"{name} --selector {select[9:]}" if is_selector else f"{name} --select {select}"
        why = "nothing matches its selection" if select or "exclude" in said else "its project holds nothing to build"
        found.append(Finding("nothing selected", verdict, name, f"{name} did nothing: {why}"))
    return few(found)


def few(found: list[Finding]) -> list[Finding]:
    """Not more of them than a run gets of a kind."""
    if len(found) <= _MOST:
        return found
    last, more = found[_MOST - 1], len(found) - _MOST + 1
    return [*found[: _MOST - 1], Finding(last.kind, last.verdict, last.name, f"{last.text}; and {more - 1} more such")]


# -- what was judged before ---------------------------------------------------------------------------------


def stored(warehouse: Warehouse, runs: Collection[str]) -> dict[str, list[Finding]]:
    """Run id → the findings of the latest judgement of each who judges, for the runs that have any."""
    rows = views.ask(warehouse, _STORED, runs=runs)
    latest: dict[tuple[str, str, str], datetime] = {}
    for run_id, _, _, name, _, _, by, at in rows:
        if (when := moment_of_row(at)) is not None:
            which = _judgement(run_id, name, by)
            latest[which] = max(latest.get(which, when), when)
    found: dict[str, list[Finding]] = defaultdict(list)
    for run_id, kind, verdict, name, text, detail, by, at in rows:
        if moment_of_row(at) == latest.get(_judgement(run_id, name, by)):
            finding = Finding(str(kind), str(verdict), str(name), str(text), _figures(detail), str(by or "judge"))
            if finding.verdict in ("Failed", "Incomplete", "Warned"):
                found[run_id].append(finding)
    return dict(found)


def _judgement(run_id: str, name: str, by: str | None) -> tuple[str, str, str]:
    """What a later judgement takes the place of: all that the same one said, of a job that verified a table what it
    said of that table."""
    return run_id, by or "judge", name if by == "verify" else ""


_STORED = """\
SELECT
    p.orchestration_run_id, p.error_type, p.status, p.name, p.error_message, p.detail, p.expected_by,
    MOMENT(p.process_started_at)
FROM meta.monitoring_run_part AS p
WHERE p.part = 'finding'
"""


def acks(warehouse: Warehouse, now: datetime) -> list[Ack]:
    """What somebody knows, as far as that still holds."""
    rows = views.ask(warehouse, _ACKS)
    found = [
        Ack(str(run_id), str(name), moment_of_row(until), str(reason or ""), product, place)
        for run_id, name, until, reason, product, place in rows
    ]
    return [ack for ack in found if ack.until is None or ack.until > now]


_ACKS = """\
SELECT
    p.orchestration_run_id, p.name, MOMENT(p.process_completed_at), p.error_message, p.data_product, p.environment
FROM meta.monitoring_run_part AS p
WHERE p.part = 'ack'
"""


def _figures(detail: object) -> dict[str, Any]:
    try:
        figures = json.loads(str(detail or "{}"))
    except ValueError:
        return {}
    return figures if isinstance(figures, dict) else {}


def store(
    warehouse: Warehouse, run: Run, found: Iterable[Finding], now: datetime, silence: Silence | None = None
) -> bool:
    """Write the findings, and that the run was judged; False where that may not be, which is no matter."""
    # ``monitoring_runs`` compares the number, and takes the limit from the duration.
    figures = {"recorded": run.recorded, "pause": silence.pause if silence is not None else None}
    judged = Finding("judged", "Judged", "judged", "compared with earlier runs", figures)
    whose = (run.run_id, run.data_product, run.environment)
    rows = [finding_row(*whose, each, now) for each in found]
    rows.append(finding_row(*whose, judged, now, seconds=silence.limit if silence is not None else None))
    try:
        if PARTS.name not in warehouse.columns():
            return False
        warehouse.write(rows)
    except DbbtraceError:
        return False
    return True


def same(run: Run, one: Iterable[Finding], other: Iterable[Finding]) -> bool:
    """Whether both say the same once they are stored, where long texts are cut."""
    whose, at = (run.run_id, run.data_product, run.environment), datetime(2000, 1, 1, tzinfo=timezone.utc)
    first, second = (
        {finding_row(*whose, replace(each, figures={}), at).values for each in found} for found in (one, other)
    )
    return first == second


def finding_row(
    run_id: str,
    data_product: str | None,
    environment: str | None,
    finding: Finding,
    at: datetime,
    *,
    seconds: int | None = None,
) -> Row:
    """The finding as a row of the run's own record.

    Args:
        seconds: of a judgement, for how long the product's runs may be silent.
    """
    when = at.astimezone(timezone.utc).isoformat()
    identity = "\n".join(("finding", when, finding.kind, finding.name, finding.text))
    record = record_id(run_id, identity)
    values: dict[str, Any] = {
        "record_id": record,
        "orchestration_run_id": run_id,
        "data_product": data_product,
        "environment": environment,
        "part": "finding",
        "name": finding.name,
        "status": finding.verdict,
        "process_started_at": when,
        "process_completed_at": when,
        "duration": seconds,
        "error_type": finding.kind,
        "error_message": finding.text,
        "expected_by": finding.by,
        "detail": json.dumps(finding.figures, ensure_ascii=False, default=str) if finding.figures else None,
        "trace_id": f"{trace_id_of(run_id):032x}",
    }
    return Row(PARTS, tuple(cleaner(column)(values.get(column.name)) for column in PARTS.columns), record)


def not_acknowledged(found: Iterable[Finding], run: Run, known: Sequence[Ack]) -> list[Finding]:
    """The findings of which nobody has said that they are known. A row that was lost is lost all the same."""
    return [one for one in found if one.kind == "lost" or not any(ack.holds_for(run, one.name) for ack in known)]
