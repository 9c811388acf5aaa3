"""The real programs: built once, started on free ports, always stopped. See build-binaries.sh for what they are."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.programs import Binaries, Programs

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker runs these tests, one after another: each starts several programs. Building takes minutes, once."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("e2e"))
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    """Jaeger, the Collector, Prometheus and the reader of Compose files."""
    if shutil.which("go") is None:
        pytest.skip("Go is not installed: the real Jaeger, Collector and Prometheus can't be built")
    built = subprocess.run([HERE / "build-binaries.sh"], capture_output=True, text=True, check=False)
    assert built.returncode == 0, f"build-binaries.sh failed:\n{built.stderr}"
    return Binaries(Path(built.stdout.strip()))


@pytest.fixture
def programs(binaries: Binaries, tmp_path: Path) -> Iterator[Programs]:
    """What starts programs, and stops them at the end of the test."""
    started = Programs(binaries, tmp_path)
    try:
        yield started
    finally:
        started.stop()
