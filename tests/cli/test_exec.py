"""``dbbtrace exec``, ``set`` and ``close``: any command as a piece of a run, and the run's end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

import dbbtrace
from dbbtrace.errors import UsageError
from dbbtrace.job.shell import execute, set_values
from dbbtrace.model.identity import root_span_id, trace_id_of
from dbbtrace.testing import capture
from tests.cli.support import assert_one_line, run, run_program
from tests.support.otlp import HttpReceiver

RUN = "0f8fad5b-d9cb-469f-a165-70867728950e"
TRACE = RUN.replace("-", "")


def python(code: str) -> list[str]:
    """A command that runs this code."""
    return [sys.executable, "-c", textwrap.dedent(code)]


def loads(columns: str = "table_name, status, rows_read, rows_written, error_type, error_message") -> list[list[Any]]:
    """What stands in monitoring_integration."""
    import json

    done = run("query", f"SELECT {columns} FROM meta.monitoring_integration ORDER BY table_name", "--format", "json")
    return [list(row.values()) for row in json.loads(done.out)]


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are handed on by POSIX shells")
def test_open_descriptors_are_handed_on(tmp_path: Path) -> None:
    """What a shell opened for the command reaches it: a pipe on 7, and a lock on 9; of dbbtrace's own files, none."""
    script = f"""
        exec 9>lock
        {sys.executable} -m dbbtrace exec --run {RUN} --step s -- sh -c 'echo written >&7; ls -l /proc/self/fd' 7>out
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert Path("out").read_text() == "written\n"
    opened = [line.rpartition(" -> ")[2] for line in done.stdout.splitlines()]
    assert str(Path("lock").absolute()) in opened
    assert not [path for path in opened if "journal" in path or path.endswith(".db")]


def test_a_wrong_setting_does_not_keep_the_command_from_running() -> None:
    """It is said and ignored."""
    words = ("exec", "--step", "copy", "--", "sh", "-c", "echo copied; exit 3")
    done = run_program(*words, DBBTRACE_RECORD_STEPS="maybe")
    assert (done.code, done.out) == (3, "copied\n")
    assert "record_steps = maybe: write some or all" in done.err


def test_a_command_is_a_load_and_all_that_it_says_and_returns_is_its_own() -> None:
    """stdin, stdout, stderr and exit code pass untouched; its row has what `dbbtrace set` said, and the failure."""
    command = python("""
        import os, subprocess, sys
        given = sys.stdin.buffer.read()
        sys.stdout.buffer.write(given[::-1])
        print("complaint", file=sys.stderr)
        for values in (["rows_read=10", "rows_written=9"], ["rows_written=8", "data_written=2048"]):
            subprocess.run([sys.executable, "-m", "dbbtrace", "set", *values], check=True)
        sys.exit(3)
    """)
    done = subprocess.run(
        [sys.executable, "-m", "dbbtrace", "exec", "--load", "mdm.Customer", "--source", "MDS", "--load-type", "full",
         "--run", RUN, "--data-product", "Shop", "--", *command],
        input=b"\x00\xff\n", capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (3, b"\n\xff\x00", b"complaint\n")
    assert loads() == [["Customer", "Failed", 10, 8, "ExitCode", f"{Path(sys.executable).name} ended with exit code 3"]]
    assert loads("schema_name, source_name, load_type, data_written, data_product, orchestration_run_id") == [
        ["mdm", "MDS", "FULL", 2048, "Shop", RUN]
    ]


def test_the_command_joins_the_trace() -> None:
    """What the command records hangs on the span of the command, in the same run, with no argument told to it."""
    inner = python("import dbbtrace\nwith dbbtrace.join_run(), dbbtrace.step('inner'): pass")
    with capture() as captured:
        with dbbtrace.join_run(RUN, data_product="Shop"):
            assert execute(python("pass"), dbbtrace.step("outer")) == 0
    outer = captured.named("outer")
    assert outer.attributes
    assert outer.attributes["process.exit.code"] == 0

    done = run_program(
        "exec", "--step", "outer", "--run", RUN, "--", *inner,
        DBBTRACE_WAREHOUSE="none", OTEL_TRACES_EXPORTER="none",
    )  # fmt: skip
    assert (done.code, done.out) == (0, "")
    told = python("import os; print(os.environ['TRACEPARENT'], os.environ['DBBTRACE_ORCHESTRATION_RUN_ID'])")
    done = run_program("exec", "--step", "outer", "--run", RUN, "--", *told)
    traceparent, run_id = done.out.split()
    assert run_id == RUN
    assert traceparent.split("-")[1] == TRACE
    assert int(traceparent.split("-")[2], 16) != root_span_id(trace_id_of(RUN))


def test_spans_of_command_and_children_make_one_tree(otlp_http: HttpReceiver) -> None:
    """exec inside exec: the inner span's parent is the outer one, whose parent is the run's root."""
    inner = [sys.executable, "-m", "dbbtrace", "exec", "--step", "inner", "--", *python("pass")]
    done = run_program(
        "exec", "--step", "outer", "--run", RUN, "--", *inner,
        DBBTRACE_WAREHOUSE="none", OTEL_EXPORTER_OTLP_ENDPOINT=otlp_http.endpoint,
    )  # fmt: skip
    assert done.code == 0, done.err
    spans = {span.name: span for span in otlp_http.wait_for(2)}
    assert {span.trace_id for span in spans.values()} == {TRACE}
    assert spans["inner"].parent_span_id == spans["outer"].span_id
    assert int(spans["outer"].parent_span_id, 16) == root_span_id(trace_id_of(RUN))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_passed_on(number: signal.Signals) -> None:
    """The command gets the signal, ends as it likes, and the row is written all the same."""
    command = python(f"""
        import os, signal, sys
        signal.signal({int(number)}, lambda *_: (os.write(1, b"got it\\n"), sys.exit(7)))
        os.write(1, b"ready\\n")
        signal.pause()
    """)
    process = subprocess.Popen(
        [sys.executable, "-m", "dbbtrace", "exec", "--load", "Customer", "--run", RUN, "--", *command],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.communicate(timeout=60)[0] == "got it\n"
    assert process.returncode == 7
    assert loads("table_name, status, error_type") == [["Customer", "Failed", "ExitCode"]]


def test_a_signal_that_another_thread_took_is_handed_on() -> None:
    """Such a one does not wake the main thread, nor does one that comes just before a system call."""
    job = textwrap.dedent("""
        import signal, threading
        from dbbtrace.job.shell import run_command
        kill = lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        later = threading.Timer(0.2, kill)
        print(run_command(["sleep", "600"], {"PATH": "/usr/bin:/bin"}, started=lambda _: later.start()))
    """)
    done = subprocess.run([sys.executable, "-c", job], capture_output=True, text=True, timeout=100)
    assert done.stdout == f"{-signal.SIGTERM}\n", done.stderr


def test_control_c_reaches_the_command_once() -> None:
    """The terminal sends it to both; the command is not interrupted a second time, and may go on."""
    command = python("""
        import os, signal, sys
        seen = []
        signal.signal(signal.SIGINT, lambda *_: (seen.append(1), os.write(1, b"interrupted\\n")))
        os.write(1, b"ready\\n")
        sys.stdin.readline()
        print(f"{len(seen)} in all", flush=True)
    """)
    child, terminal = pytest.importorskip("pty").fork()
    if child == 0:
        os.execv(
            sys.executable, [sys.executable, "-m", "dbbtrace", "exec", "--step", "s", "--run", RUN, "--", *command]
        )
    with os.fdopen(terminal, "r+b", buffering=0) as keys:
        seen = b""

        def until(word: bytes) -> None:
            nonlocal seen
            while word not in seen:
                seen += keys.read(1024)

        until(b"ready")
        os.kill(child, signal.SIGSTOP)  # so that the command has handled the key when exec comes to see it
        keys.write(b"\x03")
        until(b"interrupted")
        os.kill(child, signal.SIGCONT)
        while _is_pending(child, signal.SIGINT):
            time.sleep(0.01)
        keys.write(b"\n")
        until(b"in all")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert b"1 in all" in seen


def _is_pending(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return any(int(line.split()[1], 16) >> number - 1 & 1 for line in status.splitlines() if "Pnd:" in line)


def test_a_command_that_a_signal_ends_gives_the_exit_code_that_shells_give() -> None:
    """128 + n, and the row names the signal."""
    done = run_program("exec", "--load", "Customer", "--run", RUN, "--", *python("import os; os.kill(os.getpid(), 9)"))
    assert done.code == 128 + 9
    assert loads("status, error_type") == [["Failed", "SIGKILL"]]


def test_a_command_that_is_not_there_gives_127_and_one_that_cannot_run_126(tmp_path: Path) -> None:
    """As shells do it; both are failures of the run."""
    (tmp_path / "text").write_text("no program")
    assert run_program("exec", "--load", "A", "--run", RUN, "--", "no-such-program").code == 127
    done = run_program("exec", "--load", "B", "--run", RUN, "--", str(tmp_path / "text"))
    assert (done.code, done.out) == (126, "")
    assert loads("table_name, status, error_type") == [
        ["A", "Failed", "FileNotFoundError"],
        ["B", "Failed", "PermissionError"],
    ]


def test_arguments_of_the_command_are_not_recorded() -> None:
    """They may hold passwords."""
    with capture() as captured:
        with dbbtrace.join_run(RUN):
            execute(python("import sys; sys.exit(1)  # s3cret"), dbbtrace.table_load("Customer"))
    assert captured.spans
    assert "s3cret" not in "".join(span.to_json() for span in captured.spans)


def test_the_command_runs_though_the_warehouse_is_down() -> None:
    """Its output and exit code come through; the rows wait in the journal."""
    done = run_program(
        "exec", "--load", "Customer", "--run", RUN, "--", *python("print('done')"),
        DBBTRACE_WAREHOUSE="mssql://127.0.0.1:1/none", DBBTRACE_ROWS_TIMEOUT="0.2",
    )  # fmt: skip
    assert (done.code, done.out) == (0, "done\n")


def test_set_takes_any_attribute_of_a_step() -> None:
    """A step gives no row; what is set stands on its span, numbers as numbers."""
    with capture() as captured:
        with dbbtrace.join_run(RUN):
            code = (
                "from dbbtrace.job.shell import set_values as s; s({'app.files': '3', 'app.name': 'x', 'a.b': '1.5'})"
            )
            assert execute(python(code), dbbtrace.step("fetch")) == 0
    attributes = captured.named("fetch").attributes or {}
    assert [attributes[name] for name in ("app.files", "app.name", "a.b")] == [3, "x", 1.5]


def test_odd_lines_among_the_values_cost_themselves(tmp_path: Path) -> None:
    """Somebody else wrote into the file: the values around are taken, and nothing is left in the temporary files."""
    script = (
        f'D="{sys.executable} -m dbbtrace"; $D set rows_read=1; '
        "printf '[1]\\n5\\nnull\\n{\\n' >> $DBBTRACE_VALUES_FILE; $D set rows_written=2"
    )
    done = run_program("exec", "--run", "r", "--load", "T", "--", "sh", "-c", script, TMPDIR=str(tmp_path))
    assert done.code == 0, done.err
    assert loads("rows_read, rows_written") == [[1, 2]]
    assert list(tmp_path.glob("dbbtrace-values-*")) == []


def test_a_value_that_makes_no_sense_is_refused_where_it_is_set() -> None:
    """Misspelt, no count, or outside exec: one line that says what to do, exit code 2."""
    assert_one_line(run("set", "rows_read=10"), "dbbtrace exec")
    assert_one_line(run("set", "rows_read"), "NAME=VALUE")
    with pytest.raises(UsageError, match="dbbtrace exec"):
        set_values({"rows_read": 1})
    for value, message in (("rows_reed=1", "rows_read"), ("rows_read=ten", "not a count")):
        inner = [sys.executable, "-m", "dbbtrace", "set", value]
        done = run_program("exec", "--load", "Customer", "--run", RUN, "--", *inner)
        assert done.code == 2
        assert message in done.err


def test_exec_says_what_is_missing() -> None:
    """Neither load nor step, both, no command, a load's option on a step."""
    assert_one_line(run("exec", "--", "true"), "--load", "--step")
    assert_one_line(run("exec", "--load", "a", "--step", "b", "--", "true"), "--load", "--step")
    assert_one_line(run("exec", "--load", "a"), "COMMAND")
    assert_one_line(run("exec", "--step", "a", "--source", "MDS", "--", "true"), "load")


def test_close_ends_a_run_once_with_the_times_of_its_rows(otlp_http: HttpReceiver) -> None:
    """The root has the id that every process can name, spans its rows, and is marked where one failed."""
    dbbtrace.configure(warehouse="sqlite:///w.db")
    for table, status in (("A", "Succeeded"), ("B", "Failed")):
        dbbtrace.record_load(
            table, run_id=RUN, data_product="Shop", environment="TST", status=status,
            started_at="2026-11-24T10:00:00.25Z" if table == "A" else "2026-11-24T10:05:00Z",
            ended_at="2026-11-24T10:01:00Z" if table == "A" else "2026-11-24T10:06:00.5Z",
        )  # fmt: skip
    assert dbbtrace.flush(30)
    dbbtrace.shutdown()
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = otlp_http.endpoint
    for said in ("closed", "is already closed"):
        done = run_program("--warehouse", "sqlite:///w.db", "close", RUN.upper())
        assert (done.code, said in done.out) == (0, True), done
    (root,) = otlp_http.wait_for(1)
    assert (root.trace_id, root.parent_span_id, root.name) == (TRACE, "", "orchestration_run Shop")
    assert int(root.span_id, 16) == root_span_id(trace_id_of(RUN))
    assert (root.start, root.end) == (1_795_514_400_000_000_000, 1_795_514_761_000_000_000)
    assert (root.status, root.message) == ("ERROR", "1 of 2 operations failed")
    assert root.attributes["deployment.environment.name"] == "TST"
    assert root.attributes["cicd.pipeline.result"] == "failure"


def test_close_has_nothing_to_do_where_nobody_would_see_it() -> None:
    """A pipeline's last activity must not fail for it, nor take the claim from one that has a backend."""
    for _ in range(2):
        done = run("--warehouse", "none", "close", RUN)
        assert (done.code, "OTEL_EXPORTER_OTLP_ENDPOINT" in done.out) == (0, True)


def test_close_leaves_a_run_alone_whose_root_a_job_emitted(otlp_http: HttpReceiver) -> None:
    """The process that opened the run was first."""
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = otlp_http.endpoint
    with dbbtrace.orchestration_run(RUN, data_product="Shop"):
        pass
    dbbtrace.shutdown()
    assert "already" in run_program("close", RUN).out


def test_close_without_rows_takes_the_times_that_are_given(otlp_http: HttpReceiver) -> None:
    """As where DBBTRACE_WAREHOUSE is none; a time that makes no sense is refused."""
    os.environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp_http.endpoint, "DBBTRACE_WAREHOUSE": "none"}
    assert_one_line(run("close", RUN, "--started-at", "yesterday"), "started_at", "yesterday")
    assert_one_line(run("close"), "which run", "DBBTRACE_ORCHESTRATION_RUN_ID")
    done = run("close", RUN, "--started-at", "2026-11-24T10:00:00Z", "--ended-at", "2026-11-24T11:00:00Z",
               "--status", "succeeded")  # fmt: skip
    assert done.code == 0, done
    (root,) = otlp_http.wait_for(1)
    assert (root.end - root.start, root.status) == (3600 * 10**9, "UNSET")
