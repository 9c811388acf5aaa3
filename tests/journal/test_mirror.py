"""A copy of the journal on a mount that outlives the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dbbtrace.delivery import Delivery, recover
from dbbtrace.errors import TransientError
from dbbtrace.journal import mirror
from dbbtrace.model import attributes as key
from dbbtrace.warehouse import open_warehouse
from tests.cli.support import run
from tests.delivery.support import Backend, load, orphaned, to, tracer_of
from tests.delivery.test_backends import wait_until


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies as often as a test can wait for."""
    monkeypatch.setattr(mirror.Mirror.__init__, "__defaults__", (0.02,))


def lines(root: Path) -> bytes:
    """What stands in the segments of the only journal there."""
    return b"".join(path.read_bytes() for path in sorted(root.glob("*/*.jsonl")))


def test_the_copy_is_a_journal_that_another_machine_recovers(tmp_path: Path) -> None:
    """The machine is gone with its disk: what had ended is delivered from the copy, what ran is closed."""
    local, mount = tmp_path / "local", tmp_path / "mount"
    backend, heir = Backend(), Backend()
    backend.down = TransientError("down")
    delivery = Delivery([to(backend)], journal_dir=local, mirror=mount, segment_bytes=2_000)
    tracer = tracer_of(delivery)
    running = tracer.start_span("running")
    delivery.emit([load(number) for number in range(20)])
    wait_until(lambda: lines(mount) == lines(local) != b"")
    (copy,) = mount.iterdir()
    orphaned(copy)
    recover(mount, lambda name: to(heir))
    assert heir.names == [*(f"span {number}" for number in range(20)), "running"]
    assert (heir.stored[-1].attributes or {})[key.ERROR_TYPE] == "Interrupted"
    backend.down = None
    running.end()
    assert delivery.flush(10)
    assert len(backend.stored) == 21
    delivery.shutdown()


def test_what_was_delivered_leaves_no_copy(tmp_path: Path) -> None:
    """Segments that all have acknowledged go there too, and at the end the whole journal."""
    local, mount = tmp_path / "local", tmp_path / "mount"
    backend = Backend()
    delivery = Delivery([to(backend)], journal_dir=local, mirror=mount, segment_bytes=2_000)
    running = tracer_of(delivery).start_span("running")
    for first in range(0, 100, 10):
        delivery.emit([load(number) for number in range(first, first + 10)])
        assert delivery.flush(10)
    wait_until(lambda: lines(mount) == lines(local) != b"" and len(list(mount.glob("*/*.jsonl"))) == 1)
    running.end()
    delivery.shutdown()
    wait_until(lambda: list(mount.iterdir()) == [])


def test_a_mount_that_cannot_be_written_is_said_and_harms_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Delivery goes on as if there were no copy."""
    obstacle = tmp_path / "mount"
    obstacle.write_text("in the way")
    backend = Backend()
    delivery = Delivery([to(backend)], journal_dir=tmp_path / "local", mirror=obstacle)
    delivery.emit([load(0)])
    assert delivery.flush(10)
    wait_until(lambda: "can't be copied" in caplog.text or not list((tmp_path / "local").iterdir()))
    delivery.shutdown()
    assert backend.names == ["span 0"]


def test_a_job_names_the_directory_by_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job is killed and its disk gone: whoever recovers from the copy writes its rows to its warehouse."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", f"sqlite:///{tmp_path}/w.db")
    job = subprocess.Popen(
        [sys.executable, "-c", _KILLED],
        env={**os.environ, "DBBTRACE_JOURNAL_DIR": "local", "DBBTRACE_JOURNAL_MIRROR": "mount"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert job.stdout
    assert job.stdout.readline() == "copied\n"
    job.kill()
    job.communicate()
    shutil.rmtree("local")
    monkeypatch.setenv("DBBTRACE_JOURNAL_DIR", "mount")
    assert run("recover").code == 0
    with open_warehouse(f"sqlite:///{tmp_path}/w.db") as warehouse:
        rows = warehouse.query("SELECT table_name, status, error_type FROM meta.monitoring_integration").rows
    assert rows == [("Customer", "Failed", "Interrupted")]


_KILLED = """
import pathlib, time
from dbbtrace.journal import mirror
mirror.Mirror.__init__.__defaults__ = (0.02,)
import dbbtrace
dbbtrace.join_run("0f8fad5b-d9cb-469f-a165-70867728950e").start()
dbbtrace.table_load("Customer").start()
def size(root):
    return sum(file.stat().st_size for file in pathlib.Path(root).glob("*/*.jsonl"))
while not 0 < size("local") == size("mount"):
    time.sleep(0.01)
print("copied", flush=True)
time.sleep(600)
"""


def test_a_journal_is_not_copied_into_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody named the journal's own directory, by another path: it does not grow, and that is said."""
    (tmp_path / "mount").symlink_to(tmp_path / "local")
    backend = Backend()
    backend.down = TransientError("down")
    delivery = Delivery([to(backend)], journal_dir=tmp_path / "local", mirror=tmp_path / "mount")
    delivery.emit([load(number) for number in range(20)])
    wait_until(lambda: "it is the journal's own directory" in caplog.text)
    assert lines(tmp_path / "local").count(b'"end"') == 20
    backend.down = None
    assert delivery.flush(20)
    assert len(backend.names) == 20
    delivery.shutdown()
