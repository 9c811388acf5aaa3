"""configure(): called again, in the middle of a run, with other roads; what a test holds stays held."""

from __future__ import annotations

import threading

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import dbbtrace
from dbbtrace.testing import capture
from dbbtrace.tracing import runtime
from tests.job.support import OTHER_RUN, RUN, rows


def names(exporter: InMemorySpanExporter) -> set[str]:
    return {span.name for span in exporter.get_finished_spans()}


def threads() -> int:
    return sum(thread.name.startswith("dbbtrace") for thread in threading.enumerate())


def test_called_again_in_the_middle_of_a_run_it_changes_nothing(monkeypatch):
    """A cell run again: what the run tells child processes is no other road for spans."""
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", "sqlite:///w.db")
    dbbtrace.configure()
    delivery = runtime.current().delivery
    with dbbtrace.orchestration_run(RUN, data_product="Finance", environment="TST"):
        dbbtrace.configure()
        assert runtime.current().delivery is delivery
        dbbtrace.configure(rows_timeout=7)
        assert runtime.current().delivery is delivery
        assert runtime.current().settings.rows_timeout == 7


def test_spans_that_are_open_end_where_they_began():
    """Otherwise the journal before would hold a start that never ends: an Interrupted row beside the real one."""
    first, second = InMemorySpanExporter(), InMemorySpanExporter()
    dbbtrace.configure(warehouse="none", exporters=[first])
    with dbbtrace.join_run(RUN):
        with dbbtrace.step("began before"):
            dbbtrace.configure(warehouse="none", exporters=[second])
            with dbbtrace.step("began after"):
                pass
        with dbbtrace.step("after all"):
            pass
    assert runtime.current().delivery.force_flush(20_000)
    assert names(second) == {"began after", "after all"}
    dbbtrace.shutdown(20)
    assert names(first) == {"began before"}


def test_rows_on_the_road_before_are_waited_for_too():
    """flush() tells of all rows recorded so far, and so does the end of a run."""
    dbbtrace.configure(warehouse="sqlite:///w.db", rows_timeout=30)
    with dbbtrace.join_run(RUN):
        with dbbtrace.table_load("Customer"):
            dbbtrace.configure(warehouse="sqlite:///other.db", rows_timeout=30)
    assert rows("SELECT table_name, status FROM meta.monitoring_integration") == [("Customer", "Succeeded")]
    with dbbtrace.join_run(RUN), dbbtrace.table_load("Order"):
        pass
    assert dbbtrace.flush(0)


def test_cells_that_make_a_new_exporter_each_time_leave_no_threads_behind():
    """As with a token that is fetched anew: the delivery before ends, once it has nothing left."""
    exporter = InMemorySpanExporter()
    dbbtrace.configure(warehouse="none", exporters=[exporter])
    with dbbtrace.join_run(RUN), dbbtrace.step("first"):
        pass
    assert runtime.current().delivery.force_flush(20_000)
    before = threads()
    for number in range(5):
        exporter = InMemorySpanExporter()
        dbbtrace.configure(warehouse="none", exporters=[exporter])
        with dbbtrace.join_run(RUN), dbbtrace.step(f"step {number}"):
            pass
        assert runtime.current().delivery.force_flush(20_000)
        assert names(exporter) == {f"step {number}"}
    for thread in threading.enumerate():
        if thread.name.startswith("dbbtrace exporter") or "InMemory" in thread.name:
            thread.join(0.5)
    assert threads() <= before + 2


def test_two_exporters_of_one_class_both_get_every_span():
    """They have names of their own, so that neither acknowledges for the other."""
    first, second = InMemorySpanExporter(), InMemorySpanExporter()
    dbbtrace.configure(warehouse="none", exporters=[first, second])
    with dbbtrace.join_run(RUN), dbbtrace.step("work"):
        pass
    delivery = runtime.current().delivery
    assert delivery.force_flush(20_000)
    assert names(first) == names(second) == {"work"}
    assert len({destination.name for destination in delivery._destinations}) == 2


def test_an_exporter_is_named_by_its_endpoint():
    """A journal is delivered to the backend that it was written for, not to another of the same kind."""
    from dbbtrace.configure import _given

    class Exporter(InMemorySpanExporter):
        def __init__(self, endpoint: str) -> None:
            super().__init__()
            self._endpoint = endpoint

    one, other = _given([Exporter("http://a"), Exporter("http://b")])
    assert one.name.endswith("http://a")
    assert other.name.endswith("http://b")


@pytest.mark.parametrize("wrong", [{"nonsense": 1}, {"rows_timeout": "soon"}, {"exporters": None}, {"warehouse": 5}])
def test_settings_that_make_no_sense_stop_nothing(wrong):
    """One log line; the job goes on."""
    dbbtrace.configure(**wrong)
    assert runtime.current()


def test_capture_holds_whatever_the_job_configures(monkeypatch):
    """A job under test calls configure(), flush() and shutdown() as it does every night."""
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", "sqlite:///w.db")
    with capture() as captured:
        dbbtrace.configure()
        with dbbtrace.orchestration_run(RUN, data_product="Finance"), dbbtrace.table_load("Customer"):
            pass
        dbbtrace.configure(warehouse="sqlite:///w.db", strict=False)
        assert dbbtrace.flush(1)
        dbbtrace.shutdown()
        with pytest.raises(dbbtrace.UsageError), dbbtrace.join_run(OTHER_RUN), dbbtrace.table_load("Order") as load:
            load.rows_written = "many"
    import os

    assert [span.name for span in captured.operations("table_load")] == ["load Customer", "load Order"]
    assert not os.path.exists("w.db")


def test_shutdown_waits_no_longer_than_it_is_told(monkeypatch):
    """A run that is still begun ends with it, without a wait of its own."""
    import time

    monkeypatch.setenv("DBBTRACE_WAREHOUSE", "none")
    dbbtrace.configure(exporters=[InMemorySpanExporter()], rows_timeout=60)
    monkeypatch.setattr(runtime.current().delivery, "_flush", lambda *_, **__: False)
    dbbtrace.begin_run()
    began = time.monotonic()
    dbbtrace.shutdown(0)
    assert time.monotonic() - began < 30


def test_flush_after_shutdown_tells_what_was_left(monkeypatch, tmp_path):
    """Rows that wait in the journal do not stand, whoever asks later; the next delivery of the process has them."""
    monkeypatch.setattr(runtime, "all_stood", True)
    (tmp_path / "w.db").mkdir()
    dbbtrace.configure(warehouse="sqlite:///w.db", strict=False)
    with dbbtrace.orchestration_run(RUN, data_product="Finance"), dbbtrace.table_load("Customer"):
        pass
    dbbtrace.shutdown(0)
    assert not dbbtrace.flush(0)
    (tmp_path / "w.db").rmdir()
    dbbtrace.configure(warehouse="sqlite:///w.db")
    assert dbbtrace.flush(30)
    dbbtrace.shutdown(30)
    assert dbbtrace.flush()
    assert rows("SELECT table_name FROM meta.monitoring_integration") == [("Customer",)]


def test_nothing_is_configured_twice_by_threads_that_begin_at_once(monkeypatch):
    """The first use configures, whoever is first."""
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", "none")
    together, found = threading.Barrier(8), []

    def first():
        together.wait(timeout=30)
        found.append(runtime.current())

    everyone = [threading.Thread(target=first) for _ in range(8)]
    for thread in everyone:
        thread.start()
    for thread in everyone:
        thread.join()
    assert len({id(one.delivery) for one in found}) == 1


def test_a_relative_file_is_the_one_that_configure_saw(tmp_path, monkeypatch):
    """A job that goes into another directory before its first row writes into the file that it named."""
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    dbbtrace.configure(warehouse="sqlite:///w.db", rows_timeout=30)
    monkeypatch.chdir(tmp_path / "there")
    with dbbtrace.orchestration_run("r"), dbbtrace.table_load("Customer"):
        pass
    assert dbbtrace.flush(30)
    assert (tmp_path / "w.db").is_file()
    assert not (tmp_path / "there/w.db").exists()
