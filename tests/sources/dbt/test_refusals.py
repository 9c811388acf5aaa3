"""What is refused: stale files, and what are no results of dbt. Said by name, never raised into a job."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone

import pytest

import dbbtrace
from dbbtrace.errors import UsageError
from dbbtrace.model.times import to_unix_nanos
from dbbtrace.testing import TimeGenerator, capture
from tests.sources.dbt.support import ARTIFACTS, RUN, copy_of, edited, nodes, record

GENERATED = "2026-11-24T15:19:41.710311Z"
JUST_BEFORE, JUST_AFTER = "2026-11-24T15:19:41.710310Z", "2026-11-24T15:19:41.710312Z"


@pytest.fixture
def target(tmp_path):
    return copy_of("1.12.6/build_all", tmp_path / "target")


def in_a_run(target, began_at, *, strict=False, **options):
    """Recorded inside a run that this job opened at that time."""
    with capture(strict=strict, clock=TimeGenerator(to_unix_nanos(began_at))) as captured:
        with dbbtrace.orchestration_run(RUN, data_product="Finance"):
            with dbbtrace.transformation("+tag:Finance"):
                invocation = dbbtrace.record_dbt(target, **options)
    return invocation, nodes(captured)


# -- stale --------------------------------------------------------------------------------------------------


def test_a_file_from_before_the_run_is_refused_by_name_and_time(target, caplog):
    """dbt leaves the old file where it fails early: it must not pass for this run's."""
    invocation, spans = in_a_run(target, JUST_AFTER)
    assert spans == {}
    assert not invocation.recorded
    assert not invocation.nodes
    (line,) = [entry.getMessage() for entry in caplog.records if entry.levelname == "WARNING"]
    for part in (str(target / "run_results.json"), GENERATED, JUST_AFTER, "test_refusals.py"):
        assert part in line
    with pytest.raises(UsageError, match="before"):
        in_a_run(target, JUST_AFTER, strict=True)


def test_a_file_from_within_the_run_is_taken(target):
    """To the microsecond: no grace, since a job just before may have ended a moment ago."""
    assert in_a_run(target, JUST_BEFORE, strict=True)[0].recorded
    assert in_a_run(target, GENERATED, strict=True)[0].recorded


def test_a_time_without_fraction_counts_as_its_whole_second(target):
    """Some artifacts have no digits after the second: the run may have begun in the same one."""
    edited(target, lambda document: document["metadata"].update(generated_at="2026-11-24T15:19:41Z"))
    assert in_a_run(target, GENERATED, strict=True)[0].recorded
    assert not in_a_run(target, "2026-11-24T15:19:42Z")[0].recorded


def test_a_file_that_does_not_say_when_counts_from_its_last_change(target):
    """The file system knows it at least."""
    edited(target, lambda document: document["metadata"].pop("generated_at"))
    os.utime(target / "run_results.json", ns=(0, to_unix_nanos(GENERATED)))
    assert in_a_run(target, JUST_BEFORE, strict=True)[0].recorded
    assert not in_a_run(target, JUST_AFTER)[0].recorded


@pytest.mark.parametrize(
    "limit", [JUST_AFTER, to_unix_nanos(JUST_AFTER), datetime(2026, 11, 25, tzinfo=timezone.utc)], ids=str
)
def test_not_before_overrides_the_runs_begin(target, limit):
    """In both directions, in or out of a run, as any point in time."""
    assert not in_a_run(target, JUST_BEFORE, not_before=limit)[0].recorded
    assert not record(target, strict=False, not_before=limit)[0].recorded
    assert in_a_run(target, "2027-01-01", not_before=JUST_BEFORE, strict=True)[0].recorded


def test_a_limit_that_is_no_time_is_named_and_passed_by(target, caplog):
    """The default stands then."""
    assert not in_a_run(target, JUST_AFTER, not_before="yesterday")[0].recorded
    assert in_a_run(target, JUST_BEFORE, not_before="yesterday")[0].recorded
    assert "not_before = 'yesterday' is left out" in caplog.text


def test_old_files_are_welcome_where_the_caller_says_so(target):
    """allow_old, or a run named from outside of it: the command line's case."""
    assert in_a_run(target, "2027-01-01", allow_old=True, strict=True)[0].recorded
    assert in_a_run(target, "2027-01-01", run_id="another-run", strict=True)[0].recorded
    with capture(clock=TimeGenerator(to_unix_nanos("2027-01-01"))) as captured:
        assert dbbtrace.record_dbt(target, run_id=RUN).recorded
    assert nodes(captured)


def test_outside_of_a_run_nothing_is_too_old_however_often_it_is_recorded(target, monkeypatch):
    """A script that only reports what an earlier step did, the run named by the environment."""
    monkeypatch.setenv("DBBTRACE_ORCHESTRATION_RUN_ID", RUN)
    with capture(clock=TimeGenerator(to_unix_nanos("2027-01-01"))) as captured:
        assert dbbtrace.record_dbt(target).recorded
        assert dbbtrace.record_dbt(target).recorded
    assert len({span.context.span_id for span in captured.spans}) * 2 == len(captured.spans)


def test_a_transformation_alone_limits_too(target, monkeypatch):
    """What encloses the record began before dbt did, whether a run was opened or not."""
    monkeypatch.setenv("DBBTRACE_ORCHESTRATION_RUN_ID", RUN)
    with capture(strict=False, clock=TimeGenerator(to_unix_nanos("2027-01-01"))):
        with dbbtrace.transformation("+tag:Finance"):
            assert not dbbtrace.record_dbt(target).recorded


# -- no results ---------------------------------------------------------------------------------------------

META = {"dbt_version": "1.12.6", "generated_at": GENERATED, "invocation_id": "i"}


def of_schema(kind, version, **more):
    schema = f"https://schemas.getdbt.com/dbt/{kind}/v{version}.json"
    return json.dumps({"metadata": {**META, "dbt_schema_version": schema}, **more})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("not json", "no JSON"),
        ('{"metadata": {"dbt_schema_ver', "cut off"),
        ("[]", "not an artifact of dbt"),
        ("{}", "not an artifact of dbt"),
        ('{"results": []}', "not an artifact of dbt"),
        ('{"metadata": {"dbt_schema_version": 6}, "results": []}', "not an artifact of dbt"),
        (of_schema("manifest", 12, nodes={}), "dbt's manifest, not its results"),
        (of_schema("catalog", 1, nodes={}), "dbt's catalog, not its results"),
        (of_schema("run-results", 6), "no list of results"),
        (of_schema("run-results", 6, results={"a": 1}), "no list of results"),
        (of_schema("run-results", 3, results=[]), "1.5 and newer"),
        ("[" * 100_000, "no JSON"),
    ],
)  # fmt: skip
def test_what_is_no_result_of_dbt_is_refused(tmp_path, text, says, caplog):
    """By file and fix, in one line; raised when strict."""
    file = tmp_path / "run_results.json"
    file.write_text(text)
    invocation, captured = record(tmp_path, strict=False)
    (line,) = [entry.getMessage() for entry in caplog.records]
    assert says in line
    assert str(file) in line
    assert captured.spans == []
    assert says in str(invocation)
    with pytest.raises(UsageError, match=says):
        record(tmp_path)


def test_a_missing_file_is_named(tmp_path, caplog):
    """With what makes dbt write none."""
    invocation, _ = record(tmp_path, strict=False)
    assert f"there is no {tmp_path / 'run_results.json'}" in caplog.text
    assert "parse error" in str(invocation)
    assert not record(tmp_path / "nowhere" / "x.json", strict=False)[0].recorded


@pytest.mark.parametrize("path", [3, None, "a\0b", "x" * 5000], ids=["number", "None", "NUL", "too long"])
def test_what_is_no_path_is_named(path, caplog):
    """Never an exception into the job."""
    invocation, captured = record(path, strict=False)
    assert not invocation.recorded
    assert captured.spans == []
    assert len(caplog.records) == 1


def test_results_older_than_we_are_made_for_are_recorded_with_a_warning(tmp_path, caplog):
    """dbt 1.4 wrote the schema of 1.5; nothing is gained by refusing it."""
    target = copy_of("1.5.12/build_all", tmp_path)
    edited(target, lambda document: document["metadata"].update(dbt_version="1.4.9"))
    assert record(target)[0].recorded
    assert f"{target / 'run_results.json'} was written by dbt 1.4.9" in caplog.text


def test_a_newer_schema_is_recorded_as_far_as_it_is_understood(target, caplog):
    """An audit record with gaps is better than none, and the log says so."""
    schema = "https://schemas.getdbt.com/dbt/run-results/v7.json"
    edited(target, lambda document: document["metadata"].update(dbt_schema_version=schema))
    assert record(target)[0].nodes == record(ARTIFACTS / "1.12.6/build_all")[0].nodes
    assert "v7" in caplog.text
    assert "upgrade dbbtrace" in caplog.text


@pytest.mark.parametrize("command", ["compile", "show", "generate", "clone", "Compile"])
def test_commands_that_build_nothing_give_no_rows(target, command, caplog):
    """They overwrite the file of the build before: one line says so."""
    edited(target, lambda document: document["args"].update(which=command))
    invocation, captured = record(target)
    assert captured.spans == []
    assert not invocation.nodes
    assert invocation.command == command.lower()
    (line,) = [entry.getMessage() for entry in caplog.records]
    assert f"dbt {command.lower()}" in line


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_file_that_went_through_another_tool_is_still_read(target, encoding):
    """PowerShell writes UTF-16 or a byte order mark."""
    file = target / "run_results.json"
    file.write_bytes(file.read_text("utf-8").encode(encoding))
    assert record(target)[0].recorded


# -- twice in one run ---------------------------------------------------------------------------------------


def test_an_artifact_recorded_twice_is_said(target, caplog):
    """A second dbt that fails early leaves the file of the first: the same rows, no error, and one line tells."""
    with capture(strict=True, clock=TimeGenerator(to_unix_nanos(JUST_BEFORE))) as captured:
        with dbbtrace.orchestration_run("0f8fad5b-d9cb-469f-a165-70867728950e", data_product="Finance"):
            with dbbtrace.transformation("+tag:Finance"):
                first = dbbtrace.record_dbt(target)
            assert "already" not in caplog.text
            with dbbtrace.transformation("+tag:Shop"):
                second = dbbtrace.record_dbt(target)
            edited(target, lambda document: document["metadata"].update(generated_at="2026-11-24T16:00:00.5Z"))
            third = dbbtrace.record_dbt(target)
    assert (first.recorded, first.again, second.recorded, second.again, third.again) == (True, False, True, True, False)
    assert first.nodes == second.nodes
    assert caplog.text.count("was recorded in this run already") == 1
    ids = [span.context.span_id for span in captured.spans if span.attributes.get("dbb.dbt.unique_id")]
    assert len(set(ids)) < len(ids)
