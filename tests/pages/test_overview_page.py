"""The overview in a real browser, its figures against numbers computed independently."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from dbbtrace.pages import overview_page
from tests.answers import expected
from tests.answers.history import History, Size, make, store
from tests.support.browser import Reader, expect

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture
def history() -> History:
    """Forty runs of three products over ten days."""
    return make(40, seed=6, failing=0.02, size=Size(5, 8, 3, 1), products=("One", "Two", "Three"))


def page_of(history: History, path: Path, **chosen: Any) -> str:
    warehouse = store(history, path / "w.db")
    html = overview_page(warehouse, **chosen)
    warehouse.close()
    return html


def table(page: Any, section: str) -> list[list[str]]:
    """The cells of a section's table."""
    rows = page.locator(f"#{section} tbody tr")
    return [row.locator("td").all_inner_texts() for row in rows.all()]


def test_its_figures(history: History, tmp_path: Path, reader: Reader) -> None:
    """Runs, success rate, medians; by day, by product; every run in the list, newest first."""
    runs = expected.runs(expected.operations(history.rows))
    page = reader.open(page_of(history, tmp_path))
    figures = {
        tile.query_selector("dt").inner_text(): tile.query_selector("dd").inner_text().split("\n")[0]
        for tile in page.query_selector_all(".tiles > div")
    }
    good = sum(run["status"] != "Failed" for run in runs.values())
    assert figures["Runs"] == "40"
    assert figures["Success rate"] == f"{good / 40:.1%}"
    assert figures["Rows written"] == f"{sum(run['rows_written'] or 0 for run in runs.values()):,}"
    days = page.locator("#days g title").all_text_contents()
    by_day = Counter(run["start_time"].date() for run in runs.values())
    assert {
        day.partition(":")[0]: sum(int(part.split()[0]) for part in day.partition(": ")[2].split(", ")) for day in days
    } == {str(day): count for day, count in by_day.items()}
    products = {row[0]: row for row in table(page, "products")}
    for name in ("One", "Two", "Three"):
        mine = [run for run in runs.values() if run["data_product"] == name]
        assert products[name][2] == str(len(mine))
        assert products[name][4] == str(sum(run["status"] == "Failed" for run in mine))
    listed = table(page, "runs")
    order = sorted(runs, key=lambda run_id: (runs[run_id]["start_time"], run_id), reverse=True)
    assert [row[-1] for row in listed] == order
    assert page.locator("#durations figure").count() == 3
    dots = page.locator("#durations circle, #durations path")
    assert dots.count() == 40


def test_worst_offenders(history: History, tmp_path: Path, reader: Reader) -> None:
    """What failed most comes first, with how often and what it said last."""
    failed: Counter[Any] = Counter()
    for o in expected.operations(history.rows):
        if o["status"] == "Failed":
            failed[o["data_product"], o["operation"].rpartition(".")[2]] += 1
    page = reader.open(page_of(history, tmp_path))
    rows = table(page, "offenders")
    assert [int(row[3].split()[0]) for row in rows] == [count for _, count in failed.most_common(15)]
    for row in rows:
        name = row[0].split()[-1].rpartition(".")[2]
        if not name.startswith("test"):
            assert failed[row[1], name] == int(row[3].split()[0])
    assert all(row[5] for row in rows)


def test_only_some_runs(history: History, tmp_path: Path) -> None:
    """Since a time, of one product."""
    html = page_of(history, tmp_path, since=datetime(2026, 1, 10, tzinfo=timezone.utc), data_product="One")
    runs = expected.runs(expected.operations(history.rows))
    for run_id, run in runs.items():
        fits = run["data_product"] == "One" and run["start_time"] >= datetime(2026, 1, 10)
        assert (run_id in html) == fits


def test_search_filter_and_sort(history: History, tmp_path: Path, reader: Reader) -> None:
    """The list of runs, by keyboard and mouse."""
    runs = expected.runs(expected.operations(history.rows))
    failed = sum(run["status"] == "Failed" for run in runs.values())
    page = reader.open(page_of(history, tmp_path))
    page.get_by_role("button", name="Failed", exact=False).first.click()
    expect(page.locator("#count")).to_have_text(f"{failed} of 40 runs match")
    page.keyboard.press("/")
    page.keyboard.type("three")
    mine = sum(run["status"] == "Failed" and run["data_product"] == "Three" for run in runs.values())
    expect(page.locator("#count")).to_have_text(f"{mine} of 40 runs match")
    expect(page.locator("#runs tbody tr:visible")).to_have_count(mine)
    page.fill("#search", "")
    page.get_by_role("button", name="Failed", exact=False).first.click()
    page.get_by_role("button", name="Duration").click()
    took = [run["seconds"] for run in runs.values()]
    longest = max(runs, key=lambda run_id: runs[run_id]["seconds"])
    expect(page.locator("#runs tbody tr").first.locator("td").last).to_have_text(longest)
    assert len(took) == 40


def test_an_empty_warehouse_is_no_error(tmp_path: Path, reader: Reader) -> None:
    """It says that there are no runs."""
    page = reader.open(page_of(History(), tmp_path))
    assert "No runs" in page.inner_text("main")


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_cut_off(history: History, tmp_path: Path, reader: Reader, width: int) -> None:
    """On a phone tables scroll in their place, not the page."""
    page = reader.open(page_of(history, tmp_path), width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


SMALLEST = """() => Math.min(...[...document.querySelectorAll('.chart text')]
  .filter((text) => text.getClientRects().length)
  .map((text) => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a))"""


@pytest.mark.parametrize("width", [360, 390, 1280])
def test_all_can_be_read(history: History, tmp_path: Path, reader: Reader, width: int) -> None:
    """Letters of the charts are large enough, one chart of the days is there, rows of the tables stay rows."""
    for row in history.refreshes[::3]:
        row["status"] = "Failed"  # gaps, which are long texts
    for rows in history.rows.values():
        for row in rows:
            row["data_product"] = {"One": "Group-FinancialStatements", "Two": "P" * 250}.get(
                row["data_product"], "Three"
            )
    page = reader.open(page_of(history, tmp_path), width=width, height=800, is_mobile=width < 500)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(SMALLEST) >= 9
    assert page.locator("#days svg:visible").count() == 1
    heights = page.locator("#runs tbody tr:not(:has-text('PPP'))").evaluate_all(
        "all => all.map(one => one.offsetHeight)"
    )
    assert max(heights) <= 80
    assert page.locator("#runs tbody tr code").first.evaluate("one => one.getClientRects().length") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(history: History, tmp_path: Path, reader: Reader, scheme: str) -> None:
    """axe finds nothing to complain of."""
    from axe_playwright_python.sync_playwright import Axe

    page = reader.open(page_of(history, tmp_path), color_scheme=scheme, bypass_csp=True)
    found = Axe().run(page).response["violations"]
    assert [(v["id"], [n["html"][:120] for n in v["nodes"][:3]]) for v in found] == []


def test_without_scripts_all_but_the_search_is_there(history: History, tmp_path: Path, reader: Reader) -> None:
    """Charts and tables are in the file itself."""
    page = reader.open(page_of(history, tmp_path), java_script_enabled=False)
    assert page.locator("#runs tbody tr").count() == 40
    assert page.locator("#durations figure").count() == 3
    assert page.is_hidden("#tools")
