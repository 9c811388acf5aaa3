"""The folder of linked pages in a real browser, opened from the disk."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from dbbtrace import answers
from dbbtrace.errors import UsageError
from dbbtrace.pages.site import Site
from dbbtrace.warehouse import Warehouse
from tests.answers.history import History, Size, make, store
from tests.pages.test_hostile import HOSTILE, SHOWN, poisoned, quiet, stored
from tests.support.browser import Reader

pytestmark = pytest.mark.xdist_group("browser")
LIMIT = 2_000_000


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    """Twelve runs of two products; in the newest of One a load failed, and a model was built all the same."""
    history = make(12, seed=5, failing=0.02, size=Size(6, 16, 4, 1), products=("One", "Two"))
    last = next(row for row in reversed(history.loads) if row["data_product"] == "One")["orchestration_run_id"]
    load = next(row for row in history.loads if row["orchestration_run_id"] == last)
    load |= {"status": "Failed", "error_type": "TimeoutError", "error_message": "the source of Customer slept"}
    opened = store(history, tmp_path / "w.db")
    yield opened
    opened.close()


def made(warehouse: Warehouse, folder: Path, **options: Any) -> Path:
    Site(folder, **options).make(warehouse)
    return folder


def links_of(page: Path) -> list[str]:
    """Where the page leads to on the disk."""
    found = re.findall(r'(?:href|src)="([^"]*)"', page.read_text())
    return [html.unescape(each) for each in found if not each.startswith(("http", "#"))]


def visit(reader: Reader, site: Path, name: str = "index.html", behind: str = "", **options: Any) -> Any:
    return reader.visit(site / name, site.as_uri(), behind=behind, **options)


def test_every_link_leads_to_a_page_within_the_folder(warehouse: Warehouse, tmp_path: Path) -> None:
    """From the overview one reaches every page there is, and nothing outside; each is small."""
    site = made(warehouse, tmp_path / "site")
    reached, waiting = set(), [site / "index.html"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        for link in links_of(page):
            target = (page.parent / unquote(link.partition("#")[0])).resolve()
            assert target.is_relative_to(site.resolve()), link
            assert target.is_file(), f"{page} leads to {link}"
            if target.suffix == ".html":
                waiting.append(target)
    pages = {path.resolve() for path in site.rglob("*.html")}
    assert {path.resolve() for path in reached} == pages
    assert len(list((site / "runs").iterdir())) == 12
    for page in pages:
        data = (
            site / "assets/data" / page.relative_to(site.resolve()).as_posix().replace("/", "-").replace(".html", ".js")
        )
        assert page.stat().st_size + data.stat().st_size < LIMIT


def test_from_the_overview_to_a_failed_load_and_what_it_broke(
    warehouse: Warehouse, tmp_path: Path, reader: Reader
) -> None:
    """Which load failed, what it broke, and its history over all runs: each is one click further."""
    page = visit(reader, made(warehouse, tmp_path / "site"))
    page.locator("#today a:has-text('One')").click()
    assert page.title().startswith("One PRD")
    page.locator("#runs tbody tr:has-text('Failed') a").first.click()
    assert "the source of Customer slept" in page.inner_text("#failures")
    held_up = page.locator(".failure .held-up").first.inner_text()
    assert held_up.startswith("Held up")
    page.locator(".failure a:has-text('Its history')").first.click()
    assert "the source of Customer slept" in page.inner_text("#failures")
    assert page.locator("#history svg").count() >= 1
    assert page.locator(".neighbours a").count() >= 1
    page.locator("#runs tbody a").first.click()
    page.wait_for_selector("#detail")  # the run, with this operation in full
    page.locator("nav a:has-text('All runs')").click()
    assert page.locator("#today li").count() == 2


def test_the_list_of_runs_has_an_address(warehouse: Warehouse, tmp_path: Path, reader: Reader) -> None:
    """Filters, choices and the order are in the address: who is sent it sees the same."""
    site = made(warehouse, tmp_path / "site")
    page = visit(reader, site)
    page.locator("#tools select").first.select_option("Two")
    page.locator("#tools .chip").first.click()
    page.fill("#search", "20")
    page.get_by_role("button", name="Duration").click()
    rows = page.locator("#all-runs tbody tr:visible").all_inner_texts()
    said = page.inner_text("#count")
    behind = page.evaluate("location.hash")
    other = visit(reader, site, behind=behind)
    assert other.inner_text("#count") == said
    assert other.locator("#all-runs tbody tr:visible").all_inner_texts() == rows
    assert all("Two" in row for row in rows)


def run_with_failure(warehouse: Warehouse, site: Path) -> str:
    """The page of the newest failed run of One."""
    run = next(run for run in answers.runs(warehouse, data_product="One") if run.failed)
    return f"runs/{run.run_id.replace('-', '')}.html"


def test_the_run_has_an_address(warehouse: Warehouse, tmp_path: Path, reader: Reader) -> None:
    """Search, statuses, grouping, order, folds and the operation that is shown in full."""
    site = made(warehouse, tmp_path / "site")
    name = run_with_failure(warehouse, site)
    page = visit(reader, site, name)
    page.select_option("#group", "kind")
    page.fill("#search", "model_0")
    page.locator(".space .row:not(.group)").nth(1).click()
    title = page.locator("#detail h3").first.inner_text()
    behind = page.evaluate("location.hash")
    other = visit(reader, site, name, behind)
    assert other.locator("#detail h3").first.inner_text() == title
    assert other.inner_text("#count") == page.inner_text("#count")
    assert other.input_value("#group") == "kind"
    assert other.locator(".space .group").all_inner_texts() == page.locator(".space .group").all_inner_texts()
    other.keyboard.press("Escape")
    other.click("#reset")
    assert other.evaluate("location.hash") == ""


def test_results_stay_in_reach_of_the_search(warehouse: Warehouse, tmp_path: Path, reader: Reader) -> None:
    """/ focuses it, arrows move in what it found, Enter shows one in full, Escape leads back to the search."""
    site = made(warehouse, tmp_path / "site")
    page = visit(reader, site, run_with_failure(warehouse, site))
    page.keyboard.press("/")
    page.keyboard.type("model_00")
    said = page.inner_text("#count")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    name = page.locator(".space .row.active .label").get_attribute("title")
    page.keyboard.press("Enter")
    assert page.locator("#detail h3").first.inner_text() == name
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "search"
    assert page.inner_text("#count") == said
    assert page.input_value("#search") == "model_00"


def test_waiting_time_is_named_in_the_headline(warehouse: Warehouse, tmp_path: Path, reader: Reader) -> None:
    """How much, what share, and after which operation the longest wait was."""
    site = made(warehouse, tmp_path / "site")
    said = [visit(reader, site, f"runs/{page.name}").locator(".headline") for page in (site / "runs").iterdir()]
    texts = [one.inner_text() for one in said if one.count()]
    assert texts
    assert all(re.search(r"\(\d+%\) of the time nothing was at work.*longest wait was .*before ", one) for one in texts)


# -- the graph ----------------------------------------------------------------------------------------------


def drawn(page: Any) -> Any:
    page.locator("#lineage").scroll_into_view_if_needed()
    page.wait_for_selector("#graph svg")
    return page.locator("#graph .box")


def test_the_graph_shows_what_depends_on_what(warehouse: Warehouse, tmp_path: Path, reader: Reader) -> None:
    """Loads, sources and models; what failed and what was left out because of it is marked, edges between them too."""
    site = made(warehouse, tmp_path / "site")
    page = visit(reader, site, run_with_failure(warehouse, site))
    boxes = drawn(page)
    names = boxes.evaluate_all("all => all.map((one) => one.getAttribute('aria-label'))")
    failed = [name for name in names if ": Failed" in name]
    assert any(name.startswith("erp.table_000") or "table_000" in name for name in failed)
    assert any(name.startswith("source raw.") for name in names)  # dbt's sources
    assert page.locator("#graph .box.Skipped").count() == sum(": Skipped" in name for name in names) > 0
    assert page.locator("#graph .edge.bad").count() > 0
    page.check("#graph-affected")
    fewer = page.locator("#graph .box").count()
    assert 2 <= fewer < len(names)
    page.locator("#graph .box.Failed").first.click()
    assert page.is_visible("#detail")


def test_two_thousand_nodes_are_folded_and_opened_where_one_looks(tmp_path: Path, reader: Reader) -> None:
    """At most 150 boxes at a time; Enter opens one, an address names what is open, every node can be reached."""
    history = make(1, seed=3, failing=0.01, size=Size(100, 1900, 50, 1), products=("Big",))
    warehouse = store(history, tmp_path / "w.db")
    site = made(warehouse, tmp_path / "site")
    warehouse.close()
    name = f"runs/{next((site / 'runs').iterdir()).name}"
    page = visit(reader, site, name)
    boxes = drawn(page)
    assert 2 <= boxes.count() <= 150
    many = page.locator("#graph .box.many").first
    many.focus()
    page.keyboard.press("Enter")
    assert page.locator("#graph .box").count() <= 150
    assert page.locator("#graph-opened button").count() == 1
    behind = page.evaluate("location.hash")
    assert "open=" in behind
    labels = page.locator("#graph .box").evaluate_all("all => all.map((one) => one.getAttribute('aria-label'))")
    other = visit(reader, site, name, behind)
    assert drawn(other).evaluate_all("all => all.map((one) => one.getAttribute('aria-label'))") == labels
    other.fill("#search", "model_1234")
    other.locator(".space .row:not(.group)").first.click()
    other.get_by_role("button", name="Show it in the graph").click()
    assert other.evaluate("document.activeElement.getAttribute('aria-label')").startswith("model model_1234:")
    assert other.locator("#graph .box").count() <= 150


def test_the_graph_by_keyboard(warehouse: Warehouse, tmp_path: Path, reader: Reader) -> None:
    """One stop of the Tab key; right and left follow the edges, up and down the column."""
    site = made(warehouse, tmp_path / "site")
    page = visit(reader, site, run_with_failure(warehouse, site))
    drawn(page)
    assert page.locator("#graph .box[tabindex='0']").count() == 1
    page.locator("#graph .box[aria-label^='source raw.']").first.focus()
    source = page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("ArrowRight")
    child = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert child != source
    assert child.startswith("model ")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") != child
    page.locator("#graph .box.Failed").first.focus()
    failed = page.evaluate("document.activeElement.getAttribute('aria-label')").partition(":")[0]
    page.keyboard.press("Enter")
    assert page.locator("#detail h3").first.inner_text() == failed


# -- made again ---------------------------------------------------------------------------------------------


def test_an_open_page_takes_up_what_is_new(tmp_path: Path, reader: Reader) -> None:
    """Made again with a new run, the overview loads itself; its filter stays. Pages without news are not written."""
    history = make(5, seed=2, failing=0, size=Size(3, 4, 1, 1), products=("One",))
    newest = history.loads[-1]["orchestration_run_id"]
    early = History(
        {name: [r for r in rows if r["orchestration_run_id"] != newest] for name, rows in history.rows.items()}
    )
    warehouse = store(early, tmp_path / "w.db")
    site = Site(tmp_path / "site", follow=0.2)
    site.make(warehouse)
    page = visit(reader, tmp_path / "site", behind="#q=one", bypass_csp=True)  # wait_for_function evaluates text
    assert page.inner_text("#count") == "4 runs"
    product = next((tmp_path / "site/products").iterdir())
    before = product.read_text()
    assert site.make(warehouse) == 0
    assert product.read_text() == before
    warehouse.close()
    (tmp_path / "w.db").unlink()
    warehouse = store(history, tmp_path / "w.db")
    assert site.make(warehouse) > 0
    warehouse.close()
    page.wait_for_function("document.getElementById('count')?.textContent === '5 runs'")
    assert page.input_value("#search") == "one"
    assert len(list((tmp_path / "site/runs").iterdir())) == 5
    assert product.read_text() != before


def test_pages_of_runs_that_are_no_longer_chosen_go(warehouse: Warehouse, tmp_path: Path) -> None:
    """A folder that was made for all products, made again for one, has the other's pages no more."""
    site = made(warehouse, tmp_path / "site")
    both = set(site.rglob("*.html"))
    Site(site).make(warehouse, data_product="Two")
    assert set(site.rglob("*.html")) < both
    assert len(list((site / "runs").iterdir())) == sum(run.data_product == "Two" for run in answers.runs(warehouse))


def test_a_folder_with_other_files_is_left_alone(warehouse: Warehouse, tmp_path: Path) -> None:
    """Nobody's documents are mixed with pages, or removed."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.html").write_text("years of work")
    with pytest.raises(UsageError, match="holds other files"):
        made(warehouse, tmp_path / "mine")
    with pytest.raises(UsageError, match="is a file"):
        made(warehouse, tmp_path / "mine/thesis.html")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.html"]


def test_a_very_large_run_lists_what_somebody_reads(tmp_path: Path) -> None:
    """Nine thousand operations: what failed is there, the page says how many are listed, and it is small."""
    history = make(1, seed=3, failing=0.01, size=Size(1000, 7500, 500, 1), products=("Big",))
    warehouse = store(history, tmp_path / "w.db")
    site = made(warehouse, tmp_path / "site")
    found = answers.operations(warehouse, [answers.run_keys(warehouse)[0].run_id])
    warehouse.close()
    [page] = (site / "runs").iterdir()
    data = (site / f"assets/data/runs-{page.stem}.js").read_text()
    assert page.stat().st_size + len(data) < LIMIT
    assert f"Of {len(found):,} operations, 4,000 are listed" in page.read_text()
    assert all(one.operation_id in data for one in found if one.status == "Failed")


# -- whatever the names, whoever reads ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_names_show_as_text(tmp_path: Path, reader: Reader, kind: str) -> None:
    """On each kind of page, in the graph too."""
    text = HOSTILE[kind]
    shown = SHOWN.get(kind, stored(text))
    warehouse = store(poisoned(text), tmp_path / "w.db")
    site = made(warehouse, tmp_path / "site")
    warehouse.close()
    for name in (
        "index.html",
        *(f"{folder}/{next((site / folder).iterdir()).name}" for folder in ("products", "runs", "operations")),
    ):
        page = visit(reader, site, name)
        assert shown in page.locator("body").text_content()
        if name.startswith("runs/"):
            drawn(page)
        quiet_but_for_scripts(page)


def quiet_but_for_scripts(page: Any) -> None:
    """As ``quiet``; the pages of a site have two scripts of their own."""
    assert page.locator("script[src*='assets/']").count() == 2
    page.evaluate("document.querySelectorAll('script[src]').forEach((one) => one.remove())")
    quiet(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_accessibility(warehouse: Warehouse, tmp_path: Path, reader: Reader, scheme: str, width: int) -> None:
    """axe finds nothing to complain of on any kind of page, and nothing sticks out sideways."""
    from axe_playwright_python.sync_playwright import Axe

    site = made(warehouse, tmp_path / "site")
    pages = ["index.html", run_with_failure(warehouse, site)]
    pages += [
        f"{folder}/{sorted(each.name for each in (site / folder).iterdir())[0]}"
        for folder in ("products", "operations")
    ]
    for name in pages:
        page = visit(reader, site, name, color_scheme=scheme, width=width, bypass_csp=True)
        if name.startswith("runs/"):
            drawn(page)
        found = Axe().run(page).response["violations"]
        assert [(name, v["id"], [n["html"][:120] for n in v["nodes"][:3]]) for v in found] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    # axe asks for the style sheet once more, which a page opened as a file may not
    reader.complaints[:] = [said for said in reader.complaints if "violat" in said]


def test_on_paper(warehouse: Warehouse, tmp_path: Path, reader: Reader) -> None:
    """Verdict, reasons and failures are on the first page; the graph is drawn although nobody scrolled to it."""
    site = made(warehouse, tmp_path / "site")
    page = visit(reader, site, run_with_failure(warehouse, site))
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print")
    assert page.locator("#graph .box").count() > 10
    assert page.is_hidden("nav")
    assert page.locator("#failures").bounding_box()["y"] < 1000


def test_tags_of_a_manifest_group_the_operations(warehouse: Warehouse, tmp_path: Path, reader: Reader) -> None:
    """In the list and in the graph; without a manifest nothing offers it."""
    tags = {"model.shop.model_000": ["finance", "nightly"], "model.shop.model_001": ["finance", "nightly"]}
    site = made(warehouse, tmp_path / "site", tags=tags)
    name = run_with_failure(warehouse, site)
    page = visit(reader, site, name)
    page.select_option("#group", "tag")
    assert any(
        text.startswith("finance, nightly (2") for text in page.locator(".space .group .label").all_inner_texts()
    )
    drawn(page)
    page.select_option("#graph-by", "tag")
    plain = visit(reader, made(warehouse, tmp_path / "plain"), name)
    assert plain.locator("#group option[value=tag]").count() == 0
