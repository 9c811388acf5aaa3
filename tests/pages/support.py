"""Histories as pages."""

from __future__ import annotations

from pathlib import Path

from dbbtrace import answers
from dbbtrace.pages import run_page
from tests.answers import expected
from tests.answers.history import History, Row, store

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
