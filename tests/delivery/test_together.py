"""What many jobs left is delivered in few batches, and each journal is settled on its own account."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter

from dbbtrace.delivery import Destination, dead_letters, recover, worker
from dbbtrace.errors import RefusedError, TransientError
from tests.delivery.support import Backend, left_behind, load, to
from tests.delivery.test_backends import wait_until

JOURNALS = 30


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Journals with two spans each; a batch is filled from them, however long reading takes."""
    monkeypatch.setattr(worker, "_GATHERING", 600.0)
    found = []
    for number in range(JOURNALS):
        path = left_behind(tmp_path, [load(2 * number), load(2 * number + 1)])
        parts = path.name.split(".")
        parts[3] = str(4194305 + number)  # in this order they are found
        found.append(path.rename(path.with_name(".".join(parts))))
    return found


def once_all_are_adopted(root: Path, backend: Backend) -> Destination:
    """A destination that opens when no journal waits for an adopter any more."""

    def make() -> SpanExporter:
        wait_until(lambda: all("@" in name for name in os.listdir(root)))
        return backend

    return Destination("memory://a", make, True)


def test_small_journals_are_delivered_together(tmp_path: Path, left: list[Path]) -> None:
    """Each span once, and all journals are gone; a backend is not asked for each of them."""
    backend = Backend()
    destination = once_all_are_adopted(tmp_path, backend)
    done = recover(tmp_path, lambda name: destination)
    assert done.journals == JOURNALS
    assert backend.names == [f"span {number}" for number in range(2 * JOURNALS)]
    assert len(backend.calls) <= 4
    assert list(tmp_path.iterdir()) == []


def test_what_one_journal_holds_is_refused_alone(tmp_path: Path, left: list[Path]) -> None:
    """A span that is refused goes to the dead letters; its neighbours, of all journals, are stored."""
    refused = RefusedError("no")
    backend = Backend(poison=lambda span: refused if span.name == "span 7" else None)
    destination = once_all_are_adopted(tmp_path, backend)
    done = recover(tmp_path, lambda name: destination)
    assert done.refused == 1
    assert set(backend.names) == {f"span {number}" for number in range(2 * JOURNALS)} - {"span 7"}
    assert [letter.span.name for letter in dead_letters(tmp_path)] == ["span 7"]
    assert [path.name for path in tmp_path.iterdir()] == ["dead-letters"]


def test_of_a_batch_that_fails_nothing_is_settled(tmp_path: Path, left: list[Path]) -> None:
    """All of it is taken again, from each journal."""
    backend = Backend(None, TransientError("down"), TransientError("down"))
    destination = once_all_are_adopted(tmp_path, backend)
    assert recover(tmp_path, lambda name: destination).is_complete
    assert sorted(backend.names) == sorted(f"span {number}" for number in range(2 * JOURNALS))
    assert list(tmp_path.iterdir()) == []


def test_a_journal_that_goes_meanwhile_takes_no_other_with_it(tmp_path: Path, left: list[Path]) -> None:
    """Another process takes one over while the batch is under way: it delivers that one again, and no other."""

    class Slow(Backend):
        def deliver(self, spans: Sequence[ReadableSpan]) -> None:
            for path in tmp_path.iterdir():
                if path.name.startswith(left[0].name) and not path.name.endswith("@nobody"):
                    path.rename(path.with_name(f"{left[0].name}@nobody"))
            super().deliver(spans)

    backend = Slow()
    destination = once_all_are_adopted(tmp_path, backend)
    recover(tmp_path, lambda name: destination)
    assert [path.name for path in tmp_path.iterdir()] == [f"{left[0].name}@nobody"]
    assert sorted(backend.names) == sorted(f"span {number}" for number in range(2 * JOURNALS))
    again = Backend()
    assert recover(tmp_path, lambda name: to(again)).is_complete
    assert again.names == ["span 0", "span 1"]
    assert list(tmp_path.iterdir()) == []
