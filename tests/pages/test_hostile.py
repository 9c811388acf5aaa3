"""Names and messages that try to be more than text: on every page they show as they are, and nothing comes of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dbbtrace.answers import run_keys
from dbbtrace.pages import overview_page, run_page
from tests.answers.history import History, Size, make, store
from tests.support.browser import Reader

pytestmark = pytest.mark.xdist_group("browser")

HOSTILE = {
    "markup": "<img src=x onerror=window.pwned=1><b>bold</b>",
    "script": "</script><script>window.pwned=1</script><!--",
    "quotes": '"\'><svg onload=window.pwned=1> it\'s "so"',
    "escape codes": "red\x1b[31m\x07 \x9b2J",
    "right to left": "invoice\u202efdp.exe\u2066\u200f",
    "template": "${window.pwned=1} {{7*7}} #{1} <% x %>",
    "separators": "a\u2028b\u2029c",
    "surrogate": "half \ud800 of a letter",
    "entity": "&lt;b&gt; &amp;amp; &#x3c;",
}
SHOWN = {
    "escape codes": r"red\x1b[31m\x07 \x9b2J",
    "right to left": r"invoice\u202efdp.exe\u2066\u200f",
    "separators": r"a\u2028b\u2029c",
}
"""How they show, where it is not letter for letter."""


def stored(text: str) -> str:
    """The text as the writer stores it: no half letters."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def poisoned(text: str) -> History:
    """Two runs in which every text is this one."""
    clean = stored(text)
    history = make(2, seed=1, failing=0, size=Size(3, 4, 2, 1), products=(clean,))
    for place, row in enumerate([*history.loads, *history.nodes, *history.refreshes]):
        row |= {"error_type": clean, "error_message": f"{clean}\n{clean}", "environment": clean, "data_product": clean}
        for name in ("table_name", "schema_name", "source_name", "semantic_model_name"):
            if name in row:
                row[name] = f"{clean}{place if name == 'table_name' else ''}"
        if "unique_id" in row:
            row["message"] = clean
            row["resource_type"] = clean
            row["item_name"] += clean
            row["unique_id"] += clean
            row["depends_on"] = json.dumps([f"{parent}{clean}" for parent in json.loads(row["depends_on"])])
        if place % 3 == 0:
            row["status"] = "Failed" if "table_name" in row else "error"
        elif place % 7 == 0:
            row["status"] = clean
    return history


def quiet(page: Any) -> None:
    """Nothing ran, nothing became an element."""
    assert page.evaluate("window.pwned") is None
    assert page.locator("img, svg[onload], script[src], iframe").count() == 0
    assert page.locator("b").filter(has_text=re.compile("^bold$")).count() == 0


@pytest.mark.parametrize("kind", HOSTILE)
def test_the_page_of_a_run(tmp_path: Path, reader: Reader, kind: str) -> None:
    """In the title, the head, the failures, the path, the grid and the panel."""
    text = HOSTILE[kind]
    shown = SHOWN.get(kind, stored(text))
    warehouse = store(poisoned(text), tmp_path / "w.db")
    html = run_page(warehouse, run_keys(warehouse)[0].run_id, jaeger_url="http://j")
    page = reader.open(html)
    assert " ".join(shown.split()) in " ".join(page.title().split())
    assert shown in page.locator("h1").text_content()
    assert shown in page.locator(".failure pre").first.text_content()
    assert shown in page.locator("#path .name").first.text_content()
    assert page.locator(".space .row .label").filter(has_text=shown).count() > 3
    page.locator(".space .row:not(.group)").first.click()
    page.wait_for_selector("#detail pre")
    assert shown in page.locator("#detail pre").text_content()
    # Source, kind and words take another way than names and messages do.
    assert not set("\x1b\x07\x9b\u202e\u2066\u200f\u2028\u2029") & set(page.locator("#detail").text_content())
    quiet(page)
    html.encode("utf-8")


@pytest.mark.parametrize("kind", HOSTILE)
def test_the_overview(tmp_path: Path, reader: Reader, kind: str) -> None:
    """In its charts and all of its tables."""
    text = HOSTILE[kind]
    shown = SHOWN.get(kind, stored(text))
    warehouse = store(poisoned(text), tmp_path / "w.db")
    page = reader.open(overview_page(warehouse, jaeger_url="http://j"))
    for section in ("products", "offenders", "runs"):
        assert shown in page.locator(f"#{section} tbody").text_content(), section
    assert shown in page.locator("figcaption").first.text_content()
    quiet(page)


def test_a_mark_that_turns_the_direction_turns_nothing(tmp_path: Path, reader: Reader) -> None:
    """The letters around a hostile name stand where they belong."""
    warehouse = store(poisoned(HOSTILE["right to left"]), tmp_path / "w.db")
    html = run_page(warehouse, run_keys(warehouse)[0].run_id)
    assert not set("\u202e\u2066\u200f") & set(html)
