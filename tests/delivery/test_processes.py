"""Fork, spawn, pools, threads, asyncio, signals, every way to end: no span is lost, doubled or ended by another."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from dbbtrace.delivery import Delivery, recover, waiting
from tests.delivery import jobs
from tests.delivery.support import Backend, to, tracer_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file to which the jobs deliver."""
    return tmp_path / "backend"


@pytest.fixture
def journal_dir(tmp_path: Path) -> Path:
    """The journal directory of the jobs."""
    return tmp_path / "journals"


def run(job: str, *arguments: object, code: int = 0) -> None:
    """Run a job that must end with this exit code."""
    done = jobs.run(job, *arguments)
    assert done.returncode == code, done.stderr


def delivered(path: Path) -> dict[str, str]:
    """Name → status of the spans that were delivered, each of them once."""
    lines = [line.split("\t") for line in path.read_text().splitlines() if "\t" in line] if path.exists() else []
    assert [name for name, count in Counter(name for name, _, _ in lines).items() if count > 1] == []
    return {name: status for name, status, _ in lines}


def recover_to(path: Path, journal_dir: Path) -> None:
    """Deliver what the jobs left."""
    destination = jobs.delivery_to(str(path), str(journal_dir))._destinations[0]
    assert recover(journal_dir, {destination.name: destination}.get).is_complete


def test_a_forked_child_has_a_journal_of_its_own_and_ends_no_span_of_its_parent(path: Path, journal_dir: Path) -> None:
    """Both leave the block in which they were forked; the span was the parent's to end. Both deliver at exit."""
    run("forks", path, journal_dir)
    assert delivered(path) == dict.fromkeys(
        ["parent's first", "parent's second", "parent's own", "parent's inner", "child's own"], "UNSET"
    )
    by = {name: pid for name, _, pid in (line.split("\t") for line in path.read_text().splitlines())}
    assert by["child's own"] != by["parent's own"]
    assert list(journal_dir.iterdir()) == []


def test_a_child_that_vanishes_is_told_of_by_its_parent(path: Path, journal_dir: Path) -> None:
    """os._exit leaves no time to deliver; the parent's flush includes what its children left."""
    run("forks_and_vanishes", path, journal_dir)
    before = path.read_text().split("flushed")[0]
    assert "child's ended" in before
    assert delivered(path) == {"parent's": "UNSET", "child's ended": "UNSET", "child's running": "ERROR"}


@pytest.mark.parametrize("end", ["close", "terminate"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_what_a_pool_did_stands_once_its_parent_flushed(path: Path, journal_dir: Path, method: str, end: str) -> None:
    """Workers of multiprocessing leave past atexit, or are killed: their rows stand all the same."""
    run("pool", path, journal_dir, method, end)
    before = path.read_text().split("flushed")[0]
    names = [line.split("\t")[0] for line in before.splitlines()]
    # A worker that is killed amid a delivery leaves open whether that had come through: then it is repeated.
    assert sorted(set(names) if end == "terminate" else names) == sorted(
        ["parent's", *(f"task {number}" for number in range(40))]
    )
    assert list(waiting(journal_dir)) == []


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_of_multiprocessing_delivers_before_it_leaves(path: Path, journal_dir: Path, method: str) -> None:
    """It leaves past atexit, by os._exit; its rows stand by then, whether or not its parent ever flushes."""
    run("child_process", path, journal_dir, method)
    assert delivered(path) == {"child's": "UNSET"}
    assert list(journal_dir.iterdir()) == []


def test_sigterm_amid_journalling_ends_the_line_first(path: Path, journal_dir: Path) -> None:
    """It strikes between the write of a span and its entry in the books: the span is delivered all the same."""
    run("sigterm_amid_a_write", path, journal_dir, code=-signal.SIGTERM)
    assert delivered(path) == {"first": "UNSET", "second": "UNSET"}


@pytest.mark.parametrize(("how", "code"), [("return", 0), ("raise", 1), ("thread", 0)])
def test_at_exit_everything_is_delivered(path: Path, journal_dir: Path, how: str, code: int) -> None:
    """At the end of the script, after an exception, and after threads that end late."""
    run("ends", path, journal_dir, how, code=code)
    late = ["late"] if how == "thread" else []
    assert sorted(delivered(path)) == sorted([*(f"span {number}" for number in range(10)), *late])
    assert list(journal_dir.iterdir()) == []


def test_after_os_exit_the_next_process_delivers(path: Path, journal_dir: Path) -> None:
    """A process that leaves without a word leaves a journal."""
    run("ends", path, journal_dir, "_exit")
    recover_to(path, journal_dir)
    assert sorted(delivered(path)) == [f"span {number}" for number in range(10)]


@pytest.mark.parametrize("handler", ["none", "before", "after"])
def test_sigterm_delivers_and_leaves_the_host_its_handler(path: Path, journal_dir: Path, handler: str) -> None:
    """Where nobody handles it the process still dies of the signal; a handler of the host's decides as before."""
    job = subprocess.Popen(
        jobs.command("waits_for_sigterm", path, journal_dir, handler), stdout=subprocess.PIPE, text=True
    )
    assert job.stdout is not None
    assert job.stdout.readline() == "ready\n"
    job.send_signal(signal.SIGTERM)
    job.stdout.close()
    assert job.wait(30) == (-signal.SIGTERM if handler == "none" else 3)
    assert sorted(delivered(path)) == [f"span {number}" for number in range(10)]
    assert ("host's handler" in path.read_text()) == (handler != "none")
    recover_to(path, journal_dir)
    assert delivered(path)["running"] == "ERROR"


def exit_with_dead_backends(journal_dir: Path, deadline: float) -> tuple[float, str]:
    """How long the process took to end, and what it said."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as black_hole:
        endpoint = f"http://127.0.0.1:{black_hole.getsockname()[1]}"
        command = jobs.command("exits_with_dead_backends", journal_dir, deadline, endpoint)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
            assert job.stdout is not None
            assert job.stderr is not None
            begin = float(job.stdout.readline())
            assert job.wait(60) == 0
            return time.monotonic() - begin, job.stderr.read()


def test_exit_keeps_its_deadline_with_every_backend_dead(journal_dir: Path) -> None:
    """Hanging, down or a black hole: the process ends half a second after the deadline, and everything is kept."""
    deadline = 1.0
    for attempt in range(12):  # a machine that has other work may take longer; one that never keeps it, never does
        root = journal_dir / str(attempt)
        took, said = exit_with_dead_backends(root, deadline)
        assert len([line for line in said.splitlines() if "still wait" in line]) == 1, said
        assert {found.destination: found.ended for found in waiting(root)} == dict.fromkeys(
            ["hangs://warehouse", "down://backend", "otlp://black-hole"], 2_000
        )
        if took <= deadline + 0.5:
            break
    assert deadline - 0.1 <= took <= deadline + 0.5


@pytest.mark.parametrize("limit", [0, 40_000])
def test_a_full_disk_costs_no_span_of_a_job_that_goes_on(
    path: Path, tmp_path: Path, journal_dir: Path, limit: int
) -> None:
    """On a tiny file system, or under a quota: delivered from memory, one warning, and the journal is cleared away."""
    job = jobs.command("fills_the_disk", path, journal_dir, limit)
    if not limit:
        mount = 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"'
        journal_dir.mkdir()
        root = ["--map-root-user"] if os.getuid() else []
        job = ["unshare", "--mount", *root, "sh", "-c", mount, str(journal_dir), *job]
        try:
            subprocess.run(["unshare", "--mount", *root, "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("no right to mount a file system")
    done = subprocess.run(job, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert set(delivered(path)) == {"outer", *(f"span {number}" for number in range(500))}
    assert done.stderr.count("can't be written") == 1, done.stderr
    assert "journals left: 0" in path.read_text()


def test_many_threads(tmp_path: Path) -> None:
    """Spans of many threads at once are journalled and delivered, each once."""
    backend = Backend()
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    tracer = tracer_of(delivery)

    def work(thread: int) -> None:
        for number in range(200):
            with tracer.start_as_current_span(f"{thread}/{number}"):
                pass

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert delivery.flush(20)
    assert Counter(backend.names) == Counter(f"{thread}/{number}" for thread in range(8) for number in range(200))
    delivery.shutdown()
    assert list(tmp_path.iterdir()) == []


def test_cancelled_tasks_end_their_spans(tmp_path: Path) -> None:
    """asyncio: spans of tasks that are cancelled end, and are delivered, like any other."""
    backend = Backend()
    delivery = Delivery([to(backend)], journal_dir=tmp_path)
    tracer = tracer_of(delivery)

    async def copy(number: int) -> None:
        with tracer.start_as_current_span(f"copy {number}"):
            await asyncio.sleep(0 if number % 2 else 60)

    async def main() -> None:
        tasks = [asyncio.create_task(copy(number)) for number in range(20)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    assert delivery.flush(10)
    assert sorted(backend.names) == sorted(f"copy {number}" for number in range(20))
    delivery.shutdown()
    assert list(tmp_path.iterdir()) == []


def test_signals_amid_journalling_and_flushing_neither_hang_nor_lose(path: Path, journal_dir: Path) -> None:
    """A handler ends spans and flushes at any moment of the same thread's own work."""
    run("signals_end_spans_and_flush", path, journal_dir)
    handled = int(path.read_text().split("handled ")[1])
    assert handled > 100
    assert set(delivered(path)) == {
        *(f"main {number}" for number in range(3_000)),
        *(f"handler {number}" for number in range(handled)),
    }


def test_ctrl_c_at_any_moment_of_ending_a_span_loses_none(path: Path, journal_dir: Path) -> None:
    """An exception raised between any two of our instructions leaves the books in order."""
    run("interruptions", path, journal_dir)
    interrupted = int(path.read_text().split("interrupted ")[1])
    names = {line.split("\t")[0] for line in path.read_text().splitlines() if "\t" in line}
    assert interrupted > 5
    assert names == {f"span {number}" for number in range(6_000)}
