"""docs/views.md says what the views are."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from dbbtrace.warehouse import views
from dbbtrace.warehouse.dialects import SQLITE
from tests.answers.history import make, store
from tests.docs.reference import DOCS


@pytest.fixture(scope="module")
def columns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """View → its columns."""
    path = tmp_path_factory.mktemp("views") / "w.db"
    warehouse = store(make(1), path)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE kpi_reconciliation_history (orchestration_run_id, kpi_name, amount)")
    for statement in views.statements(SQLITE, views.look(warehouse)).values():
        warehouse.query(statement)
    return {view: list(warehouse.query(f"SELECT * FROM meta.{view} LIMIT 0").columns) for view in views.VIEWS}


@pytest.mark.parametrize("view", views.VIEWS)
def test_the_view_is_documented_column_by_column(view: str, columns: dict[str, list[str]]) -> None:
    """Each column once, in the order it has."""
    section = (DOCS / "views.md").read_text(encoding="utf-8").split(f"## meta.{view}\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.M) == columns[view]


def test_each_view_begins_with_what_it_is_for(tmp_path: Path) -> None:
    """Somebody who finds a view in the database can read what it holds."""
    warehouse = store(make(1), tmp_path / "w.db")
    for statement in views.statements(SQLITE, views.look(warehouse)).values():
        assert re.match(r'CREATE VIEW "meta"\."\w+" AS\n-- One row for each ', statement)
