"""The dead-letter files themselves: torn, damaged, written while they are sent again. What is in them is never lost."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from dbbtrace.delivery import dead_letters, memory_log, resend_dead_letters
from dbbtrace.delivery.dead_letter import DeadLetters, claimed_letters, damaged_lines
from dbbtrace.journal import files
from tests.delivery.support import Backend, load, to


def test_a_damaged_letter_is_kept_when_the_others_are_sent_again(tmp_path: Path) -> None:
    """It can't be sent, so it is copied to what a person has to look at before its file is deleted."""
    DeadLetters(str(tmp_path)).write("memory://a", [(load(number), "no") for number in range(3)])
    (path,) = (tmp_path / "dead-letters").glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"table 1"', b'"table\x001"'))
    backend = Backend()
    assert resend_dead_letters(tmp_path, lambda name: to(backend)).delivered == 2
    assert backend.names == ["span 0", "span 2"]
    assert list(dead_letters(tmp_path)) == []
    ((kept, count),) = damaged_lines(tmp_path).items()
    assert count == 1
    assert b"span 1" in Path(kept).read_bytes()


def test_a_torn_letter_swallows_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk took half of a letter, and later takes letters again."""

    def half(fd: int, data: bytes) -> None:
        os.write(fd, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    letters = DeadLetters(str(tmp_path))
    with monkeypatch.context() as full:
        full.setattr(files, "write", half)
        with pytest.raises(OSError, match="No space"):
            letters.write("memory://a", [(load(1), "no")])
    letters.write("memory://a", [(load(1), "no")])
    (letter,) = dead_letters(tmp_path)
    assert letter.span.name == "span 1"


def test_a_letter_that_comes_while_others_are_sent_again_is_kept(tmp_path: Path) -> None:
    """Its writer had the file open when it was renamed."""
    DeadLetters(str(tmp_path)).write("memory://a", [(load(1), "no")])
    (path,) = (tmp_path / "dead-letters").glob("*.jsonl")
    line = path.read_bytes()
    with path.open("ab", buffering=0) as writer:
        with claimed_letters(str(tmp_path)) as letters:
            assert [letter.span.name for letter in letters] == ["span 1"]
            writer.write(line.replace(b"span 1", b"span 2"))
    assert {letter.span.name for letter in dead_letters(tmp_path)} == {"span 1", "span 2"}


def test_more_letters_than_a_job_keeps_in_memory_are_all_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What bounds the memory of a job costs no letter."""
    monkeypatch.setattr(memory_log, "CAPACITY", 3)
    DeadLetters(str(tmp_path)).write("memory://a", [(load(number), "no") for number in range(10)])
    backend = Backend()
    assert resend_dead_letters(tmp_path, lambda name: to(backend)).delivered == 10
    assert len(backend.stored) == 10
