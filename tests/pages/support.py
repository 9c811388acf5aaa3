"""Histories as pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dbbtrace import answers
from dbbtrace.pages import run_page
from dbbtrace.pages.site import Site
from dbbtrace.warehouse import Warehouse
from tests.answers import expected
from tests.answers.history import History, Row, store
from tests.support.browser import Reader

JAEGER = "http://jaeger.example:16686"


def page_of(history: History, path: Path, *, jaeger_url: str | None = JAEGER) -> tuple[str, str]:
    """Run id and page of the newest run of the history."""
    warehouse = store(history, path / "w.db")
    run_id = answers.run_keys(warehouse)[0].run_id
    html = run_page(warehouse, run_id, jaeger_url=jaeger_url)
    warehouse.close()
    return run_id, html


def operations_of(history: History, run_id: str) -> list[Row]:
    """The run's operations, computed independently."""
    return [o for o in expected.operations(history.rows) if o["orchestration_run_id"] == run_id]


def made(warehouse: Warehouse, folder: Path, **options: Any) -> Path:
    """The folder of linked pages."""
    Site(folder, **options).make(warehouse)
    return folder


def visit(reader: Reader, site: Path, name: str = "index.html", behind: str = "", **options: Any) -> Any:
    """A page of the folder, opened from the disk; ``behind`` is the end of its address, from the #."""
    return reader.visit(site / name, site.as_uri(), behind=behind, **options)


def run_with_failure(warehouse: Warehouse) -> str:
    """The page of the newest failed run of One."""
    run = next(run for run in answers.runs(warehouse, data_product="One") if run.failed)
    return f"runs/{run.run_id.replace('-', '')}.html"


def drawn(page: Any) -> Any:
    """The boxes of the graph, once it is drawn."""
    page.locator("#lineage").scroll_into_view_if_needed()
    page.wait_for_selector("#graph svg")
    return page.locator("#graph .box")
