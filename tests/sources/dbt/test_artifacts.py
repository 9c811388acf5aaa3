"""Every artifact of every dbt: what is recorded equals what a plain reading of the file says."""

from __future__ import annotations

import gzip
import re
from collections import Counter

import pytest
from dbbtrace_exporters.warehouse.flatten import rows_of
from opentelemetry.trace import StatusCode

from dbbtrace.model import attributes as key
from dbbtrace.warehouse.schema import PARTS
from tests.sources.dbt.support import (
    ARTIFACTS,
    FAILED,
    RESULTS,
    RUN,
    SOURCES,
    WITHOUT_ROWS,
    load,
    name_of,
    nanos,
    never_ran,
    nodes,
    record,
)

BUILDS = [file for file in RESULTS if load(file)["args"]["which"] not in WITHOUT_ROWS and load(file)["results"]]
BARREN = [file for file in RESULTS if file not in BUILDS]
STAGES = {
    "compile": (key.DBT_COMPILE_STARTED_AT, key.DBT_COMPILE_COMPLETED_AT),
    "execute": (key.DBT_EXECUTE_STARTED_AT, key.DBT_EXECUTE_COMPLETED_AT),
}
PLAIN = {
    "thread_id": key.DBT_THREAD_ID,
    "failures": key.DBT_FAILURES,
    "compiled": key.DBT_COMPILED,
    "relation_name": key.DBT_RELATION_NAME,
}


def plain(message):
    """The message without colours, as unit tests print them."""
    return message and re.sub(r"\x1b\[[\d;]+m", "", message)


def each(files):
    return pytest.mark.parametrize("file", files, ids=name_of)


def test_the_artifacts_are_there():
    """All versions and scenarios are read, so that the tests below mean something."""
    assert len(BUILDS) > 80
    assert len(SOURCES) == 6
    assert {file.parent.parent.name for file in BUILDS} >= {"1.5.12", "1.7.20", "1.12.6", "2.0.0-preview.196"}


@each(BUILDS)
def test_each_node_is_one_span_with_what_the_file_says_of_it(file):
    """As many nodes, the same words, and each value of the file on the span of its node."""
    document = load(file)
    invocation, captured = record(file)
    spans = nodes(captured)
    assert set(spans) == {result["unique_id"] for result in document["results"]}
    assert dict(invocation.nodes) == Counter(result["status"] for result in document["results"])
    assert invocation.recorded
    assert invocation.failed == sum(result["status"] in FAILED for result in document["results"])
    for result in document["results"]:
        span = spans[result["unique_id"]]
        attributes = span.attributes
        assert attributes[key.STATUS] == result["status"]
        assert attributes[key.DBT_INVOCATION_ID] == document["metadata"]["invocation_id"]
        assert attributes[key.DBT_GENERATED_AT] == nanos(document["metadata"]["generated_at"])
        assert attributes[key.DBT_RESOURCE_TYPE] == result["unique_id"].split(".")[0]
        for field, attribute in PLAIN.items():
            assert attributes.get(attribute) == result.get(field), field
        response = result["adapter_response"]
        assert attributes.get(key.DBT_ADAPTER_MESSAGE) == response.get("_message")
        assert attributes.get(key.DBT_ROWS_AFFECTED) == response.get("rows_affected")
        if result["status"] == "skipped":
            assert attributes[key.DBT_EXECUTION_TIME] == 0
        else:
            assert attributes[key.DBT_EXECUTION_TIME] == result["execution_time"]
            assert attributes.get(key.DBT_MESSAGE) == plain(result["message"])
        assert (span.status.status_code is StatusCode.ERROR) == (result["status"] in FAILED)
        if result["status"] in FAILED:
            assert attributes[key.ERROR_TYPE] == "dbt." + result["status"].replace(" ", "_")
            assert attributes[key.ERROR_MESSAGE] == (plain(result["message"]) or result["status"])


@each(BUILDS)
def test_times_are_those_of_the_file(file):
    """Stage spans and the times for the rows equal the file's; the node lasts from its first stage as dbt says."""
    document = load(file)
    fusion = document["metadata"]["dbt_version"].startswith("2.")
    _, captured = record(file)
    spans = nodes(captured)
    stages = captured.operations(key.OPERATION_DBT_STAGE)
    for result in document["results"]:
        span = spans[result["unique_id"]]
        timing = [] if never_ran(result, fusion) else result["timing"]
        expected = {  # a run-operation's stage may bear its macro's name
            stage["name"] if stage["name"] == "compile" else "execute": (
                nanos(stage["started_at"]),
                nanos(stage["completed_at"]),
            )
            for stage in timing
        }
        children = [stage for stage in stages if stage.parent.span_id == span.context.span_id]
        assert {stage.name: (stage.start_time, stage.end_time) for stage in children} == {
            stage: (start, max(end, start + 1))  # Jaeger marks a span without duration as faulty
            for stage, (start, end) in expected.items()
        }
        assert all(span.start_time <= stage.start_time < stage.end_time <= span.end_time for stage in children)
        kept = {
            stage: (span.attributes.get(started), span.attributes.get(completed))
            for stage, (started, completed) in STAGES.items()
        }
        assert {stage: times for stage, times in kept.items() if times != (None, None)} == expected
        if expected:
            assert span.start_time == min(start for start, _ in expected.values())
            lasted = span.end_time - span.start_time
            assert lasted >= int(result["execution_time"] * 1e9) - 1
            assert span.end_time >= max(end for _, end in expected.values())
        else:
            assert span.end_time == nanos(document["metadata"]["generated_at"])
            if result["status"] == "skipped":
                assert span.start_time == span.end_time - 1
    assert len(stages) == sum(len(result["timing"]) for result in document["results"] if not never_ran(result, fusion))


@each(BUILDS)
def test_each_node_gives_one_execute_row_and_a_compile_row_where_dbt_timed_it(file):
    """What arrives in the table: none vanishes, the skipped and early-failed have empty times, ids are unique."""
    document = load(file)
    fusion = document["metadata"]["dbt_version"].startswith("2.")
    _, captured = record(file, environment="PRD")
    rows = [row for span in captured.spans for row in rows_of(span) if row.table is not PARTS]
    assert len({row.record_id for row in rows}) == len(rows)
    table = [dict(zip([column.name for column in row.table.columns], row.values, strict=True)) for row in rows]
    execute = {row["unique_id"]: row for row in table if row["process_stage"] == "execute"}
    assert len(execute) == len(document["results"]) == sum(row["process_stage"] == "execute" for row in table)
    compiled = [row["unique_id"] for row in table if row["process_stage"] == "compile"]
    assert sorted(compiled) == sorted(
        result["unique_id"]
        for result in document["results"]
        if not never_ran(result, fusion) and any(stage["name"] == "compile" for stage in result["timing"])
    )
    for result in document["results"]:
        row = execute[result["unique_id"]]
        ran = not never_ran(result, fusion) and any(stage["name"] != "compile" for stage in result["timing"])
        assert (row["process_started_at"] is not None) == ran
        assert (row["process_completed_at"] is not None) == ran
        assert row["item_name"] == result["unique_id"].split(".")[-1]
        assert row["status"] == result["status"]
        assert row["orchestration_run_id"] == RUN


@each(BUILDS)
def test_the_invocation_is_the_parent_of_its_nodes_and_spans_them(file):
    """One span above all nodes, named after the command, in error if a node failed."""
    document = load(file)
    _, captured = record(file)
    (above,) = captured.operations(key.OPERATION_DBT_INVOCATION)
    assert above.name == f"dbt {document['args']['which']}"
    assert above.attributes[key.DBT_VERSION] == document["metadata"]["dbt_version"]
    for span in nodes(captured).values():
        assert span.parent.span_id == above.context.span_id
        assert above.start_time <= span.start_time <= span.end_time <= above.end_time
    started = document["metadata"].get("invocation_started_at")
    if started:
        assert above.start_time == nanos(started)
    failed = any(result["status"] in FAILED for result in document["results"])
    assert (above.status.status_code is StatusCode.ERROR) == failed
    assert {span.context.trace_id for span in captured.spans} == {int(RUN.replace("-", ""), 16)}


@each(BUILDS)
def test_recorded_twice_it_is_the_same_spans(file):
    """Ids, identities and all else repeat, so that delivery stores them once; no two spans share an id."""
    first, second = record(file)[1].spans, record(file)[1].spans
    assert [span.to_json() for span in first] == [span.to_json() for span in second]
    assert len({span.context.span_id for span in first}) == len(first)


@each(BUILDS)
def test_what_dbt_selected_is_said(file):
    """build_models: dbt's own --select where the job does not say otherwise."""
    select = load(file)["args"].get("select") or []
    _, captured = record(file)
    assert {span.attributes[key.DBT_SELECT] for span in nodes(captured).values()} == {" ".join(select)}
    _, captured = record(file, select="+tag:Finance")
    assert {span.attributes[key.DBT_SELECT] for span in nodes(captured).values()} == {"+tag:Finance"}


@each(SOURCES)
def test_freshness_gives_a_node_for_each_source(file):
    """sources.json: dbt's own words, in lower case where Fusion capitalises, and why a source is not fresh."""
    document = load(file)
    invocation, captured = record(file)
    spans = nodes(captured)
    assert invocation.command == "source freshness"
    assert set(spans) == {result["unique_id"] for result in document["results"]}
    for result in document["results"]:
        span, word = spans[result["unique_id"]], result["status"].lower()
        assert span.attributes[key.STATUS] == word
        assert (span.status.status_code is StatusCode.ERROR) == (word in FAILED)
        if word == "runtime error":
            assert span.attributes[key.DBT_MESSAGE] == result["error"]
        elif word in ("warn", "error"):
            assert span.attributes[key.DBT_MESSAGE].startswith(f"last loaded {result['max_loaded_at']}")
        assert len(rows_of(span)) == 1 + any(stage["name"] == "compile" for stage in result.get("timing", []))


@each(BARREN)
def test_what_builds_nothing_gives_no_rows(file, caplog):
    """show and clone overwrite the file, and an empty selection leaves it empty: one line says so, strict or not."""
    invocation, captured = record(file)
    assert nodes(captured) == {}
    assert not invocation.recorded
    assert not invocation.nodes
    assert invocation.dbt_version == load(file)["metadata"]["dbt_version"]
    (line,) = [entry.getMessage() for entry in caplog.records]
    assert str(file) in line
    if invocation.command in WITHOUT_ROWS:
        assert f"dbt {invocation.command}" in line
        assert captured.spans == []
    else:
        assert "selected no node" in line


def test_a_large_build_is_read_whole(tmp_path):
    """17.5 MB, 2,567 nodes."""
    file = ARTIFACTS / "large" / "run_results.json.gz"
    document = load(file)
    (tmp_path / "run_results.json").write_bytes(gzip.decompress(file.read_bytes()))
    invocation, captured = record(tmp_path)
    assert len(nodes(captured)) == len(document["results"]) == 2567
    assert sum(invocation.nodes.values()) == 2567


@pytest.mark.parametrize("version", ["1.7.20", "1.9.11", "1.10.23", "1.12.6"])
def test_a_retry_is_an_invocation_of_its_own(version):
    """The retried nodes get rows under the new invocation; the first ones keep theirs."""
    before = nodes(record(ARTIFACTS / version / "before_retry")[1])
    retried = nodes(record(ARTIFACTS / version / "retry")[1])
    both = set(before) & set(retried)
    assert both
    for unique_id in both:
        assert before[unique_id].context.span_id != retried[unique_id].context.span_id
        assert before[unique_id].attributes[key.IDENTITY] != retried[unique_id].attributes[key.IDENTITY]
