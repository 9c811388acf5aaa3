"""The demo's local server, which answers as Fabric's API does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

import pytest

from dbbtrace.demo.fabric_service import RUN, WORKSPACE, FabricService, load_responses

__all__ = ["ENDED", "RUN", "WORKSPACE", "fabric"]

ENDED = datetime(2025, 11, 20, 7, 5, tzinfo=timezone.utc)
"""When the run of the saved responses ended: before the tests' clock."""


@pytest.fixture
def fabric(monkeypatch: pytest.MonkeyPatch) -> Iterator[FabricService]:
    """The server, with a run that has ended; the settings name it."""
    with FabricService(load_responses(ends_at=ENDED)) as service:
        monkeypatch.setenv("DBBTRACE_FABRIC_URL", service.url)
        monkeypatch.setenv("DBBTRACE_WORKSPACE_ID", WORKSPACE)
        yield service
