"""A whole pipeline run, from a server that behaves as Fabric's API does, into rows and one trace."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

import dbbtrace
from dbbtrace.answers.verdict import verdict_of
from dbbtrace.demo.fabric_service import RESPONSES, FabricService, load_responses
from dbbtrace.model import attributes as key
from dbbtrace.model.identity import root_span_id, trace_id_of
from dbbtrace.sources.fabric.following import Follower
from dbbtrace.sources.fabric.runs import Importer
from dbbtrace.testing import Captured, capture
from dbbtrace.warehouse import views
from tests.cli.support import assert_one_line, run
from tests.job.support import rows
from tests.support.fabric import ENDED, RUN, WORKSPACE

OTHER_WORKSPACE = "6f0a1c3e-2222-4a6b-9f10-2a6d5b1c8e47"
MDS_RUN, DYNAMICS_RUN = "30000000-7d3f-4b6a-9f10-2a6d5b1c8e47", "40000000-7d3f-4b6a-9f10-2a6d5b1c8e47"
DEEPEST_RUN, REFRESH_RUN = "50000000-7d3f-4b6a-9f10-2a6d5b1c8e47", "80000000-7d3f-4b6a-9f10-2a6d5b1c8e47"
PIPELINE = "11111111-3c5d-4e6f-8a7b-1c2d3e4f5a6b"
LOADS = "SELECT {} FROM meta.monitoring_integration ORDER BY table_name"


def imported(*, strict: bool = True, **options: Any) -> tuple[Captured, Any]:
    """What ``import_run`` leaves, and what it says."""
    with capture(strict=strict) as captured:
        dbbtrace.configure(fabric_token="t", workspace_id=WORKSPACE)
        done = dbbtrace.import_run(options.pop("run_id", RUN), **options)
    return captured, done


def loads(captured: Captured) -> dict[str, dict[str, Any]]:
    return {span.attributes[key.TABLE_NAME]: dict(span.attributes) for span in captured.operations("table_load")}


def activities(service: FabricService, run_id: str, name: str) -> list[dict[str, Any]]:
    return [each for each in service.activities[run_id] if each["activityName"] == name]


@pytest.fixture
def warehouse(fabric: FabricService) -> FabricService:
    """The server, and a job whose rows go to w.db."""
    dbbtrace.configure(warehouse="sqlite:///w.db", fabric_token="t")
    return fabric


# -- rows ---------------------------------------------------------------------------------------------------------


def test_the_rows_of_a_run(warehouse: FabricService) -> None:
    """Loads, with the names of the platform and the Copy's own start; one that failed, one that never started."""
    done = dbbtrace.import_run(RUN)
    assert dbbtrace.flush(30)
    assert (done.status, done.loads, done.failed, done.not_started, done.refreshes) == ("Failed", 6, 2, 1, 1)
    columns = (
        "table_name, schema_name, source_name, source_type, load_type, status, timestamp, rows_written, error_type"
    )
    assert rows(LOADS.format(columns)) == [
        ("Account", "mdm", "MDS", "SQL", "FULL", "Failed", "2025-11-20 07:00:53", None, "2200"),
        ("Calendar", "mdm", "MDS", "SQL", "FULL", "Succeeded", "2025-11-20 07:00:54", 3653, None),
        ("Currency", "mdm", "MDS", None, None, "Failed", "2025-11-20 07:00:49", None, "NotStarted"),
        ("Customer", "mdm", "MDS", "SQL", "FULL", "Succeeded", "2025-11-20 07:01:14", 48200, None),
        ("company", "dbo_cdm", "Dynamics", "SQL", "INCREMENTAL", "Succeeded", "2025-11-20 07:00:57", 212, None),
        ("ledgerentry", "dbo_cdm", "Dynamics", "SQL", "INCREMENTAL", "Succeeded", "2025-11-20 07:00:57", 903117, None),
    ]
    columns = (
        "data_product, orchestration_run_id, workspace, integration_pipeline_source_run_id, integration_pipeline_id"
    )
    product = "Group-FinancialStatements"
    of_mds = (product, RUN, WORKSPACE, MDS_RUN, "33333333-3c5d-4e6f-8a7b-1c2d3e4f5a6b")
    of_dynamics = (product, RUN, OTHER_WORKSPACE, DYNAMICS_RUN, "44444444-3c5d-4e6f-8a7b-1c2d3e4f5a6b")
    assert rows(LOADS.format(columns)) == [of_mds] * 4 + [of_dynamics] * 2
    [[message]] = rows("SELECT error_message FROM meta.monitoring_integration WHERE error_type = 'NotStarted'")
    assert "lookup_integration_source_metadata failed: 2100" in message
    refreshes = rows(
        "SELECT semantic_model_name, status, process_started_at, process_completed_at, workspace_id,"
        " data_product_refresh_pipeline_run_id FROM meta.monitoring_semantic_model_refresh"
    )
    assert refreshes == [
        (
            "Financial Statements",
            "Completed",
            "2025-11-20 07:03:58.417",
            "2025-11-20 07:04:54.083",
            WORKSPACE,
            REFRESH_RUN,
        )
    ]


def test_run_again_it_adds_nothing(warehouse: FabricService) -> None:
    """By the same process, by another, and by two at once."""
    for _ in range(2):
        dbbtrace.import_run(RUN)
    assert dbbtrace.flush(30)
    code = "import dbbtrace; dbbtrace.configure(fabric_token='t')"
    code += f"; print(dbbtrace.import_run({RUN!r})); dbbtrace.flush(60)"
    environment = {"DBBTRACE_WAREHOUSE": "sqlite:///w.db", "DBBTRACE_FABRIC_URL": warehouse.url}

    others = [
        subprocess.Popen(
            [sys.executable, "-c", code], env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for other in others:
        out, _ = other.communicate(timeout=120)
        assert other.returncode == 0
        assert "6 loads" in out
    assert rows("SELECT COUNT(*) FROM meta.monitoring_integration") == [(6,)]
    assert rows("SELECT COUNT(*) FROM meta.monitoring_semantic_model_refresh") == [(1,)]


def test_rows_of_the_hand_made_script_are_not_doubled(warehouse: FabricService) -> None:
    """A row for the same load that has no record_id, rounded where ours is floored, keeps ours out."""
    import sqlite3

    with dbbtrace.open_warehouse("sqlite:///w.db") as opened:
        opened.migrate()
    with sqlite3.connect("w.db") as connection:
        connection.execute(
            "INSERT INTO monitoring_integration (table_name, schema_name, source_name, status, timestamp,"
            " orchestration_run_id, integration_pipeline_source_run_id) VALUES (?, ?, ?, ?, ?, ?, ?)",
            ("Customer", "mdm", "MDS", "Succeeded", "2025-11-20 07:01:15", RUN, MDS_RUN),
        )
    dbbtrace.import_run(RUN)
    assert dbbtrace.flush(30)
    assert rows("SELECT COUNT(*) FROM meta.monitoring_integration WHERE table_name = 'Customer'") == [(1,)]
    assert rows("SELECT COUNT(*) FROM meta.monitoring_integration") == [(6,)]


# -- the trace ----------------------------------------------------------------------------------------------------


def test_one_trace(fabric: FabricService) -> None:
    """Root, workloads, pipelines, loads, attempts; the reconciliation's Copy, which is a step; each below its own."""
    captured, _ = imported()
    names = {span.context.span_id: span.name for span in captured.spans}
    above = {span.name: names.get(span.parent.span_id) for span in captured.spans if span.parent}
    root = captured.named("orchestration_run Group-FinancialStatements")
    assert root.context.trace_id == trace_id_of(RUN)
    assert root.context.span_id == root_span_id(trace_id_of(RUN))
    assert root.attributes[key.JOB_INVOKE_TYPE] == "Scheduled"
    assert above["integration"] == above["transformation"] == above["consumption"] == root.name
    assert above["reconciliation_pipeline_DBB"] == root.name
    assert above["copy_reconciliation_results"] == "reconciliation_pipeline_DBB"
    assert above["integration_pipeline_Dynamics_incremental"] == "integration_pipeline_source_Dynamics"
    assert above["load mdm.Customer"] == "for_each_source_table"
    assert above["attempt 2 (data)"] == "refresh Financial Statements"
    assert above["run_dbt"] == "transformation"
    [first, second] = [span for span in captured.operations("load_attempt") if key.TABLE_NAME not in span.attributes][
        :2
    ]
    assert (first.attributes[key.STATUS], second.attributes[key.STATUS]) == ("Failed", "Succeeded")
    assert len({span.context.span_id for span in captured.spans}) == len(captured.spans)


def test_what_was_planned_is_declared(fabric: FabricService) -> None:
    """What the Filter let through, in each pipeline, is what the run is held against."""
    captured, _ = imported()
    expected = [span.attributes for span in captured.operations("expected")]
    assert sorted(each[key.CICD_TASK_NAME] for each in expected) == [
        "dbo_cdm.company", "dbo_cdm.ledgerentry", "mdm.Account", "mdm.Calendar", "mdm.Currency", "mdm.Customer"
    ]  # fmt: skip
    assert {each[key.EXPECTED_BY] for each in expected} == {
        "integration_pipeline_source_MDS", "integration_pipeline_Dynamics_incremental"
    }  # fmt: skip
    assert {each[key.AUDIENCE] for each in expected} == {"rows"}


# -- names --------------------------------------------------------------------------------------------------------


def test_the_sink_names_a_copy_that_nothing_else_names(fabric: FabricService) -> None:
    """Cut at the two underscores, then at the first one; where an item tells, a schema may hold an underscore."""
    for activity in activities(fabric, MDS_RUN, "filter_integration_enabled"):
        activity["output"] = {}
    for run_id in (MDS_RUN, DEEPEST_RUN):
        for activity in activities(fabric, run_id, "lookup_integration_source_metadata"):
            activity["output"] = {}
    captured, _ = imported()
    found = {name: (each.get(key.SCHEMA_NAME), each.get(key.SOURCE_NAME)) for name, each in loads(captured).items()}
    assert found == {
        "Customer": ("mdm", "MDS"), "Account": ("mdm", "MDS"), "Calendar": ("mdm", "MDS"),
        "company": ("dbo_cdm", "Dynamics"), "ledgerentry": ("dbo_cdm", "Dynamics"),
    }  # fmt: skip


def test_the_lookup_comes_before_the_sink(fabric: FabricService) -> None:
    """And the Filter's item before the lookup."""
    [activity] = [
        each
        for each in activities(fabric, DEEPEST_RUN, "lookup_integration_source_metadata")
        if each["output"]["firstRow"]["table_name"] == "company"
    ]
    activity["output"]["firstRow"]["table_name"] = "Company"
    captured, _ = imported()
    assert "company" in loads(captured)
    for each in activities(fabric, DEEPEST_RUN, "filter_integration_enabled"):
        each["output"] = {}
    captured, _ = imported()
    assert "Company" in loads(captured)


def test_rules_of_ones_own(fabric: FabricService, tmp_path: Path) -> None:
    """A file lays its names over dbbtrace's; what it does not say stays."""
    for activity in service_activities(fabric):
        if activity["activityType"] == "InvokePipeline":
            activity["output"] = {"child": {"theRun": activity["output"]["pipelineRunId"]}}
    captured, done = imported(strict=False)
    assert not captured.operations("table_load")
    assert "integration_pipeline_Group-FinancialStatements" in done.reasons[0]
    rules = tmp_path / "rules.toml"
    rules.write_text('[children]\nrun = ["child.theRun"]\n', encoding="utf-8")
    captured, done = imported(rules=rules)
    assert len(captured.operations("table_load")) == 6
    assert not done.reasons


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("[loads]\nplaned_by = []", "planed_by"),
        ("[nonsense]\nx = []", "nonsense"),
        ("[loads]\nsink = [3]", "sink"),
        ("run = []", "run"),
        ("[loads", "can't be read"),
    ],
)
def test_rules_that_make_no_sense(fabric: FabricService, tmp_path: Path, content: str, word: str) -> None:
    """The message names the file and the key."""
    rules = tmp_path / "rules.toml"
    rules.write_text(content, encoding="utf-8")
    with pytest.raises(dbbtrace.UsageError, match=word):
        imported(rules=rules)


def service_activities(service: FabricService) -> list[dict[str, Any]]:
    return [each for listed in service.activities.values() for each in listed]


# -- children -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "word"), [(403, "Viewer"), (404, "404")])
def test_a_child_that_cannot_be_read_is_named(fabric: FabricService, status: int, word: str) -> None:
    """It costs only itself."""
    fabric.gone[DYNAMICS_RUN] = status
    captured, done = imported(strict=False)
    assert set(loads(captured)) == {"Customer", "Account", "Currency", "Calendar"}
    [reason] = done.reasons
    assert "integration_pipeline_source_Dynamics" in reason
    assert word in reason
    [_, finding] = captured.operations("finding")
    assert finding.attributes[key.STATUS] == "Incomplete"
    assert finding.attributes[key.CICD_TASK_NAME] == "integration_pipeline_source_Dynamics"


def verdict() -> tuple[str, list[str]]:
    """The reasons for which the run is Incomplete: those of the view, and those of a judge who looks at it anew."""
    [[count]] = views_of("SELECT r.findings_incomplete FROM meta.monitoring_runs AS r")
    with dbbtrace.open_warehouse("sqlite:///w.db") as opened:
        said = verdict_of(opened, RUN, write=True)
    return count, sorted(reason.name or "" for reason in said.reasons if reason.kind == "NotRead")


def views_of(sql: str) -> Any:
    with dbbtrace.open_warehouse("sqlite:///w.db") as opened:
        return views.ask(opened, sql)


def test_what_a_later_import_reads_is_not_missing_any_more(warehouse: FabricService) -> None:
    """The latest import counts, and a judge who has compared the run with others takes nothing from it."""
    source, deeper = "integration_pipeline_source_Dynamics", "integration_pipeline_Dynamics_incremental"
    warehouse.gone[MDS_RUN], warehouse.gone[DYNAMICS_RUN] = 403, 404
    said = []
    for readable in (RUN, MDS_RUN, DYNAMICS_RUN):
        warehouse.gone.pop(readable, None)
        for _ in range(2):  # the second time it adds nothing
            dbbtrace.import_run(RUN)
            assert dbbtrace.flush(30)
        said.append((verdict(), verdict()))
        if readable == MDS_RUN:
            warehouse.gone[DEEPEST_RUN] = 403
    del warehouse.gone[DEEPEST_RUN]
    dbbtrace.import_run(RUN)
    assert dbbtrace.flush(30)
    said.append((verdict(), verdict()))
    assert said == [
        ((2, [source, "integration_pipeline_source_MDS"]),) * 2,
        ((1, [source]),) * 2,
        ((1, [deeper]),) * 2,
        ((0, []),) * 2,
    ]


def test_a_child_that_the_caller_names(fabric: FabricService) -> None:
    """By its activity, in another workspace."""
    [activity] = activities(fabric, "20000000-7d3f-4b6a-9f10-2a6d5b1c8e47", "integration_pipeline_source_Dynamics")
    activity["output"], activity["input"] = {}, {}
    _, done = imported(strict=False)
    assert "none of the keys" in done.reasons[0]
    captured, done = imported(
        children={"integration_pipeline_source_Dynamics": f"{OTHER_WORKSPACE}/{DYNAMICS_RUN.upper()}"}
    )
    assert not done.reasons
    assert loads(captured)["company"][key.WORKSPACE_ID] == OTHER_WORKSPACE


def test_a_part_of_a_run(fabric: FabricService) -> None:
    """A source pipeline by itself, for the run that it belongs to: its rows are the same, and it makes no root."""
    captured, _ = imported(run_id=MDS_RUN, orchestration_run_id=RUN, strict=False)
    whole, _ = imported()
    assert {span.context.trace_id for span in captured.spans} == {trace_id_of(RUN)}
    assert not captured.operations("orchestration_run")
    assert {load[key.IDENTITY] for load in loads(captured).values()} < {
        load[key.IDENTITY] for load in loads(whole).values()
    }
    assert {load[key.PIPELINE_RUN_ID] for load in loads(captured).values()} == {MDS_RUN}


# -- a run that goes on -------------------------------------------------------------------------------------------


@pytest.fixture
def playing(monkeypatch: pytest.MonkeyPatch) -> Iterator[FabricService]:
    """The server, with the run as it goes on."""
    with FabricService(load_responses(ends_at=ENDED), step=0) as service:
        monkeypatch.setenv("DBBTRACE_FABRIC_URL", service.url)
        monkeypatch.setenv("DBBTRACE_WORKSPACE_ID", WORKSPACE)
        yield service


def test_a_run_is_followed_to_its_end(playing: FabricService) -> None:
    """At no moment is a row wrong: at the end the rows are those of the run that is imported when it is over."""
    seen: list[tuple[str, int, int]] = []
    playing.step = 5
    with capture() as captured:
        dbbtrace.configure(fabric_token="t")
        importer = Importer(RUN, pipeline_id=PIPELINE)
        done = importer.follow(0, lambda done: seen.append((done.status, done.loads, done.not_started)), lambda _: None)
    playing.step = None
    ended, _ = imported()
    assert done.status == "Failed"
    assert [status for status, _, _ in seen[:-1]] == ["Running"] * (len(seen) - 1)
    assert [count for _, count, _ in seen] == sorted(count for _, count, _ in seen)
    assert next(count for _, count, never in seen if never) >= 3, "not before the ForEach has ended"

    def told(spans: Captured) -> Any:
        return sorted(
            (span.name, span.context.span_id, span.start_time, span.end_time, span.status.status_code.name)
            for span in spans.spans
            if span.attributes[key.OPERATION] != "finding"
        )

    assert told(captured) == told(ended)


def test_a_copy_that_failed_waits_for_its_retry(playing: FabricService) -> None:
    """Between the attempts there is no row; then there is one, of the outcome."""
    with capture() as captured:
        dbbtrace.configure(fabric_token="t")
        importer = Importer(RUN, pipeline_id=PIPELINE)
        playing.step = 30.0 - 8.5  # after the first attempt ended, before the second began
        importer.once()
        assert "Customer" not in loads(captured)
        playing.step = 28.0
        importer.once()
        assert loads(captured)["Customer"][key.STATUS] == "Succeeded"
        assert loads(captured)["Account"][key.STATUS] == "Failed", "the Script behind it has begun"
        assert "Currency" not in loads(captured), "the ForEach has not ended"


def test_a_copy_without_an_end_in_a_pipeline_that_ended(fabric: FabricService) -> None:
    """Failed; and should the list say later that it succeeded, that is a row of its own."""
    [_, last] = [
        each for each in activities(fabric, MDS_RUN, "integrate_source_table")
        if "Customer" in json.dumps(each["input"])
    ]  # fmt: skip
    before = copy.deepcopy(last)
    last.update(status="InProgress", activityRunEnd=None, output={})
    for listed in fabric.activities.values():
        for each in listed:
            if each["activityName"] == "integration_pipeline_source_MDS":
                each["status"] = "Failed"
    fabric.jobs[MDS_RUN] = {"id": MDS_RUN, "itemId": "33333333-3c5d-4e6f-8a7b-1c2d3e4f5a6b", "jobType": "Pipeline",
                            "status": "Failed", "startTimeUtc": "2025-11-20T07:00:00.0000000", "endTimeUtc":
                            "2025-11-20T07:02:00.0000000"}  # fmt: skip
    first, _ = imported(strict=False)
    assert (loads(first)["Customer"][key.STATUS], loads(first)["Customer"][key.ERROR_TYPE]) == ("Failed", "NotEnded")
    last.clear()
    last.update(before)
    second, _ = imported()
    assert loads(second)["Customer"][key.STATUS] == "Succeeded"
    assert loads(first)["Customer"][key.IDENTITY] != loads(second)["Customer"][key.IDENTITY]


# -- the last activity --------------------------------------------------------------------------------------------


def closing(service: FabricService) -> None:
    """The run, as its closing notebook sees it: itself is the only activity that still runs."""
    [first, *_] = service.activities[RUN]
    service.activities[RUN].append({
        **first, "activityName": "close_run", "activityType": "TridentNotebook", "status": "InProgress",
        "activityRunId": "cccccccc-0000-4000-8000-000000000001", "activityRunEnd": None, "output": {}, "error": {},
        "activityRunStart": "2025-11-20T07:04:59.0000000Z",
    })  # fmt: skip
    service.jobs[RUN].update(status="InProgress", endTimeUtc=None, failureReason=None)


def test_a_failed_pipeline_stays_failed(warehouse: FabricService) -> None:
    """The closing activity imports the run to its end and then fails as the pipeline did."""
    closing(warehouse)
    with pytest.raises(dbbtrace.RunFailedError, match="integration_pipeline_Group-FinancialStatements"):
        dbbtrace.import_run(RUN, raise_on_failure=True)
    assert dbbtrace.flush(30)
    assert rows("SELECT COUNT(*) FROM meta.monitoring_integration WHERE error_type = 'NotStarted'") == [(1,)]
    with pytest.raises(dbbtrace.RunFailedError, match="2 of 7 operations failed"):
        dbbtrace.close_run(RUN, raise_on_failure=True)


def test_the_service_lists_late_how_an_activity_ended(fabric: FabricService) -> None:
    """The closing activity has begun because the others have ended: it waits until the list says so too."""
    closing(fabric)
    [*_, last, _] = fabric.activities[RUN]
    ended, asked = dict(last), 0
    last.update(status="InProgress", activityRunEnd=None, output={})

    def later(seconds: float) -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            last.update(ended)

    with capture() as captured:
        dbbtrace.configure(fabric_token="t")
        done = Importer(RUN, closing=True).closed(later)
    assert asked == 3
    assert done.status == "Failed"
    assert len(captured.operations("orchestration_run")) == 1


def test_a_branch_that_the_closing_activity_does_not_depend_on(fabric: FabricService) -> None:
    """What failed so far fails it; otherwise it says what it should have waited for. The run has no end yet."""
    closing(fabric)
    fabric.activities[RUN].append({
        **fabric.activities[RUN][-1], "activityName": "copy_archive", "activityType": "Copy",
        "activityRunId": "cccccccc-0000-4000-8000-000000000002", "activityRunStart": "2025-11-20T07:04:30.0000000Z",
    })  # fmt: skip
    rules = Path("rules.toml")
    for may_fail, status, reason in (
        ("[]", "Failed", "integration_pipeline_Group-FinancialStatements"),
        ('["integration_pipeline_*"]', "Running", "copy_archive is still running"),
    ):
        rules.write_text(f"[outcome]\nmay_fail = {may_fail}\n", encoding="utf-8")
        waited: list[float] = []
        with capture() as captured:
            dbbtrace.configure(fabric_token="t")
            done = Importer(RUN, closing=True, rules=rules).closed(waited.append)
        assert (done.status, 60 <= sum(waited) <= 70) == (status, True)
        assert reason in (done.reason or "")
        assert not captured.operations("orchestration_run")


def test_what_failed_in_a_for_each_that_succeeded(fabric: FabricService) -> None:
    """Something handled it: the ForEach decides, of a Copy that was tried again its last attempt."""
    closing(fabric)
    first = fabric.activities[RUN][0]
    for each in fabric.activities[RUN]:
        each.update(status="Succeeded" if each["status"] != "InProgress" else "InProgress", error={})
    for number, (name, iteration, attempt, status) in enumerate((
        ("for_each_model", "", 0, "Succeeded"), ("check_model", "a1", 0, "Failed"), ("say_so", "a1", 0, "Succeeded"),
        ("notify", "", 0, "Failed"), ("notify", "", 1, "Succeeded"),
    )):  # fmt: skip
        fabric.activities[RUN].insert(-1, {
            **first, "activityName": name, "activityType": "ForEach" if number == 0 else "WebActivity",
            "iterationHash": iteration, "retryAttempt": attempt, "status": status, "output": {}, "input": {},
            "activityRunId": f"cccccccc-0000-4000-8000-00000000001{number}",
            "activityRunStart": f"2025-11-20T07:04:5{number}.0000000Z",
            "activityRunEnd": f"2025-11-20T07:04:5{number}.5000000Z" if number else "2025-11-20T07:04:53.0000000Z",
        })  # fmt: skip
    _, done = imported(raise_on_failure=True)
    assert done.status == "Succeeded"
    fabric.activities[RUN][-2]["status"] = "TimedOut"
    with pytest.raises(dbbtrace.RunFailedError, match="notify"):
        imported(raise_on_failure=True, strict=False)


def test_a_pipeline_that_succeeded(fabric: FabricService) -> None:
    """Nothing is raised; a failure that the rules allow is none."""
    closing(fabric)
    _, done = imported(raise_on_failure=False)
    assert done.status == "Running"
    rules = Path("rules.toml")
    rules.write_text('[outcome]\nmay_fail = ["integration_pipeline_*"]\n', encoding="utf-8")
    captured, done = imported(raise_on_failure=True, rules=rules)
    assert done.status == "Succeeded"
    assert (
        captured.named("orchestration_run Group-FinancialStatements").attributes[key.CICD_PIPELINE_RESULT] == "success"
    )


def test_a_run_that_cannot_be_read_fails_the_closing_activity(fabric: FabricService) -> None:
    """Nobody knows how it ended; without raise_on_failure it is one log line."""
    fabric.gone[RUN] = 403
    with capture(strict=False):
        dbbtrace.configure(fabric_token="t")
        assert not dbbtrace.import_run(RUN).is_over
        with pytest.raises(dbbtrace.RunFailedError, match="Viewer"):
            dbbtrace.import_run(RUN, raise_on_failure=True)


def test_an_activity_that_was_tried_again(warehouse: FabricService) -> None:
    """Its last attempt is its outcome: an earlier one fails neither the workload nor the run."""
    first, *others = warehouse.activities[RUN]
    for each in [first, *others]:
        each.update(status="Succeeded", error={})
    first["retryAttempt"] = 1
    earlier = {**first, "retryAttempt": 0, "status": "Failed", "activityRunId": "cccccccc-0000-4000-8000-000000000009",
               "activityRunStart": "2025-11-20T06:59:00.0000000Z", "activityRunEnd": "2025-11-20T07:00:40.0000000Z",
               "error": {"errorCode": "1", "message": "gone"},
               "output": {"pipelineRunId": "99999999-7d3f-4b6a-9f10-2a6d5b1c8e47"}}  # fmt: skip
    warehouse.activities[RUN].insert(0, earlier)
    warehouse.activities["99999999-7d3f-4b6a-9f10-2a6d5b1c8e47"] = [
        {**others[0], "pipelineRunId": "99999999-7d3f-4b6a-9f10-2a6d5b1c8e47", "activityType": "Wait",
         "pipelineName": "integration_pipeline_Group-FinancialStatements", "activityName": "wait",
         "activityRunId": "cccccccc-0000-4000-8000-00000000000a"}
    ]  # fmt: skip
    warehouse.jobs[RUN].update(status="Completed", failureReason=None)
    done = dbbtrace.import_run(RUN)
    assert (done.status, done.reasons) == ("Succeeded", ())
    assert dbbtrace.flush(30)
    parts = "SELECT part, status FROM meta.monitoring_run_part WHERE name = 'integration' ORDER BY part"
    assert rows(parts) == [("attempt", "Failed"), ("workload", "Succeeded")]
    [[failed]] = views_of("SELECT r.parts_failed FROM meta.monitoring_runs AS r")
    assert failed == 0


def test_a_run_that_cannot_be_read_is_said_once(fabric: FabricService, caplog: pytest.LogCaptureFixture) -> None:
    """However often it is asked for; another reason is said too."""
    with capture(strict=False):
        dbbtrace.configure(fabric_token="t")
        follower = Follower(WORKSPACE, hours=10**6)
        for status in (403, 403, 404, 404):
            fabric.gone[f"pipelineruns/{RUN}"] = status
            assert not list(follower.once())
        said = [record.getMessage() for record in caplog.records if "can't be read now" in record.getMessage()]
        assert len(said) == 2
        fabric.gone.clear()
        assert [done.status for done in follower.once()] == ["Failed"]


# -- the commands -------------------------------------------------------------------------------------------------


def test_import_from_files() -> None:
    """The only run in a folder of saved responses, without any service."""
    done = run("--warehouse", "sqlite:///w.db", "import-run", "--file", str(RESPONSES))
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{RUN} Failed: 6 loads, 1 refresh, 2 failed; ")
    assert rows("SELECT COUNT(*) FROM meta.monitoring_integration") == [(6,)]


def test_an_imported_run_may_repair_another() -> None:
    """--repairs leaves one link, also where the run is imported again."""
    other = "0f8fad5b-d9cb-469f-a165-70867728950e"
    for _ in range(2):
        done = run("--warehouse", "sqlite:///w.db", "import-run", "--file", str(RESPONSES), "--repairs", other)
        assert (done.code, done.err) == (0, "")
    links = "SELECT orchestration_run_id, repairs FROM meta.monitoring_run_part WHERE part = 'link'"
    assert rows(links) == [(RUN, other)]


def test_the_command_says_what_it_could_not_read(fabric: FabricService, monkeypatch: pytest.MonkeyPatch) -> None:
    """And exits with 1; the rest is in the table."""
    fabric.gone[DYNAMICS_RUN] = 403
    notebook(monkeypatch)
    done = run("--warehouse", "sqlite:///w.db", "import-run", "--run", RUN)
    assert done.code == 1
    assert "not read: integration_pipeline_source_Dynamics" in done.err
    assert rows("SELECT COUNT(*) FROM meta.monitoring_integration") == [(4,)]


def test_the_command_refuses_in_one_line(fabric: FabricService, monkeypatch: pytest.MonkeyPatch) -> None:
    """No run, no workspace, a run that is not there, a child that makes no sense."""
    notebook(monkeypatch)
    assert_one_line(run("--warehouse", "sqlite:///w.db", "import-run"), "run id")
    assert_one_line(
        run("--warehouse", "sqlite:///w.db", "import-run", "--run", "0f8fad5b-d9cb-469f-a165-70867728950e"),
        "404",
        code=1,
    )
    assert_one_line(run("--warehouse", "sqlite:///w.db", "import-run", "--run", RUN, "--child", "x"), "NAME=RUN")
    monkeypatch.delenv("DBBTRACE_WORKSPACE_ID")
    assert_one_line(run("--warehouse", "sqlite:///w.db", "import-run", "--run", RUN), "DBBTRACE_WORKSPACE_ID")


def test_follow_a_workspace(playing: FabricService) -> None:
    """A run is found by its pipeline's name, and imported to its end; others are left alone."""
    playing.step = 40
    with capture() as captured:
        dbbtrace.configure(fabric_token="t")
        told: list[str] = []
        follower = Follower(WORKSPACE, hours=10**6)
        follower.run(
            lambda done: told.append(done.status), poll=0, until=lambda: "Failed" in told, sleep=lambda _: None
        )
        assert told[0] == "Running"
        assert len(captured.operations("table_load")) == 6
        asked = len(playing.requests)
        assert not list(follower.once()), "it has ended"
        assert len(playing.requests) <= asked + 2


def test_the_command_follow(fabric: FabricService, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once: what is there now."""
    notebook(monkeypatch)
    done = run("--warehouse", "sqlite:///w.db", "follow", "--once", "--hours", "1000000")
    assert done.code == 0, done
    assert done.out.startswith(f"{RUN} Failed: 6 loads")


def notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a Fabric notebook, which gives a token."""
    utils = types.ModuleType("notebookutils")
    utils.credentials = types.SimpleNamespace(getToken=lambda audience: f"for {audience}")  # type: ignore[attr-defined]
    utils.__spec__ = ModuleSpec("notebookutils", None)
    monkeypatch.setitem(sys.modules, "notebookutils", utils)


def test_two_threads_import_one_run(warehouse: FabricService) -> None:
    """Each row is written once."""
    threads = [threading.Thread(target=dbbtrace.import_run, args=(RUN,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dbbtrace.flush(30)
    assert rows("SELECT COUNT(*) FROM meta.monitoring_integration") == [(6,)]


def test_a_run_is_closed_as_succeeded_or_failed() -> None:
    """Not as a word that nobody knows, which would pass for success."""
    with pytest.raises(dbbtrace.UsageError, match="write Succeeded or Failed"):
        dbbtrace.close_run(RUN, status="Faild")
