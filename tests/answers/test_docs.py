"""The views say what they are."""

from __future__ import annotations

import re
from pathlib import Path

from dbbtrace.warehouse import views
from dbbtrace.warehouse.dialects import SQLITE
from tests.answers.history import make, store


def test_each_view_begins_with_what_it_is_for(tmp_path: Path) -> None:
    """Somebody who finds a view in the database can read what it holds."""
    warehouse = store(make(1), tmp_path / "w.db")
    for statement in views.statements(SQLITE, views.look(warehouse)).values():
        assert re.match(r'CREATE VIEW "meta"\."\w+" AS\n-- One row for each ', statement)
