"""``dbbtrace doctor``, ``flush`` and ``recover``, on journals that real processes left behind."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dbbtrace.errors import RefusedError
from tests.cli.support import Done, run, run_program
from tests.support.otlp import closed_port, unauthorised

RUN = "8f14e45f-ceea-467f-a0e6-1b2c3d4e5f60"
JOB = f"""
import os, signal, dbbtrace
dbbtrace.configure(rows_timeout=0)
with dbbtrace.join_run("{RUN}", data_product="Shop", environment="TST"):
    for name in ("Customer", "Order"):
        with dbbtrace.table_load(name, schema="mdm", source="MDS") as load:
            load.rows_written = 10
    with dbbtrace.table_load("Item", schema="mdm", source="MDS") as load:
        if "{{end}}" == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
    if "{{end}}" == "waits":
        print("running", flush=True)
        input()
dbbtrace.shutdown(0)
"""


def job(end: str = "ended", **environment: str) -> None:
    """A job that loads three tables; with ``killed`` it dies during the third."""
    done = subprocess.run(
        [sys.executable, "-c", JOB.replace("{end}", end)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    expected = -signal.SIGKILL if end == "killed" else 0
    assert done.returncode == expected, done.stderr


def loads(path: str) -> list[tuple[Any, ...]]:
    """The loads that stand."""
    connection = sqlite3.connect(path)
    try:
        sql = "SELECT table_name, status, error_type FROM monitoring_integration ORDER BY table_name"
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


ALL = [("Customer", "Succeeded", None), ("Item", "Succeeded", None), ("Order", "Succeeded", None)]


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    """A warehouse that can't be made, because its directory is a file; deleting that mends it."""
    obstacle = tmp_path / "obstacle"
    obstacle.write_text("in the way")
    os.environ["DBBTRACE_WAREHOUSE"] = f"sqlite:///{obstacle}/rows.db"
    return obstacle


def findings(done: Done, area: str, state: str = "FAULT") -> list[dict[str, str]]:
    """What doctor found there."""
    return [each for each in json.loads(done.out) if (each["area"], each["state"]) == (area, state)]


def test_all_is_well(tmp_path: Path) -> None:
    """With rows delivered and nothing waiting, doctor is content: exit code 0, on 80 columns."""
    job()
    assert run("flush").code == 0
    done = run("doctor")
    assert done.code == 0, done.out
    assert "the three tables are there, with every column" in done.out
    assert done.out.endswith("all is well\n")
    assert max(map(len, done.out.splitlines())) <= 80


def test_what_waits_is_delivered(blocked: Path) -> None:
    """A warehouse that is down is a fault, and so is what waits for it, with the command that helps; then it helps."""
    job()
    done = run("doctor", "--json")
    assert done.code == 1
    [warehouse], [journal] = findings(done, "warehouse"), findings(done, "journal")
    assert str(blocked) in warehouse["text"]
    assert "5 spans of a job that is gone wait for sqlite:///" in journal["text"]
    assert journal["remedy"] == "run `dbbtrace flush`"

    still = run("flush", "--timeout", "1")
    assert still.code == 1
    assert "still waiting for sqlite:///" in still.err
    assert still.err.splitlines()[-1] == "dbbtrace: not everything was delivered: `dbbtrace doctor` says what to do"

    blocked.unlink()
    done = run("flush")
    assert (done.code, done.out, done.err) == (0, "5 spans delivered from 1 journal\n", "")
    assert loads(f"{blocked}/rows.db") == ALL
    assert run("flush").out == "nothing was delivered\n"
    assert run("doctor").code == 0


def test_what_waits_of_many_jobs_is_said_once(blocked: Path) -> None:
    """A finding a destination, however many jobs left spans for it."""
    job()
    job()
    [journal] = findings(run("doctor", "--json"), "journal")
    assert "10 spans of 2 jobs that are gone wait for sqlite:///" in journal["text"]


def test_a_killed_job_is_recovered(blocked: Path) -> None:
    """What had ended is delivered, what had only started is closed as Interrupted."""
    job("killed")
    blocked.unlink()
    done = run("recover")
    assert (done.code, done.out) == (0, "5 spans delivered from 1 journal, 2 of them interrupted\n")
    assert loads(f"{blocked}/rows.db") == [ALL[0], ("Item", "Failed", "Interrupted"), ALL[2]]


def test_a_running_job_is_left_alone(blocked: Path) -> None:
    """A job that runs delivers for itself: doctor says so, flush and recover take nothing from it."""
    process = subprocess.Popen(
        [sys.executable, "-c", JOB.replace("{end}", "waits")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        blocked.unlink()
        blocked.mkdir()
        assert run("recover").out == "nothing was delivered\n"
        [found] = findings(run("doctor", "--json"), "journal", "ok")
        assert "of a job that runs" in found["text"]
    finally:
        process.communicate("\n", timeout=60)


def test_rows_for_another_warehouse_are_left_to_it(blocked: Path, tmp_path: Path) -> None:
    """What was written for one warehouse is never delivered to another; doctor gives the command that delivers it."""
    job()
    blocked.unlink()
    os.environ["DBBTRACE_WAREHOUSE"] = "sqlite:///elsewhere.db"
    done = run("flush")
    assert (done.code, done.out) == (0, "nothing was delivered\n")
    assert f"5 spans still waiting for sqlite:///{blocked}/rows.db: it is not configured here" in done.err
    assert not (tmp_path / "elsewhere.db").exists()
    [finding] = findings(run("doctor", "--json"), "journal")
    command = finding["remedy"].split("`")[1].split()
    assert command[0] == "dbbtrace"
    assert run(*command[1:]).code == 0
    assert loads(f"{blocked}/rows.db") == ALL


def test_the_dead_letter_file(tmp_path: Path) -> None:
    """What was refused for good is counted with its reason, and sent again when asked."""
    import dbbtrace
    from dbbtrace.delivery.dead_letter import DeadLetters
    from dbbtrace.model.destinations import warehouse_name

    memory = InMemorySpanExporter()
    dbbtrace.configure(warehouse="none", exporters=[memory])
    with dbbtrace.join_run(RUN), dbbtrace.table_load("Customer", schema="mdm"):
        pass
    dbbtrace.shutdown()
    os.environ["DBBTRACE_WAREHOUSE"] = url = f"sqlite:///{tmp_path}/rows.db"
    refused = [(span, "value out of range\x1b[31m") for span in memory.get_finished_spans()]
    DeadLetters(os.environ["DBBTRACE_JOURNAL_DIR"]).write(warehouse_name(url), refused)

    done = run("doctor")
    assert done.code == 1
    assert r"value out of range\x1b[31m" in done.out
    assert "dbbtrace flush --dead-letter" in done.out
    assert "\x1b" not in done.out
    done = run("flush", "--dead-letter")
    assert done.code == 0, done
    assert "1 span sent again" in done.out
    assert loads(f"{tmp_path}/rows.db") == [("Customer", "Succeeded", None)]
    assert run("doctor").code == 0


def test_what_is_refused_is_said(blocked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A span that the warehouse refuses for good is set aside, and the exit code tells."""
    job()
    blocked.unlink()

    def refuse(*_: object) -> None:
        raise RefusedError("never")

    monkeypatch.setattr("dbbtrace_exporters.warehouse.exporter.WarehouseSpanExporter.deliver", refuse)
    done = run("flush")
    assert done.code == 1
    assert "5 spans were refused" in done.err
    assert findings(run("doctor", "--json"), "dead letters")[0]["text"].startswith("5 refused by sqlite:///")


def test_rows_recorded_before_a_warehouse_was_named(tmp_path: Path) -> None:
    """Rows that waited for anybody to name a warehouse go to the one that is named then."""
    from dbbtrace.model.destinations import UNRESOLVED

    code = JOB.replace("{end}", "ended").replace("dbbtrace.configure", "dbbtrace.settings.in_fabric = lambda: True\n")
    code = "import dbbtrace.settings\n" + code.replace("(rows_timeout=0)", "dbbtrace.configure(rows_timeout=0)", 1)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [finding] = findings(run("doctor", "--json"), "journal")
    assert UNRESOLVED in finding["text"]
    assert run("flush", "--warehouse", f"sqlite:///{tmp_path}/rows.db").code == 0
    assert loads(f"{tmp_path}/rows.db") == ALL


def test_doctor_asks_the_backend(otlp_http: Any) -> None:
    """The OTLP backend is asked with an empty request: it answers, refuses the login, or is not there."""
    endpoint = f"http://localhost:{otlp_http.port}"
    done = run_program("doctor", "--json", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    assert done.code == 0, done.out
    assert "answers in" in findings(done, "OTLP", "ok")[0]["text"]
    otlp_http.always(unauthorised())
    done = run_program("doctor", "--json", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    assert done.code == 1
    assert "401" in findings(done, "OTLP")[0]["text"]
    with closed_port() as port:
        done = run_program("doctor", "--json", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://localhost:{port}")
    assert findings(done, "OTLP")
    assert otlp_http.spans == []


@pytest.mark.parametrize("command", ["doctor", "runs", "migrate", "query SELECT"])
def test_nothing_waits_where_nobody_listens(command: str) -> None:
    """A driver tries a dead port for as long as a warehouse may sleep: we knock first, and say where."""
    with closed_port() as url:
        port = url.rpartition(":")[2]
        done = run_program(*command.split(), DBBTRACE_WAREHOUSE=f"Server=127.0.0.1,{port};Database=d;UID=u;PWD=geheim")
    assert done.code != 0
    said = " ".join((done.out + done.err).split())
    assert f"nothing answers at 127.0.0.1, port {port}: " in said
    assert "geheim" not in said


def test_doctor_masks_secrets() -> None:
    """No password is shown, whether it came by variable, argument or file."""
    done = run_program("doctor", DBBTRACE_WAREHOUSE="Driver={x};Server=s;Database=d;UID=u;PWD={hunter2;x}")
    assert done.code == 1
    assert "PWD=***" in done.out
    assert "hunter2" not in done.out + done.err


def test_doctor_names_every_setting_that_makes_no_sense() -> None:
    """Faults of the settings are all reported, and doctor goes on."""
    done = run_program("doctor", "--json", DBBTRACE_ROWS_TIMEOUT="soon", DBBTRACE_JOURNAL_FSYNC="maybe")
    texts = [finding["text"] for finding in findings(done, "settings")]
    assert done.code == 1
    assert any("DBBTRACE_ROWS_TIMEOUT" in text for text in texts)
    assert any("DBBTRACE_JOURNAL_FSYNC" in text for text in texts)
    assert findings(done, "warehouse", "note")


def test_doctor_on_tables_of_others(tmp_path: Path) -> None:
    """Tables without dbbtrace's columns work, and doctor says what migrate would add; a missing table is a fault."""
    connection = sqlite3.connect("dbb_warehouse.db")
    connection.execute("CREATE TABLE monitoring_integration (table_name, schema_name, source_name, status, timestamp)")
    connection.commit()
    connection.close()
    done = run("doctor", "--json")
    assert "record_id" in findings(done, "warehouse", "note")[0]["text"]
    [missing] = findings(done, "warehouse")
    assert "meta.monitoring_transformation_dbt" in missing["text"]
    assert missing["remedy"] == "run `dbbtrace migrate`"
    assert run("migrate").code == 0
    assert run("doctor").code == 0


def test_doubles_are_counted(tmp_path: Path) -> None:
    """Rows of one record that stand twice, as can happen on Fabric, are counted."""
    assert run("migrate").code == 0
    connection = sqlite3.connect("dbb_warehouse.db")
    connection.execute("DROP INDEX ux_monitoring_integration_record_id")
    connection.executemany(
        "INSERT INTO monitoring_integration (table_name, record_id) VALUES ('T', ?)", [("a",), ("a",), ("a",), ("b",)]
    )
    connection.commit()
    connection.close()
    texts = [finding["text"] for finding in findings(run("doctor", "--json"), "warehouse", "note")]
    assert any("1 record more than once, 2 rows too many" in text for text in texts)


def test_a_progress_bar_on_a_terminal(blocked: Path) -> None:
    """On a terminal flush shows a bar on stderr; in a pipe it does not."""
    job()
    blocked.unlink()
    done = run_program("flush", FORCE_COLOR="1", TERM="xterm-256color")
    assert done.code == 0
    assert "delivering spans" in done.err
    assert done.out == "5 spans delivered from 1 journal\n"


def test_two_at_once(blocked: Path) -> None:
    """Two recoverers at once do no harm."""
    for _ in range(4):
        job("killed")
    blocked.unlink()
    done: list[Done] = []
    threads = [threading.Thread(target=lambda: done.append(run_program("recover"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.code for each in done] == [0, 0], done
    counts = [name for name, _, _ in loads(f"{blocked}/rows.db")]
    assert (counts.count("Customer"), counts.count("Item"), counts.count("Order")) == (4, 4, 4)


def test_what_cannot_be_read_is_named_with_exit_code_3_and_can_be_moved_away(blocked: Path) -> None:
    """A damaged header: flush and recover deliver the rest and say so; doctor prints the command that helps."""
    job()
    job("killed")
    blocked.unlink()
    journals = Path(os.environ["DBBTRACE_JOURNAL_DIR"])
    (damaged, *_) = sorted(path for path in journals.iterdir() if path.name.count(".") >= 5)
    segment = damaged / "000001.jsonl"
    segment.write_bytes(b"#" + segment.read_bytes())
    for command in ("flush", "recover"):
        done = run(command)
        assert done.code == 3
        assert damaged.name in done.err
    assert len(loads(f"{blocked}/rows.db")) == 3
    done = run("doctor", "--json")
    assert done.code == 3
    [finding] = findings(done, "journal")
    command = finding["remedy"].split("`")[1].split()
    assert command == ["dbbtrace", "set-aside", damaged.name]
    assert run(*command[1:]).code == 0
    assert (journals / "set-aside" / damaged.name / "000001.jsonl").exists()
    assert run("doctor").code == 0
    assert run("set-aside", "nothing").code == 2


def test_rows_for_a_wrong_warehouse_are_sent_to_the_right_one(blocked: Path, tmp_path: Path) -> None:
    """Only when somebody says so by name, and only where spans wait for that name."""
    job()
    wrong = f"sqlite:///{blocked}/rows.db"
    os.environ["DBBTRACE_WAREHOUSE"] = f"sqlite:///{tmp_path}/right.db"
    done = run("flush", "--from", "sqlite:///nowhere.db")
    assert done.code == 2
    assert wrong in done.err
    done = run("flush", "--from", wrong)
    # the loads, and the job's start and end
    assert (done.code, done.out) == (0, "5 spans delivered from 1 journal\n")
    assert loads(f"{tmp_path}/right.db") == ALL
