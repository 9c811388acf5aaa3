"""A job whose spans stay in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dbbtrace.testing import Captured, capture


@pytest.fixture
def captured() -> Iterator[Captured]:
    """Strict: what a job would only log is raised."""
    with capture() as captured:
        yield captured


@pytest.fixture
def lenient() -> Iterator[Captured]:
    """As a job runs: complaints are logged."""
    with capture(strict=False) as captured:
        yield captured
