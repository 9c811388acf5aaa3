"""The gate, judged from rows: against a walk that a test makes itself, and case by case."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbbtrace.answers.gate import Gate, gate
from dbbtrace.graph import DbtSource, Graph, Rules, Selection
from dbbtrace.warehouse import Warehouse
from tests.gate.support import NOW, RUN, history, load, opened, part, run_id
from tests.graph.graphs import parents, reached, turned

OUTCOMES = {
    "loaded": True,
    "failed": False,
    "failed, then loaded": True,
    "loaded, then failed": False,
    "expected": False,
    "others load it": True,
    "others are late": False,
    "nobody monitors it": True,
}
"""What may have become of a table → whether it may be read."""
START = NOW - timedelta(hours=1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """A warehouse that many examples fill, each with a run and tables of its own."""
    with opened(tmp_path_factory.mktemp("gate")) as warehouse:
        yield warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    with opened(tmp_path) as found:
        yield found


examples = count(1)


def became(outcome: str, table: tuple[str, str, str], run: str) -> Iterator[object]:
    """The rows of a table with this outcome."""
    if outcome in ("loaded", "loaded, then failed"):
        yield load(table, START, run=run)
    if outcome in ("failed", "failed, then loaded"):
        yield load(table, START, "Failed", run=run)
    if outcome == "failed, then loaded":
        yield load(table, START + timedelta(minutes=9), run=run)
    if outcome == "loaded, then failed":
        yield load(table, START + timedelta(minutes=9), "Failed", run=run)
    if outcome == "expected":
        yield part(
            "expected", START, run=run, name=f"{table[1]}.{table[2]}", workload="integration", expected_by="plan"
        )
    if outcome.startswith("others"):
        late = timedelta(days=1 if outcome == "others load it" else 3)
        for day in range(10):
            yield load(table, START - late - timedelta(days=day), run=run_id(day + 1), product="Other")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edges=parents(10), data=st.data())
def test_what_may_be_built_is_all_that_no_closed_table_is_above(
    shared: Warehouse, edges: dict[str, list[str]], data: st.DataObject
) -> None:
    """Any graph, any outcomes: the gate says what a walk through everything says."""
    example = next(examples)
    run = run_id(10**6 + example)
    names = [f"t{number}" for number in range(data.draw(st.integers(1, 4)))]
    said = {name: data.draw(st.sampled_from(sorted(OUTCOMES))) for name in names}
    graph: dict[str, list[str]] = {f"source.p.s.{name}_{example}": [] for name in names}
    for node, above in edges.items():
        read = data.draw(st.lists(st.sampled_from(sorted(graph)[: len(names)]), unique=True, max_size=2))
        graph[f"model.p.{node}"] = [*(f"model.p.{parent}" for parent in above), *read]
    rows = [part("job", START, run=run), part("workload", START, run=run, workload="integration")]
    for name, outcome in said.items():
        rows += became(outcome, ("S", "dbo", f"{name}_{example}"), run)  # type: ignore[arg-type]
    shared.write(rows)
    selected = data.draw(st.sets(st.sampled_from([f"model.p.{node}" for node in edges]), min_size=1))
    sources = {name: DbtSource.of_id(name) for name in graph if name.startswith("source.")}

    found = gate(shared, run, Selection(tuple(sorted(selected)), Graph(graph), sources), now=NOW)

    closed = {f"source.p.s.{name}_{example}" for name, outcome in said.items() if not OUTCOMES[outcome]}
    read = reached(graph, selected) & set(sources)
    assert {one.unique_id for one in found.closed_sources} == closed & read
    affected = reached(turned(graph), closed & read) & selected
    assert set(found.left_out) == affected
    assert set(found.unaffected) == selected - affected
    assert found.exit_code == (1 if closed & read else 0)
    for node, source in found.left_out.items():
        assert source in closed
        assert node in reached(turned(graph), [source])


CUSTOMER, COMPANY = ("MDS", "mdm", "Customer"), ("MDS", "mdm", "Company")


def states(found: Gate) -> dict[str, str]:
    return {state.name: state.state for state in found.arrivals.tables}


def test_without_a_selection_every_table_of_the_run_counts(warehouse: Warehouse) -> None:
    """By its last outcome in it; the reason is the load's own message."""
    warehouse.write(
        [
            load(CUSTOMER, START, "Failed"),
            load(CUSTOMER, START + timedelta(minutes=5)),
            load(COMPANY, START, "Failed", message="no access"),
        ]
    )
    found = gate(warehouse, RUN, now=NOW)
    assert states(found) == {"MDS mdm.Customer": "loaded", "MDS mdm.Company": "failed"}
    assert found.word == "closed"
    assert found.reasons() == ["MDS mdm.Company: its load at 2026-11-25 08:00:00 UTC ended as Failed: no access"]


def test_a_run_that_nobody_knows_is_no_success(warehouse: Warehouse) -> None:
    """Nor one in which nothing was loaded, unless integration says that it is done."""
    assert gate(warehouse, RUN, now=NOW).exit_code == 2
    warehouse.write([part("job", START)])
    found = gate(warehouse, RUN, now=NOW)
    assert (found.exit_code, found.reasons()) == (1, ["no table was loaded in this run"])
    warehouse.write([part("workload", START, workload="integration", name="integration")])
    assert gate(warehouse, RUN, now=NOW).exit_code == 0


def test_what_usually_comes_and_did_not_is_absent(warehouse: Warehouse) -> None:
    """Learned from earlier runs of the product at this time, while the run still goes on."""
    warehouse.write([*history([CUSTOMER, COMPANY], 8), part("job", START, ended=False), load(CUSTOMER, START)])
    found = gate(warehouse, RUN, now=NOW)
    assert states(found)["MDS mdm.Company"] == "absent"
    assert found.reasons() == ["MDS mdm.Company: it never came; it came in 4 of the last 4 runs at this time"]
    acked = part("ack", START, name="mdm.Company", process_completed_at=(NOW + timedelta(days=1)).isoformat())
    warehouse.write([acked])
    assert gate(warehouse, RUN, now=NOW).word == "open"


def test_an_empty_table_closes(warehouse: Warehouse) -> None:
    """The table, not the load: as the job that counted says; loaded and counted again it is open."""
    warehouse.write([part("job", START), load(CUSTOMER, START)])
    warehouse.write(
        [part("finding", START + timedelta(minutes=2), name="mdm.Customer", status="Warned", error_type="empty",
              error_message="it is empty", expected_by="verify")]
    )  # fmt: skip
    assert states(gate(warehouse, RUN, now=NOW)) == {"MDS mdm.Customer": "empty"}
    warehouse.write(
        [part("finding", START + timedelta(minutes=4), name="mdm.Customer", status="Verified", error_type="empty",
              expected_by="verify")]
    )  # fmt: skip
    assert gate(warehouse, RUN, now=NOW).word == "open"


def test_it_waits_for_what_may_still_come(warehouse: Warehouse) -> None:
    """Integration has not ended; or a job recorded more loads than there are rows."""
    going_on = part("workload", START, workload="integration", name="integration", status="Started", ended=False)
    warehouse.write([load(CUSTOMER, START), going_on])
    found = gate(warehouse, RUN, now=NOW)
    assert (found.exit_code, found.reasons()) == (3, ["integration has not ended"])
    other = run_id(77)
    warehouse.write([load(CUSTOMER, START, run=other), part("job", START, run=other, loads=2)])
    found = gate(warehouse, other, now=NOW)
    assert (found.exit_code, found.reasons()) == (3, ["1 table load that a job recorded is not in the table yet"])


def one_source(name: str, **more: str) -> Selection:
    source = DbtSource(f"source.p.{name}", *name.split("."), **more)
    return Selection(("model.p.a",), Graph({"model.p.a": [source.unique_id]}), {source.unique_id: source})


def test_strict_closes_for_what_nobody_monitors(warehouse: Warehouse) -> None:
    """Otherwise it is listed, and open."""
    warehouse.write([load(CUSTOMER, START)])
    found = gate(warehouse, RUN, one_source("files.calendar"), now=NOW)
    assert (found.word, found.sources[0].state.state) == ("open", "unknown")
    found = gate(warehouse, RUN, one_source("files.calendar"), now=NOW, strict=True)
    assert (found.word, set(found.left_out)) == ("closed", {"model.p.a"})


def test_how_names_go_together_can_be_said(warehouse: Warehouse) -> None:
    """By the setting for single tables, where no rule tells."""
    warehouse.write([load(COMPANY, START, "Failed")])
    selection = one_source("crm.firms")
    assert gate(warehouse, RUN, selection, now=NOW).word == "open"
    rules = Rules(given={"crm.firms": "MDS.mdm.Company"})
    assert gate(warehouse, RUN, selection, now=NOW, rules=rules).word == "closed"


def test_a_repairing_run_counts_together_with_the_one_that_it_repairs(warehouse: Warehouse) -> None:
    """What the old run loaded is there; what failed in it and was loaded again is, too."""
    again = run_id(78)
    warehouse.write(
        [
            part("job", START),
            load(CUSTOMER, START),
            load(COMPANY, START, "Failed"),
            part("job", START + timedelta(minutes=20), run=again),
            part("link", START + timedelta(minutes=20), run=again, repairs=RUN),
        ]
    )
    assert gate(warehouse, again, now=NOW).word == "closed"
    warehouse.write([load(COMPANY, START + timedelta(minutes=21), run=again)])
    found = gate(warehouse, again, now=NOW)
    assert states(found) == {"MDS mdm.Customer": "loaded", "MDS mdm.Company": "loaded"}
    assert gate(warehouse, RUN, now=NOW).word == "closed"


@pytest.mark.parametrize(
    ("hours", "late"),
    [(1, False), (23, False), (29, False), (31, True), (24 * 7, True)],
)
def test_the_age_of_what_others_load_is_held_against_its_interval(warehouse: Warehouse, hours: int, late: bool) -> None:
    """A daily table may be a quarter of a day late."""
    for day in range(20):
        at = NOW - timedelta(hours=hours) - timedelta(days=day)
        warehouse.write([load(COMPANY, at, run=run_id(day + 1), product="Other")])
    warehouse.write([load(CUSTOMER, START)])
    found = gate(warehouse, RUN, one_source("mds.Company"), now=NOW)
    assert found.sources[0].state.state == ("overdue" if late else "fresh")


def test_on_monday_morning_a_table_of_weekdays_may_be_of_friday(warehouse: Warehouse) -> None:
    """Its usual interval at that time of the week is the weekend; by Monday evening it is not."""
    monday = NOW - timedelta(days=2)  # 09:00 UTC
    at = monday - timedelta(days=60)
    while at < monday.replace(hour=1):
        if at.weekday() < 5:
            warehouse.write([load(COMPANY, at.replace(hour=7), run=run_id(at.toordinal()), product="Other")])
        at += timedelta(days=1)
    warehouse.write([load(CUSTOMER, monday.replace(hour=6))])
    selection = one_source("mds.Company")
    assert gate(warehouse, RUN, selection, now=monday.replace(hour=6)).word == "open"
    assert gate(warehouse, RUN, selection, now=monday.replace(hour=20)).sources[0].state.state == "overdue"


def test_a_table_of_once_a_year_is_never_overdue(warehouse: Warehouse) -> None:
    """Too few loads tell nothing about an interval."""
    for years in (0, 1):
        at = NOW - timedelta(days=200 + 365 * years)
        warehouse.write([load(COMPANY, at, run=run_id(years + 1), product="Other")])
    warehouse.write([load(CUSTOMER, START)])
    assert gate(warehouse, RUN, one_source("mds.Company"), now=NOW).sources[0].state.state == "fresh"
