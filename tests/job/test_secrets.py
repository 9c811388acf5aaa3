"""Secrets in what jobs, dbt and other instrumentation say reach no row, no journal, no backend and no log line."""

from __future__ import annotations

import logging
import re
from datetime import datetime, timezone
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

import dbbtrace
from dbbtrace.diagnostics import log, set_strict
from dbbtrace.errors import TransientError
from dbbtrace.operate.doctor import doctor
from dbbtrace.tracing import provider

RUN = "0f8fad5b-d9cb-469f-a165-70867728950e"
S = "Sesame4Tail"
TEXT = f"can't connect: Server=h;UID=u;PWD={S}"
OTLP = f"""{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{{
    "traceId": "{RUN.replace("-", "")}", "spanId": "00000000000000aa", "name": "load Other",
    "startTimeUnixNano": "1000000000", "endTimeUnixNano": "2000000000",
    "status": {{"code": 2, "message": "password={S}"}},
    "attributes": [{{"key": "dbb.operation", "value": {{"stringValue": "table_load"}}}},
      {{"key": "dbb.orchestration_run_id", "value": {{"stringValue": "{RUN}"}}}},
      {{"key": "dbb.table.name", "value": {{"stringValue": "Other"}}}},
      {{"key": "dbb.error.message", "value": {{"stringValue": "password={S}"}}}}],
    "events": [{{"name": "exception", "timeUnixNano": "1500000000", "attributes":
      [{{"key": "exception.message", "value": {{"stringValue": "password={S}"}}}}]}}]}}]}}]}}]}}"""


class Connection:
    """What fails, as drivers do."""

    def __init__(self) -> None:
        raise RuntimeError(TEXT)


def job() -> InMemorySpanExporter:
    """Says the secret in every way that there is; gives the backend that got the spans."""
    backend = InMemorySpanExporter()
    dbbtrace.configure(warehouse="sqlite:///w.db", exporters=[backend], journal_dir="journal")
    Path("spans.json").write_text(OTLP.replace("\n", ""))
    with dbbtrace.orchestration_run(RUN, data_product="P", environment="TST"):
        with pytest.raises(RuntimeError), dbbtrace.table_load("Raised", source="S"):
            Connection()
        with dbbtrace.table_load("Failed", source="S") as load:
            load.fail(TEXT)
            load.save()
        with pytest.raises(RuntimeError), dbbtrace.step("step") as step:
            step.span.add_event("said", {"exception.message": TEXT})
            Connection()
        with dbbtrace.dbt_node("model.shop.customers", invocation_id=RUN) as node:
            node.status = "error"
            node.message = f"Database Error: password={S}"
        dbbtrace.record_load(
            "Recorded", source="S", status="Failed", error_message=TEXT, started_at=datetime.now(timezone.utc)
        )
        with pytest.raises(RuntimeError), trace.get_tracer("other").start_as_current_span("other") as span:
            span.set_attribute("url.full", f"https://h/b?sig={S}")
            Connection()
        other = trace.get_tracer("other").start_span("at its start", attributes={"db.statement": f"PASSWORD = '{S}'"})
        other.set_status(Status(StatusCode.ERROR, TEXT))
        other.end()
        dbbtrace.import_otlp("spans.json")
        dbbtrace.flush(0)
        held = b"".join(path.read_bytes() for path in Path("journal").rglob("*") if path.is_file())
        Path("held").write_bytes(held)
    assert dbbtrace.flush(20)
    return backend


def told() -> dict[str, bytes]:
    """Everything that was written, by where."""
    return {name: b"".join(path.read_bytes() for path in Path().glob(name)) for name in ("w.db*", "held")}


def test_no_secret_goes_anywhere(caplog: pytest.LogCaptureFixture) -> None:
    """Rows, journal and backend hold the messages without it."""
    spans = job().get_finished_spans()
    for where, content in told().items():
        assert b"PWD=***" in content, where
        assert S.encode() not in content, where
    text = "".join(span.to_json() for span in spans)
    assert S not in text
    assert text.count("***") >= 10
    assert S not in caplog.text
    assert {span.name for span in spans} >= {"other", "at its start", "load Other"}


def test_masking_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the setting; the messages are then as they came."""
    monkeypatch.setenv("DBBTRACE_MASK_SECRETS", "0")
    job()
    for where, content in told().items():
        assert f"PWD={S}".encode() in content, where


def test_a_load_that_succeeds_is_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masking costs nothing where nothing went wrong: no text enters."""
    searched: list[str] = []
    from dbbtrace.model import masking

    monkeypatch.setattr(masking, "masked", lambda text: searched.append(text) or text)
    dbbtrace.configure(warehouse="none", exporters=[InMemorySpanExporter()])
    with dbbtrace.orchestration_run(RUN, data_product="P"), dbbtrace.table_load("T", source="S") as load:
        load.rows_written = 1
    assert searched == []


def test_log_lines_are_masked_with_their_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever handler the host has: the record itself has no secret left."""
    try:
        Connection()
    except RuntimeError as error:
        log.exception("it failed: %s", error)
    assert S not in caplog.text
    assert "PWD=***" in caplog.text
    assert "RuntimeError" in logging.Formatter().format(caplog.records[-1])
    assert S not in logging.Formatter().format(caplog.records[-1])


def test_errors_of_dbbtrace_hold_no_secret() -> None:
    """Whoever prints them."""
    assert S not in repr(TransientError(TEXT, retry_after=1.0))


@pytest.mark.parametrize(
    "url",
    [
        f"Driver={{No Such Driver}};Server=127.0.0.1,9;Database=d;UID=u;PWD=a b;{S}",
        f"Driver={{No Such Driver}};Server=127.0.0.1,9;Database=d;UID=u;PWD={{a;{S}",
        f"Driver={{No Such Driver}};Server=127.0.0.1,9;Database=d;UID=u;PWD=a&{S};Encrypt=no",
        f"Data Source=h;Initial Catalog=d;User ID=u;Password={S}",
        f"mssql://u:a/{S}@h/d",
        f"postgres://u:a@{S}@h/d",
        f"sqlite:///w.db?key={S}",
    ],
)
def test_a_connection_string_shows_no_part_of_its_password(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Not in the job's log, not in what doctor finds, not in what the journal says; nor in strict mode's error."""
    caplog.set_level(logging.DEBUG, logger="dbbtrace")
    dbbtrace.configure(warehouse=url, journal_dir="journal", rows_timeout=0.1)
    with dbbtrace.orchestration_run(RUN, data_product="P"), dbbtrace.table_load("T", source="S") as load:
        load.rows_written = 1
    assert not dbbtrace.flush(0.1)
    said = caplog.text + "".join(f"{finding.text}{finding.remedy}" for finding in doctor())
    assert S not in said
    assert re.search(r"\*\*\*", said)
    dbbtrace.shutdown(0)
    assert S.encode() not in b"".join(path.read_bytes() for path in Path("journal").rglob("*") if path.is_file())
    if not url.startswith("Driver={No Such Driver};Server=127.0.0.1,9;Database=d;UID=u;PWD=a&"):
        before = set_strict(True)
        try:
            with pytest.raises(dbbtrace.UsageError) as error:
                dbbtrace.configure(warehouse=url)
            assert S not in str(error.value)
        finally:
            set_strict(before)


def test_spans_of_our_own_are_told_from_others() -> None:
    """``LiveSpan`` masks where it is written, and isn't searched again at its end."""
    own = provider.Provider("test").start_span("own", provider.Context(), {}, start=1)
    own.set_status(StatusCode.ERROR, TEXT)
    own.record_exception(RuntimeError(TEXT))
    assert S not in own.to_json()
    assert "RuntimeError" in own.to_json()
