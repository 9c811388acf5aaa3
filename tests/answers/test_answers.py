"""The answers in Python and in the terminal, against numbers computed independently from the same rows."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from dbbtrace import answers
from dbbtrace.answers.check import Rules
from dbbtrace.errors import TransientError, UsageError
from dbbtrace.warehouse import Warehouse
from tests.answers import expected
from tests.answers.history import History, Row, Size, make, store
from tests.answers.mangle import mangled
from tests.cli.support import HOSTILE, HOSTILE_SHOWN, assert_one_line, run

AT = datetime(2026, 1, 5, 2, 0, tzinfo=timezone.utc)


@pytest.fixture
def history() -> History:
    """Twelve runs of two products with failures, and a few of everything that can go wrong."""
    return mangled(make(12, seed=8, failing=0.06), 8)


@pytest.fixture
def warehouse(history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """The history, which commands find too."""
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", f"sqlite:///{tmp_path}/w.db")
    return store(history, tmp_path / "w.db", unique=False)


def by_run(found: Iterable[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for operation in found:
        groups[operation["orchestration_run_id"]].append(operation)
    return groups


# -- which runs ---------------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first(history: History, warehouse: Warehouse) -> None:
    """Every run once, with product and environment; filters choose among them."""
    starts: dict[str, datetime] = {}
    for operation in expected.operations(history.rows):
        if operation["start_time"]:
            known = starts.get(operation["orchestration_run_id"], operation["start_time"])
            starts[operation["orchestration_run_id"]] = min(known, operation["start_time"])
    keys = answers.run_keys(warehouse)
    assert [key.run_id for key in keys] == sorted(starts, key=lambda run_id: (starts[run_id], run_id), reverse=True)
    some = answers.run_keys(warehouse, data_product="Logistics", environment="prd", limit=2)
    assert [key.run_id for key in some] == [key.run_id for key in keys if key.data_product == "Logistics"][:2]
    with pytest.raises(UsageError, match="no environment 'ACC'"):
        answers.run_keys(warehouse, environment="ACC")
    late = answers.run_keys(warehouse, since=AT + timedelta(hours=30))
    assert [key.run_id for key in late] == [key.run_id for key in keys if key.started_at >= AT + timedelta(hours=30)]


def test_the_list_of_runs_says_what_the_view_says(history: History, warehouse: Warehouse) -> None:
    """``dbbtrace runs`` counts outcomes; a status chooses."""
    wanted = expected.runs(expected.operations(history.rows))
    listed = json.loads(run("runs", "--json", "--limit", "100").out)
    assert {row["run_id"]: (row["status"], row["failed"], row["operations"]) for row in listed} == {
        run_id: (row["status"], row["failed"], row["operations"]) for run_id, row in wanted.items()
    }
    failed = json.loads(run("runs", "--json", "--status", "failed").out)
    assert {row["run_id"] for row in failed} == {run_id for run_id, row in wanted.items() if row["status"] == "Failed"}


def test_every_answer_judges_a_run_alike(history: History, warehouse: Warehouse) -> None:
    """What `show` says at its top, `runs` and `check` say, too; what was repaired later in the run counts no more."""
    for listed in json.loads(run("runs", "--json", "--limit", "100").out):
        lines = run("show", listed["run_id"], "--all").out.splitlines()
        assert lines[0].endswith(f" {listed['status']}"), listed
        shown = json.loads(run("show", listed["run_id"], "--json").out)["operations"]
        again = sum(operation["superseded"] for operation in shown)
        assert len(shown) - again == listed["operations"]
        assert (f"{again} done again later" in lines[-1]) == bool(again)


# -- failures -----------------------------------------------------------------------------------------------


def held_up(operations: list[Row], failed: Row) -> set[str]:
    """What a failure held up, followed through the rows of one run in the obvious way."""
    outcomes = {o["operation_id"]: o for o in operations if not o["superseded"]}
    selects = {key: json.loads(o["depends_on"] or "[]") for key, o in outcomes.items()}
    first = {failed["operation_id"]}
    if failed["workload"] == "integration":
        first = {f"source.shop.raw.{failed['operation_id'].rpartition('/')[2]}"}
    if failed["operation_id"].startswith("test."):
        tested = set(selects[failed["operation_id"]])
        first = {k for k, o in outcomes.items() if o["status"] == "Skipped" and tested & set(selects[k])}
        found = set(first)
    else:
        found = set()
    while first:
        children = {k for k, parents in selects.items() if first & set(parents)}
        first = {k for k in children if outcomes[k]["status"] not in ("Succeeded", "Warned")} - found
        found |= first
    return found - {failed["operation_id"]}


def test_each_failure_with_what_it_held_up(history: History, warehouse: Warehouse) -> None:
    """All failed outcomes, each with its message and everything downstream that was not built."""
    groups = by_run(expected.operations(history.rows))
    wanted = {
        (run_id, o["operation_id"], o["error_message"], frozenset(held_up(group, o)))
        for run_id, group in groups.items()
        for o in group
        if o["status"] == "Failed" and not o["superseded"]
    }
    found = answers.failures(warehouse)
    assert {
        (
            f.operation.run_id,
            f.operation.operation_id,
            f.operation.error_message,
            frozenset(n.operation_id for n in f.held_up),
        )
        for f in found
    } == wanted
    assert any(len(failure.held_up) > 1 for failure in found)
    order = [key.run_id for key in answers.run_keys(warehouse)]
    places = [order.index(failure.operation.run_id) for failure in found]
    assert places == sorted(places)


def test_a_failed_test_holds_up_what_selects_from_the_tested_node(tmp_path: Path) -> None:
    """dbt build waits for tests; dbt says nothing of it but skipped."""
    history = make(1, seed=1, failing=0, size=Size(1, 6, 1, 1))
    for row in history.nodes:
        if row["unique_id"].startswith("test."):
            row |= {"status": "fail", "error_type": "dbt.fail", "depends_on": '["model.shop.model_000"]'}
        if row["unique_id"] == "model.shop.model_004":
            row |= {"status": "skipped", "depends_on": '["model.shop.model_000"]', "message": None}
        if row["unique_id"] == "model.shop.model_005":
            row |= {"status": "skipped", "depends_on": '["model.shop.model_004"]', "message": None}
    (failure,) = answers.failures(store(history, tmp_path / "w.db"))
    assert [node.name for node in failure.held_up] == ["model_004", "model_005"]


def test_all_operations_of_a_run_give_the_same_failures(warehouse: Warehouse) -> None:
    """The page has them all at hand; what was built is held up by nothing there either."""
    from dbbtrace.answers.failures import failures_among

    for key in answers.run_keys(warehouse):
        everything = failures_among(answers.operations(warehouse, [key.run_id]))
        assert [(f.operation.operation_id, [n.operation_id for n in f.held_up]) for f in everything] == [
            (f.operation.operation_id, [n.operation_id for n in f.held_up])
            for f in answers.failures(warehouse, run=key.run_id)
        ]


def test_failures_in_the_terminal(history: History, warehouse: Warehouse) -> None:
    """Each with its message and what it held up; as JSON nothing is left out."""
    found = json.loads(run("failures", "--since", "2026-01-01", "--all", "--json").out)
    assert len(found) == len(answers.failures(warehouse))
    broken = next(f for f in found if f["kind"] == "table_load" and f["held_up"])
    shown = run("failures", broken["run_id"][:18], "--all", columns=100).out
    assert f"✗ {broken['name']}" in shown
    assert broken["error_message"] in shown
    assert f"held up {len(broken['held_up'])}: model " in shown
    limited = run("failures", "--since", "2026-01-01", "--limit", "2").out
    assert limited.count("✗") == 2
    assert "--all" in limited.splitlines()[-1]


def test_no_failures_is_said_on_stderr(warehouse: Warehouse) -> None:
    """And is no error."""
    done = run("failures", "--since", "1h")
    assert (done.code, done.out) == (0, "")
    assert "--since 30d" in done.err


def test_hostile_names_show_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every answer of the terminal, names and messages can't colour, break or mirror anything."""
    history = make(2, seed=1, failing=0, products=(HOSTILE,))
    for row in [*history.loads, *history.nodes]:
        row |= {"status": "Failed" if "table_name" in row else "error", "error_type": HOSTILE, "error_message": HOSTILE}
        row |= {"message": HOSTILE, "environment": HOSTILE}
    for row in history.loads:
        row["table_name"] = HOSTILE + row["table_name"]
    for row in history.nodes:
        row["unique_id"] = f"model.shop.{HOSTILE}{row['item_name']}"
    store(history, tmp_path / "w.db")
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", f"sqlite:///{tmp_path}/w.db")
    first, second = dict.fromkeys(row["orchestration_run_id"] for row in history.loads)
    for command in (
        ("failures", "--since", "2026-01-01", "--all"),
        ("slowest", "--since", "2026-01-01"),
        ("audit",),
        ("audit", "--json"),
        ("diff", first, second),
        ("check", second),
        ("watch", "--once", "--since", "2026-01-01"),
        ("failures", "--since", "2026-01-01", "--json"),
        ("slowest", "--since", "2026-01-01", "--json"),
        ("diff", first, second, "--json"),
        ("check", second, "--json"),
    ):
        out = run(*command, columns=200).out
        assert out
        assert not set("\x1b\u202e\x07\r") & set(out), command
    assert HOSTILE_SHOWN in run("failures", first, "--all", columns=200).out.replace(
        r"omer\x1b[31m table", r"omer\x1b[31m\ntable"
    )


# -- slowest ------------------------------------------------------------------------------------------------


def test_durations_against_their_own_history(history: History, warehouse: Warehouse) -> None:
    """Newest success, median and p95 of the ones before, for each operation of each product."""
    starts = {run_id: row["start_time"] for run_id, row in expected.runs(expected.operations(history.rows)).items()}
    products = {key.run_id: key.data_product for key in answers.run_keys(warehouse)}
    known = expected.known_nodes(history.rows)
    series: dict[Any, list[tuple[datetime, datetime, float]]] = defaultdict(list)
    for o in expected.operations(history.rows):
        if o["status"] in ("Succeeded", "Warned") and not o["superseded"] and o["seconds"] is not None:
            run_id, what = o["orchestration_run_id"], (o["data_product"], o["operation_id"])
            began = (starts[run_id], o["start_time"])
            series[products[run_id], known.get(what, what[1])].append((*began, o["seconds"]))
    found = answers.slowest(warehouse, limit=None)
    names = [known.get((t.data_product, t.operation_id), t.operation_id) for t in found]
    assert sorted(zip([t.data_product for t in found], names, strict=True)) == sorted(series)
    assert [t.seconds for t in found] == sorted((t.seconds for t in found), reverse=True)
    for timing, name in zip(found, names, strict=True):
        *earlier, newest = [seconds for *_, seconds in sorted(series[timing.data_product, name])]
        assert timing.seconds == pytest.approx(newest)
        assert timing.earlier == pytest.approx(tuple(earlier))
        if earlier:
            assert timing.median == pytest.approx(expected.median(earlier))
            assert timing.p95 == pytest.approx(expected.p95(earlier))
            assert timing.change == pytest.approx(newest / expected.median(earlier) - 1)  # type: ignore[operator]
    grown = answers.slowest(warehouse, by_change=True, limit=3)
    changes = sorted((t.change for t in found if t.change is not None), reverse=True)
    assert [t.change for t in grown] == changes[:3]


def test_a_run_against_the_runs_before_it(tmp_path: Path) -> None:
    """Only earlier runs of the same product in the same environment count, and no more than asked for."""
    history = make(12, seed=2, failing=0, products=("One", "Two"))
    warehouse = store(history, tmp_path / "w.db")
    keys = [key for key in reversed(answers.run_keys(warehouse)) if key.data_product == "One"]
    took = {
        o["orchestration_run_id"]: o["seconds"]
        for o in expected.operations(history.rows)
        if o["operation_id"] == "model.shop.model_002"
    }
    found = answers.slowest(warehouse, run=keys[4].run_id, history=3, limit=None)
    (timing,) = [t for t in found if t.operation_id == "model.shop.model_002"]
    assert timing.seconds == pytest.approx(took[keys[4].run_id])
    assert timing.earlier == pytest.approx(tuple(took[key.run_id] for key in keys[1:4]))
    with pytest.raises(UsageError, match="dbbtrace runs"):
        answers.slowest(warehouse, run="nowhere")


def test_slowest_in_the_terminal(warehouse: Warehouse) -> None:
    """A table that fits 80 columns, and everything as JSON."""
    shown = run("slowest", "--since", "2026-01-01", "--limit", "5").out.splitlines()
    assert shown[0].split()[:6] == ["operation", "time", "median", "p95", "change", "of"]
    assert len(shown) == 7
    assert max(map(len, shown)) <= 80
    first = json.loads(run("slowest", "--since", "2026-01-01", "--limit", "1", "--json").out)[0]
    assert first["seconds"] == answers.slowest(warehouse, limit=1)[0].seconds
    of_one = run("slowest", "last", "--limit", "3").out.splitlines()
    assert "product" not in of_one[0]


# -- audit --------------------------------------------------------------------------------------------------


def test_the_audit_is_complete(history: History, warehouse: Warehouse) -> None:
    """Every run is in it, and every gap that the view of gaps has."""
    from dbbtrace.warehouse import views

    wanted = expected.runs(expected.operations(history.rows))
    found = answers.audit(warehouse)
    assert {r.run_id: (r.status, r.failed, r.rows_written) for r in found.runs} == {
        run_id: (row["status"], row["failed"], row["rows_written"]) for run_id, row in wanted.items()
    }
    in_view = views.ask(warehouse, "SELECT g.orchestration_run_id, g.gap FROM meta.monitoring_gaps AS g")
    assert sorted((gap.run_id, gap.gap) for gap in found.gaps) == sorted(in_view)
    assert {gap.gap for gap in found.gaps} >= {"no completed refresh", "load without an end"}
    for record in found.products:
        runs = [row for row in wanted.values() if row["data_product"] == record.data_product]
        assert record.runs == len(runs)
        assert record.failed == sum(row["status"] == "Failed" for row in runs)
        assert record.succeeded == sum(row["status"] in ("Succeeded", "Warned") for row in runs)


def test_the_audit_since_a_time(warehouse: Warehouse) -> None:
    """Only runs that started then or later, of one product."""
    found = answers.audit(warehouse, since=AT + timedelta(days=2), data_product="Logistics")
    assert found.runs
    assert all(r.started_at >= AT + timedelta(days=2) and r.data_product == "Logistics" for r in found.runs)


def test_audit_as_csv_json_and_parquet(warehouse: Warehouse, tmp_path: Path) -> None:
    """The same runs in each, with their gaps."""
    import pyarrow.parquet

    found = answers.audit(warehouse)
    rows = list(csv.DictReader(io.StringIO(run("audit", "--format", "csv").out)))
    assert [row["run_id"] for row in rows] == [r.run_id for r in found.runs]
    assert [row["failed"] for row in rows] == [str(r.failed) for r in found.runs]
    as_json = json.loads(run("audit", "--json").out)
    assert [row["run_id"] for row in as_json["runs"]] == [r.run_id for r in found.runs]
    assert sum(len(row["gaps"]) for row in as_json["runs"]) == len(found.gaps)
    done = run("audit", "--format", "parquet", "-o", "audit.parquet")
    assert done.code == 0, done.err
    table = pyarrow.parquet.read_table("audit.parquet").to_pylist()
    assert [row["run_id"] for row in table] == [r.run_id for r in found.runs]
    assert table[0]["started_at"] == found.runs[0].started_at
    assert [row["gaps"] for row in table] == [row["gaps"] for row in rows]
    assert_one_line(run("audit", "--format", "parquet"), "-o")


def test_a_spreadsheet_finds_no_formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A product named like a formula stays text where the CSV is opened in one."""
    store(make(1, seed=1, products=("=cmd|' /C calc'!A0",)), tmp_path / "w.db")
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", f"sqlite:///{tmp_path}/w.db")
    (row,) = csv.DictReader(io.StringIO(run("audit", "--format", "csv").out))
    assert row["data_product"] == "'=cmd|' /C calc'!A0"


def test_the_audit_in_the_terminal(warehouse: Warehouse) -> None:
    """Products in a table, then each gap in a line."""
    found = answers.audit(warehouse)
    lines = run("audit").out.splitlines()
    assert lines[0].split() == ["product", "env", "runs", "succeeded", "failed", "with", "gaps", "last", "run", "(UTC)"]
    assert f"{len(found.runs)} runs, {len(found.gaps)} gaps:" in lines
    assert sum(gap.run_id in line for gap in found.gaps[:1] for line in lines) >= 1


# -- diff ---------------------------------------------------------------------------------------------------


def test_what_differs_between_two_runs(tmp_path: Path) -> None:
    """Status, what is new or gone, time, rows; the rest is the same."""
    history = make(1, seed=3, failing=0, size=Size(4, 4, 1, 1))
    before = history.loads[0]["orchestration_run_id"]
    after = "11111111-2222-4333-8444-555555555555"
    copies = {
        name: [{**row, "orchestration_run_id": after, "record_id": f"b{row['record_id'][1:]}"} for row in rows]
        for name, rows in history.rows.items()
    }
    loads = copies["monitoring_integration"]
    loads[0] |= {"status": "Failed", "error_type": "E", "error_message": "no"}
    loads[1]["rows_written"] += 1
    loads[2]["process_completed_at"] = "2026-01-05 09:00:00.000000"
    loads[3]["table_name"] = "brand_new"
    for name, rows in history.rows.items():
        rows += copies[name]
    warehouse = store(history, tmp_path / "w.db")
    found = answers.diff(warehouse, before, after)
    assert {change.name.rpartition(".")[2]: change.changes for change in found.changes} == {
        "table_000": ("status",),
        "table_003": ("gone",),
        "brand_new": ("new",),
        "table_002": ("slower",),
        "table_001": ("rows",),
    }
    assert found.changes[0].changes == ("status",)
    assert [change.changes[0] for change in found.changes][-2:] == ["slower", "rows"]
    assert found.same == 4 + 1 + 1
    assert (found.before.status, found.after.status) == ("Succeeded", "Failed")
    with pytest.raises(UsageError, match="nowhere"):
        answers.diff(warehouse, before, "nowhere")


def test_diff_in_the_terminal(warehouse: Warehouse) -> None:
    """Two lines for the runs, a table of changes, a sum."""
    older, newer = [key.run_id for key in answers.run_keys(warehouse, data_product="Logistics")][1::-1]
    found = answers.diff(warehouse, older, newer)
    lines = run("diff", older, newer, columns=120).out.splitlines()
    assert lines[0].startswith(f"before  {older}")
    assert lines[1].startswith(f"after   {newer}")
    assert lines[-1] == f"{len(found.changes)} changed, {found.same} the same"
    as_json = json.loads(run("diff", older, newer, "--json").out)
    assert len(as_json["changes"]) == len(found.changes)


@pytest.mark.parametrize("columns", [24, 40, 56, 64, 80, 100, 200])
def test_the_list_of_runs_fits_any_terminal(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """Every run with its day and status; what there is no room for goes, or each run becomes a block of lines."""
    listed = answers.runs(warehouse, limit=20)
    done = run("runs", columns=columns)
    assert done.code == 0
    for ran in listed:
        assert done.out.count(f"{ran.started_at:%Y-%m-%d %H:%M}") >= 1
        assert ran.run_id[: 8 if columns >= 40 else 4] in done.out
    if columns >= 40:
        assert max(map(len, done.out.splitlines())) <= columns


# -- check --------------------------------------------------------------------------------------------------


def one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any = None) -> tuple[Warehouse, str]:
    history = make(1, seed=1, failing=0, size=Size(2, 2, 1, 1))
    if change:
        change(history)
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", f"sqlite:///{tmp_path}/w.db")
    return store(history, tmp_path / "w.db"), history.loads[0]["orchestration_run_id"]


def without_refresh(history: History) -> None:
    history.refreshes.clear()


def with_failure(history: History) -> None:
    history.loads[0] |= {"status": "Failed", "error_type": "E", "error_message": "the source is gone"}


def with_status(word: str) -> Any:
    return lambda history: history.loads[0].update(status=word)


def refreshing(history: History) -> None:
    history.refreshes[0] |= {"status": "Unknown", "process_completed_at": None, "duration": None}


def nothing_done(history: History) -> None:
    without_refresh(history)
    for row in (*history.loads, *history.nodes):
        row["status"] = "skipped"


def test_a_good_run_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 0, which run it is, and nothing else."""
    _, run_id = one_run(tmp_path, monkeypatch)
    done = run("check", run_id, "--require-refresh", "--max-duration", "1h", "--no-warnings")
    assert done.code == 0
    said = " ".join(done.out.split())
    assert said.startswith(f"ok Succeeded run {run_id} Group-FinancialStatements, PRD, 2026-01-05 02:00:00 UTC")


@pytest.mark.parametrize(
    ("change", "options", "kinds"),
    [
        (with_failure, (), ["failed"]),
        (with_failure, ("--allow-failures",), []),
        (without_refresh, (), []),
        (without_refresh, ("--require-refresh",), ["no refresh"]),
        (with_status("Foo"), (), ["unfinished"]),
        (refreshing, (), ["unfinished"]),
        (refreshing, ("--max-duration", "1h"), ["unfinished", "late"]),
        (nothing_done, (), ["incomplete"]),
        (None, ("--max-duration", "1s"), ["late"]),
        (without_refresh, ("--require-refresh", "--max-duration", "1h"), ["late", "no refresh"]),
    ],
)
def test_a_run_that_breaks_a_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, options: tuple[str, ...], kinds: list[str]
) -> None:
    """Exit code 1, and what is wrong, for people and as JSON."""
    _, run_id = one_run(tmp_path, monkeypatch, change)
    done = run("check", "last", *options, "--json")
    assert done.code == (1 if kinds else 0)
    said = json.loads(done.out)
    assert [problem["kind"] for problem in said["problems"]] == kinds
    assert said["ok"] is not bool(kinds)
    shown = run("check", run_id, *options).out
    assert shown.startswith("not ok" if kinds else "ok")
    assert ("the source is gone" in shown) == (change is with_failure)


def test_a_run_that_never_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 2: nobody knows such a run, be it a whole run id or the start of one."""
    one_run(tmp_path, monkeypatch)
    done = run("check", "AAAAAAAA-0000-4000-8000-000000000000", "--json")
    assert done.code == 2
    assert json.loads(done.out)["problems"][0]["kind"] == "missing"
    assert_one_line(run("check", "zzz"), "dbbtrace runs")
    assert_one_line(run("check", "last", "--max-duration", "soon"), "90m")


def test_a_run_id_in_upper_case_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As hand-made writers stored it."""

    def shout(history: History) -> None:
        for rows in history.rows.values():
            for row in rows:
                row["orchestration_run_id"] = row["orchestration_run_id"].upper()

    _, run_id = one_run(tmp_path, monkeypatch, shout)
    assert run("check", run_id.lower()).code == 0
    assert run("check", run_id).code == 0


def test_no_answer_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 4, whatever kept us from asking: 1 would read as a broken run."""
    one_run(tmp_path, monkeypatch)
    for fault in (TransientError("the server is busy"), TypeError("a fault of ours")):
        monkeypatch.setattr(sys.modules["dbbtrace.answers.check"], "verdict_of", Mock(side_effect=fault))
        done = run("check", "last")
        assert (done.code, done.out) == (4, "")
        assert str(fault) in done.err


def test_a_refresh_may_still_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its time is over a run without a refresh is not late; after it, it is."""
    warehouse, run_id = one_run(tmp_path, monkeypatch, without_refresh)
    rules = Rules(max_duration=timedelta(hours=2), require_refresh=True)
    assert answers.check(warehouse, run_id, rules, now=AT + timedelta(hours=1)).ok
    late = answers.check(warehouse, run_id, rules, now=AT + timedelta(hours=3))
    assert [problem.kind for problem in late.problems] == ["late", "no refresh"]


# -- watch --------------------------------------------------------------------------------------------------


def test_watch_tells_each_thing_once(tmp_path: Path) -> None:
    """A failed run once; a run that becomes late, when it does; a product that did not run."""
    from dbbtrace.answers.watch import Watch

    history = make(4, seed=1, failing=0, products=("One",))
    last = history.loads[-1]["orchestration_run_id"]
    history.rows["monitoring_semantic_model_refresh"] = [
        row for row in history.refreshes if row["orchestration_run_id"] != last
    ]
    history.loads[0] |= {"status": "Failed", "error_type": "E", "error_message": "no"}
    warehouse = store(history, tmp_path / "w.db")
    rules = Rules(max_duration=timedelta(hours=2), require_refresh=True)
    eye = Watch(warehouse, rules, since=AT - timedelta(days=1), expect_every=timedelta(hours=8))
    began = AT + timedelta(hours=18)
    titles = [[alert.title for alert in eye.look(began + timedelta(hours=hours))] for hours in (1, 1, 3, 3, 9, 9)]
    assert titles == [["One PRD failed"], [], ["One PRD is late"], [], ["One PRD did not run"], []]


def test_watch_once_in_the_terminal(warehouse: Warehouse) -> None:
    """Exit code 1 where there is something to tell; with --json one object a line."""
    done = run("watch", "--once", "--since", "2026-01-01")
    assert done.code == 1
    assert "PRD failed\n  run " in done.out
    again = run("watch", "--once", "--since", "2026-01-01")
    assert (again.code, again.out) == (1, "")
    assert "told before" in again.err
    lines = run("watch", "--once", "--since", "2026-01-01", "--json", "--state", "other.json").out.splitlines()
    assert {json.loads(line)["status"] for line in lines} == {"Failed", "Incomplete"}  # a refresh is disabled
    assert run("watch", "--once", "--since", "1h").code == 0
