"""Under failing file operations no row is lost or doubled, and ``flush()`` never says True too early."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.injector import KINDS

ROOT = Path(__file__).parents[2]
ERRORS = {
    "open": ("EMFILE", "EIO", "EACCES", "ESTALE", "ENOSPC"),
    "read": ("EIO", "ESTALE", "ETIMEDOUT"),
    "write": ("ENOSPC", "EIO", "ESTALE"),
    "list": ("EIO", "EMFILE", "EACCES", "ESTALE"),
    "stat": ("EACCES", "EIO", "ESTALE"),
    "rename": ("EIO", "EACCES"),
    "unlink": ("EIO", "EACCES"),
    "make": ("ENOSPC", "EACCES"),
    "sync": ("EIO",),
    "touch": ("EACCES",),
}
"""Kind of operation → the errors it meets; the first one in every test run, all of them in the long one."""
NEVER = {"recover": ("make", "sync", "touch")}
"""Scenario → kinds of operation that don't occur in it."""
COUNTS = {"job": ("1",), "segments": ("7",), "recover": ("1", "7")}
"""Scenario → how many operations in a row fail in every test run."""
MANY = ("1", "3", "20")
"""And in the long one."""
SCENARIOS = [(scenario, kind) for scenario in COUNTS for kind in ERRORS if kind not in NEVER.get(scenario, ())]


def check(folder: Path, *arguments: str) -> None:
    """Run the cases of these arguments; fail with those that went wrong."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.run", str(folder), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) > 1, f"no such operation was met: {found}\n{done.stderr[-2000:]}"
    wrong = [each for each in found if any(each[what] for what in ("code", "repaired", "lost", "doubled", "lied"))]
    assert not wrong, f"{len(wrong)} of {len(found)} cases: {wrong[:3]}\n{done.stderr[-2000:]}"
    missed = [each["first"] for each in found[1:] if not each["failed"]]
    assert len(missed) <= len(found) // 2, f"too few operations were met: {missed}"


def test_every_kind_of_operation_is_tried() -> None:
    """The table of errors has all kinds that the injector knows."""
    assert set(ERRORS) == set(KINDS)


@pytest.mark.skipif(sys.platform != "linux", reason="the injector asks /proc")
@pytest.mark.parametrize(
    ("scenario", "kind", "error", "count"),
    [(scenario, kind, ERRORS[kind][0], count) for scenario, kind in SCENARIOS for count in COUNTS[scenario]],
)
def test_nothing_is_lost_while_operations_fail(
    tmp_path: Path, scenario: str, kind: str, error: str, count: str
) -> None:
    """One operation fails, or seven in a row; afterwards each load has exactly one row."""
    check(tmp_path, scenario, kind, error, count)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform != "linux", reason="the injector asks /proc")
@pytest.mark.parametrize("count", MANY)
@pytest.mark.parametrize(
    ("scenario", "kind", "error"), [(scenario, kind, error) for scenario, kind in SCENARIOS for error in ERRORS[kind]]
)
def test_whichever_operation_fails(tmp_path: Path, scenario: str, kind: str, error: str, count: str) -> None:
    """The same for each operation there is, and each error."""
    check(tmp_path, scenario, kind, error, count, "all")
