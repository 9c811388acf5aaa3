"""Repair: against a simulation in which tables and models hold what they were made of, and case by case."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dbbtrace
from dbbtrace.answers.repair import repair
from dbbtrace.answers.verdict import verdict_of
from dbbtrace.graph import Made, to_do
from dbbtrace.warehouse import Warehouse
from dbbtrace.warehouse.schema import DBT_NODES, REFRESHES, Row
from tests.cli.support import run
from tests.gate.support import NOW, RUN, load, opened, part, row, run_id
from tests.graph.graphs import parents

START = NOW - timedelta(hours=1)


class World:
    """What everything holds: a table what was loaded, a model what it was made of, a view its definition."""

    def __init__(self, edges: Mapping[str, list[str]], views: set[str]) -> None:
        self.edges, self.views = edges, views
        self.held: dict[str, object] = dict.fromkeys(edges, "old")
        self.done: set[str] = set()
        """What succeeded last time that it was tried."""

    def shown(self, name: str) -> object:
        if name in self.views:
            return (self.held[name], *(self.shown(parent) for parent in self.edges[name]))
        return self.held[name]

    def make(self, name: str) -> None:
        self.done.add(name)
        above = self.edges[name]
        is_view = name in self.views
        self.held[name] = (name, *(self.shown(parent) for parent in above)) if above and not is_view else "new"

    def state(self) -> dict[str, tuple[object, bool]]:
        return {name: (self.shown(name), name in self.done) for name in self.edges}


@settings(max_examples=300, deadline=None)
@given(edges=parents(9), data=st.data())
def test_what_is_to_be_done_makes_all_as_in_a_good_run_and_nothing_less_does(
    edges: dict[str, list[str]], data: st.DataObject
) -> None:
    """Any graph, any failures, in any of two runs: afterwards everything holds what a clean run would have made."""
    views = data.draw(st.sets(st.sampled_from(sorted(edges))))
    views = {name for name in views if edges[name]}
    world, clean, made, clock = World(edges, views), World(edges, views), dict[str, Made](), 0
    for name in edges:
        clean.make(name)
    for _ in range(data.draw(st.integers(1, 2))):  # a run, perhaps one that repaired a part of it
        tried = data.draw(st.sets(st.sampled_from(sorted(edges)))) if made else set(edges)
        for name, above in edges.items():
            if name not in tried:
                continue
            clock += 2
            fine = data.draw(st.booleans())
            began, ended = NOW + timedelta(minutes=clock), NOW + timedelta(minutes=clock + 1)
            made[name] = Made(fine, tuple(above), name in views, began, ended)
            world.make(name) if fine else world.done.discard(name)

    found = to_do(made)

    assert len(found) == len(set(found))
    for place, name in enumerate(found):
        assert not set(edges[name]) & set(found[place:]), "each after all that it is made of"
        world.make(name)
    assert world.state() == clean.state()


@settings(max_examples=300, deadline=None)
@given(edges=parents(8), data=st.data())
def test_nothing_less_makes_it_right(edges: dict[str, list[str]], data: st.DataObject) -> None:
    """Of what is to be done, leaving out any one thing leaves something that is not as in a clean run."""
    views = {name for name in data.draw(st.sets(st.sampled_from(sorted(edges)))) if edges[name]}
    failed = data.draw(st.sets(st.sampled_from(sorted(edges)), min_size=1))
    made, clean = {}, World(edges, views)
    for place, (name, above) in enumerate(edges.items()):
        at = NOW + timedelta(minutes=place)
        made[name] = Made(name not in failed, tuple(above), name in views, at, at)
        clean.make(name)
    found = to_do(made)
    left_out = data.draw(st.sampled_from(found))
    world = World(edges, views)
    for name in edges:
        if name not in failed:
            world.make(name)
    for name in found:
        if name != left_out:
            world.make(name)
    assert world.state() != clean.state()


# -- from rows ---------------------------------------------------------------------------------------------------


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    with opened(tmp_path) as found:
        yield found


TEST = "test.p.not_null_fct_id.0123456789"
CUSTOMER, COMPANY = ("MDS", "mdm", "Customer"), ("MDS", "mdm", "Company")


def node(
    name: str, at: datetime | None, *above: str, status: str = "success", run: str = RUN, kind: str = "table"
) -> Row:
    """A node of dbt's."""
    return row(
        DBT_NODES,
        f"{name} {at} {status}",
        {
            "item_name": name.rpartition(".")[2],
            "unique_id": name,
            "invocation_id": f"of {run}",
            "status": status,
            "process_stage": "execute",
            "process_started_at": at and at.isoformat(),
            "process_completed_at": at and (at + timedelta(seconds=20)).isoformat(),
            "generated_at": (at or NOW).isoformat(),
            "environment": "PRD",
            "build_models": "+tag:Finance",
            "orchestration_run_id": run,
            "data_product": "Finance",
            "resource_type": name.partition(".")[0],
            "materialized": kind,
            "depends_on": json.dumps(above),
        },
    )


def refresh(model: str, at: datetime, status: str = "Completed", *, run: str = RUN, reads: Sequence[str] = ()) -> Row:
    return row(
        REFRESHES,
        f"{model} {at}",
        {
            "semantic_model_id": model,
            "semantic_model_name": model,
            "status": status,
            "process_started_at": at.isoformat(),
            "process_completed_at": (at + timedelta(minutes=1)).isoformat(),
            "orchestration_run_id": run,
            "data_product": "Finance",
            "workspace_id": "w",
            "depends_on": json.dumps(reads) if reads else None,
        },
    )


def bad_run(warehouse: Warehouse) -> None:
    """Company failed: dim_company was skipped, a model was built on old data, the report was refreshed."""
    minutes = timedelta(minutes=1)
    warehouse.write(
        [
            part("job", START),
            part("run", START),
            load(CUSTOMER, START),
            load(COMPANY, START, "Failed", message="no access"),
            node("model.p.stg_company", START + minutes, "source.p.mds.Company", kind="view"),
            node("model.p.stg_customer", START + minutes, "source.p.mds.Customer", kind="view"),
            node("model.p.dim_company", None, "model.p.stg_company", status="skipped"),
            node("model.p.dim_customer", START + 2 * minutes, "model.p.stg_customer"),
            node("model.p.fct", START + 3 * minutes, "model.p.stg_company", "model.p.dim_customer"),
            node(TEST, START + 4 * minutes, "model.p.fct", status="pass", kind="test"),
            refresh("Finance report", START + 5 * minutes),
        ]
    )


def test_the_least_work_of_a_bad_run(warehouse: Warehouse) -> None:
    """What failed, and all that was made of it; not what was not affected, and no view that is there."""
    bad_run(warehouse)
    found = repair(warehouse, RUN, now=NOW)
    assert [item.name for item in found.of("table_load")] == ["MDS mdm.Company"]
    assert {item.id for item in found.of("dbt_node")} == {
        "model.p.dim_company",
        "model.p.fct",
        TEST,
    }
    assert [item.name for item in found.of("model_refresh")] == ["Finance report"]
    assert sorted(found.dbt_arguments()) == sorted(
        ["--select", "dim_company", "fct", "not_null_fct_id", "--indirect-selection", "empty"]
    )


def test_repaired_step_by_step_the_rest_is_left(warehouse: Warehouse) -> None:
    """Both runs count together; each keeps its own rows and what is said of it, and says what the other is."""
    bad_run(warehouse)
    again, at = run_id(5), NOW - timedelta(minutes=30)
    warehouse.write([part("job", at, run=again), part("run", at, run=again), part("link", at, run=again, repairs=RUN)])
    warehouse.write([load(COMPANY, at, run=again)])
    assert {item.name for item in repair(warehouse, RUN, now=NOW).items} == {
        "model dim_company", "model fct", "test not_null_fct_id", "Finance report",
    }  # fmt: skip
    half = verdict_of(warehouse, again, now=NOW)
    assert half.word == "Incomplete"
    assert any(
        f"model dim_company is not right yet: it ended as skipped (run {RUN})" == one.text for one in half.reasons
    )
    old = verdict_of(warehouse, RUN, now=NOW)
    assert old.word == "Failed"
    assert any(one.text.startswith(f"run {again} repairs it, but not all of it yet") for one in old.reasons)

    later = at + timedelta(minutes=5)
    warehouse.write(
        [
            node("model.p.dim_company", later, "model.p.stg_company", run=again),
            node("model.p.fct", later, "model.p.stg_company", "model.p.dim_customer", run=again),
            node(
                TEST,
                later + timedelta(minutes=1),
                "model.p.fct",
                status="pass",
                run=again,
            ),
            refresh("Finance report", later + timedelta(minutes=2), run=again),
        ]
    )
    for each in (RUN, again):
        assert repair(warehouse, each, now=NOW).is_right
    assert verdict_of(warehouse, again, now=NOW).word == "Succeeded"
    old = verdict_of(warehouse, RUN, now=NOW)
    assert old.word == "Failed"
    assert f"made right by run {again}" in [one.text for one in old.reasons]


def test_a_refresh_that_reads_nothing_of_it_is_left_alone(warehouse: Warehouse) -> None:
    """Where the row of a refresh says what it reads, only that counts."""
    bad_run(warehouse)
    at = START + timedelta(minutes=6)
    warehouse.write(
        [
            refresh("Customers", at, reads=["model.p.dim_customer"]),
            refresh("Companies", at, reads=["dim_company"]),
            refresh("Of others", at, reads=["model.p.dim_customer", "model.other.thing"]),
        ]
    )
    found = repair(warehouse, RUN, now=NOW)
    assert {item.name for item in found.of("model_refresh")} == {"Finance report", "Companies", "Of others"}


def test_where_dbt_was_cut_off_the_whole_selection_is_to_be_built(warehouse: Warehouse) -> None:
    """Nobody knows which nodes it had not come to."""
    warehouse.write(
        [
            part("job", START),
            load(CUSTOMER, START),
            node("model.p.stg_customer", START, "source.p.mds.Customer"),
            part("dbt_invocation", START, name="dbt build", status="Interrupted", error_type="Interrupted"),
        ]
    )
    found = repair(warehouse, RUN, now=NOW)
    assert (found.select, found.dbt_arguments()) == ("+tag:Finance", ["--select", "+tag:Finance"])
    assert not found.is_right


def test_a_run_that_went_well_needs_nothing(warehouse: Warehouse) -> None:
    """Nor does one that nobody knows: but that is not right."""
    warehouse.write(
        [
            part("job", START),
            load(CUSTOMER, START, "Failed"),
            load(CUSTOMER, START + timedelta(minutes=1)),
            node("model.p.a", START + timedelta(minutes=2), "source.p.mds.Customer"),
            refresh("Finance report", START + timedelta(minutes=5)),
        ]
    )
    assert repair(warehouse, RUN, now=NOW).is_right
    assert not repair(warehouse, run_id(99), now=NOW).is_right


def test_a_load_after_the_build_makes_what_was_built_old(warehouse: Warehouse) -> None:
    """The same run loaded the table again when dbt had already read it."""
    warehouse.write(
        [
            load(CUSTOMER, START),
            node("model.p.a", START + timedelta(minutes=2), "source.p.mds.Customer"),
            load(CUSTOMER, START + timedelta(minutes=9)),
        ]
    )
    assert [item.id for item in repair(warehouse, RUN, now=NOW).items] == ["model.p.a"]


def test_a_job_says_which_run_it_repairs(tmp_path: Path) -> None:
    """join_run(repairs=) leaves the link; without parts of its own nothing else is new."""
    url = f"sqlite:///{tmp_path}/rows.db"
    dbbtrace.configure(warehouse=url, journal_dir=str(tmp_path / "journal"), rows_timeout=30)
    try:
        with (
            dbbtrace.orchestration_run(RUN, data_product="Finance", environment="PRD"),
            pytest.raises(OSError, match="no access"),
            dbbtrace.table_load("Customer", schema="mdm", source="MDS"),
        ):
            raise OSError("no access")
        with dbbtrace.join_run(run_id(2), repairs=RUN, data_product="Finance", environment="PRD"):
            with dbbtrace.table_load("Customer", schema="mdm", source="MDS") as again:
                again.rows_written = 3
    finally:
        dbbtrace.shutdown()
    with dbbtrace.open_warehouse(url) as warehouse:
        assert repair(warehouse, RUN).is_right
        assert repair(warehouse, run_id(2)).runs == (run_id(2), RUN)
        reasons = [one.text for one in verdict_of(warehouse, RUN).reasons]
    assert f"made right by run {run_id(2)}" in reasons


def test_arguments_of_nothing_build_nothing(tmp_path: Path) -> None:
    """``dbt build $(dbbtrace repair --dbt-args)`` must not build everything where only a load is to be repeated."""
    url = f"sqlite:///{tmp_path}/rows.db"
    dbbtrace.configure(warehouse=url, journal_dir=str(tmp_path / "journal"), rows_timeout=30)
    with (
        dbbtrace.orchestration_run(RUN, data_product="Finance", environment="PRD"),
        pytest.raises(OSError),
        dbbtrace.table_load("Customer", schema="mdm", source="MDS"),
    ):
        raise OSError("no access")
    dbbtrace.shutdown()
    done = run("--warehouse", url, "repair", RUN, "--dbt-args")
    assert (done.code, done.out) == (1, "--select nothing_is_to_be_built\n")


def test_what_is_not_refreshed_at_this_time_of_day_needs_no_refresh(warehouse: Warehouse) -> None:
    """Nights refresh the models, mornings don't: a morning is right without."""
    for day in range(1, 6):
        for hours, models in ((4, ["Finance report"]), (0, [])):
            at, run = START - timedelta(days=day, hours=hours), run_id(100 * day + hours)
            rows = [part("job", at, run=run), part("run", at, run=run), load(COMPANY, at, run=run)]
            warehouse.write([*rows, *(refresh(model, at + timedelta(minutes=5), run=run) for model in models)])
    warehouse.write([part("job", START), part("run", START), load(COMPANY, START, "Failed")])
    left = repair(warehouse, RUN, now=NOW)
    assert [item.kind for item in left.items] == ["table_load"]
    again, later = run_id(9), START + timedelta(minutes=20)
    link = part("link", later, run=again, repairs=RUN)
    warehouse.write(
        [part("job", later, run=again), part("run", later, run=again), load(COMPANY, later, run=again), link]
    )
    assert verdict_of(warehouse, again, now=NOW).word == "Succeeded"
    assert any("made right by" in reason.text for reason in verdict_of(warehouse, RUN, now=NOW).reasons)


def test_what_only_earlier_runs_ask_for_is_warned_of_in_a_repair_too(warehouse: Warehouse) -> None:
    """A table that came every night and has been retired makes no repair worse than a run."""
    for day in range(1, 6):
        at, run = START - timedelta(days=day), run_id(day)
        rows = [load(CUSTOMER, at, run=run), load(COMPANY, at, run=run)]
        warehouse.write([part("job", at, run=run), part("run", at, run=run), *rows])
    warehouse.write([part("job", START), part("run", START), load(COMPANY, START, "Failed")])
    again, later = run_id(9), START + timedelta(minutes=20)
    link = part("link", later, run=again, repairs=RUN)
    warehouse.write(
        [part("job", later, run=again), part("run", later, run=again), load(COMPANY, later, run=again), link]
    )
    said = verdict_of(warehouse, again, now=NOW)
    assert said.word == "Warned"
    assert any("mdm.Customer is not right yet: it never came" in reason.text for reason in said.reasons)
