"""Where answers are written to: files, stdout, terminals; and how many of a thing is said."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path

import pytest

from dbbtrace.answers.readable import counted, one_line
from tests.answers.history import Size, make, store
from tests.cli.support import HOSTILE, assert_one_line, run


@pytest.fixture(autouse=True)
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """One run of a product with a hostile name, its refresh missing."""
    history = make(1, seed=1, failing=0, size=Size(2, 2, 1, 0), products=(HOSTILE,))
    store(history, tmp_path / "w.db").close()
    url = f"sqlite:///{tmp_path}/w.db"
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", url)
    monkeypatch.chdir(tmp_path)
    return url


@pytest.mark.parametrize("form", ["text", "csv", "json"])
def test_a_dash_is_stdout(form: str) -> None:
    """As everywhere; no file of that name is made."""
    done = run("audit", "--format", form, "-o", "-")
    assert done.code == 0
    assert done.out == run("audit", "--format", form).out
    assert done.err == ""
    assert not Path("-").exists()
    assert run("report", "last", "-o", "-").out.startswith("<!doctype html>")
    assert_one_line(run("audit", "--format", "parquet", "-o", "-"), "audit.parquet")


@pytest.mark.parametrize("form", ["text", "csv", "json", "parquet"])
def test_a_directory_that_is_not_there_is_named(form: str) -> None:
    """In one line, before any work is done."""
    assert_one_line(run("audit", "--format", form, "-o", "/nonexistent/x"), "no directory /nonexistent")
    assert_one_line(run("report", "last", "-o", "/nonexistent/x"), "no directory /nonexistent")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_what_can_not_be_written_is_told() -> None:
    """A full disk is one line."""
    assert_one_line(run("audit", "-o", "/dev/full"), "can't write /dev/full")
    assert_one_line(run("report", "last", "-o", "/dev/full"), "can't write /dev/full")


def test_files_are_written_and_said(tmp_path: Path) -> None:
    """With how much is in them."""
    done = run("audit", "--format", "json", "-o", "a.json")
    assert done.err == "1 run, 1 gap: a.json\n"
    assert len(json.loads(Path("a.json").read_text(encoding="utf-8"))["runs"]) == 1
    assert run("report", "last", "-o", "run.html").err.split(": ")[1].endswith(" kB\n")
    assert "1 run, 1 gap:\n" in run("audit").out


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminal")
def test_csv_on_a_terminal_obeys_nothing(warehouse: str) -> None:
    """Control characters are spelled out there; to a pipe or a file they go as they are."""
    import pty
    import subprocess

    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "dbbtrace", "audit", "--format", "csv"]
    environment = {**os.environ, "DBBTRACE_WAREHOUSE": warehouse}
    with subprocess.Popen(command, stdout=follower, stdin=subprocess.DEVNULL, env=environment) as process:
        os.close(follower)
        shown = b""
        try:
            while part := os.read(leader, 65536):
                shown += part
        except OSError:  # how Linux says that the other end is closed
            pass
    os.close(leader)
    assert process.returncode == 0
    text = shown.decode().replace("\r\n", "\n")
    assert not set("\x1b\u202e\x07\r") & set(text)
    assert r"\x1b[31m" in text
    (row,) = csv.DictReader(io.StringIO(run("audit", "--format", "csv").out))
    assert row["data_product"] == HOSTILE


@pytest.mark.parametrize(("number", "said"), [(0, "0 gaps"), (1, "1 gap"), (2, "2 gaps"), (1200, "1,200 gaps")])
def test_one_is_not_many(number: int, said: str) -> None:
    """As people say it."""
    assert counted(number, "gap") == said


@pytest.mark.parametrize(
    ("change", "said"), [(-0.001, "+0%"), (0.001, "+0%"), (-0.006, "-1%"), (0.5, "+50%"), (12.0, "x13.0")]
)
def test_nothing_is_no_less_than_nothing(change: float, said: str) -> None:
    """A change of nothing has one spelling; one of many times is told as such."""
    from dbbtrace.cli.slowest import _change

    assert _change(change) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Error\nLINE 1: FROM b\n             ^^", "Error LINE 1: FROM b"),
        ("LINE 1: a\r\n  ~~^~~\r\nhint", "LINE 1: a hint"),
        ("2 ^ 3", "2 ^ 3"),
        ("^", "^"),
        ("a\n--\nb", "a -- b"),
    ],
)
def test_a_pointer_into_the_line_above_is_not_on_one_line(text: str, said: str) -> None:
    assert one_line(text) == said
