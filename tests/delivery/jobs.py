"""Jobs that the tests run in processes of their own, to kill them; each is a function, called with its arguments."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.trace import Tracer

from dbbtrace.delivery import Delivery, Destination
from dbbtrace.errors import TransientError

ROOT = Path(__file__).parents[2]
RUN = "5b0f3a52-7a53-4f2e-9d5a-0c2f6f1e8a11"


def command(job: str, *arguments: object) -> list[str]:
    """The command line that calls the function of that name with these arguments, as text."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.delivery import jobs; jobs.{job}(*sys.argv[1:])"
    return [sys.executable, "-c", code, *map(str, arguments)]


def run(job: str, *arguments: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a job to its end."""
    return subprocess.run(command(job, *arguments), capture_output=True, text=True, check=False, timeout=timeout)


class FileBackend(SpanExporter):
    """Notes the names of the spans it gets, and which process delivered them."""

    def __init__(self, path: str) -> None:
        self.path = path

    def deliver(self, spans: Sequence[ReadableSpan]) -> None:
        note(self.path, *(f"{span.name}\t{span.status.status_code.name}\t{os.getpid()}" for span in spans))

    def shutdown(self) -> None:
        pass


class Hanging(SpanExporter):
    """A backend that never answers."""

    def deliver(self, spans: Sequence[ReadableSpan]) -> None:
        time.sleep(600)

    def shutdown(self) -> None:
        time.sleep(600)


class Down(SpanExporter):
    """A backend that nobody serves."""

    def deliver(self, spans: Sequence[ReadableSpan]) -> None:
        raise TransientError("nobody home")


def note(path: str, *lines: str) -> None:
    """Append lines in one write."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, "".join(f"{line}\n" for line in lines).encode())
    os.close(fd)


def delivery_to(path: str, journal_dir: str, **options: Any) -> Delivery:
    """A delivery to a file."""
    return Delivery(
        [Destination("file://backend", lambda: FileBackend(path), True)], journal_dir=journal_dir, **options
    )


def tracer_of(delivery: Delivery) -> Tracer:
    """A tracer whose spans go through the delivery."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(delivery)
    return provider.get_tracer("jobs")


# -- copies of a process ----------------------------------------------------------------------------------------


def forks(path: str, journal_dir: str) -> None:
    """Fork amid a span, from a process whose threads run; the child leaves the span too, and has one of its own."""
    delivery = delivery_to(path, journal_dir)
    tracer = tracer_of(delivery)
    tracer.start_span("parent's first").end()
    delivery.flush(10)
    tracer.start_span("parent's second").end()
    with tracer.start_as_current_span("parent's own"):
        pid = os.fork()
        with tracer.start_as_current_span("child's own" if not pid else "parent's inner"):
            pass
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
    if not pid:
        sys.exit(0)


def forks_and_vanishes(path: str, journal_dir: str) -> None:
    """A forked child leaves by os._exit amid its work; the parent's flush must tell of it."""
    delivery = delivery_to(path, journal_dir)
    tracer = tracer_of(delivery)
    tracer.start_span("parent's").end()
    pid = os.fork()
    if not pid:
        tracer.start_span("child's ended").end()
        tracer.start_span("child's running")
        os._exit(0)
    os.waitpid(pid, 0)
    assert delivery.flush(20)
    note(path, "flushed")
    os._exit(0)


def _in_pool(task: tuple[str, str, int]) -> int:
    global _pool_tracer
    path, journal_dir, number = task
    if _pool_tracer is None:
        _pool_tracer = tracer_of(delivery_to(path, journal_dir))
    _pool_tracer.start_span(f"task {number}").end()
    return number


_pool_tracer: Tracer | None = None


def pool(path: str, journal_dir: str, method: str, end: str) -> None:
    """Work in a pool of processes, which are told to end, or are killed by ``terminate``."""
    global _pool_tracer
    delivery = delivery_to(path, journal_dir)
    tracer = tracer_of(delivery)
    if method == "fork":
        _pool_tracer = tracer
    tracer.start_span("parent's").end()
    workers = multiprocessing.get_context(method).Pool(2)
    done = workers.map(_in_pool, [(path, journal_dir, number) for number in range(40)], chunksize=5)
    assert len(done) == 40
    getattr(workers, end)()
    workers.join()
    assert delivery.flush(20)
    note(path, "flushed")


def _in_child(path: str, journal_dir: str) -> None:
    tracer_of(delivery_to(path, journal_dir)).start_span("child's").end()


def child_process(path: str, journal_dir: str, method: str) -> None:
    """Work in one child process, in a parent that records nothing itself."""
    child = multiprocessing.get_context(method).Process(target=_in_child, args=(path, journal_dir))
    child.start()
    child.join()
    assert child.exitcode == 0


# -- ends of a process ------------------------------------------------------------------------------------------


def ends(path: str, journal_dir: str, how: str) -> None:
    """Record spans and end, in one of the ways in which processes end."""
    delivery = delivery_to(path, journal_dir)
    tracer = tracer_of(delivery)
    for number in range(10):
        tracer.start_span(f"span {number}").end()
    if how == "raise":
        raise RuntimeError("the job failed")
    if how == "thread":
        thread = threading.Thread(target=lambda: (time.sleep(0.2), tracer.start_span("late").end()))
        thread.start()
    if how == "_exit":
        os._exit(0)


def waits_for_sigterm(path: str, journal_dir: str, handler: str) -> None:
    """Record spans, say so, and wait for SIGTERM, which the host may have plans for."""

    def handle(signum: int, frame: object) -> None:
        note(path, "host's handler")
        sys.exit(3)

    if handler == "before":
        signal.signal(signal.SIGTERM, handle)
    tracer = tracer_of(delivery_to(path, journal_dir))
    if handler == "after":
        signal.signal(signal.SIGTERM, handle)
    for number in range(10):
        tracer.start_span(f"span {number}").end()
    tracer.start_span("running")
    print("ready", flush=True)
    time.sleep(60)


def sigterm_amid_a_write(path: str, journal_dir: str) -> None:
    """SIGTERM right after a line was written, before anything else knows of it."""
    tracer = tracer_of(delivery_to(path, journal_dir))
    tracer.start_span("first").end()
    span = tracer.start_span("second")
    real = os.write

    def write(fd: int, data: bytes) -> int:
        os.write = real
        written = real(fd, data)
        os.kill(os.getpid(), signal.SIGTERM)
        return written

    os.write = write
    span.end()
    note(path, "still alive")


def exits_with_dead_backends(journal_dir: str, deadline: str, endpoint: str) -> None:
    """End with a warehouse that hangs, a backend that is down and an OTLP endpoint that never answers."""
    from dbbtrace_exporters.otlp.exporter import ForwardingSpanExporter

    delivery = Delivery(
        [
            Destination("hangs://warehouse", Hanging, True),
            Destination("down://backend", Down, False),
            Destination("otlp://black-hole", lambda: ForwardingSpanExporter(endpoint, protocol="http/protobuf"), False),
        ],
        journal_dir=journal_dir,
        exit_timeout=float(deadline),
    )
    tracer = tracer_of(delivery)
    for number in range(2_000):
        tracer.start_span(f"span {number}").end()
    delivery.force_flush(500)
    print(time.monotonic(), flush=True)


def fills_the_disk(path: str, journal_dir: str, limit: str) -> None:
    """Record more than the disk holds."""
    if int(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    delivery = delivery_to(path, journal_dir)
    tracer = tracer_of(delivery)
    with tracer.start_as_current_span("outer"):
        for number in range(500):
            tracer.start_span(f"span {number}", attributes={"filler": "x" * 200}).end()
    assert delivery.flush(20), delivery.left()
    delivery.shutdown()
    note(path, f"journals left: {len(os.listdir(journal_dir))}")


# -- interruptions ----------------------------------------------------------------------------------------------


def signals_end_spans_and_flush(path: str, journal_dir: str) -> None:
    """A signal handler ends spans and flushes, while its thread journals and flushes."""
    delivery = delivery_to(path, journal_dir)
    tracer = tracer_of(delivery)
    handled = 0

    def handle(signum: int, frame: object) -> None:
        nonlocal handled
        tracer.start_span(f"handler {handled}").end()
        handled += 1
        delivery.flush(0.001)
        signal.setitimer(signal.ITIMER_REAL, 0.0003)

    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    for number in range(3_000):
        tracer.start_span(f"main {number}").end()
        if number % 100 == 0:
            delivery.flush(1)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    assert delivery.flush(20)
    note(path, f"handled {handled}")


class Interruption(BaseException):
    """What Ctrl-C is, without its special cases."""


def interruptions(path: str, journal_dir: str) -> None:
    """A signal handler raises, at any moment of ending a span, as Ctrl-C does in a notebook."""
    delivery = delivery_to(path, journal_dir)
    tracer = tracer_of(delivery)
    armed = False

    def handle(signum: int, frame: object) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise Interruption

    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0005)
    interrupted = 0
    for number in range(6_000):
        ended = tracer.start_span(f"span {number}")._readable_span()
        ended._end_time = ended.start_time
        try:
            armed = True
            delivery.on_end(ended)
            armed = False
        except Interruption as interruption:
            interrupted += 1
            frames = list(traceback.walk_tb(interruption.__traceback__))[1:-1]
            if not frames or frames[0][1] == frames[0][0].f_code.co_firstlineno:
                note(path, f"span {number}\tnot even called\t0")
    armed = False
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert delivery.flush(30), delivery.left()
    note(path, f"interrupted {interrupted}")


# -- kills ------------------------------------------------------------------------------------------------------


def _note(ledger: int, word: str, table: str) -> None:
    os.write(ledger, f"{word} {table}\n".encode())


def _load_until_killed(warehouse: str, journal_dir: str, ledger_path: str, worker: str, begins: int) -> None:
    """Load one table after the other, and keep a ledger of what was announced, had started, had ended.

    Args:
        begins: descriptor that is closed before the first load.
    """
    import dbbtrace

    ledger = os.open(ledger_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    dbbtrace.configure(warehouse=warehouse, journal_dir=journal_dir, rows_timeout=0)
    with dbbtrace.join_run(RUN, data_product="Shop", environment="TST"):
        number = 0
        os.close(begins)
        while True:
            table = f"{worker}_{number}"
            _note(ledger, "announced", table)
            with dbbtrace.table_load(table, schema="mdm", source="MDS", load_type="FULL") as load:
                _note(ledger, "started", table)
                load.rows_written = number
                if number % 4 == 0:
                    time.sleep(0.005)
            _note(ledger, "ended", table)
            if number % 50 == 49:
                dbbtrace.flush(0.2)
            number += 1


def recover_until_killed(warehouse: str, journal_dir: str) -> None:
    """Recover again and again, once it has said that it begins."""
    from dbbtrace.configure import destinations
    from dbbtrace.delivery import recover
    from dbbtrace.settings import resolve

    by_name = {destination.name: destination for destination in destinations(resolve(warehouse=warehouse))}
    print("begins", flush=True)
    while True:
        recover(journal_dir, by_name.get, timeout=5)


def kill_many(warehouse: str, journal_dir: str, ledger_path: str, kills: str, seed: str) -> None:
    """Start processes that load tables, always a few at once, and kill each at a random moment."""
    import dbbtrace_exporters.warehouse.exporter  # noqa: F401

    import dbbtrace.configure
    import dbbtrace.delivery.adoption
    import dbbtrace.delivery.batch
    import dbbtrace.delivery.dead_letter
    import dbbtrace.journal.checkpoint  # noqa: F401 - imported once; the processes are forked

    dice = random.Random(int(seed))
    alive: list[tuple[float, int]] = []
    for number in range(int(kills)):
        begun, begins = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                _load_until_killed(warehouse, journal_dir, ledger_path, f"w{number}", begins)
            finally:
                os._exit(1)
        os.close(begins)
        os.read(begun, 1)  # however long a loaded machine takes to start a job
        os.close(begun)
        alive.append((time.monotonic() + dice.uniform(0.0, 0.3), pid))
        while len(alive) >= 3 or (alive and number == int(kills) - 1):
            due, victim = min(alive)
            time.sleep(max(0.0, due - time.monotonic()))
            os.kill(victim, signal.SIGKILL)
            _, status = os.waitpid(victim, 0)
            if not os.WIFSIGNALED(status):
                raise SystemExit(f"a job ended by itself: {status}")
            alive.remove((due, victim))
