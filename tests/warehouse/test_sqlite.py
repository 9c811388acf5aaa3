"""The embedded warehouse: a file that several processes write at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from dbbtrace_exporters.warehouse.flatten import rows_of

from dbbtrace.errors import ConfigurationError, RefusedError, TransientError, UsageError
from dbbtrace.warehouse import open_warehouse, urls
from tests.warehouse.spans import RUN, load, node

COUNT = "SELECT COUNT(*) FROM meta.monitoring_integration"


def test_three_slashes_are_relative_four_absolute(tmp_path):
    """As SQLAlchemy has taught everybody; names are absolute."""
    relative = open_warehouse("sqlite:///sub/a.db")
    assert relative.name == f"sqlite:///{tmp_path}/sub/a.db"
    assert open_warehouse(f"sqlite:///{tmp_path}/sub/a.db").name == relative.name


def test_the_file_is_made_on_first_use(tmp_path):
    """With its directory, its tables and their indexes, in WAL mode; not before."""
    warehouse = open_warehouse("sqlite:///sub/dir/a.db")
    assert not (tmp_path / "sub").exists()
    warehouse.write(rows_of(load()))
    with sqlite3.connect(tmp_path / "sub/dir/a.db") as file:
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert file.execute("SELECT COUNT(*) FROM monitoring_integration").fetchone() == (1,)
        assert file.execute("SELECT COUNT(*) FROM sqlite_master WHERE type = 'index'").fetchone() == (14,)
        with pytest.raises(sqlite3.IntegrityError):
            file.execute("INSERT INTO monitoring_integration SELECT * FROM monitoring_integration")


def test_reading_makes_no_file(tmp_path):
    """A path that was mistyped is an error, not an empty warehouse."""
    with pytest.raises(ConfigurationError, match="no such file"):
        open_warehouse("sqlite:///typo.db", create=False).query(COUNT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://a.db", "three slashes"),
        ("sqlite:///", "name a file"),
        ("sqlite:///:memory:", "gone with the process"),
        ("sqlite:////lakehouse/default/Files/a.db", "lakehouse mount"),
        ("sqlite://///server/share/a.db", "network share"),
        ("none", "there is nothing to open"),
        ("postgres://x/y", "names no warehouse"),
        ("warehouse.db", "names no warehouse"),
        ("", "names no warehouse"),
    ],
)
def test_a_url_that_makes_no_sense_says_what_to_write(url, says):
    """Before anything is opened."""
    with pytest.raises(UsageError, match=says):
        open_warehouse(url)


def test_a_directory_is_no_file(tmp_path):
    """The message says so."""
    with pytest.raises(UsageError, match="is a directory"):
        open_warehouse(f"sqlite:///{tmp_path}")


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.blobfuse2", "9p"])
def test_network_mounts_are_refused(tmp_path, monkeypatch, kind):
    """WAL needs shared memory; a symlink does not hide the mount."""
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    mounted = os.path.realpath(tmp_path / "far")
    monkeypatch.setattr(urls, "_file_system", lambda path: kind if path.startswith(mounted) else "ext4")
    with pytest.raises(UsageError, match=f"network mount .{kind}"):
        open_warehouse(f"sqlite:///{tmp_path}/near/a.db")
    open_warehouse(f"sqlite:///{tmp_path}/local.db")


def test_the_file_system_of_a_path_is_known():
    """/proc is of its own kind, the root of another."""
    if not Path("/proc/self/mountinfo").exists():
        pytest.skip("no Python can tell mounts without /proc")
    assert urls._file_system("/proc/self") == "proc"
    assert urls._file_system("/") not in ("", "proc")


WRITER = """
import sys
from dbbtrace.warehouse import open_warehouse
from dbbtrace_exporters.warehouse.flatten import rows_of
from tests.warehouse.spans import RUN, load, node
warehouse = open_warehouse(sys.argv[1])
sys.stdin.readline()
for batch in range(10):
    rows = [row for place in range(20) for row in rows_of(load(f"t{batch}-{place}", IDENTITY=f"{batch}-{place}"))]
    warehouse.write(rows + rows_of(load(f"own {sys.argv[2]} {batch}", span_id=int(sys.argv[2]) * 100 + batch + 1)))
"""


def test_several_processes_write_at_once(tmp_path):
    """The file too is made by whoever comes first; what all of them write stands once, what one writes stands."""
    url = f"sqlite:///{tmp_path}/shared.db"
    root = Path(__file__).parents[2]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, url, str(number)], cwd=root, stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for number in range(4)
    ]
    for process in processes:
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()
    warehouse = open_warehouse(url, create=False)
    assert warehouse.query(f"{COUNT} WHERE table_name LIKE 't%'").rows == [(200,)]
    assert warehouse.query(f"{COUNT} WHERE table_name LIKE 'own%'").rows == [(40,)]


def test_threads_share_a_warehouse(tmp_path):
    """One connection, one at a time."""
    warehouse = open_warehouse(f"sqlite:///{tmp_path}/a.db")
    threads = [
        threading.Thread(target=lambda t=t: [warehouse.write(rows_of(load(span_id=t * 100 + i))) for i in range(1, 20)])
        for t in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warehouse.query(COUNT).rows == [(76,)]


SLOW = "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 1000000) SELECT COUNT(*) FROM c"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no Python forks here")
def test_a_forked_child_opens_its_own_connection(tmp_path):
    """The parent's is not used and not closed, and no lock of a thread that was busy with it is waited for."""
    warehouse = open_warehouse(f"sqlite:///{tmp_path}/a.db")
    warehouse.write(rows_of(load(span_id=1)))
    inherited = warehouse._connection
    asking = threading.Thread(target=lambda: warehouse.query(SLOW))
    asking.start()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(30)  # ends the child where it waits for a lock that nobody holds any more
        warehouse.write(rows_of(load(span_id=2)))
        os._exit(1 if warehouse._connection is inherited else 0)
    _, status = os.waitpid(child, 0)
    asking.join()
    assert status == 0
    warehouse.write(rows_of(load(span_id=3)))
    assert warehouse.query(COUNT).rows == [(3,)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no Python forks here")
def test_a_fork_does_not_wait_for_another_writer(tmp_path, monkeypatch):
    """While the file is locked a write waits, for as long as it takes; a fork goes on, and so does the write after."""
    monkeypatch.setattr("dbbtrace.warehouse.warehouse._PATIENCE", 120.0)
    warehouse = open_warehouse(f"sqlite:///{tmp_path}/a.db")
    warehouse.write(rows_of(load(span_id=1)))
    warehouse._connector.fork_patience = 60.0
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        tried = threading.Event()
        attempt = warehouse._attempt
        monkeypatch.setattr(warehouse, "_attempt", lambda *arguments: (tried.set(), attempt(*arguments))[1])
        writing = threading.Thread(target=lambda: warehouse.write(rows_of(load(span_id=2))))
        writing.start()
        assert tried.wait(60)
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            os._exit(0)
        assert time.monotonic() - began < 30
        os.waitpid(child, 0)
        other.execute("ROLLBACK")
    writing.join(60)
    assert warehouse.query(COUNT).rows == [(2,)]


def test_a_file_that_was_replaced_takes_no_rows_with_it(tmp_path):
    """Rows go to the file that has the name, not to the one that was deleted."""
    path = tmp_path / "a.db"
    warehouse = open_warehouse(f"sqlite:///{path}")
    warehouse.write(rows_of(load()))
    for file in tmp_path.glob("a.db*"):
        file.unlink()
    warehouse.write(rows_of(load("Vendor")))
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT table_name FROM monitoring_integration").fetchall() == [("Vendor",)]


def test_a_locked_file_is_worth_another_try(tmp_path, monkeypatch):
    """After the time that writers wait for each other."""
    monkeypatch.setattr("dbbtrace.warehouse.warehouse._PATIENCE", 0.05)
    warehouse = open_warehouse(f"sqlite:///{tmp_path}/a.db")
    warehouse.write(rows_of(load()))
    with sqlite3.connect(tmp_path / "a.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TransientError, match="locked"):
            warehouse.write(rows_of(load(span_id=2)))
        other.execute("ROLLBACK")
    assert warehouse.write(rows_of(load(span_id=2))) == 1


def test_what_is_no_database_is_said_so(tmp_path):
    """It is a matter for a person, and the file is left as it is."""
    (tmp_path / "a.db").write_bytes(b"not a database, but long enough to look like a header of one" * 20)
    with pytest.raises(ConfigurationError, match="not a database"):
        open_warehouse(f"sqlite:///{tmp_path}/a.db").write(rows_of(load()))


def test_a_directory_that_can_not_be_made_is_said_so(tmp_path):
    """A file is in the way."""
    (tmp_path / "file").touch()
    with pytest.raises((ConfigurationError, UsageError), match="directory"):
        open_warehouse(f"sqlite:///{tmp_path}/file/a.db").write(rows_of(load()))


def test_what_the_database_refuses_costs_itself_alone(tmp_path):
    """The batch is bisected: one row refused, and named; all others stand."""
    warehouse = open_warehouse(f"sqlite:///{tmp_path}/a.db")
    warehouse.migrate()
    with sqlite3.connect(tmp_path / "a.db") as file:
        file.execute(
            "CREATE TRIGGER no BEFORE INSERT ON monitoring_transformation_dbt WHEN NEW.item_name = 'm7'"
            " BEGIN SELECT RAISE(ABORT, 'never m7'); END"
        )
    rows = [row for place in range(20) for row in rows_of(node(f"model.shop.m{place}"))]
    with pytest.raises(RefusedError, match=r"2 rows refused, all others written; .*never m7"):
        warehouse.write(rows)
    assert warehouse.query("SELECT COUNT(*) FROM meta.monitoring_transformation_dbt").rows == [(38,)]


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("writable", [True, False])
def test_who_only_asks_changes_nothing(tmp_path, monkeypatch, mode, writable):
    """A copy that an auditor was given is read as it is, though neither it nor its directory can be written."""
    from dbbtrace.answers import runs

    path = tmp_path / "copy.db"
    with open_warehouse(f"sqlite:///{path}") as warehouse:
        warehouse.write(rows_of(load()))
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute(f"PRAGMA journal_mode={mode}")
    before = path.read_bytes()
    if not writable:
        monkeypatch.setattr("dbbtrace.warehouse.connection.os.access", lambda *arguments: False)
    with open_warehouse(f"sqlite:///{path}", create=False) as warehouse:
        assert [run.run_id for run in runs(warehouse)] == [RUN]
        if not writable:
            with pytest.raises(ConfigurationError):
                warehouse.query("DELETE FROM meta.monitoring_integration")
        assert [file.name for file in tmp_path.iterdir() if not writable] == ["copy.db"] * (not writable)
    assert path.read_bytes() == before
