"""Histories of a platform as its tables would hold them, and the faults that can be planted in them.

Written before the rules that judge them, so that no rule was made to fit: what a product loads in which slot, on
weekends, once a week, from a day on or up to a day; incremental loads that bring nothing; runs done again, runs by
hand, failed runs and their repairs; two products that share tables. The same seed gives the same history.

A history is rows of the tables as plain dictionaries. It knows nothing of how they are judged.
"""

from __future__ import annotations

import copy
import json
import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from dbbtrace.model.identity import identity_of_span, record_id, trace_id_of

Row = dict[str, Any]
SEED = 20261128
LOCAL = ZoneInfo("Europe/Brussels")
BEGINNING = date(2026, 2, 16)
"""Summer time begins six weeks later: the slots move by an hour in UTC."""
MORNING, NOON, AFTERNOON, EVENING = "08:00", "12:30", "15:30", "18:00"
SLOTS = (MORNING, NOON, AFTERNOON, EVENING)
WEEKEND_SLOTS = (MORNING, EVENING)

LOADS, NODES = "monitoring_integration", "monitoring_transformation_dbt"
REFRESHES, PARTS = "monitoring_semantic_model_refresh", "monitoring_run_part"
VALIDATIONS = "monitoring_integration_validation"
FAULTS = ("missing load", "fewer rows", "empty table", "stale model", "lost row")


@dataclass(frozen=True)
class Table:
    """A table that a product loads."""

    name: str
    schema: str
    source: str
    rows: float
    """Of a FULL load the rows that it holds; of an INCREMENTAL one the rows that an hour brings."""
    load_type: str = "FULL"
    slots: tuple[str, ...] = SLOTS
    weekend: bool = True
    weekday: int | None = None
    """The only day of the week on which it comes; Monday is 0."""
    since: int = 0
    """Day of the history on which it comes for the first time."""
    until: int = 10_000
    """The first day on which it no longer comes."""
    idle: float = 0.0
    """How often an INCREMENTAL load finds nothing."""

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Product:
    """A data product: what it loads, builds and refreshes."""

    name: str
    tables: tuple[Table, ...]
    marts: tuple[tuple[str, tuple[str, ...]], ...]
    """Model that is a table, and the tables that it reads through their views."""
    models: tuple[str, ...]
    """Semantic models, refreshed in the morning and in the evening."""


SHARED = (
    Table("Country", "mdm", "MDS", 249),
    Table("Currency", "mdm", "MDS", 180),
    Table("ExchangeRate", "fin", "SAP", 40, "INCREMENTAL"),
)
FINANCE = Product(
    "Group-FinancialStatements",
    (
        *SHARED,
        Table("Account", "mdm", "MDS", 4_200),
        Table("LedgerEntry", "fin", "SAP", 9_000, "INCREMENTAL"),
        Table("Budget", "fin", "SAP", 61_000, slots=(MORNING,)),
        Table("CostCenter", "fin", "SAP", 900, slots=(MORNING, EVENING), weekend=False),
        Table("AuditNote", "fin", "SAP", 25, "INCREMENTAL", idle=0.4),
        Table("Consolidation", "fin", "SAP", 3_000, slots=(MORNING,), weekday=0),
        Table("Scenario", "fin", "SAP", 800, since=24),
        Table("OldPlan", "fin", "SAP", 12_000, slots=(MORNING,), weekend=False, until=44),
    ),
    (
        ("fct_ledger", ("LedgerEntry", "Account", "ExchangeRate")),
        ("fct_budget", ("Budget", "CostCenter")),
        ("dim_geography", ("Country", "Currency")),
    ),
    ("Finance", "Budget"),
)
LOGISTICS = Product(
    "Logistics",
    (
        *SHARED,
        Table("Shipment", "ops", "TMS", 2_400, "INCREMENTAL"),
        Table("Depot", "ops", "TMS", 310),
        Table("Vehicle", "ops", "TMS", 5_100, slots=(MORNING, NOON, EVENING)),
        Table("Incident", "ops", "TMS", 6, "INCREMENTAL", idle=0.6),
        Table("Tariff", "ops", "TMS", 22_000, slots=(MORNING,), weekday=2),
    ),
    (
        ("fct_shipments", ("Shipment", "Depot", "Vehicle")),
        ("dim_places", ("Country", "Depot")),
    ),
    ("Transport",),
)
PRODUCTS = (FINANCE, LOGISTICS)


@dataclass
class Run:
    """One run, with its rows by table."""

    run_id: str
    product: Product
    started_at: datetime
    slot: str | None
    """None: a run by hand."""
    good: bool
    """Nothing of it is wrong, and nothing should be said of it."""
    tables: tuple[Table, ...] = ()
    """The tables that it loaded."""
    rows: dict[str, list[Row]] = field(default_factory=dict)
    ended_at: datetime | None = None

    def add(self, table: str, row: Row) -> None:
        self.rows.setdefault(table, []).append(row)


@dataclass(frozen=True)
class Planted:
    """A run with one fault, in the place of a good one."""

    run: Run
    instead_of: Run
    fault: str
    names: str
    """What a reason must name for the fault to count as found."""


def text(at: datetime, digits: int = 6) -> str:
    """A time as the embedded warehouse holds it."""
    at = at.astimezone(timezone.utc).replace(tzinfo=None)
    return at.isoformat(" ", {0: "seconds", 3: "milliseconds", 6: "microseconds"}[digits])


def make(good: int = 500, *, seed: int = SEED) -> list[Run]:
    """A history with so many good runs, in the order in which they started; some others stand between them."""
    return _Platform(seed).history(good)


def plant(history: Sequence[Run], count: int = 200, *, seed: int = SEED) -> Iterator[Planted]:
    """So many good runs of the history, each with one fault planted, the kinds of faults in turn."""
    chance = random.Random(seed + 1)
    candidates = [run for run in history if run.good and run.slot is not None]
    settled = candidates[len(candidates) // 4 :]  # with a history before them
    for number in range(count):
        yield _planted(chance.choice(settled), FAULTS[number % len(FAULTS)], chance)


class _Platform:
    """Runs the products day by day."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.loaded_at: dict[str, datetime] = {}
        """Start of each table's last load, by whichever product: the watermark."""

    def history(self, good: int) -> list[Run]:
        runs: list[Run] = []
        missing = good
        for number in range(10_000):
            for run in self._day(number):
                runs.append(run)
                missing -= run.good
                if not missing:
                    return runs
        raise AssertionError("so many runs never come")

    def _day(self, number: int) -> Iterator[Run]:
        day = BEGINNING + timedelta(days=number)
        weekend = day.weekday() >= 5
        for slot in WEEKEND_SLOTS if weekend else SLOTS:
            plans = [plan for product in PRODUCTS for plan in self._plans(product, slot, day, number, weekend)]
            failed: str | None = None
            for plan in sorted(plans, key=lambda plan: plan["at"]):  # or a table would be loaded before it was
                repairs = plan.pop("repairs", False)
                run = self._run(**plan, day=number, repairs=failed if repairs else None)
                failed = run.run_id if plan.get("fails") else failed
                yield run

    def _plans(self, product: Product, slot: str, day: date, number: int, weekend: bool) -> Iterator[dict[str, Any]]:
        """The runs of a product around the slot."""
        hour, minute = map(int, slot.split(":"))
        local = datetime.combine(day, time(hour, minute), LOCAL)
        at = local.astimezone(timezone.utc) + timedelta(seconds=self.chance.uniform(5, 240))
        due = tuple(table for table in product.tables if _is_due(table, slot, day, number, weekend))
        plan: dict[str, Any] = {"product": product, "at": at, "slot": slot, "tables": due}
        # No rule is worth much that was never shown a failure: one run in fifty fails, and another makes it good.
        if self.chance.random() < 0.02:
            yield {**plan, "fails": True}
            yield {**plan, "at": at + timedelta(minutes=25), "repairs": True}
            return
        yield plan
        if self.chance.random() < 0.02:  # done again, though nothing was wrong
            yield {**plan, "at": at + timedelta(minutes=20)}
        if self.chance.random() < 0.04:  # by hand, two tables, at no hour in particular
            some = tuple(self.chance.sample(due, 2))
            later = at + timedelta(minutes=self.chance.uniform(50, 110))
            yield {**plan, "at": later, "slot": None, "tables": some}

    def _run(
        self,
        product: Product,
        at: datetime,
        slot: str | None,
        tables: tuple[Table, ...],
        day: int,
        *,
        fails: bool = False,
        repairs: str | None = None,
    ) -> Run:
        run = Run(str(uuid.UUID(int=self.chance.getrandbits(128), version=4)), product, at, slot, not fails, tables)
        common = {
            "data_product": product.name if slot is not None else None,  # a run by hand names none
            "orchestration_run_id": run.run_id,
            "environment": "PRD",
            "trace_id": f"{trace_id_of(run.run_id):032x}",
        }
        job = f"{self.chance.getrandbits(64):016x}"
        broken = self.chance.choice(tables) if fails else None
        end = at + timedelta(seconds=4)
        for table in tables:
            end = self._load(run, common, table, end, day, fails=table is broken)
        loads = len(tables)
        nodes = 0
        if slot is not None:
            end, nodes = self._build(run, common, end + timedelta(seconds=7), broken)
            if slot in (MORNING, EVENING) and not fails:
                end = self._refresh(run, common, end + timedelta(seconds=3))
        self._parts(run, common, job, at, end + timedelta(seconds=2), loads, nodes, fails=fails, repairs=repairs)
        run.ended_at = end + timedelta(seconds=2)
        return run

    def _span(self) -> str:
        return f"{self.chance.getrandbits(64):016x}"

    def _load(self, run: Run, common: Row, table: Table, at: datetime, day: int, *, fails: bool) -> datetime:
        rows = self._rows_of(table, at, day)
        took = timedelta(seconds=2 + rows / 4_000 * self.chance.uniform(0.7, 1.4))
        if not fails:
            self.loaded_at[table.label] = at
        span = self._span()
        run.add(
            LOADS,
            {
                **common,
                "table_name": table.name,
                "schema_name": table.schema,
                "source_name": table.source,
                "source_type": "SQL",
                "load_type": table.load_type,
                "workspace": str(uuid.UUID(int=77)),
                "status": "Failed" if fails else "Succeeded",
                "timestamp": text(at, 0),
                "duration": int(took.total_seconds()),
                "data_read": None if fails else rows * 97,
                "data_written": None if fails else rows * 41,
                "rows_read": None if fails else rows,
                "rows_written": None if fails else rows,
                "record_id": record_id(run.run_id, identity_of_span(int(span, 16))),
                "span_id": span,
                "error_type": "OperationalError" if fails else None,
                "error_message": f"{table.source} does not answer" if fails else None,
                "process_started_at": text(at),
                "process_completed_at": text(at + took),
            },
        )
        return at + took

    def _rows_of(self, table: Table, at: datetime, day: int) -> int:
        if table.load_type == "FULL":
            return max(1, round(table.rows * 1.002**day * self.chance.lognormvariate(0, 0.02)))
        if self.chance.random() < table.idle:
            return 0
        hours = (at - self.loaded_at.get(table.label, at - timedelta(hours=14))).total_seconds() / 3600
        # People work by day: an hour of the night or of a weekend brings less.
        local = at.astimezone(LOCAL)
        busy = 0.25 if local.weekday() >= 5 else 0.5 if local.hour < 10 else 1.0
        return max(0 if table.idle else 1, round(table.rows * hours * busy * self.chance.lognormvariate(0, 0.25)))

    def _build(self, run: Run, common: Row, at: datetime, broken: Table | None) -> tuple[datetime, int]:
        invocation = str(uuid.UUID(int=self.chance.getrandbits(128), version=4))
        loaded = {table.name for table in run.product.tables}
        sources = sorted({name for _, reads in run.product.marts for name in reads if name in loaded})
        by_name = {table.name: table for table in run.product.tables}
        nodes = 0
        lost = {broken.name} if broken else set()
        for name in sources:
            table = by_name[name]
            parents = [f"source.dbb.{table.source}.{name}"]
            skipped = name in lost  # their gate leaves out what is downstream of a table that failed
            at = self._node(run, common, invocation, f"model.dbb.stg_{name}", "view", parents, at, skipped)
            nodes += 1
        for mart, reads in run.product.marts:
            parents = [f"model.dbb.stg_{name}" for name in reads]
            skipped = bool(lost.intersection(reads))
            at = self._node(run, common, invocation, f"model.dbb.{mart}", "table", parents, at, skipped)
            at = self._node(
                run, common, invocation, f"test.dbb.not_null_{mart}_id.{abs(hash_of(mart)):010x}", "test",
                [f"model.dbb.{mart}"], at, skipped,
            )  # fmt: skip
            nodes += 2
        return at, nodes

    def _node(
        self, run: Run, common: Row, invocation: str, unique_id: str, kind: str, parents: list[str], at: datetime,
        skipped: bool,
    ) -> datetime:  # fmt: skip
        took = timedelta(seconds=self.chance.lognormvariate(0.3, 0.5))
        end = at if skipped else at + took
        item = unique_id.split(".")[2]
        run.add(
            NODES,
            {
                **common,
                "item_name": unique_id.rpartition(".")[2],
                "invocation_id": invocation,
                "status": "skipped" if skipped else "pass" if kind == "test" else "success",
                "execution_time": 0.0 if skipped else took.total_seconds(),
                "relation_name": None if kind == "test" else f'"dbb"."gold"."{item}"',
                "adapter_message": None if kind == "test" else "CREATE VIEW" if kind == "view" else "SELECT 100",
                "rows_affected": 100 if kind == "table" and not skipped else None,
                "process_stage": "execute",
                "process_started_at": None if skipped else text(at),
                "process_completed_at": None if skipped else text(end),
                "duration": None if skipped else int(took.total_seconds()),
                "generated_at": text(run.started_at + timedelta(hours=1)),
                "build_models": f"+tag:{run.product.name}",
                "record_id": record_id(run.run_id, f"dbt\n{invocation}\n{unique_id}\n", "execute"),
                "span_id": self._span(),
                "unique_id": unique_id,
                "resource_type": unique_id.partition(".")[0],
                "message": None if skipped else "OK",
                "depends_on": json.dumps(parents),
            },
        )
        return end

    def _refresh(self, run: Run, common: Row, at: datetime) -> datetime:
        for name in run.product.models:
            span, took = self._span(), timedelta(seconds=self.chance.lognormvariate(3.2, 0.3))
            run.add(
                REFRESHES,
                {
                    **common,
                    "workspace_id": str(uuid.UUID(int=78)),
                    "semantic_model_id": str(uuid.UUID(int=abs(hash_of(name)))),
                    "semantic_model_name": name,
                    "process_started_at": text(at, 3),
                    "process_completed_at": text(at + took, 3),
                    "duration": int(took.total_seconds()),
                    "status": "Completed",
                    "record_id": record_id(run.run_id, identity_of_span(int(span, 16))),
                    "span_id": span,
                },
            )
            at += took
        return at

    def _parts(
        self, run: Run, common: Row, job: str, at: datetime, end: datetime, loads: int, nodes: int, *,
        fails: bool, repairs: str | None,
    ) -> None:  # fmt: skip
        """What the run's own record holds: one job opened it, and its workloads."""
        refreshes = len(run.rows.get(REFRESHES, ()))
        stages = [("integration", loads), ("transformation", nodes), ("consumption", refreshes)]
        parts = [("job", "orchestrate.py", None, job), ("run", "orchestration_run", None, self._span())]
        parts += [("workload", stage, stage, self._span()) for stage, count in stages if count]
        for part, name, workload, span in parts:
            identity = identity_of_span(int(span, 16))
            row: Row = {
                **common,
                "part": part,
                "name": name,
                "workload": workload,
                "process_started_at": text(at),
                "span_id": span,
                "job_invoke_type": None if run.slot is None else "Scheduled",
            }
            if part != "run":
                run.add(PARTS, {**row, "status": "Started", "record_id": record_id(run.run_id, identity, "started")})
            row |= {
                "status": "Succeeded",
                "process_completed_at": text(end),
                "duration": int((end - at).total_seconds()),
                "record_id": record_id(run.run_id, identity),
            }
            if part == "job":
                row |= {"loads": loads, "nodes": 0, "refreshes": refreshes, "dropped": 0}
            run.add(PARTS, row)
        if repairs is not None:
            run.add(
                PARTS,
                {
                    **common,
                    "part": "link",
                    "name": "repairs",
                    "repairs": repairs,
                    "status": "Succeeded",
                    "process_started_at": text(at),
                    "process_completed_at": text(at),
                    "record_id": record_id(run.run_id, f"link\n{repairs}"),
                },
            )


def hash_of(name: str) -> int:
    """A number that is the same in every process."""
    return uuid.uuid5(uuid.NAMESPACE_OID, name).int & 0xFFFFFFFFFF


def _is_due(table: Table, slot: str, day: date, number: int, weekend: bool) -> bool:
    if not table.since <= number < table.until or slot not in table.slots:
        return False
    if table.weekday is not None:
        return day.weekday() == table.weekday
    return table.weekend or not weekend


# -- faults -------------------------------------------------------------------------------------------------


def _planted(good: Run, fault: str, chance: random.Random) -> Planted:
    run = copy.deepcopy(good)
    plant_it = {
        "missing load": _miss_a_load,
        "fewer rows": _lose_rows,
        "empty table": _empty_a_table,
        "stale model": _build_on_old_data,
        "lost row": _lose_a_row,
    }[fault]
    return Planted(run, good, fault, plant_it(run, chance))


def _regular(run: Run) -> list[Table]:
    """What has come in this slot for a while: nobody can miss what never came."""
    day = (run.started_at.astimezone(LOCAL).date() - BEGINNING).days
    return [table for table in run.tables if table.weekday is None and (not table.since or day > table.since + 14)]


def _take_out(run: Run, table: Table) -> Row:
    row = next(row for row in run.rows[LOADS] if row["table_name"] == table.name)
    run.rows[LOADS].remove(row)
    return row


def _miss_a_load(run: Run, chance: random.Random) -> str:
    """The job never began it: it counts one load less, and is content."""
    table = chance.choice(_regular(run))
    _take_out(run, table)
    for part in run.rows[PARTS]:
        if part["part"] == "job" and part["status"] != "Started":
            part["loads"] -= 1
    return table.name


def _lose_rows(run: Run, chance: random.Random) -> str:
    """The source gave a tenth of what it should have."""
    table = chance.choice([table for table in _regular(run) if table.rows >= 100 and not table.idle])
    row = next(row for row in run.rows[LOADS] if row["table_name"] == table.name)
    for column in ("rows_read", "rows_written", "data_read", "data_written"):
        row[column] //= 10
    return table.name


def _empty_a_table(run: Run, chance: random.Random) -> str:
    """The load wrote its rows, and where readers read the table none is there."""
    table = chance.choice(_regular(run))
    row = next(row for row in run.rows[LOADS] if row["table_name"] == table.name)
    run.add(
        VALIDATIONS,
        {
            "table_identifier": f"{table.source}__{table.schema}_{table.name}",
            "source_name": table.source,
            "schema_table_name": table.label,
            "workspace": row["workspace"],
            "row_count": 0,
            "latest_ingestion_timestamp": row["process_completed_at"],
            "timestamp": row["process_completed_at"],
        },
    )
    return table.name


def _build_on_old_data(run: Run, chance: random.Random) -> str:
    """A load fails, and dbt builds what reads the table all the same, from the data of the time before."""
    read = {name for _, reads in run.product.marts for name in reads}
    table = chance.choice([table for table in run.tables if table.name in read])
    row = next(row for row in run.rows[LOADS] if row["table_name"] == table.name)
    row |= {"status": "Failed", "error_type": "OperationalError", "error_message": "the source does not answer"}
    for column in ("rows_read", "rows_written", "data_read", "data_written"):
        row[column] = None
    return next(mart for mart, reads in run.product.marts if table.name in reads)


def _lose_a_row(run: Run, chance: random.Random) -> str:
    """The job told of a load whose row is not in the table."""
    _take_out(run, chance.choice(list(run.tables)))
    return "load"
