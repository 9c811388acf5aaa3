"""As of: how old the data is that something shows, and which of its tables are overdue."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dbbtrace
from dbbtrace.answers.asof import asof, asof_refreshed
from dbbtrace.answers.consumers import Naming
from dbbtrace.answers.read import run_rows
from dbbtrace.answers.shown import AsOf
from dbbtrace.errors import UsageError
from dbbtrace.sources.dbt.manifest import load_manifest
from tests.cli.support import assert_one_line, run
from tests.lineage.rows import FINANCE, START, Story, at
from tests.lineage.simulated import Event, World
from tests.lineage.test_lineage import manifest

CUSTOMER, INVOICE = "source.shop.MDS.Customer", "source.shop.MDS.Invoice"
STG, FCT = "model.shop.stg_customer", "model.shop.fct"


def nightly(days: int, *, skip: tuple[int, ...] = (), failing: tuple[int, ...] = ()) -> Story:
    """Customer and Invoice every night, a view and a table on them, and a refresh of Finance.

    Args:
        skip: nights on which Customer is not loaded.
        failing: nights on which its load fails.
    """
    story = Story()
    for day in range(days):
        night, hour = f"night {day:02d}", day * 24.0
        if day not in skip:
            story.load(night, "Customer", hour, status="Failed" if day in failing else "Succeeded")
        story.load(night, "Invoice", hour + 1.2)
        story.node(night, STG, hour + 2, [CUSTOMER], materialized="view")
        story.node(night, FCT, hour + 2.1, [STG, INVOICE])
        story.refresh(night, hour + 3, reads=[FCT])
    return story


def ask(story: Story, path: Path, name: str | None = "Finance", hours: float = 0, **options: Any) -> AsOf:
    with story.stored(path / "w.db") as warehouse:
        return asof(warehouse, name, at=at(hours), **options)


def ages_of(found: AsOf) -> dict[str, datetime | None]:
    return {table.name: table.loaded_at for table in found.tables}


def test_an_import_model_shows_what_it_was_refreshed_from(tmp_path: Path) -> None:
    """Loads that came after the refresh, or after the build, are not in it."""
    story = nightly(8)
    story.load("by day", "Customer", 7 * 24 + 10)
    found = ask(story, tmp_path, hours=7 * 24 + 12)
    assert found.kind == "semantic model"
    assert found.mode == "import"
    assert found.refreshed_at == at(7 * 24 + 3)
    assert ages_of(found) == {"mdm.Customer": at(7 * 24), "mdm.Invoice": at(7 * 24 + 1.2)}
    assert found.as_of == at(7 * 24)
    assert found.headline == "Finance shows data as of 2026-12-01 02:00:00 UTC"
    [customer, _] = found.tables
    assert [step.name for step in customer.way] == ["Finance", FCT, STG, CUSTOMER]
    assert customer.stuck == "model fct"


def test_a_load_that_ends_during_the_refresh_is_not_in_it(tmp_path: Path) -> None:
    """Nobody knows what a refresh reads last: it counts as of its start."""
    story = nightly(8)
    story.load("by day", "Customer", 7 * 24 + 2.9, minutes=10)
    found = ask(story, tmp_path, hours=7 * 24 + 4, naming=Naming({"Finance": {"reads": ("stg_customer",)}}))
    assert ages_of(found) == {"mdm.Customer": at(7 * 24)}


@pytest.mark.parametrize("mode", ["direct lake", "directquery"])
def test_a_direct_model_reads_the_tables_as_they_are(tmp_path: Path, mode: str) -> None:
    """Its refresh changes nothing; a view shows a load at once, a table after its build."""
    story = nightly(8)
    story.load("by day", "Customer", 7 * 24 + 10)
    mapping = {"Finance": {"reads": ("stg_customer",), "mode": mode}}
    found = ask(story, tmp_path, hours=7 * 24 + 12, naming=Naming(mapping))
    assert (found.mode, found.refreshed_at) == (mode, None)
    assert ages_of(found) == {"mdm.Customer": at(7 * 24 + 10)}


def test_right_after_a_load_failed_the_table_is_overdue(tmp_path: Path) -> None:
    """The headline names it, and since when it fails; the rest of the data is as old as ever."""
    found = ask(nightly(10, failing=(9,)), tmp_path, hours=9 * 24 + 4)
    assert found.as_of == at(9 * 24 + 1.2)
    assert [table.name for table in found.overdue] == ["mdm.Customer"]
    assert found.headline == (
        "Finance shows data as of 2026-12-03 03:12:00 UTC; "
        "overdue: mdm.Customer, failing since Thursday 2026-12-03 02:00"
    )


def test_a_yearly_table_does_not_hide_what_is_overdue(tmp_path: Path) -> None:
    """It is in the list, the oldest, and not overdue: nobody expects it tonight."""
    story = nightly(10, skip=(8, 9))
    for year in (1, 2):
        story.load(f"year {year}", "Calendar", -365 * 24 * year + 24 * 30)
    story.node("night 09", "model.shop.calendar", 9 * 24 + 2, ["source.shop.MDS.Calendar"])
    story.refresh("night 09", 9 * 24 + 3.5, reads=[FCT, "model.shop.calendar"])
    found = ask(story, tmp_path, hours=9 * 24 + 4)
    assert [table.name for table in found.tables] == ["mdm.Calendar", "mdm.Customer", "mdm.Invoice"]
    assert [table.name for table in found.overdue] == ["mdm.Customer"]
    assert found.as_of == at(9 * 24 + 1.2)
    assert found.headline.endswith("overdue: mdm.Customer, not loaded since Tuesday 2026-12-01 02:00")


def test_data_that_does_not_get_through_is_overdue_where_it_is_stuck(tmp_path: Path) -> None:
    """The table is loaded every night; its model fails, or the refresh does."""
    story = nightly(10)
    for row in story.rows["monitoring_transformation_dbt"][-4:]:
        if row["unique_id"] == FCT:
            row |= {"status": "error"}
    found = ask(story, tmp_path, hours=9 * 24 + 4)
    assert [(table.name, table.stuck) for table in found.overdue] == [
        ("mdm.Customer", "model fct"), ("mdm.Invoice", "model fct")
    ]  # fmt: skip
    assert "overdue: mdm.Customer, loaded at 2026-12-03 02:00:00, not in model fct yet and 1 other" in found.headline
    story = nightly(10)
    for row in story.rows["monitoring_semantic_model_refresh"][-2:]:
        row |= {"status": "Failed"}
    (tmp_path / "w.db").unlink()
    found = ask(story, tmp_path, hours=9 * 24 + 4)
    assert found.failing_since == at(8 * 24 + 3)
    assert found.refreshed_at == at(7 * 24 + 3)
    assert "; its refresh is failing since Wednesday 2026-12-02 05:00; overdue: " in found.headline
    assert {table.stuck for table in found.tables} == {"Finance"}


def test_a_model_and_a_view_by_name(tmp_path: Path) -> None:
    """A table shows its last build's inputs, a view the tables as they are."""
    story = nightly(8)
    story.load("by day", "Customer", 7 * 24 + 10)
    assert ages_of(ask(story, tmp_path, "FCT", 7 * 24 + 12))["mdm.Customer"] == at(7 * 24)
    (tmp_path / "w.db").unlink()
    found = ask(story, tmp_path, "stg_customer", 7 * 24 + 12)
    assert (found.name, found.kind, ages_of(found)) == (
        "model stg_customer", "model", {"mdm.Customer": at(7 * 24 + 10)}
    )  # fmt: skip


def test_a_data_product_is_as_old_as_the_oldest_of_its_semantic_models(tmp_path: Path) -> None:
    """Where it has none, its models that no other reads count; a model of another product does not."""
    story = nightly(8)
    story.refresh("night 07", 7 * 24 - 10, name="Old", model="7c9e6679-7425-40de-944b-e07fc1f90ae8", reads=[FCT])
    found = ask(story, tmp_path, None, 7 * 24 + 4, data_product="Finance")
    assert [part.name for part in found.parts] == ["Finance", "Old"]
    assert found.as_of == at(6 * 24)
    assert found.headline.startswith("Finance shows data as of 2026-11-30 02:00:00 UTC")
    story = nightly(8)
    story.rows["monitoring_semantic_model_refresh"].clear()
    story.node("other", "model.shop.other", 7 * 24 + 2, ["source.shop.bank.rates"], product="Other")
    (tmp_path / "w.db").unlink()
    found = ask(story, tmp_path, None, 7 * 24 + 4, data_product="Finance")
    assert (found.parts, ages_of(found)["mdm.Customer"], found.unknown) == ((), at(7 * 24), ())


def test_a_data_product_has_the_semantic_models_that_read_its_nodes(tmp_path: Path) -> None:
    """Also one that nobody refreshes, because it reads the tables."""
    story = nightly(8)
    story.load("by day", "Customer", 7 * 24 + 10)
    naming = Naming({"Live": {"reads": ("stg_customer",), "mode": "direct lake"}, "Far": {"reads": ("elsewhere",)}})
    found = ask(story, tmp_path, None, 7 * 24 + 12, data_product="Finance", naming=naming)
    assert {part.name: part.as_of for part in found.parts} == {"Finance": at(7 * 24), "Live": at(7 * 24 + 10)}


def test_what_nobody_knows_is_said(tmp_path: Path) -> None:
    """A source that nobody loads, a list that was cut, a semantic model of which nobody says what it reads."""
    story = nightly(8)
    story.node("night 07", "model.shop.wide", 7 * 24 + 2, [CUSTOMER, "source.shop.bank.rates", "…"])
    found = ask(story, tmp_path, "wide", 7 * 24 + 4)
    assert found.unknown == ("model wide", "source bank.rates")
    assert found.headline.endswith("; unknown: model wide, source bank.rates")
    for row in story.rows["monitoring_semantic_model_refresh"]:
        row["depends_on"] = None
    (tmp_path / "w.db").unlink()
    found = ask(story, tmp_path, hours=7 * 24 + 4)
    assert (found.as_of, found.unknown) == (None, ("what Finance reads",))
    assert found.headline.startswith("nobody can tell how old the data is that Finance shows")


def test_a_model_that_was_never_refreshed(tmp_path: Path) -> None:
    """All its refreshes failed."""
    story = nightly(3)
    for row in story.rows["monitoring_semantic_model_refresh"]:
        row["status"] = "Failed"
    found = ask(story, tmp_path, hours=2 * 24 + 4)
    assert found.as_of is None
    assert found.headline == "Finance was never refreshed; its refresh is failing since Tuesday 2026-11-24 05:00"


def test_environments_are_told_apart(tmp_path: Path) -> None:
    """A test run does not make production's data look newer; without a choice the question is refused."""
    story, now = nightly(8), 7 * 24 + 8
    story.load("try", "Customer", now - 3, environment="TST")
    story.node("try", STG, now - 2, [CUSTOMER], environment="TST", materialized="view")
    story.node("try", FCT, now - 1.5, [STG, INVOICE], environment="TST")
    story.refresh("try", now - 1, reads=[FCT], environment="TST")
    story.load("try again", "Customer", now - 0.5, environment="TST", status="Failed")
    with story.stored(tmp_path / "w.db") as warehouse:
        for name in ("Finance", "fct"):
            with pytest.raises(UsageError, match="PRD and TST: add --environment PRD"):
                asof(warehouse, name, at=at(now))
            found = asof(warehouse, name, environment="PRD", at=at(now))
            assert ages_of(found)["mdm.Customer"] == at(7 * 24)
            assert found.overdue == (), "that it fails in TST is no matter here"
            found = asof(warehouse, name, environment="tst", at=at(now))
            assert ages_of(found)["mdm.Customer"] == at(now - 3)
            assert [table.name for table in found.overdue] == ["mdm.Customer"]


def test_rows_of_other_writers_and_a_manifest(tmp_path: Path) -> None:
    """They don't say what a node reads, nor whether it is a view: the manifest does, an ephemeral model included."""
    story = nightly(8)
    for row in story.rows["monitoring_transformation_dbt"]:
        row |= {"depends_on": None, "materialized": None}
    (tmp_path / "a").mkdir()
    found = ask(story, tmp_path / "a", "fct", 7 * 24 + 4)
    assert (found.tables, found.unknown) == ((), ("model fct",))
    given = load_manifest(
        manifest(
            tmp_path / "manifest.json",
            fct=(["model.shop.inlined", INVOICE], "table"),
            inlined=([STG], "ephemeral"),
            stg_customer=([CUSTOMER], "view"),
        )
    ).by_id()
    found = ask(story, tmp_path, "fct", 7 * 24 + 4, manifest=given)
    assert ages_of(found) == {"mdm.Customer": at(7 * 24), "mdm.Invoice": at(7 * 24 + 1.2)}
    assert found.unknown == ()


def test_a_typo_is_answered_with_what_may_be_meant(tmp_path: Path) -> None:
    """Of semantic models and dbt models; of data products."""
    story = nightly(2)
    with pytest.raises(UsageError, match="no semantic model, exposure or dbt model 'Finanse'; did you mean Finance"):
        ask(story, tmp_path, "Finanse", 30)
    (tmp_path / "w.db").unlink()
    with pytest.raises(
        UsageError, match="no semantic or dbt model of the data product 'Finanse'; did you mean Finance"
    ):
        ask(story, tmp_path, None, 30, data_product="Finanse")
    (tmp_path / "w.db").unlink()
    with pytest.raises(UsageError, match="--data-product P"):
        ask(story, tmp_path, None, 30)


def test_the_models_that_a_run_refreshed(tmp_path: Path) -> None:
    """Also where their refresh failed: then they show what they showed."""
    story = nightly(8)
    story.rows["monitoring_semantic_model_refresh"][-1]["status"] = "Failed"
    story.refresh("elsewhere", 7 * 24, name="Other", model="7c9e6679-7425-40de-944b-e07fc1f90ae8", reads=[FCT])
    with story.stored(tmp_path / "w.db") as warehouse:
        [run_] = run_rows(warehouse, ["night 07"])
        [found] = asof_refreshed(warehouse, run_)
    assert (found.name, found.as_of) == ("Finance", at(6 * 24))


# -- any history --------------------------------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[str, list[str]], set[str], list[Event]]:
    """Models over two tables, and what happened to them in a year and a half."""
    parents: dict[str, list[str]] = {}
    views = set()
    names = [CUSTOMER, INVOICE]
    for number in range(draw(st.integers(1, 4))):
        name = f"model.shop.m{number}"
        parents[name] = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
        names.append(name)
        if draw(st.booleans()):
            views.add(name)
    hours = st.one_of(st.integers(0, 24 * 500), st.integers(24 * 500 - 8, 24 * 500))
    happened = st.lists(st.tuples(st.sampled_from(names), hours, st.integers(1, 3), st.booleans()), max_size=20)
    events = [
        Event(name, at(start), at(start + took), fine)
        for name, start, took, fine in draw(happened)
        if name not in views
    ]
    return parents, views, events


@settings(max_examples=40, deadline=None)
@given(histories())
def test_as_of_is_what_a_history_played_forward_shows(history) -> None:
    """Of any graph and any past, however far back: from rows in a warehouse."""
    parents, views, events = history
    now = 24 * 500 + 10
    played = World(parents, views)
    played.play(events, at(now))
    story = Story()
    for name, reads in parents.items():
        story.node("definition", name, -1, reads, status="skipped", materialized="view" if name in views else "table")
        story.rows["monitoring_transformation_dbt"][-1]["process_started_at"] = None
    for number, event in enumerate(events):
        began = (event.started_at - START.replace(tzinfo=timezone.utc)) / timedelta(hours=1)
        minutes = (event.ended_at - event.started_at) / timedelta(minutes=1)
        if event.name.startswith("source."):
            status = "Succeeded" if event.succeeded else "Failed"
            story.load(f"run {number}", event.name.rpartition(".")[2], began, status=status, minutes=minutes)
        else:
            status = "success" if event.succeeded else "error"
            story.node(f"run {number}", event.name, began, parents[event.name], status=status, minutes=minutes)
    with TemporaryDirectory() as folder, story.stored(Path(folder) / "w.db") as warehouse:
        for name in parents:
            found = asof(warehouse, name, at=at(now))
            starts = {event.ended_at: event.started_at for event in events if event.name in (CUSTOMER, INVOICE)}
            labels = {CUSTOMER: "mdm.Customer", INVOICE: "mdm.Invoice"}
            wanted = {labels[table]: end for table, end in played.shows(name).items() if table in labels}
            shown = {table.name: table.loaded_at for table in found.tables}
            known = {table: end for table, end in wanted.items() if end is not None}
            assert {table: at_ for table, at_ in shown.items() if at_} == {
                table: max(
                    e.started_at for e in events if e.ended_at == end and labels.get(e.name) == table and e.succeeded
                )
                for table, end in known.items()
            }, (name, starts)
            never = {one.split(".")[-1] for one, end in played.shows(name).items() if end is None}
            assert {text.split(".")[-1].split(" ")[-1] for text in found.unknown} == never


# -- the command ----------------------------------------------------------------------------------------------


def test_the_command_and_the_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The headline first, then how, then every table with its way; JSON has all of it."""
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", f"sqlite:///{tmp_path}/w.db")
    nightly(10, failing=(8, 9)).stored(tmp_path / "w.db").close()
    shown = run("asof", "Finance", "--at", "2026-12-03T06:00:00Z", columns=140)
    assert shown.code == 0, shown
    first, second, *rest = shown.out.splitlines()
    assert first.startswith("Finance shows data as of 2026-12-03 03:12:00 UTC; overdue: mdm.Customer, failing since")
    assert second == "  import, refreshed at 2026-12-03 05:00:00 UTC"
    [customer] = [line for line in rest if line.startswith("mdm.Customer")]
    assert "2026-12-01 02:00:00" in customer
    assert "overdue" in customer
    assert "fct 12-03 04:06" in customer
    told = json.loads(run("asof", "--data-product", "Finance", "--at", "2026-12-03T06:00:00Z", "--json").out)
    assert told["overdue"] == ["mdm.Customer"]
    assert told["parts"][0]["tables"][0]["way"][0]["name"] == "Finance"
    assert_one_line(run("asof", "Finanse"), "did you mean Finance")
    assert_one_line(run("asof"), "--data-product")
    assert dbbtrace.asof("fct", at=at(9 * 24 + 4)).name == "model fct"
    assert FINANCE not in shown.out


def test_check_and_the_page_say_how_old_the_data_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for each semantic model that the run refreshed; nothing where it refreshed none."""
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", f"sqlite:///{tmp_path}/w.db")
    monkeypatch.setenv("DBBTRACE_SEMANTIC_MODELS", '{"Finance": ["fct"]}')
    story = nightly(10, failing=(8, 9))
    for row in story.rows["monitoring_semantic_model_refresh"]:
        row["depends_on"] = None
    story.load("loads alone", "Rates", 240)
    story.stored(tmp_path / "w.db").close()
    headline = "Finance shows data as of 2026-12-03 03:12:00 UTC; overdue: mdm.Customer, failing since Wednesday"
    shown = run("check", "night 09", columns=200)
    assert f"  {headline}" in shown.out, shown
    [told] = json.loads(run("check", "night 09", "--json").out)["shows"]
    assert (told["name"], told["overdue"]) == ("Finance", ["mdm.Customer"])
    assert headline in run("report", "night 09", "-o", "-").out
    assert headline in dbbtrace.report("night 09").html
    assert "shows data" not in run("check", "loads alone").out
    assert 'id="shows"' not in run("report", "loads alone", "-o", "-").out
