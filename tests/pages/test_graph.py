"""The graph of a run's page: what failed, what it held up, what shows older data because of it, in a real browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dbbtrace.pages.run import read_run, render_run
from dbbtrace.warehouse import Warehouse
from tests.answers.history import History, Row, Size, make, store
from tests.pages.support import drawn, made, run_with_failure, visit
from tests.support.browser import Reader, expect

pytestmark = pytest.mark.xdist_group("browser")


def test_the_graph_shows_what_depends_on_what(warehouse: Warehouse, site: Path, reader: Reader) -> None:
    """Loads, sources and models; what failed and what was left out because of it is marked, edges between them too."""
    page = visit(reader, site, run_with_failure(warehouse))
    boxes = drawn(page)
    names = boxes.evaluate_all("all => all.map((one) => one.getAttribute('aria-label'))")
    failed = [name for name in names if ": Failed" in name]
    assert any(name.startswith("erp.table_000") or "table_000" in name for name in failed)
    assert any(name.startswith("source raw.") for name in names)  # dbt's sources
    left_out = [name for name in names if ": left out: " in name or ": not refreshed" in name]
    assert page.locator("#graph .box.Skipped").count() == len(left_out) > 1
    assert page.locator("#graph .edge.bad").count() > 0
    page.check("#graph-affected")
    expect(page.locator("#graph .box")).not_to_have_count(len(names))
    assert 2 <= page.locator("#graph .box").count() < len(names)
    page.locator("#graph .box.Failed").first.click()
    expect(page.locator("#detail")).to_be_visible()


def test_two_thousand_nodes_are_folded_and_opened_where_one_looks(tmp_path: Path, reader: Reader) -> None:
    """At most 150 boxes at a time; Enter opens one, an address names what is open, every node can be reached."""
    history = make(1, seed=3, failing=0.01, size=Size(100, 1900, 50, 1), products=("Big",))
    warehouse = store(history, tmp_path / "w.db")
    site = made(warehouse, tmp_path / "site")
    warehouse.close()
    name = f"runs/{next((site / 'runs').iterdir()).name}"
    first = visit(reader, site, name)
    drawn(first)
    expect(first.locator("#graph-affected")).to_be_checked()  # of so many, what is not right is shown first
    expect(first.locator("#graph .box.Failed").first).to_be_in_viewport()
    page = visit(reader, site, name, "#affected=0")
    boxes = drawn(page)
    expect(page.locator("#graph-affected")).not_to_be_checked()
    assert 2 <= boxes.count() <= 150
    many = page.locator("#graph .box.many").first
    many.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#graph-opened button")).to_have_count(1)
    assert page.locator("#graph .box").count() <= 150
    behind = page.evaluate("location.hash")
    assert "open=" in behind
    labels = page.locator("#graph .box").evaluate_all("all => all.map((one) => one.getAttribute('aria-label'))")
    other = visit(reader, site, name, behind)
    assert drawn(other).evaluate_all("all => all.map((one) => one.getAttribute('aria-label'))") == labels
    other.fill("#search", "model_1234")
    other.locator(".space .row:not(.group)").first.click()
    other.get_by_role("button", name="Show it in the graph").click()
    expect(other.locator("#graph .box:focus")).to_have_attribute("aria-label", re.compile("^model model_1234:"))
    assert other.locator("#graph .box").count() <= 150


def test_the_graph_by_keyboard(warehouse: Warehouse, site: Path, reader: Reader) -> None:
    """One stop of the Tab key; right and left follow the edges, up and down the column."""
    page = visit(reader, site, run_with_failure(warehouse))
    drawn(page)
    expect(page.locator("#graph .box[tabindex='0']")).to_have_count(1)
    page.locator("#graph .box[aria-label^='source raw.']").first.focus()
    focused = page.locator("#graph .box:focus")
    page.keyboard.press("ArrowRight")
    expect(focused).to_have_attribute("aria-label", re.compile("^model "))
    page.keyboard.press("ArrowLeft")
    expect(focused).to_have_attribute("aria-label", re.compile("^source "))
    page.locator("#graph .box.Failed").first.focus()
    failed = focused.get_attribute("aria-label").partition(":")[0]
    page.keyboard.press("Enter")
    expect(page.locator("#detail h3").first).to_have_text(failed)


# -- what shows older data because of what failed ------------------------------------------------------------


def of_newest(history: History) -> tuple[str, list[Row], list[Row], list[Row]]:
    """Run id, loads, nodes and refreshes of the newest run."""
    run_id = history.loads[-1]["orchestration_run_id"]
    tables = (history.loads, history.nodes, history.refreshes)
    loads, nodes, refreshes = ([row for row in rows if row["orchestration_run_id"] == run_id] for rows in tables)
    return run_id, loads, nodes, refreshes


def broken() -> History:
    """Three runs of one product; in the newest the load of table_000 failed. The semantic model reads model_005."""
    history = make(3, seed=4, failing=0, size=Size(3, 6, 2, 1), products=("Shop",))
    for row in history.refreshes:
        row["depends_on"] = json.dumps(["model_005"])
    _, loads, _, _ = of_newest(history)
    loads[0] |= {"status": "Failed", "error_type": "TimeoutError", "error_message": "no answer"}
    return history


def below(history: History, name: str) -> set[str]:
    """The models that are made of it, computed independently."""
    reads = {row["unique_id"]: json.loads(row["depends_on"]) for row in history.nodes if row["unique_id"] is not None}
    found = {name}
    while more := {node for node, above in reads.items() if found.intersection(above)} - found:
        found |= more
    return {f"model {node.rpartition('.')[2]}" for node in found if node.startswith("model.")}


def boxes_of(history: History, folder: Path) -> dict[str, tuple[str, str]]:
    """Name of each node in the picture of the newest run → its status, and because of what it shows older data."""
    warehouse = store(history, folder / "w.db")
    _, data = render_run(read_run(warehouse, of_newest(history)[0]))
    warehouse.close()
    graph, found = data["graph"], {}
    for number, node in enumerate(graph["nodes"]):
        listed = isinstance(node, int)
        name = data["name"][node] if listed else node["name"]
        status = data["strings"][data["status"][node]] if listed else f"{node['status']}: {node['said']}"
        found[name] = (status, graph["because"].get(number, ""))
    return found


def test_what_dbt_did_not_come_to_is_in_the_picture(tmp_path: Path) -> None:
    """A gate stopped dbt: the models and the semantic model of earlier runs are there, stale because of the load."""
    history = broken()
    _, _, nodes, refreshes = of_newest(history)
    affected = below(history, "source.shop.raw.table_000")
    for row in (*nodes, *refreshes):
        (history.nodes if row in nodes else history.refreshes).remove(row)
    found = boxes_of(history, tmp_path)
    assert 3 <= len(affected) < 6
    assert {name for name, (_, because) in found.items() if because == "erp.table_000"} == {
        "source raw.table_000",
        *affected,
        "semantic model Model 0",
    }
    assert found["semantic model Model 0"] == ("Skipped: not refreshed", "erp.table_000")
    assert {found[name][0] for name in affected} == {"Skipped: not built in this run"}
    assert found["erp.table_000"] == ("Failed", "")


def test_what_was_built_on_older_data_is_marked_up_to_the_semantic_model(tmp_path: Path) -> None:
    """dbt ran all the same: whatever is made of the table shows older data, however far below it stands."""
    history = broken()
    affected = below(history, "source.shop.raw.table_000")
    found = boxes_of(history, tmp_path)
    assert found["Model 0"] == ("Succeeded", "erp.table_000")
    marked = {name for name, (_, because) in found.items() if because}
    assert marked == {"source raw.table_000", *affected, "Model 0"}
    assert {found[name][0] for name in affected} == {"Succeeded"}


def test_a_failed_test_leads_to_what_it_held_up(tmp_path: Path) -> None:
    """From the model to its test, and from the test to what was left out because of it."""
    history = broken()
    _, loads, nodes, refreshes = of_newest(history)
    loads[0] |= {"status": "Succeeded", "error_type": None, "error_message": None}
    history.refreshes.remove(refreshes[0])
    held = below(history, "model.shop.model_001") - {"model model_001"}
    for row in nodes:
        if row["unique_id"].startswith("test.shop.test_001"):
            row |= {"status": "fail", "message": "Got 3 results", "error_message": "Got 3 results"}
        elif f"model {row['item_name']}" in held:
            row["status"] = "skipped"
    warehouse = store(history, tmp_path / "w.db")
    _, data = render_run(read_run(warehouse, of_newest(history)[0]))
    warehouse.close()
    graph = data["graph"]
    names = [data["name"][node] if isinstance(node, int) else node["name"] for node in graph["nodes"]]
    edges = {(names[one], names[other]) for one, other in zip(graph["edges"][::2], graph["edges"][1::2], strict=True)}
    because = {names[number]: cause for number, cause in graph["because"].items()}
    assert ("model model_001", "test test_001") in edges
    assert held
    assert held <= because.keys()
    assert set(because.values()) == {"test test_001"}
    assert {child for test, child in edges if test == "test test_001"} <= held
    assert [name for name in names if name.startswith("test ")] == ["test test_001"]  # the other passed


def test_a_semantic_model_that_was_not_refreshed_can_be_seen(tmp_path: Path, reader: Reader) -> None:
    """What is stale because of the load is one look at the picture; of a model that reads nobody knows what, too."""
    history = broken()
    _, _, _, refreshes = of_newest(history)
    history.refreshes.remove(refreshes[0])
    for row in [*history.refreshes]:
        other = {"semantic_model_id": "0e0e", "semantic_model_name": "Other", "depends_on": None}
        history.refreshes.append({**row, **other, "record_id": f"other {row['record_id']}", "span_id": None})
    warehouse = store(history, tmp_path / "w.db")
    folder = made(warehouse, tmp_path / "site")
    page = visit(reader, folder, f"runs/{of_newest(history)[0].replace('-', '')}.html")
    warehouse.close()
    drawn(page)
    names = page.locator("#graph .box").evaluate_all("all => all.map((one) => one.getAttribute('aria-label'))")
    assert "semantic model Model 0: not refreshed: erp.table_000" in names
    assert "semantic model Other: not refreshed; nobody says what it reads" in names
    places = page.locator("#graph .box").evaluate_all(
        "all => all.map((one) => [one.getAttribute('aria-label'), one.getBoundingClientRect().x])"
    )
    assert max(places, key=lambda place: place[1])[0].startswith("semantic model ")
    page.locator("#graph .box[aria-label^='model model_005']").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#graph .box:focus")).to_have_attribute("aria-label", re.compile("^semantic model Model 0: "))
