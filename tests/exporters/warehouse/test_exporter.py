"""WarehouseSpanExporter behind dbbtrace's delivery and behind OpenTelemetry's own processors."""

from __future__ import annotations

import logging
from importlib.metadata import entry_points

import pytest
from dbbtrace_exporters.warehouse.exporter import WarehouseSpanExporter
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

from dbbtrace.errors import ConfigurationError, RefusedError, TransientError, UsageError
from dbbtrace.model import attributes as key
from dbbtrace.tracing.threads import ours
from dbbtrace.warehouse import open_warehouse
from tests.warehouse.spans import RUN, load, node, refresh, span
from tests.warehouse.sql_server import fault

DW = "Server=dw;Database=dbb;UID=u;PWD=p"
COUNT = "SELECT COUNT(*) FROM meta.monitoring_integration"


@pytest.fixture
def exporter(server, monkeypatch):
    """On the T-SQL double, with tables; it waits a millisecond instead of a second."""
    monkeypatch.setattr("dbbtrace_exporters.warehouse.exporter._FIRST_PAUSE", 0.001)
    exporter = WarehouseSpanExporter(DW)
    exporter.warehouse.migrate()
    return exporter


def test_it_is_found_by_its_entry_point(tmp_path, monkeypatch):
    """Constructed without arguments, from the environment."""
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", "sqlite:///from_environment.db")
    (point,) = entry_points(group="opentelemetry_traces_exporter", name="dbb_warehouse")
    assert point.load()().destination == f"sqlite:///{tmp_path}/from_environment.db"


def test_stock_opentelemetry_needs_no_dbbtrace_code(tmp_path):
    """A span of any tracer with the documented attributes becomes a row; others are ignored."""
    exporter = WarehouseSpanExporter("sqlite:///a.db")
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("a job of its own")
    with tracer.start_as_current_span("something else"):
        attributes = {key.OPERATION: "table_load", key.RUN_ID: RUN.upper(), key.TABLE_NAME: "Customer"}
        with tracer.start_as_current_span("load", attributes=attributes):
            pass
    provider.shutdown()
    rows = open_warehouse("sqlite:///a.db").query(
        "SELECT table_name, status, orchestration_run_id FROM meta.monitoring_integration"
    )
    assert rows.rows == [("Customer", "Succeeded", RUN)]


def test_delivering_twice_is_harmless(exporter):
    """Every row once."""
    for _ in range(2):
        exporter.deliver([load(), node(), refresh(), span({})])
    assert exporter.warehouse.query(COUNT).rows == [(1,)]


def test_nothing_is_opened_for_spans_without_rows(server):
    """No connection, no statement."""
    WarehouseSpanExporter(DW).deliver([span({}), span({key.OPERATION: key.OPERATION_STEP})])
    assert server.connections == []


@pytest.mark.parametrize(("native", "kind"), [(1205, TransientError), (229, ConfigurationError), (8115, RefusedError)])
def test_deliver_tells_what_came_of_it(exporter, server, native, kind):
    """Typed, so that the delivery knows whether to wait, to stop or to set aside."""
    for _ in range(3):
        server.fail("INSERT", fault(native))
    with pytest.raises(kind):
        exporter.deliver([load()])


def test_export_tries_again_until_it_stands(exporter, server):
    """A warehouse that sleeps answers after a while."""
    exporter.warehouse.close()
    server.connect_faults = [fault(40613), fault(4060), fault(0, state="HYT00")]
    assert exporter.export([load()]) is SpanExportResult.SUCCESS
    assert exporter.warehouse.query(COUNT).rows == [(1,)]


def test_export_gives_up_in_the_end_and_never_raises(exporter, server, caplog, monkeypatch):
    """Within its limit, with ever longer pauses; one line that says what did not happen."""
    monkeypatch.setattr("dbbtrace_exporters.warehouse.exporter._PATIENCE", 0.1)
    exporter.warehouse.close()
    server.connect_faults = [fault(40613) for _ in range(100)]
    assert exporter.export([load()]) is SpanExportResult.FAILURE
    assert 1 <= 100 - len(server.connect_faults) <= 10
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "are not in mssql://dw/dbb" in caplog.text


def test_export_does_not_repeat_what_can_not_help(exporter, server):
    """A missing right is for a person."""
    server.fail("INSERT", fault(229))
    asked = len(server.statements)
    assert exporter.export([load()]) is SpanExportResult.FAILURE
    assert len([sql for sql, _ in server.statements[asked:] if sql.startswith("INSERT")]) == 1


def test_export_survives_any_fault(exporter, monkeypatch):
    """Even one of our own."""
    monkeypatch.setattr("dbbtrace_exporters.warehouse.exporter.flatten", lambda spans: 1 / 0)
    assert exporter.export([load()]) is SpanExportResult.FAILURE


def test_one_refused_row_leaves_the_others_standing(exporter, server):
    """And deliver says that something was refused."""
    server.poison = "poisoned"
    spans = [load(f"t{place}", span_id=place + 1) for place in range(9)] + [load("poisoned", span_id=99)]
    with pytest.raises(RefusedError):
        exporter.deliver(spans)
    assert exporter.warehouse.query(COUNT).rows == [(9,)]


def test_a_span_that_lacks_what_its_row_needs_is_counted(exporter, caplog):
    """One warning for all of its kind, and the rest is delivered."""
    exporter.deliver([load(TABLE_NAME=None), load(TABLE_NAME=None), load()])
    assert exporter.passed_by == 2
    assert len(caplog.records) == 1
    assert "dbb.table.name" in caplog.text
    assert exporter.warehouse.query(COUNT).rows == [(1,)]


def test_after_shutdown_it_warns_once(exporter, caplog):
    """And says FAILURE; shutting down twice is harmless."""
    exporter.shutdown()
    exporter.shutdown()
    assert [exporter.export([load()]) for _ in range(3)] == [SpanExportResult.FAILURE] * 3
    assert len(caplog.records) == 1


def test_an_instrumented_driver_is_not_observed_while_we_write(exporter, monkeypatch):
    """Else its spans about our writing would become more writing."""
    seen = []
    write = exporter.warehouse.write
    monkeypatch.setattr(
        exporter.warehouse,
        "write",
        lambda rows: (seen.append(_suppressed()), write(rows))[1],
    )
    exporter.deliver([load()])
    assert seen == [True]
    assert not _suppressed()


def _suppressed() -> bool:
    return bool(otel_context.get_value(otel_context._SUPPRESS_INSTRUMENTATION_KEY))


def test_a_job_that_seeds_random_gets_its_numbers(exporter, server):
    """Our back-off draws from a generator of its own."""
    import random

    random.seed(7)
    expected = random.random()
    random.seed(7)
    exporter.warehouse.close()
    server.connect_faults = [fault(40613)]
    exporter.export([load()])
    assert random.random() == expected


def test_without_a_warehouse_it_says_what_to_set(monkeypatch):
    """In Fabric nothing is the default."""
    monkeypatch.setattr("dbbtrace.settings.in_fabric", lambda: True)
    with pytest.raises(UsageError, match="set DBBTRACE_WAREHOUSE"):
        WarehouseSpanExporter()


def test_rows_are_written_without_the_key_of_instrumentation(monkeypatch):
    """``opentelemetry.context._SUPPRESS_INSTRUMENTATION_KEY`` is private: an API without it costs no row."""
    monkeypatch.delattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY")
    exporter = WarehouseSpanExporter("sqlite:///w.db")
    with ours():  # as delivery's thread does
        exporter.deliver([load()])
    with open_warehouse("sqlite:///w.db") as warehouse:
        assert warehouse.query(COUNT).rows[0][0] == 1
    exporter.shutdown()


def test_secrets_in_spans_of_other_sdks_reach_no_row():
    """With the stock processor there is nothing before the exporter that could mask them."""
    exporter = WarehouseSpanExporter("sqlite:///w.db")
    failed = load(STATUS="Failed", ERROR_MESSAGE="Server=h;PWD=Sesame4Tail;UID=u")
    assert exporter.export([failed]) is SpanExportResult.SUCCESS
    with open_warehouse("sqlite:///w.db") as warehouse:
        rows = warehouse.query("SELECT error_message FROM meta.monitoring_integration").rows
    assert rows[0][0] == "Server=h;PWD=***;UID=u"
    exporter.shutdown()
