"""The page of a run in a real browser: what it shows, and that it can be used."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dbbtrace
from dbbtrace import answers
from dbbtrace.pages.run import read_run, render_run, run_page
from tests.answers.history import History, Size, make, store
from tests.pages.support import JAEGER, operations_of, page_of
from tests.support.browser import Reader, expect

pytestmark = pytest.mark.xdist_group("browser")

SIZE = Size(loads=12, models=24, tests=10, refreshes=2)


@pytest.fixture
def history() -> History:
    """Nine runs, the newest with failures of both kinds."""
    made = make(9, seed=5, failing=0.04, size=SIZE, products=("Group-FinancialStatements",))
    last = made.loads[-1]["orchestration_run_id"]
    load = next(row for row in made.loads if row["orchestration_run_id"] == last)
    load |= {
        "status": "Failed", "error_type": "pyodbc.OperationalError", "error_message": "login timeout\nsecond line",
        "rows_read": None, "rows_written": None, "data_read": None, "data_written": None,
    }  # fmt: skip
    return made


def says(page: Any, text: Any) -> None:
    """What the page says that it lists."""
    expect(page.locator("#count")).to_have_text(text)


def test_it_shows_the_run(history: History, tmp_path: Path, reader: Reader) -> None:
    """Status, ids, figures, failures in full, and every operation in the grid."""
    run_id, html = page_of(history, tmp_path)
    operations = operations_of(history, run_id)
    page = reader.open(html)
    assert page.title().startswith("Failed: Group-FinancialStatements PRD, 2026-01-07")
    head = page.inner_text("header")
    assert run_id in head
    assert run_id.replace("-", "") in head
    figures = {
        tile.query_selector("dt").inner_text(): tile.query_selector("dd").inner_text().split("\n")[0]
        for tile in page.query_selector_all(".tiles > div")
    }
    loads = [o for o in operations if o["workload"] == "integration"]
    assert figures["Table loads"] == str(len(loads))
    assert figures["dbt nodes"] == str(sum(o["workload"] == "transformation" for o in operations))
    assert figures["Rows written"] == f"{sum(o['rows_written'] or 0 for o in loads):,}"
    failed = [o for o in operations if o["status"] == "Failed"]
    expect(page.locator(".failure")).to_have_count(len(failed))
    assert "login timeout\nsecond line" in page.locator(".failure pre").first.inner_text()
    assert "erp.table_000 failed: login timeout second line" in page.inner_text("#reasons")
    says(page, f"{len(operations)} operations")
    workloads = len({o["workload"] for o in operations})
    expect(page.locator("[role=treegrid]")).to_have_attribute("aria-rowcount", str(len(operations) + workloads + 1))


def test_search_and_filters(history: History, tmp_path: Path, reader: Reader) -> None:
    """By name or message, by status, by workload; the count says how many fit; all can be shown again."""
    run_id, html = page_of(history, tmp_path)
    operations = operations_of(history, run_id)
    page = reader.open(html)
    page.fill("#search", "MODEL_00")
    fitting = sum("model_00" in f"{o['operation_id']}\n{o['error_message']}".lower() for o in operations)
    says(page, f"{fitting} of {len(operations)} operations match")
    page.fill("#search", "no such thing")
    says(page, f"0 of {len(operations)} operations match")
    expect(page.locator(".space")).to_contain_text("No operation matches")
    page.fill("#search", "")
    page.locator("#tools").get_by_role("button", name=re.compile("Failed")).first.click()
    failed = sum(o["status"] == "Failed" for o in operations)
    says(page, f"{failed} of {len(operations)} operations match")
    expect(page.locator(".space .row:not(.group) .c-status")).to_have_text(["✗ Failed"] * failed)
    page.select_option("#workload", "integration")
    failed_loads = sum(o["status"] == "Failed" and o["workload"] == "integration" for o in operations)
    says(page, f"{failed_loads} of {len(operations)} operations match")
    page.click("#reset")
    says(page, f"{len(operations)} operations")
    page.check("#only-path")
    expect(page.locator(".space .row:not(.group):not(.onpath)")).to_have_count(0)
    assert page.locator(".space .row.onpath").count() == page.locator(".space .row:not(.group)").count() > 2


def test_sorting(history: History, tmp_path: Path, reader: Reader) -> None:
    """By any column, from its title or the list; the order is announced."""
    run_id, html = page_of(history, tmp_path)
    longest = max(operations_of(history, run_id), key=lambda o: o["seconds"] or 0)
    page = reader.open(html)
    page.get_by_role("button", name="Took").click()
    first = page.locator("#row-0")
    expect(first).to_contain_text(longest["operation"].rpartition(".")[2])
    expect(page.locator("[role=columnheader][aria-sort=descending]")).to_have_text(re.compile("^Took"))
    page.select_option("#sort", "name")
    expect(page.locator("[role=columnheader][aria-sort=ascending]")).to_have_text(re.compile("^Operation"))
    names = page.locator(".space .row .label").evaluate_all("all => all.map(one => one.getAttribute('title'))")
    assert names == sorted(names, key=str.lower)


def test_keyboard(history: History, tmp_path: Path, reader: Reader) -> None:
    """Everything without a mouse: / to search, arrows to move, Enter to see one in full, Escape to go back."""
    _, html = page_of(history, tmp_path)
    page = reader.open(html)
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.locator("[role=treegrid]").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator("[role=treegrid]")).to_have_attribute("aria-activedescendant", "row-1")
    name = page.get_attribute("#row-1 .label", "title")
    page.keyboard.press("Enter")
    expect(page.locator("#detail h3").first).to_have_text(name)
    expect(page.locator("#detail h3").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()
    expect(page.locator("[role=treegrid]")).to_be_focused()
    page.keyboard.press("Home")
    before = int(page.get_attribute("[role=treegrid]", "aria-rowcount"))
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#row-0")).to_have_attribute("aria-expanded", "false")
    expect(page.locator("[role=treegrid]")).to_have_attribute("aria-rowcount", str(before - SIZE.loads))
    page.keyboard.press("ArrowRight")
    expect(page.locator("#row-0")).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("End")
    expect(page.locator("[role=treegrid]")).to_have_attribute("aria-activedescendant", f"row-{before - 2}")
    expect(page.locator(f"#row-{before - 2}")).to_be_visible()


def test_one_operation_in_full(history: History, tmp_path: Path, reader: Reader) -> None:
    """A click shows times, rows, message, history and neighbours; a neighbour leads on; its span is linked."""
    run_id, html = page_of(history, tmp_path)
    node = next(o for o in operations_of(history, run_id) if o["operation"] == "model_012")
    row = next(r for r in history.nodes if r["orchestration_run_id"] == run_id and r["item_name"] == "model_012")
    page = reader.open(html)
    page.fill("#search", "model model_012")
    page.locator(".space .row:not(.group)").first.click()
    expect(page.locator("#detail")).to_contain_text("model.shop.model_012")
    said = page.inner_text("#detail")
    if node["status"] == "Succeeded":
        assert f"{node['rows_written']:,}" in said
    expect(page.locator("#detail .history")).to_have_count(1)
    link = page.get_attribute("#detail dd a", "href")
    assert link == f"{JAEGER}/trace/{run_id.replace('-', '')}?uiFind={row['span_id']}"
    parents = page.locator("#detail h3:has-text('Selects from') + ul button")
    expect(parents).to_have_count(len(json.loads(node["depends_on"])))
    name = parents.first.inner_text().strip().split(None, 1)[1]
    parents.first.click()
    expect(page.locator("#detail h3").first).to_have_text(name)
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#detail")).to_be_hidden()


def test_zooming_into_a_stretch_of_time(history: History, tmp_path: Path, reader: Reader) -> None:
    """Dragging over the small picture keeps what ran then; a double click shows the whole run."""
    run_id, html = page_of(history, tmp_path)
    operations = operations_of(history, run_id)
    page = reader.open(html)
    page.select_option("#zoom", "integration")
    begin = min(o["start_time"] for o in operations if o["start_time"])
    end = max(o["end_time"] for o in operations if o["workload"] == "integration")
    within = sum(bool(o["start_time"]) and o["start_time"] <= end and o["end_time"] >= begin for o in operations)
    says(page, f"{within} of {len(operations)} operations match")
    page.locator("#minimap").scroll_into_view_if_needed()
    box = page.locator("#minimap").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 1, box["y"] + 20, steps=4)
    page.mouse.up()
    says(page, re.compile(rf"^\d+ of {len(operations)} operations match$"))
    expect(page.locator("#minimap .brush")).to_be_visible()
    page.locator("#minimap").dblclick()
    says(page, f"{len(operations)} operations")


def test_links_to_jaeger_are_there_only_when_its_address_is_known(history: History, tmp_path: Path) -> None:
    """And an address that is none is refused: a link must not become a script."""
    from dbbtrace.errors import UsageError

    run_id, html = page_of(history, tmp_path)
    assert f'href="{JAEGER}/trace/{run_id.replace("-", "")}"' in html
    (tmp_path / "w.db").unlink()
    assert "Jaeger</a>" not in page_of(history, tmp_path, jaeger_url=None)[1]
    for wrong in ("javascript:alert(1)", "jaeger:16686", "http://[::1"):
        (tmp_path / "w.db").unlink()
        with pytest.raises(UsageError, match="16686"):
            page_of(history, tmp_path, jaeger_url=wrong)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(history: History, tmp_path: Path, reader: Reader, scheme: str) -> None:
    """As the reader's system is; the words of every status can be read on both."""
    _, html = page_of(history, tmp_path)
    page = reader.open(html, color_scheme=scheme)
    background = [
        int(part) for part in re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))
    ]
    assert (sum(background) > 600) == (scheme == "light")


def test_on_a_phone_nothing_is_cut_off(history: History, tmp_path: Path, reader: Reader) -> None:
    """Nothing sticks out sideways; a tap shows an operation from below."""
    _, html = page_of(history, tmp_path)
    page = reader.open(html, width=360, height=740, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator(".space .row:not(.group)").first.tap()
    expect(page.locator("#detail")).to_be_visible()
    box = page.locator("#detail").bounding_box()
    assert box["width"] == 360
    assert box["y"] + box["height"] == pytest.approx(740, abs=1)


def test_on_paper_every_row_stands(history: History, tmp_path: Path, reader: Reader) -> None:
    """All operations and all messages, no tools; afterwards the screen is as before."""
    run_id = history.loads[-1]["orchestration_run_id"]
    for row in [row for row in history.loads if row["orchestration_run_id"] == run_id][:6]:
        row |= {"status": "Failed", "error_message": "the disk is full"}
    run_id, html = page_of(history, tmp_path)
    total = len(operations_of(history, run_id))
    page = reader.open(html)
    folded = page.locator("#failures details:not([open])").count()
    assert folded > 2
    page.evaluate(
        "addEventListener('beforeprint', () => { window.printed = document.querySelectorAll('.space .row').length;"
        " window.folded = document.querySelectorAll('details:not([open])').length; })"
    )
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    assert page.evaluate("window.printed") == total + page.locator(".space .group").count()
    assert page.evaluate("window.folded") == 0
    expect(page.locator("#failures details:not([open])")).to_have_count(folded)
    page.emulate_media(media="print")
    expect(page.locator("#tools")).to_be_hidden()
    page.emulate_media(media="screen")
    page.wait_for_selector("#row-0")
    expect(page.locator("#tools")).to_be_visible()


def test_counts_are_of_outcomes(history: History, tmp_path: Path, reader: Reader) -> None:
    """What the run did again later stands in the list and is counted apart; head, groups and chips agree."""
    run_id = history.loads[-1]["orchestration_run_id"]
    nodes = [row for row in history.nodes if row["orchestration_run_id"] == run_id]
    done = [row for row in nodes if row["unique_id"] in ("model.shop.model_000", "model.shop.model_001")]
    for number, row in enumerate(done):
        row |= {"status": "error", "error_type": "dbt.error", "message": "at first it did not work"}
        history.nodes.append({**row, "record_id": f"again {number}", "invocation_id": "again", "status": "success",
                              "error_type": None, "generated_at": "2027-01-01 00:00:00.000000"})  # fmt: skip
    run_id, html = page_of(history, tmp_path)
    operations = operations_of(history, run_id)
    outcomes = [o for o in operations if not o["superseded"]]
    failed = sum(o["status"] == "Failed" for o in outcomes)
    assert len(operations) - len(outcomes) == 2
    page = reader.open(html)
    assert page.inner_text("#waterfall h2") == f"All operations ({len(outcomes)}, and 2 done again later)"
    says(page, f"{len(outcomes)} operations, and 2 done again later")
    groups = page.locator(".space .group .label").all_inner_texts()
    in_dbt = [o["status"] for o in outcomes if o["workload"] == "transformation"]
    (said,) = [group for group in groups if "transformation" in group]
    bad = f", {in_dbt.count('Failed')} failed" if "Failed" in in_dbt else ""
    assert said.endswith(f"transformation ({len(in_dbt)}{bad}, 2 done again)")
    chips = page.locator(".chip").all_inner_texts()
    assert f"✗ Failed {failed}" in chips
    assert "↻ Done again 2" in chips
    page.get_by_role("button", name=f"Failed {failed}").click()
    says(page, f"{failed} of {len(outcomes)} operations match")
    page.get_by_role("button", name="Done again 2").click()
    says(page, f"{failed} of {len(outcomes)} operations match, and 2 done again later")
    page.get_by_role("button", name=f"Failed {failed}").click()
    expect(page.locator(".space .row.again")).to_have_count(2)
    expect(page.locator(".space .row:not(.group):not(.again)")).to_have_count(0)
    assert all("done again later" in row for row in page.locator(".space .row.again .label").all_inner_texts())


def test_an_operation_without_a_name_keeps_none_of_the_others_back(
    history: History, tmp_path: Path, reader: Reader
) -> None:
    """The views name all; should one ever have none, the page works all the same."""
    warehouse = store(history, tmp_path / "w.db")
    report = read_run(warehouse, answers.run_keys(warehouse)[0].run_id)
    warehouse.close()
    nameless: Any = {"name": None, "kind": "model_refresh"}
    operations = [replace(report.operations[0], **nameless), *report.operations[1:]]
    page = reader.open(render_run(replace(report, operations=operations, path=[], failures=[]))[0])
    says(page, f"{len(operations)} operations")
    page.select_option("#sort", "name")
    expect(page.locator(".space")).to_contain_text("(no name)")


def test_a_long_name_without_a_space_breaks_on_a_phone(history: History, tmp_path: Path, reader: Reader) -> None:
    """Product and table as long as their columns allow."""
    for rows in history.rows.values():
        for row in rows:
            row["data_product"] = "Product_" + "x" * 240
    history.loads[-1]["table_name"] = "t" * 255
    _, html = page_of(history, tmp_path)
    page = reader.open(html, width=360, height=740, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("document.querySelector('h1').getBoundingClientRect().right") <= 360


def test_without_scripts_the_most_important_stands(history: History, tmp_path: Path, reader: Reader) -> None:
    """Figures, failures and the critical path are in the file itself."""
    _, html = page_of(history, tmp_path)
    page = reader.open(html, java_script_enabled=False)
    assert "login timeout" in page.inner_text("#failures")
    assert page.locator("#path li").count() > 2
    assert "needs scripts" in page.inner_text("#waterfall")


def test_ten_thousand_operations_stay_smooth(tmp_path: Path, reader: Reader) -> None:
    """Few rows are in the document, wherever one scrolls; a search takes no time that one could feel."""
    history = make(2, seed=1, failing=0.002, size=Size(1500, 6500, 2000, 1), products=("Big",))
    run_id, html = page_of(history, tmp_path)
    total = len(operations_of(history, run_id))
    assert total >= 10_000
    page = reader.open(html)
    says(page, f"{total:,} operations")
    seen = page.evaluate(
        """async () => {
          const view = document.querySelector('.viewport'), most = [];
          for (let step = 0; step <= 40; step += 1) {
            view.scrollTop = (view.scrollHeight / 40) * step;
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            most.push(document.querySelectorAll('.space > .row').length);
          }
          return Math.max(...most);
        }"""
    )
    assert seen < 120
    rows = int(page.get_attribute("[role=treegrid]", "aria-rowcount"))  # scrolled to the end
    expect(page.locator(f"#row-{rows - 2}")).to_be_visible()
    took = page.evaluate(
        """() => {
          const search = document.getElementById('search'), begin = performance.now();
          search.value = 'model_01';
          search.dispatchEvent(new Event('input'));
          return performance.now() - begin;
        }"""
    )
    assert took < 250  # milliseconds; a few on an idle machine


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("opened", [False, True], ids=["closed", "with one in full"])
def test_accessibility(history: History, tmp_path: Path, reader: Reader, scheme: str, opened: bool) -> None:
    """axe finds nothing to complain of: roles, names, contrast, order of headings."""
    from axe_playwright_python.sync_playwright import Axe

    _, html = page_of(history, tmp_path)
    page = reader.open(html, color_scheme=scheme, bypass_csp=True)  # axe is a script that the page would not let run
    if opened:
        page.locator(".space .row.onpath").first.click()
    found = Axe().run(page).response["violations"]
    assert [(v["id"], [n["html"][:120] for n in v["nodes"][:3]]) for v in found] == []


def test_the_page_lets_no_other_script_run(history: History, tmp_path: Path, reader: Reader) -> None:
    """Should anything ever slip through as markup, the page's own policy stops it."""
    _, html = page_of(history, tmp_path)
    assert "default-src &#39;none&#39;" in html
    page = reader.open(html)
    page.evaluate(
        """() => {
          const script = document.createElement('script');
          script.textContent = 'window.ran = true';
          document.body.append(script);
          document.body.insertAdjacentHTML('beforeend', '<img src="data:," onerror="window.ran = true">');
        }"""
    )
    page.wait_for_timeout(100)
    assert page.evaluate("window.ran") is None
    complaints, reader.complaints[:] = list(reader.complaints), []
    assert all("Content Security Policy" in complaint for complaint in complaints)
    assert complaints


def test_attempts_that_failed_are_shown_with_their_errors(tmp_path: Path, reader: Reader) -> None:
    """In the detail of the operation that was tried again, as text whatever they say; nowhere else."""
    url = f"sqlite:///{tmp_path}/w.db"
    dbbtrace.configure(warehouse=url, journal_dir=tmp_path / "journal", rows_timeout=30)
    with dbbtrace.orchestration_run("0f8fad5b-d9cb-469f-a165-70867728950e", data_product="Shop") as run:
        with dbbtrace.table_load("Customer", schema="mdm", source="MDS") as load:
            for attempt in load.attempts(3):
                with attempt:
                    if attempt.number < 3:
                        raise TimeoutError(f"no answer <img src=x onerror=alert({attempt.number})>")
        with dbbtrace.table_load("Vendor", schema="mdm", source="MDS"):
            pass
    dbbtrace.shutdown()
    with dbbtrace.open_warehouse(url) as warehouse:
        page = reader.open(run_page(warehouse, run.run_id))
    page.locator(".space .row .label", has_text="mdm.Customer").click()
    tries = page.locator("#detail h3:has-text('Attempts that failed') + ul li")
    expect(tries).to_have_text(
        [f"attempt {number}: TimeoutError: no answer <img src=x onerror=alert({number})>" for number in (1, 2)]
    )
    expect(page.locator("#detail img")).to_have_count(0)
    page.keyboard.press("Escape")
    page.locator(".space .row .label", has_text="mdm.Vendor").click()
    expect(page.locator("#detail h3").first).to_contain_text("mdm.Vendor")
    expect(page.locator("#detail h3:has-text('Attempts')")).to_have_count(0)
