"""Who is OpenTelemetry's global provider: dbbtrace where nobody else is, and the host as soon as it wants to be.

Each in a process of its own: the global provider is set once in a process.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

RUN = "0f8fad5b-d9cb-469f-a165-70867728950e"
HOST = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
memory, host = InMemorySpanExporter(), TracerProvider()
host.add_span_processor(SimpleSpanProcessor(memory))
names = lambda: [span.name for span in memory.get_finished_spans()]
"""


def run(code: str) -> str:
    """What the program says on stderr; it must succeed."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_host_that_sets_its_provider_later_gets_it_and_its_spans() -> None:
    """From tracers that it got before, and of functions that were decorated before, too; and rows come as ever."""
    said = run(f"""
import asyncio, sqlite3, dbbtrace
from opentelemetry import trace
early = trace.get_tracer("module")
dbbtrace.configure(warehouse="sqlite:///w.db")
late = trace.get_tracer("module", "1.0")
@late.start_as_current_span("decorated")
def decorated(): pass
@late.start_as_current_span("decorated async")
async def decorated_async(): pass
run = dbbtrace.begin_run("{RUN}", data_product="P")
with dbbtrace.table_load("T", source="S") as load:
    load.rows_written = 1
with early.start_as_current_span("ours") as span:
    assert trace.format_trace_id(span.get_span_context().trace_id) == run.trace_id
{HOST}
trace.set_tracer_provider(host)
assert trace.get_tracer_provider() is host
with trace.get_tracer("new").start_as_current_span("new"), early.start_as_current_span("early"): pass
late.start_span("late").end()
decorated()
asyncio.run(decorated_async())
dbbtrace.configure(warehouse="sqlite:///w.db", service_name="another")
assert trace.get_tracer_provider() is host
run.end()
assert names() == ["early", "new", "late", "decorated", "decorated async"], names()
assert sqlite3.connect("w.db").execute("SELECT COUNT(*) FROM monitoring_integration").fetchone() == (1,)
""")
    assert "Overriding" not in said


def test_another_service_name_takes_the_place_over() -> None:
    """A notebook configures again: tracers of before follow."""
    run("""
import dbbtrace
from opentelemetry import trace
dbbtrace.configure(warehouse="none", service_name="one")
tracer = trace.get_tracer("module")
dbbtrace.configure(warehouse="none", service_name="two")
span = tracer.start_span("span")
assert span.resource.attributes["service.name"] == "two"
""")


@pytest.mark.parametrize(
    "how", ["dbbtrace.configure(global_provider=False)", "os.environ['DBBTRACE_GLOBAL_PROVIDER']='0'"]
)
def test_dbbtrace_can_be_told_to_stay_away(how: str) -> None:
    """By argument and by environment."""
    run(f"""
import os, dbbtrace
from opentelemetry import trace
{how}
with dbbtrace.join_run("{RUN}"), dbbtrace.step("work"):
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    assert not trace.get_tracer("other").start_span("other").is_recording()
""")


def test_an_api_that_keeps_the_provider_elsewhere_is_asked_in_the_public_way() -> None:
    """Without the private name, dbbtrace's provider is set for good, as it was before."""
    run(f"""
from opentelemetry import trace
held = []
proxy = trace.get_tracer_provider()
trace.get_tracer_provider = lambda: held[0] if held else proxy
trace.set_tracer_provider = held.append
import dbbtrace
dbbtrace.configure(warehouse="none")
with dbbtrace.join_run("{RUN}") as run:
    span = trace.get_tracer_provider().get_tracer("other").start_span("other")
    assert trace.format_trace_id(span.get_span_context().trace_id) == run.trace_id
""")


def test_a_provider_that_the_environment_names_is_left_to_the_api() -> None:
    """OTEL_PYTHON_TRACER_PROVIDER: the API loads it at first use."""
    run("""
import os
os.environ["OTEL_PYTHON_TRACER_PROVIDER"] = "sdk_tracer_provider"
import dbbtrace
dbbtrace.configure(warehouse="none")
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
assert type(trace.get_tracer_provider()) is TracerProvider
""")
