"""What a run touched: the things, what each reads, and what is not as it should be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import dbbtrace
from dbbtrace.answers.consumers import Names, exposures_of, semantic_models
from dbbtrace.answers.lineage import lineage
from dbbtrace.answers.mermaid import mermaid
from dbbtrace.answers.read import operations
from dbbtrace.answers.things import Lineage
from dbbtrace.errors import UsageError
from dbbtrace.sources.dbt.manifest import load_manifest
from tests.cli.support import HOSTILE, assert_one_line, run
from tests.lineage.rows import FINANCE, Story, at

RUN = "5e1f7d34-9f0c-4b41-8f6e-2f5f3c1b7a90"
BEFORE = "5e1f7d34-9f0c-4b41-8f6e-2f5f3c1b7a8f"
CUSTOMER, INVOICE, RATES = "source.shop.MDS.Customer", "source.shop.MDS.Invoice", "source.shop.bank.rates"


def kinds(found: Lineage) -> dict[str, list[str]]:
    """Kind of a fact → the texts."""
    told: dict[str, list[str]] = {}
    for fact in found.facts:
        told.setdefault(fact.kind, []).append(fact.text)
    return told


@pytest.fixture
def story() -> Story:
    """Two runs: the second does not load Customer, its load of Invoice fails, and dbt goes on all the same."""
    told = Story()
    told.load(BEFORE, "Customer", 0)
    told.load(RUN, "Invoice", 24, status="Failed")
    told.load(RUN, "Forgotten", 24)
    told.node(RUN, "model.shop.stg_customer", 25, [CUSTOMER], materialized="view")
    told.node(RUN, "model.shop.stg_invoice", 25, [INVOICE], materialized="view")
    told.node(RUN, "model.shop.fct", 25.1, ["model.shop.stg_customer", "model.shop.stg_invoice"])
    told.node(RUN, "model.shop.rates", 25.1, [RATES])
    told.node(RUN, "test.shop.unique_fct.abc", 25.2, ["model.shop.fct"], status="pass", materialized="test")
    told.refresh(RUN, 26, reads=["fct", "nowhere"])
    return told


@pytest.fixture
def warehouse(story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dbbtrace.warehouse.Warehouse:
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", f"sqlite:///{tmp_path}/w.db")
    return story.stored(tmp_path / "w.db")


def test_the_things_of_a_run_from_its_rows_alone(warehouse) -> None:
    """Tables, sources, nodes and the semantic model, each after what it reads; a test gives nothing on."""
    found = lineage(warehouse, RUN)
    reads = {thing.label: [found.things[name].label for name in thing.reads] for thing in found.things.values()}
    assert reads == {
        "mdm.Customer": [],
        "mdm.Forgotten": [],
        "mdm.Invoice": [],
        "source MDS.Customer": ["mdm.Customer"],
        "source MDS.Invoice": ["mdm.Invoice"],
        "source bank.rates": [],
        "model rates": ["source bank.rates"],
        "model stg_customer": ["source MDS.Customer"],
        "model stg_invoice": ["source MDS.Invoice"],
        "model fct": ["model stg_customer", "model stg_invoice"],
        "nowhere": [],
        "semantic model Finance": ["model fct", "nowhere"],
    }
    seen: set[str] = set()
    for thing in found.things.values():
        assert seen.issuperset(thing.reads)
        seen.add(thing.id)
    status = {thing.label: thing.status for thing in found.things.values()}
    assert status["mdm.Customer"] is None
    assert (status["mdm.Invoice"], status["model fct"], status["semantic model Finance"]) == (
        "Failed", "Succeeded", "Succeeded"
    )  # fmt: skip
    assert found.things["model.shop.fct"].relation == '"dbb"."marts"."fct"'


def test_the_facts_of_a_run(warehouse) -> None:
    """What was built after a failure, from tables of another run, from what nobody monitors; what nobody used."""
    told = kinds(lineage(warehouse, RUN))
    assert told["failed parent"] == [
        "model stg_invoice was built although mdm.Invoice, above it, failed",
        "model fct was built although mdm.Invoice, above it, failed",
    ]
    [text] = told["not loaded"]
    assert text.startswith(
        "model stg_customer was built from mdm.Customer, which this run did not load: loaded at 2026-11-24 02:00:00 UTC"
    )
    assert told["not monitored"] == ["model rates was built from source bank.rates, of which no load is known"]
    assert told["unused"] == ["nothing is known to have used mdm.Forgotten"], "source bank.rates may be that table"
    assert told["unknown"] == ["semantic model Finance is said to read nowhere, and no dbt node is called that"]


@pytest.mark.parametrize(("materialized", "is_named"), [("table", False), ("view", True), (None, True)])
def test_a_failure_is_told_of_down_to_the_first_table(
    story: Story, tmp_path: Path, materialized: str | None, is_named: bool
) -> None:
    """What reads a table that was built on old data is not named, too; where nobody says that it is a table, it is."""
    story.rows["monitoring_transformation_dbt"][2]["materialized"] = materialized
    story.node(RUN, "model.shop.mart", 25.4, ["model.shop.fct"])
    told = kinds(lineage(story.stored(tmp_path / "w.db"), RUN))["failed parent"]
    assert ("model mart was built although mdm.Invoice, above it, failed" in told) is is_named


def test_a_list_that_was_cut_is_unknown_and_never_complete(story: Story, tmp_path: Path) -> None:
    """The row had no room for all that the model reads: then nobody can say that a load was not used."""
    story.node(RUN, "model.shop.wide", 25.3, [INVOICE, "…"])
    told = lineage(story.stored(tmp_path / "w.db"), RUN)
    assert told.things["model.shop.wide"].is_complete is False
    assert "nobody knows all that model wide reads; --manifest target/manifest.json tells" in kinds(told)["unknown"]
    assert kinds(told)["unused"] == ["nothing is known to have used mdm.Forgotten"]


def test_a_row_without_what_the_node_reads_is_unknown(story: Story, tmp_path: Path) -> None:
    """As other writers leave it. A model of which the manifest said that it reads nothing is complete."""
    story.node(RUN, "model.shop.by_hand", 25.3, None, materialized=None)
    story.node(RUN, "model.shop.constants", 25.3, None)
    told = lineage(story.stored(tmp_path / "w.db"), RUN)
    assert told.things["model.shop.by_hand"].is_complete is False
    assert told.things["model.shop.constants"].is_complete is True


def test_a_load_that_nothing_used(tmp_path: Path) -> None:
    """Where all is known that the run's nodes read."""
    story = Story()
    for name in ("Customer", "Forgotten"):
        story.load(RUN, name, 0)
    story.node(RUN, "model.shop.fct", 1, [CUSTOMER])
    told = lineage(story.stored(tmp_path / "w.db"), RUN)
    assert kinds(told) == {"unused": ["nothing in this run used mdm.Forgotten"]}


def test_a_run_without_dbt_used_nothing(tmp_path: Path) -> None:
    """One sentence for all its loads."""
    story = Story()
    for name in ("A", "B"):
        story.load(RUN, name, 0)
    told = lineage(story.stored(tmp_path / "w.db"), RUN)
    assert kinds(told) == {"unused": ["no dbt node ran, so nothing used mdm.A, mdm.B"]}


def manifest(path: Path, **nodes: tuple[list[str], str]) -> Path:
    """A manifest of models (what each reads, and how it is stored), and an exposure of Finance."""
    document = {
        "metadata": {"dbt_schema_version": "https://schemas.getdbt.com/dbt/manifest/v12.json"},
        "nodes": {
            f"model.shop.{name}": {
                "resource_type": "model",
                "name": name,
                "depends_on": {"nodes": reads},
                "config": {"materialized": materialized},
            }
            for name, (reads, materialized) in nodes.items()
        },
        "sources": {
            CUSTOMER: {"name": "Customer", "source_name": "MDS", "relation_name": '"dbb"."raw"."MDS__mdm_Customer"'}
        },
        "exposures": {
            "exposure.shop.finance": {
                "name": "finance", "label": "Finance!", "depends_on": {"nodes": ["model.shop.mart"]}
            },
            "exposure.shop.board": {
                "name": "board", "label": "The board", "depends_on": {"nodes": ["model.shop.fct"]}
            },
            "exposure.shop.other": {"name": "other", "depends_on": {"nodes": ["model.shop.elsewhere"]}},
        },
    }  # fmt: skip
    path.write_text(json.dumps(document))
    return path


def test_a_manifest_knows_more_than_rows(tmp_path: Path) -> None:
    """Ephemeral models and exposures; a table that this run did not build ends the way up."""
    story = Story()
    story.load(RUN, "Customer", 0)
    story.node(RUN, "model.shop.fct", 1, ["model.shop.inlined", "model.shop.old"])
    story.refresh(RUN, 2)
    given = load_manifest(
        manifest(
            tmp_path / "manifest.json",
            fct=(["model.shop.inlined", "model.shop.old"], "table"),
            inlined=([CUSTOMER], "ephemeral"),
            old=(["model.shop.older"], "table"),
            mart=(["model.shop.fct"], "view"),
            elsewhere=([], "table"),
        )
    ).by_id()
    found = lineage(story.stored(tmp_path / "w.db"), RUN, manifest=given)
    assert found.things["model.shop.inlined"].reads == (CUSTOMER,)
    assert found.things["model.shop.old"].reads == ()
    assert "model.shop.older" not in found.things
    assert found.things["exposure.shop.board"].label == "exposure The board"
    assert "exposure.shop.other" not in found.things
    assert "exposure.shop.finance" not in found.things, "it stands for the semantic model Finance"
    assert found.things[f"semantic model {FINANCE}"].reads == ("model.shop.mart",)
    assert kinds(found)["not built"] == ["model fct reads model old, of which this run has no row"]


def test_the_mapping_counts_before_a_refresh_and_a_refresh_before_an_exposure(tmp_path: Path) -> None:
    """Of a model that is found by its id, by its name whatever its case, or by the platform's title of its id."""
    given = load_manifest(manifest(tmp_path / "manifest.json", mart=([], "table"))).by_id()
    story = Story()
    story.refresh(RUN, 2, name=None, reads=["fct"])
    refreshes = operations(story.stored(tmp_path / "w.db"), [RUN])
    names, exposures = (
        Names(["source.shop.mds.fct", "model.shop.fct", "model.shop.mart", "model.a.twice", "model.b.twice"]),
        exposures_of(given),
    )

    def told(mapping, refreshes, titles=None):
        [model], _ = semantic_models(refreshes, exposures, mapping, titles or {}, names)
        return model.told_by, model.name, model.reads, model.mode, model.is_direct

    titles = {FINANCE: "finance"}
    assert told({}, refreshes) == ("refresh", FINANCE, ("model.shop.fct",), None, False)
    mapping = {"FINANCE": {"reads": ("mart", "twice"), "mode": "direct lake"}}
    assert told(mapping, refreshes, titles) == ("mapping", "finance", ("model.shop.mart", "twice"), "direct lake", True)
    assert told({FINANCE.upper(): {"reads": ("mart",), "mode": None}}, refreshes)[0] == "mapping"
    bare = [replace(refresh, depends_on=()) for refresh in refreshes]
    assert told({}, bare, titles) == ("exposure", "finance", ("model.shop.mart",), None, False)
    assert told({"Finance": {"reads": ("fct",), "mode": None}}, [])[4] is True, (
        "nobody refreshes it: it reads the tables"
    )


def test_nodes_are_found_by_their_names() -> None:
    """By unique_id, by name whatever its case, without a version; a source only together with its source name."""
    names = Names(["model.shop.Fct", "model.shop.dim.v2", "model.a.twice", "model.b.twice", "source.shop.mds.Fct"])
    wanted = ("model.shop.Fct", "fct", "dim", "dim.v2", "twice", "MDS.fct", "nowhere")
    assert [names.of(said) for said in wanted] == [
        "model.shop.Fct", "model.shop.Fct", "model.shop.dim.v2", "model.shop.dim.v2", "twice", "source.shop.mds.Fct",
        "nowhere",
    ]  # fmt: skip


def test_hostile_names_are_harmless_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a flowchart every character that could mean something is a number; a terminal gets no control character."""
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", f"sqlite:///{tmp_path}/w.db")
    evil = 'x"]; click n0 href "javascript:alert(1)"; %%{init: {"theme":"x"}}%% style n0 a:#b; <script>`end`'
    story = Story()
    for name in (HOSTILE, evil, "", "end"):
        story.load(RUN, name, 0)
        story.node(RUN, f"model.shop.{name}", 1, [f"source.shop.MDS.{name}"])
    chart = mermaid(lineage(story.stored(tmp_path / "w.db"), RUN))
    labels = [line.split('"', 1)[1].rsplit('"', 1)[0] for line in chart.splitlines() if '"' in line]
    assert len(labels) == 12
    for label in labels:
        assert not set(label.replace("<br/>", "")) & set('"`%{}[]()<>:\\|\x1b\n'), label
    assert "alert#40;1#41;" in chart
    shown = run("lineage", "last", columns=200)
    assert shown.code == 0
    assert not any(letter in shown.out for letter in "\x1b\x07\u202e")


def test_the_commands_forms(warehouse, tmp_path: Path) -> None:
    """A tree with every fact, JSON with every thing, a flowchart to a file."""
    tree = run("lineage", "last", columns=120)
    assert tree.code == 0, tree
    for words in (
        "✗ mdm.Invoice  Failed",
        "mdm.Customer  not loaded in this run, of 2026-11-24 02:00:00",
        "✓ semantic model Finance",
        "unused: nothing is known to have used mdm.Forgotten",
    ):
        assert words in tree.out, tree.out
    told = json.loads(run("lineage", RUN, "--json").out)
    assert told["orchestration_run_id"] == RUN
    assert {thing["id"]: thing["status"] for thing in told["things"]}["model.shop.fct"] == "Succeeded"
    assert [fact["kind"] for fact in told["facts"]].count("failed parent") == 2
    chart = tmp_path / "chart.mmd"
    assert run("lineage", RUN, "--mermaid", "-o", str(chart)).out == ""
    assert chart.read_text().startswith("flowchart LR\n")
    assert run("lineage", RUN, "--mermaid").out == chart.read_text()


def test_what_makes_no_sense_is_refused(warehouse, tmp_path: Path) -> None:
    """In one line that names the value and the fix."""
    assert_one_line(run("lineage", "nowhere"), "nowhere")
    assert_one_line(run("lineage", RUN, "-o", str(tmp_path / "x")), "--mermaid")
    assert_one_line(run("lineage", RUN, "--manifest", str(tmp_path / "w.db")), "w.db")
    with pytest.raises(UsageError, match="no run"):
        lineage(warehouse, "nowhere")


def test_the_function_finds_run_manifest_and_mapping(
    warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the settings and the caller name them; a target folder is as good as its manifest."""
    monkeypatch.setenv("DBBTRACE_SEMANTIC_MODELS", '{"Live": {"reads": "fct", "mode": "DirectLake"}}')
    manifest(tmp_path / "manifest.json", fct=([], "table"))
    found = dbbtrace.lineage("last", manifest=tmp_path)
    assert found.run.run_id == RUN
    assert found.things["semantic model Live"].reads == ("model.shop.fct",)
    assert found.things[CUSTOMER].relation == '"dbb"."raw"."MDS__mdm_Customer"'
    with pytest.raises(UsageError, match="which run"):
        dbbtrace.lineage()


@pytest.mark.parametrize(
    "said",
    [
        "[]",
        "{",
        '{"Finance": 3}',
        '{"Finance": {"reads": ["a"], "mode": "fast"}}',
        '{"Finance": {"read": "a"}}',
        '{"Finance": [""]}',
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to write instead."""
    monkeypatch.setenv("DBBTRACE_SEMANTIC_MODELS", said)
    assert_one_line(run("lineage", "last"), "semantic_models", "direct lake")


def test_the_time_of_a_load_is_that_of_the_story(warehouse) -> None:
    """The age of a table counts to the end of the run, not to today."""
    found = lineage(warehouse, RUN)
    age = next(thing.age for thing in found.things.values() if thing.label == "mdm.Customer")
    assert age.last_success == at(0)
    assert age.age == at(26.2) - at(0)
