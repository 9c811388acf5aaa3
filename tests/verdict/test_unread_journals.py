"""A journal of this machine that can't be read is said to be unknown: by every command, never taken for empty."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import dbbtrace
from tests.cli.support import run
from tests.verdict.situations import RUN, Stage, load, opened

KILLED = """
dbbtrace.configure(rows_timeout=30)
run = dbbtrace.begin_run("another", data_product="Shop", environment="PRD")
"""


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A good run in the warehouse, and a journal that another job left."""
    stage = Stage(tmp_path / "w.db", tmp_path / "journal")
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", stage.url)
    monkeypatch.setenv("DBBTRACE_JOURNAL_DIR", str(stage.journal))
    stage.configure()
    with opened():
        load()
    dbbtrace.shutdown()
    stage.kill(KILLED)
    yield stage
    stage.end()


@pytest.fixture
def unreadable(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> str:
    """The journal's name; its files answer with an error from here on."""
    [journal] = {path.parent for path in stage.journal.glob("*/*.jsonl") if "another" in path.read_text()}
    real = os.open

    def faulty(path: object, *arguments: object, **options: object) -> int:
        if str(path).startswith(str(journal)) and str(path).endswith(".jsonl"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", faulty)
    return journal.name


@pytest.mark.parametrize(
    "command",
    [("check", RUN), ("runs",), ("show", RUN), ("today",), ("watch", "--once"), ("audit",)],
    ids=lambda c: c[0],
)
def test_every_command_says_so_once(unreadable: str, command: tuple[str, ...]) -> None:
    """On stderr, with the journal's name and why."""
    done = run(*command)
    said = [line for line in done.err.splitlines() if "can't be read" in line]
    assert len(said) == 1
    assert unreadable in said[0]
    assert os.strerror(errno.EIO) in said[0]


def test_the_verdict_says_so(unreadable: str) -> None:
    """A run whose record is complete stays what it is; one that is not there may be in that journal."""
    done = run("check", RUN, "--json")
    said = json.loads(done.out)
    assert (said["verdict"], done.code) == ("Succeeded", 0)
    assert [reason["kind"] for reason in said["reasons"]] == ["unknown journal"]
    missing = dbbtrace.verdict("another one")
    assert missing.word == "Unfinished"
    assert [reason.kind for reason in missing.reasons] == ["missing", "unknown journal"]
    assert run("check", "00000000-0000-4000-8000-000000000000").code == 2


def test_a_directory_that_can_not_be_listed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of all journals."""
    real = os.scandir

    def faulty(path: object = ".") -> object:
        if str(path) == str(stage.journal):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "scandir", faulty)
    [reason] = dbbtrace.verdict(RUN).reasons
    assert reason.kind == "unknown journal"
    assert str(stage.journal) in reason.text


def test_a_journal_that_can_be_read_is_no_reason(stage: Stage) -> None:
    """What another run left is another run's."""
    assert dbbtrace.verdict(RUN).reasons == ()
    assert dbbtrace.verdict("another").word == "Unfinished"
    assert "can't be read" not in run("runs").err
