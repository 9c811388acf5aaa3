"""Jobs in processes of their own: forks, pools, every way to end, and what the outside sees of dbbtrace."""

from __future__ import annotations

import os
import sys

import pytest

from tests.job.support import PIPELINE_RUN, RUN, job, rows

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no Python with os.fork here")

LOADS = """
    SELECT table_name, status, error_type, orchestration_run_id, data_product
    FROM meta.monitoring_integration ORDER BY table_name
"""


def succeeded(*tables: str) -> list[tuple]:
    return [(table, "Succeeded", None, RUN, "Finance") for table in sorted(tables)]


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("leaves", ["os._exit(0)", "sys.exit(0)", "pass"])
def test_a_fork_inside_a_block_ends_nothing_of_its_parents(leaves):
    """The child's own work stands, whichever way it goes; it leaves the parent's blocks without ending them."""
    done = job(
        f"""
        import os, sys
        import dbbtrace
        child = False
        with dbbtrace.orchestration_run("{RUN}", data_product="Finance"):
            with dbbtrace.table_load("Parent") as load:
                load.rows_written = 1
                pid = os.fork()
                if pid == 0:
                    child = True
                    with dbbtrace.join_run():
                        with dbbtrace.table_load("Child"):
                            pass
                    {leaves}
                else:
                    assert os.waitpid(pid, 0)[1] == 0
            if child:
                with dbbtrace.table_load("After"):
                    pass
        if child:
            assert "DBBTRACE_ORCHESTRATION_RUN_ID" not in os.environ
        """,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    # sys.exit unwinds the child's copy of the blocks, which ends none of them.
    assert rows(LOADS) == succeeded("Parent", "Child", *(["After"] if leaves == "pass" else []))


@needs_fork
def test_a_fork_while_other_threads_open_runs_and_loads_never_hangs():
    """No lock that another thread holds may be held for ever in the child."""
    done = job(
        f"""
        import os, threading, warnings
        import dbbtrace
        warnings.simplefilter("ignore")
        stop = threading.Event()

        def work():
            while not stop.is_set():
                dbbtrace.step("outside of any run").start().end()
                with dbbtrace.join_run("{RUN}", data_product="Finance"), dbbtrace.step("x"):
                    pass

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(15):
            pid = os.fork()
            if pid == 0:
                dbbtrace.step("outside of any run").start().end()
                with dbbtrace.join_run("{RUN}", data_product="Finance"), dbbtrace.step("y"):
                    os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        stop.set()
        for thread in threads:
            thread.join()
        """,
        DBBTRACE_WAREHOUSE="none",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_pool_of_processes_joins_the_run(method):
    """Children of every kind find the run in their environment or their memory; all rows stand in the end."""
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no Python with {method} here")
    done = job(
        f"""
        import multiprocessing
        import dbbtrace

        def load(name):
            with dbbtrace.join_run(), dbbtrace.integration(pipeline_run_id="{PIPELINE_RUN}"):
                with dbbtrace.table_load(name) as load:
                    load.rows_written = 1
            return dbbtrace.flush(30)

        if __name__ == "__main__":
            with dbbtrace.orchestration_run("{RUN}", data_product="Finance"):
                with dbbtrace.table_load("Main"):
                    pass
                with multiprocessing.get_context("{method}").Pool(2) as pool:
                    assert pool.map(load, ["a", "b", "c"]) == [True] * 3
        """,
        "-W",
        "ignore::DeprecationWarning",
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert rows(LOADS) == succeeded("Main", "a", "b", "c")
    assert len(rows("SELECT DISTINCT trace_id FROM meta.monitoring_integration")) == 1


@pytest.mark.parametrize("options", [("-W", "error"), ("-W", "error", "-X", "dev"), ("-O",), ("-OO",), ("-I",)])
def test_no_warning_of_ours_and_nothing_on_stdout(options):
    """Warnings as errors, Python's development mode, without assertions, isolated: the output is the job's."""
    done = job(
        f"""
        import asyncio
        import dbbtrace
        from dbbtrace.testing import capture

        dbbtrace.configure()
        dbbtrace.configure()

        @dbbtrace.step("decorated")
        async def decorated():
            async with dbbtrace.table_load("Async"):
                raise KeyError("handled")

        with dbbtrace.orchestration_run("{RUN}", data_product="Finance"):
            with dbbtrace.table_load("Customer") as load:
                for attempt in load.attempts(2):
                    with attempt:
                        load.rows_written = "many" if attempt.number == 1 else 1
                        if attempt.number == 1:
                            raise ConnectionError("gone")
            try:
                asyncio.run(decorated())
            except KeyError:
                pass
            dbbtrace.record_load("Fact", started_at=1764000000)
        with capture(strict=False):
            dbbtrace.begin_run()
        """,
        *options,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "Warning: " not in done.stderr
    assert "Traceback" not in done.stderr
    assert "rows_written = 'many' is left out" in done.stderr  # logging is not configured: stderr hears of it
    found = {name: (status, error) for name, status, error, *_ in rows(LOADS)}
    assert found == {"Customer": ("Succeeded", None), "Async": ("Failed", "KeyError"), "Fact": ("Succeeded", None)}


@pytest.mark.parametrize(
    "how",
    [
        "",
        "raise SystemExit(3)",
        "raise KeyboardInterrupt",
        "raise ValueError('mine')",
        "os.abort()",
        "os._exit(0)",
        "threading.Thread(target=lambda: (time.sleep(0.2), late())).start()",
        "atexit.register(late)",
    ],
)
def test_however_the_job_ends_what_had_ended_stands(how, otlp_http):
    """A run that was begun and never ended ends with the process, if that comes to an orderly end."""
    code = f"""
        import atexit, os, threading, time
        import dbbtrace

        def late():
            with dbbtrace.table_load("Late"):
                pass

        run = dbbtrace.begin_run(data_product="Finance")
        with dbbtrace.table_load("Customer"):
            pass
        {how}
    """
    done = job(code, OTEL_EXPORTER_OTLP_ENDPOINT=otlp_http.endpoint)
    assert done.stdout == ""
    recover = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'dbbtrace', 'flush'], check=True)"
    recovered = job(recover, OTEL_EXPORTER_OTLP_ENDPOINT=otlp_http.endpoint)
    assert recovered.returncode == 0, recovered.stderr
    expected = ["Customer", *(["Late"] if "late" in how else [])]
    assert rows("SELECT table_name, status, data_product FROM meta.monitoring_integration ORDER BY 1") == [
        (table, "Succeeded", None) for table in expected
    ]
    spans = {span.name: span for span in otlp_http.wait_for(len(expected) + 1)}
    dies = how.startswith("os.")
    assert spans["orchestration_run Finance"].attributes.get("error.type") == ("Interrupted" if dies else None)
    assert {span.trace_id for span in spans.values()} == {spans["load Customer"].trace_id}


def test_generators_left_open_at_the_end_of_the_interpreter_do_no_harm():
    """Their blocks are left while modules are being taken apart."""
    done = job(
        f"""
        import dbbtrace

        @dbbtrace.table_load("Streamed")
        def rows():
            yield 1

        class Holder:
            def __del__(self):
                with dbbtrace.step("in a finaliser"):
                    pass

        with dbbtrace.join_run("{RUN}", data_product="Finance"):
            generator = rows()
            next(generator)
        holder = Holder()
        """
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_importing_dbbtrace_changes_nothing():
    """No configuration, no handler, no thread, no file before it is used."""
    done = job(
        """
        import logging, os, signal, threading
        before = signal.getsignal(signal.SIGTERM), set(os.listdir())
        import dbbtrace
        from opentelemetry import trace
        assert (signal.getsignal(signal.SIGTERM), set(os.listdir())) == before
        assert threading.active_count() == 1
        assert trace._TRACER_PROVIDER is None
        assert not logging.getLogger().handlers and not logging.getLogger("dbbtrace").handlers
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(sys.platform == "win32", reason="no Python with SIGTERM handlers here")
def test_a_root_is_emitted_once_by_processes_that_open_the_run_at_once(otlp_http):
    """Two jobs that both call orchestration_run: one root, the other a step under it."""
    code = f"""
        import subprocess, sys
        import dbbtrace
        if len(sys.argv) == 1:
            jobs = [subprocess.Popen([sys.executable, "job.py", str(n)]) for n in range(3)]
            assert [each.wait() for each in jobs] == [0, 0, 0]
        else:
            with dbbtrace.orchestration_run("{RUN}", data_product="Finance"):
                pass
    """
    done = job(code, OTEL_EXPORTER_OTLP_ENDPOINT=otlp_http.endpoint)
    assert done.returncode == 0, done.stderr
    spans = otlp_http.wait_for(3)
    (root,) = [span for span in spans if not span.parent_span_id]
    assert {span.parent_span_id for span in spans if span is not root} == {root.span_id}
