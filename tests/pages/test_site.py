"""The folder of linked pages in a real browser, opened from the disk."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from dbbtrace import answers
from dbbtrace.errors import UsageError
from dbbtrace.pages.site import Site
from dbbtrace.warehouse import Warehouse
from tests.answers.history import History, Size, make, store
from tests.pages.support import drawn, made, run_with_failure, visit
from tests.pages.test_hostile import HOSTILE, SHOWN, poisoned, quiet, stored
from tests.support.browser import Reader, expect

pytestmark = pytest.mark.xdist_group("browser")
LIMIT = 2_000_000


def links_of(page: Path) -> list[str]:
    """Where the page leads to on the disk."""
    found = re.findall(r'(?:href|src)="([^"]*)"', page.read_text())
    return [html.unescape(each) for each in found if not each.startswith(("http", "#"))]


def test_every_link_leads_to_a_page_within_the_folder(site: Path) -> None:
    """From the overview one reaches every page there is, and nothing outside; each is small."""
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


def test_from_the_overview_to_a_failed_load_and_what_it_broke(site: Path, reader: Reader) -> None:
    """Which load failed, what it broke, and its history over all runs: each is one click further."""
    page = visit(reader, site)
    page.locator("#today a:has-text('One')").click()
    expect(page).to_have_title(re.compile("^One PRD"))
    page.locator("#runs tbody tr:has-text('Failed') a").first.click()
    expect(page.locator("#failures")).to_contain_text("the source of Customer slept")
    held_up = page.locator(".failure .held-up").first.inner_text()
    assert held_up.startswith("Held up")
    page.locator(".failure a:has-text('Its history')").first.click()
    expect(page.locator("#failures")).to_contain_text("the source of Customer slept")
    expect(page.locator("#history svg")).not_to_have_count(0)
    expect(page.locator(".neighbours a")).not_to_have_count(0)
    page.locator("#runs tbody a").first.click()
    expect(page.locator("#detail")).to_be_visible()  # the run, with this operation in full
    page.locator("nav a:has-text('All runs')").click()
    expect(page.locator("#today li")).to_have_count(2)


def test_the_list_of_runs_has_an_address(site: Path, reader: Reader) -> None:
    """Filters, choices and the order are in the address: who is sent it sees the same."""
    page = visit(reader, site)
    page.locator("#tools select").first.select_option("Two")
    page.locator("#tools .chip").first.click()
    page.fill("#search", "20")
    page.get_by_role("button", name="Duration").click()
    expect(page.locator("#all-runs th[aria-sort]")).to_have_text("Duration")
    rows = page.locator("#all-runs tbody tr:visible").all_inner_texts()
    said = page.inner_text("#count")
    behind = page.evaluate("location.hash")
    other = visit(reader, site, behind=behind)
    expect(other.locator("#count")).to_have_text(said)
    assert other.locator("#all-runs tbody tr:visible").all_inner_texts() == rows
    assert all("Two" in row for row in rows)


def test_what_was_left_out_has_a_time_too(warehouse: Warehouse, site: Path, reader: Reader) -> None:
    """A model that was skipped never started: its last run is the run that left it out."""
    run = next(run for run in answers.runs(warehouse, data_product="One") if run.skipped)
    assert run.started_at is not None
    left_out = next(one for one in answers.operations(warehouse, [run.run_id]) if one.status == "Skipped")
    page = visit(reader, site)
    page.locator("#today a:has-text('One')").first.click()
    page.fill("#o-search", left_out.label)
    row = page.locator("#all-operations tbody tr:visible")
    expect(row).to_have_count(1)
    last = row.locator("td").last.inner_text()
    assert last >= f"{run.started_at:%Y-%m-%d %H:%M}"
    row.locator("a").click()
    expect(page.locator("#all-runs tbody td:first-child")).not_to_have_count(0)
    times = page.locator("#all-runs tbody td:first-child").all_inner_texts()
    assert f"{run.started_at:%Y-%m-%d %H:%M:%S}" in [time[:19] for time in times]


def test_the_run_has_an_address(warehouse: Warehouse, site: Path, reader: Reader) -> None:
    """Search, statuses, grouping, order, folds and the operation that is shown in full."""
    name = run_with_failure(warehouse)
    page = visit(reader, site, name)
    page.select_option("#group", "kind")
    page.fill("#search", "model_0")
    page.locator(".space .row:not(.group)").nth(1).click()
    expect(page.locator("#detail")).to_be_visible()
    title = page.locator("#detail h3").first.inner_text()
    behind = page.evaluate("location.hash")
    other = visit(reader, site, name, behind)
    expect(other.locator("#detail h3").first).to_have_text(title)
    expect(other.locator("#count")).to_have_text(page.inner_text("#count"))
    expect(other.locator("#group")).to_have_value("kind")
    expect(other.locator(".space .group .label")).to_have_text(page.locator(".space .group .label").all_inner_texts())
    other.keyboard.press("Escape")
    expect(other.locator("#detail")).to_be_hidden()
    other.click("#reset")
    expect(other).to_have_url(re.compile("html$"))


def test_results_stay_in_reach_of_the_search(warehouse: Warehouse, site: Path, reader: Reader) -> None:
    """/ focuses it, arrows move in what it found, Enter shows one in full, Escape leads back to the search."""
    page = visit(reader, site, run_with_failure(warehouse))
    page.keyboard.press("/")
    page.keyboard.type("model_00")
    expect(page.locator("#search")).to_have_value("model_00")
    expect(page.locator("#count")).to_contain_text("match")
    said = page.inner_text("#count")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    name = page.locator(".space .row.active .label").get_attribute("title")
    page.keyboard.press("Enter")
    expect(page.locator("#detail h3").first).to_have_text(name)
    page.keyboard.press("Escape")
    expect(page.locator("#search")).to_be_focused()
    expect(page.locator("#count")).to_have_text(said)
    expect(page.locator("#search")).to_have_value("model_00")


def test_waiting_time_is_named_in_the_headline(site: Path, reader: Reader) -> None:
    """How much, what share, and after which operation the longest wait was."""
    said = [visit(reader, site, f"runs/{page.name}").locator(".headline") for page in (site / "runs").iterdir()]
    texts = [one.inner_text() for one in said if one.count()]
    assert texts
    assert all(re.search(r"\(\d+%\) of the time nothing was at work.*longest wait was .*before ", one) for one in texts)


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
    page = visit(reader, tmp_path / "site", behind="#q=one")
    expect(page.locator("#count")).to_have_text("4 runs")
    product = next((tmp_path / "site/products").iterdir())
    before = product.read_text()
    assert site.make(warehouse) == 0
    assert product.read_text() == before
    warehouse.close()
    (tmp_path / "w.db").unlink()
    warehouse = store(history, tmp_path / "w.db")
    assert site.make(warehouse) > 0
    warehouse.close()
    expect(page.locator("#count")).to_have_text("5 runs")
    expect(page.locator("#search")).to_have_value("one")
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
    """Five thousand operations: what failed is there, the page says how many are listed, and it is small."""
    history = make(1, seed=3, failing=0.01, size=Size(600, 4000, 400, 1), products=("Big",))
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
def test_accessibility(warehouse: Warehouse, site: Path, reader: Reader, scheme: str, width: int) -> None:
    """axe finds nothing to complain of on any kind of page, and nothing sticks out sideways."""
    from axe_playwright_python.sync_playwright import Axe

    pages = ["index.html", run_with_failure(warehouse)]
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


def test_on_paper(warehouse: Warehouse, site: Path, reader: Reader) -> None:
    """Verdict, reasons and failures are on the first page; the graph is drawn although nobody scrolled to it."""
    page = visit(reader, site, run_with_failure(warehouse))
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print")
    expect(page.locator("#graph .box").nth(10)).to_be_visible()
    expect(page.locator("nav")).to_be_hidden()
    assert page.locator("#failures").bounding_box()["y"] < 1000


def test_tags_of_a_manifest_group_the_operations(
    warehouse: Warehouse, site: Path, tmp_path: Path, reader: Reader
) -> None:
    """In the list and in the graph; without a manifest the page says what it takes."""
    tags = {"model.shop.model_000": ["finance", "nightly"], "model.shop.model_001": ["finance", "nightly"]}
    tagged = made(warehouse, tmp_path / "site", tags=tags)
    name = run_with_failure(warehouse)
    page = visit(reader, tagged, name)
    page.select_option("#group", "tag")
    expect(page.locator(".space .group .label", has_text="finance, nightly (2")).to_have_count(1)
    drawn(page)
    page.select_option("#graph-by", "tag")
    plain = visit(reader, site, name)
    expect(plain.locator("#group option[value=tag]")).to_have_text("tag (needs report --manifest)")
    expect(plain.locator("#group option[value=tag]")).to_be_disabled()
