"""The built wheel and environments to install it into: real ones, so slow; made once a session."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import binaries, programs  # noqa: F401  # a real Collector

REPOSITORY = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here share their environments, so one worker of pytest-xdist runs them."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("packaging"))
            item.add_marker(pytest.mark.timeout(900))


@dataclass(frozen=True)
class Venv:
    """A virtual environment, apart from the one that runs the tests."""

    path: Path

    def run(self, *command: str | Path, cwd: Path | None = None) -> str:
        """What the command printed to stdout; the test fails with all it printed if it fails."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            "PATH": os.pathsep.join([str(self.path / "bin"), os.environ["PATH"]]),
            "VIRTUAL_ENV": str(self.path),
        }
        program = shutil.which(command[0], path=environment["PATH"]) or str(command[0])
        done = subprocess.run(
            [program, *map(str, command[1:])], cwd=cwd, env=environment, text=True, capture_output=True
        )
        if done.returncode:
            pytest.fail(f"{command} exited with {done.returncode}\n{done.stdout}\n{done.stderr}", pytrace=False)
        return done.stdout

    def install(self, *requirements: str | Path) -> None:
        """pip install, as a user would."""
        self.run("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)

    def versions(self) -> dict[str, str]:
        """Installed distributions and their versions."""
        listed = self.run("python", "-m", "pip", "list", "--format", "json", "--disable-pip-version-check")
        return {entry["name"].lower(): entry["version"] for entry in json.loads(listed)}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist as a release is."""
    target = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", target, REPOSITORY],
        check=True,
        capture_output=True,
        text=True,
    )
    [built] = target.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def make_venv(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Venv]:
    """``make_venv(requirement, ..., newest_python=(3, 12))``: a fresh environment with these installed."""

    def make(*requirements: str | Path, newest_python: tuple[int, int] = (3, 99)) -> Venv:
        venv = Venv(tmp_path_factory.mktemp("venv"))
        subprocess.run([_python(newest_python), "-m", "venv", venv.path], check=True, capture_output=True)
        venv.install(*requirements)
        return venv

    return make


def _python(newest: tuple[int, int]) -> str:
    """This interpreter where it is old enough, otherwise the newest one found that is."""
    if sys.version_info[:2] <= newest:
        return sys.executable
    for minor in range(newest[1], 9, -1):
        name = f"python3.{minor}"
        if shutil.which(name) and not subprocess.run([name, "-m", "venv", "-h"], capture_output=True).returncode:
            return name
    pytest.skip(f"no Python {newest[0]}.{newest[1]} or older on this machine")


@pytest.fixture(scope="session")
def plain(wheel: Path, make_venv: Callable[..., Venv]) -> Venv:
    """An environment with the wheel and no extras: the newest of everything it needs."""
    return make_venv(wheel)
