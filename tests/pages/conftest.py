"""Two products with a failure, and the folder of pages made of them: made once, and only read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dbbtrace.warehouse import Warehouse
from tests.answers.history import Size, make, store
from tests.pages.support import made


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """Twelve runs of two products; in the newest of One a load failed, and a model was built all the same."""
    history = make(12, seed=5, failing=0.02, size=Size(6, 16, 4, 1), products=("One", "Two"))
    last = next(row for row in reversed(history.loads) if row["data_product"] == "One")["orchestration_run_id"]
    load = next(row for row in history.loads if row["orchestration_run_id"] == last)
    load |= {"status": "Failed", "error_type": "TimeoutError", "error_message": "the source of Customer slept"}
    opened = store(history, tmp_path_factory.mktemp("two products") / "w.db")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def site(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of pages of these runs."""
    return made(warehouse, tmp_path_factory.mktemp("pages") / "site")
