"""Users who check types get good ones: what they write passes, and their mistakes don't."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("types")
"""mypy takes long: one worker asks it, once."""
HERE = Path(__file__).parent
COMMENTED = re.compile(r"\S.*  # (.+)")


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What mypy --strict says of both modules, with none of this project's settings."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        f"--cache-dir={tmp_path_factory.mktemp('mypy')}",
    ]
    command += [str(HERE / "user_module.py"), str(HERE / "mistakes.py")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280).stdout


def comments(module: str) -> dict[str, str]:
    """Line number → comment behind the line."""
    lines = (HERE / module).read_text().splitlines()
    return {str(number): match[1] for number, line in enumerate(lines, 1) if (match := COMMENTED.search(line))}


def test_a_typed_job_passes_and_its_types_are_the_documented_ones(said: str) -> None:
    """Each reveal_type says behind it what it reveals."""
    assert not re.search(r"user_module\.py:\d+: error:", said), said
    revealed = dict(re.findall(r"user_module\.py:(\d+): note: Revealed type is \"(.+)\"", said))
    expected = comments("user_module.py")
    assert revealed.keys() == expected.keys()
    for number, kind in expected.items():
        assert re.sub(r"\b(builtins|typing|dbbtrace(\.\w+)+)\.", "", revealed[number]).startswith(kind)


def test_mistakes_do_not_pass(said: str) -> None:
    """A typing error in the name of a value, above all."""
    errors = dict(re.findall(r"mistakes\.py:(\d+): error: (.+)", said))
    expected = comments("mistakes.py")
    assert errors.keys() == expected.keys()
    for number, error in expected.items():
        assert error in errors[number]
