"""Runs and operations are answered alike from every warehouse, and from tables without dbbtrace's columns."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from dbbtrace_exporters.warehouse.flatten import rows_of

from dbbtrace.answers import operations, runs
from dbbtrace.answers.find import find_run
from dbbtrace.errors import ConfigurationError, UsageError
from dbbtrace.model import attributes as key
from tests.warehouse.spans import RUN, load, node, refresh, skipped

OTHER = "0aaaaaaa-54c8-4b0e-9d5c-2f7a9d3a1b77"
LATER = {"start": "2026-11-25T02:00:00Z", "end": "2026-11-25T02:00:30Z"}


asked = pytest.mark.parametrize("warehouse", ["sqlite", "live"], indirect=True)
"""The doubles of T-SQL servers don't run the views' SQL."""


def write(warehouse, *spans):
    warehouse.write([row for span in spans for row in rows_of(span)])


@asked
def test_every_operation_of_a_run(either):
    """Of all three tables, ordered by start; a dbt node once, though it has two rows."""
    write(either, refresh(start="2026-11-24T02:16:00Z", end="2026-11-24T02:16:05Z"), node(), skipped(), load())
    found = operations(either, [RUN])
    named = "unique_customers" if found[3].unique_id else "abc123"  # of a test whose id is known
    assert [(o.workload, o.kind, o.name, o.status, o.word) for o in found] == [
        ("integration", "table_load", "mdm.Customer", "Succeeded", "Succeeded"),
        ("transformation", "dbt_node", "customers", "Succeeded", "success"),
        ("consumption", "model_refresh", "Finance", "Succeeded", "Completed"),
        ("transformation", "dbt_node", named, "Skipped", "skipped"),
    ]
    assert {o.run_id for o in found} == {RUN}
    first = found[0]
    assert (first.rows_read, first.rows_written, first.bytes_read, first.bytes_written) == (10, 9, 23_572, 11_786)
    assert first.pipeline_run_id == "0d0d0d0d-1111-2222-3333-444444444444"
    assert first.started_at.tzinfo is timezone.utc
    assert first.ended_at > first.started_at


@asked
def test_what_only_our_columns_hold(migrated):
    """Exact times, errors, dbt's message, ids and parents."""
    write(
        migrated,
        load(ERROR_TYPE="builtins.OSError", ERROR_MESSAGE="no disk", STATUS="Failed"),
        node(DBT_MESSAGE="fine"),
    )
    failed, built = operations(migrated, [RUN])
    assert (failed.status, failed.error_type, failed.error_message) == ("Failed", "builtins.OSError", "no disk")
    assert failed.started_at == datetime(2026, 11, 24, 2, 15, 7, 987654, timezone.utc)
    assert failed.seconds == pytest.approx(11.512346)
    assert failed.trace_id == RUN.replace("-", "")
    assert (built.unique_id, built.resource_type, built.error_message) == ("model.shop.customers", "model", None)
    assert built.depends_on == ("source.shop.mds.customer", "model.shop.base")
    assert built.seconds == 4.25


@asked
def test_rows_that_a_hand_made_writer_did_not_know_are_unknown(migrated):
    """It leaves dbt's -1 as it stands."""
    migrated.query(
        "INSERT INTO meta.monitoring_transformation_dbt (item_name, invocation_id, status, process_stage, environment,"
        " build_models, orchestration_run_id, rows_affected)"
        f" VALUES ('m', 'i', 'success', 'execute', 'PRD', '', '{RUN}', -1)"
    )
    assert [operation.rows_written for operation in operations(migrated, [RUN])] == [None]


@pytest.mark.parametrize(
    ("word", "status"),
    [("pass", "Succeeded"), ("warn", "Warned"), ("fail", "Failed"), ("partial success", "Failed"), ("Error", "Failed")],
)
@asked
def test_statuses_are_normalised(migrated, word, status):
    """dbt's words in five; the stored one stays readable."""
    write(migrated, node(STATUS=word))
    (found,) = operations(migrated, [RUN])
    assert (found.status, found.word) == (status, word)


@asked
def test_an_interrupted_row_beside_an_ended_one_is_left_out(migrated):
    """It was written while the process was silent; the ended row is the truth."""
    write(migrated, load(ERROR_TYPE=key.INTERRUPTED, error="the process ended"))
    write(migrated, load())
    assert [found.status for found in operations(migrated, [RUN])] == ["Succeeded"]


@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_doubles_that_fabric_could_not_stop_count_once(migrated):
    """Two writers at the same instant: one record, two rows."""
    write(migrated, load())
    migrated.query("DROP INDEX meta.ux_monitoring_integration_record_id")
    migrated.query("INSERT INTO meta.monitoring_integration SELECT * FROM meta.monitoring_integration")
    assert len(operations(migrated, [RUN])) == 1


@asked
def test_runs_newest_first(either):
    """With what they sum up to."""
    write(either, load(), load("Vendor", span_id=2, ROWS_WRITTEN=1), node(), skipped(), refresh())
    write(either, load(RUN_ID=OTHER, STATUS="Failed", DATA_PRODUCT="Sales", ENVIRONMENT="tst", **LATER))
    newest, oldest = runs(either)
    assert (newest.run_id, newest.status, newest.data_product, newest.failed) == (OTHER, "Failed", "Sales", 1)
    assert (oldest.run_id, oldest.status, oldest.skipped) == (RUN, "Incomplete", 1)  # and nothing failed above it
    assert (oldest.loads, oldest.nodes, oldest.refreshes, oldest.rows_written) == (2, 2, 1, 10)
    assert oldest.started_at.isoformat().startswith("2026-11-24T02:15:07")
    assert [run.run_id for run in runs(either, limit=1)] == [OTHER]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"data_product": "Sales"}, [OTHER]),
        ({"environment": "prd"}, [RUN]),
        ({"status": "failed"}, [OTHER]),
        ({"since": datetime(2026, 11, 25, tzinfo=timezone.utc)}, [OTHER]),
        ({"since": datetime(2026, 11, 26)}, []),
        ({"data_product": "Sales", "status": "Succeeded"}, []),
    ],
)
@asked
def test_runs_that_fit(migrated, wanted, found):
    """By product, environment, status and time."""
    write(migrated, load())
    write(migrated, load(RUN_ID=OTHER, STATUS="Failed", DATA_PRODUCT="Sales", ENVIRONMENT="tst", **LATER))
    assert [run.run_id for run in runs(migrated, **wanted)] == found


@asked
def test_the_load_that_started_last_is_a_tables_outcome(migrated):
    """Failed, then Succeeded: the run is not failed."""
    write(migrated, load(STATUS="Failed"), load(span_id=2, **LATER))
    (run,) = runs(migrated)
    assert (run.status, run.failed, run.loads) == ("Succeeded", 0, 1)
    assert [(o.status, o.superseded) for o in operations(migrated, [RUN])] == [("Failed", True), ("Succeeded", False)]


@asked
def test_a_run_is_found_by_what_one_pastes(migrated):
    """Its id, its trace id, the start of either, or the word last; what fits several or none is said so."""
    write(migrated, load(), load(RUN_ID=OTHER, **LATER))
    for text in (RUN, RUN.upper(), RUN.replace("-", ""), RUN[:6], RUN.replace("-", "")[:12]):
        assert find_run(migrated, text) == RUN
    assert find_run(migrated, "last") == OTHER
    with pytest.raises(UsageError, match="dbbtrace runs"):
        find_run(migrated, "ffff")
    write(migrated, load(RUN_ID=RUN[:-1] + "0"))
    with pytest.raises(UsageError, match="matches 2 runs"):
        find_run(migrated, RUN[:6])


def test_without_tables_it_says_what_to_do(server):
    """Nothing was migrated yet."""
    from dbbtrace.warehouse import open_warehouse

    with pytest.raises(ConfigurationError, match="dbbtrace migrate"):
        runs(open_warehouse("Server=dw;Database=dbb;UID=u;PWD=p"))


@asked
def test_no_runs_are_no_error(migrated):
    """An empty list; last has nothing to mean."""
    assert runs(migrated) == []
    with pytest.raises(UsageError, match="no runs"):
        find_run(migrated, "last")
