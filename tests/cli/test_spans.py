"""``dbbtrace import`` and ``dbbtrace replay``: spans in from files, and a run out again to a backend."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dbbtrace
from dbbtrace.model.identity import root_span_id, trace_id_of
from tests.cli.support import assert_one_line, run, run_program
from tests.support.otlp import HttpReceiver, closed_port

RUN = "0f8fad5b-d9cb-469f-a165-70867728950e"
TRACE = RUN.replace("-", "")


def line(span_id: int, name: str, **attributes: Any) -> str:
    """A line as the Collector's file exporter writes it."""
    values = [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in attributes.items()
    ]
    span = {
        "traceId": TRACE,
        "spanId": f"{span_id:016x}",
        "name": name,
        "kind": 1,
        "startTimeUnixNano": "1795514400000000000",
        "endTimeUnixNano": "1795514460000000000",
        "attributes": values,
    }
    return json.dumps({"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": [span]}]}]}) + "\n"


def load(span_id: int, table: str) -> str:
    """A line with a table load."""
    keys = {"dbb.operation": "table_load", "dbb.orchestration.run_id": RUN, "dbb.table.name": table}
    return line(span_id, f"load {table}", **keys, **{"dbb.rows.written": span_id})


def test_import_gives_rows_once_and_names_bad_lines(tmp_path: Path) -> None:
    """Two files, one bad line: the rest is stored, the line is named, the exit code is 1; again, nothing doubles."""
    (tmp_path / "a.jsonl").write_text(load(1, "A") + "{torn\n" + load(2, "B") + line(3, "else"))
    (tmp_path / "b.jsonl").write_text(load(4, "C"))
    for _ in range(2):
        done = run_program("import", "a.jsonl", "b.jsonl")
        assert (done.code, done.out) == (1, "4 spans, of which 3 are operations\n")
        assert done.err.splitlines()[0].startswith("a.jsonl:2: ")
        assert done.err.splitlines()[1] == "dbbtrace: 1 bad line was skipped"
    rows = json.loads(run("query", "SELECT table_name FROM meta.monitoring_integration", "--format", "json").out)
    assert sorted(row["table_name"] for row in rows) == ["A", "B", "C"]


def test_import_says_which_operations_give_no_row(tmp_path: Path) -> None:
    """Without a run id, or the name of its table, an operation is named and the exit code is 1; the rest is stored."""
    no_run = line(2, "load B", **{"dbb.operation": "table_load", "dbb.table.name": "B"})
    no_table = line(
        3, "load ?", **{"dbb.operation": "table_load", "dbb.orchestration.run_id": RUN, "dbb.table.name": " "}
    )
    (tmp_path / "a.jsonl").write_text(load(1, "A") + no_run + no_table)
    done = run_program("import", "a.jsonl")
    assert (done.code, done.out) == (1, "3 spans, of which 1 is an operation\n")
    told = [each for each in done.err.splitlines() if each.startswith("a.jsonl:")]
    assert [each.partition(" span ")[0] for each in told] == ["a.jsonl:2:", "a.jsonl:3:"]
    assert "dbb.orchestration.run_id" in told[0]
    assert "dbb.table.name" in told[1]
    assert done.err.splitlines()[-1] == "dbbtrace: 2 spans claim an operation and give no row"
    rows = json.loads(run("query", "SELECT table_name FROM meta.monitoring_integration", "--format", "json").out)
    assert rows == [{"table_name": "A"}]


def test_import_of_good_files_exits_0_and_a_missing_one_is_refused(tmp_path: Path) -> None:
    """Bad input is one line that says what to do."""
    (tmp_path / "a.jsonl").write_text(load(1, "A"))
    assert run("import", "a.jsonl").code == 0
    assert_one_line(run("import", "b.jsonl"), "b.jsonl")
    assert_one_line(run("--warehouse", "none", "import", "a.jsonl"), "OTEL_EXPORTER_OTLP_ENDPOINT")


def recorded() -> None:
    """A run in the embedded warehouse, delivered and gone from the journal."""
    with dbbtrace.orchestration_run(RUN, data_product="Shop", environment="TST"):
        with dbbtrace.integration(), dbbtrace.table_load("Customer", schema="mdm", source="MDS") as load:
            load.rows_read = load.rows_written = 10
        with dbbtrace.transformation():
            with dbbtrace.dbt_node("model.shop.customers") as node:
                node.status, node.message = "error", "no such column"
            with dbbtrace.dbt_node("model.shop.report") as node:
                node.status = "skipped"
    assert dbbtrace.flush(30)
    dbbtrace.shutdown()


def test_replay_sends_a_run_that_only_the_warehouse_still_knows(otlp_http: HttpReceiver) -> None:
    """One tree with the rows' own span ids and times, errors marked; twice, it is the same."""
    recorded()
    answers = []
    for _ in range(2):
        done = run_program("replay", "last", "--to", "otlp", "--endpoint", otlp_http.endpoint)
        assert (done.code, done.out) == (0, "4 spans sent: 0 from the journal, 4 rebuilt from rows\n"), done
        sent = otlp_http.wait_for(4 * (len(answers) + 1))[-4:]
        answers.append([replace(span, resource={}) for span in sent])  # which tells of the process
    assert answers[0] == answers[1]
    spans = {span.name: span for span in answers[0]}
    root = spans["orchestration_run Shop"]
    assert {span.trace_id for span in spans.values()} == {TRACE}
    assert int(root.span_id, 16) == root_span_id(trace_id_of(RUN))
    load, node = spans["load mdm.Customer"], spans["model.shop.customers"]
    assert {span.parent_span_id for span in spans.values()} == {"", root.span_id}
    rows = json.loads(run("query", "SELECT span_id, process_started_at FROM meta.monitoring_integration",
                          "--format", "json").out)  # fmt: skip
    assert rows[0]["span_id"] == load.span_id
    assert (load.attributes["dbb.rows.written"], load.status) == (10, "UNSET")
    assert (node.status, node.message) == ("ERROR", "no such column")
    assert spans["model.shop.report"].attributes["cicd.pipeline.task.run.result"] == "skip"
    assert root.start <= load.start <= load.end <= root.end
    assert {span.attributes["dbb.operation"] for span in spans.values()} == {"orchestration_run", "step"}


def test_replay_sends_what_waits_in_the_journal_as_it_was(otlp_http: HttpReceiver) -> None:
    """Spans that an unreachable backend left there, with their parents and attributes."""
    job = f"""
import dbbtrace
dbbtrace.configure(warehouse="none", otlp_endpoint="http://127.0.0.1:9", rows_timeout=0)
with dbbtrace.orchestration_run("{RUN}", data_product="Shop"), dbbtrace.step("outer"), dbbtrace.step("inner"):
    pass
"""
    subprocess.run([sys.executable, "-c", job], check=True, timeout=60)
    done = run_program("replay", RUN, "--to", "otlp", "--endpoint", otlp_http.endpoint)
    assert (done.code, done.out) == (0, "3 spans sent: 3 from the journal, 0 rebuilt from rows\n"), done
    spans = {span.name: span for span in otlp_http.wait_for(3)}
    assert spans["inner"].parent_span_id == spans["outer"].span_id
    assert spans["outer"].parent_span_id == spans["orchestration_run Shop"].span_id


def test_replay_says_what_is_missing() -> None:
    """No backend, an unknown run, a backend that is down."""
    recorded()
    with closed_port() as endpoint:
        assert_one_line(run("replay", RUN, "--to", "otlp"), "http://localhost:4318")
        assert_one_line(run("replay", "nothing", "--to", "otlp", "--endpoint", endpoint), "nothing")
        assert_one_line(run("replay", RUN, "--to", "otlp", "--endpoint", endpoint), endpoint[len("http:") :], code=1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param("", "no span was found in a.json", id="empty"),
        pytest.param('{"resourceMetrics": []}\n', "1 document of metrics, logs or profiles", id="metrics"),
        pytest.param('{"resourceSpans": [{"scope_spans": [{}]}]}\n', "1 bad line was skipped", id="other names"),
    ],
)
def test_nothing_read_is_never_a_success(tmp_path: Path, content: str, words: str) -> None:
    """A file without a span ends with exit code 1, and a line that says why."""
    (tmp_path / "a.json").write_text(content)
    done = run_program("import", "a.json")
    assert done.code == 1
    assert words in done.err
