"""Importing dbbtrace and a first span, compared with importing opentelemetry.sdk.trace and a first span.

Each is timed in its own process, from before the import until after the span. That includes reading the settings,
creating the provider, opening the journal and writing the span's two lines. The start of the interpreter is excluded.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.figures import Effort, Figure, alternate, at_most, compared
from benchmarks.processes import bare

__all__ = ["OURS", "measure"]

_TIMED = "import time; began = time.perf_counter()\n{}\nprint(1000 * (time.perf_counter() - began))"
OURS = """\
import dbbtrace
run = dbbtrace.join_run("0f8fad5b-d9cb-469f-a165-70867728950e").__enter__()
with dbbtrace.table_load("Customer") as load:
    load.rows_written = 10"""
_PLAIN = """\
import opentelemetry.sdk.trace
with opentelemetry.sdk.trace.TracerProvider().get_tracer("job").start_as_current_span("Customer") as span:
    span.set_attribute("rows", 10)"""


def measure(effort: Effort) -> Iterable[Figure]:
    """The figures."""
    pairs = alternate(
        lambda: bare(_TIMED.format(OURS), effort.scratch),
        lambda: bare(_TIMED.format(_PLAIN), effort.scratch),
        effort.size(40, 15),
    )
    yield compared(
        "import dbbtrace + first span", "import opentelemetry.sdk.trace + first span", list(pairs), at_most(1.15), "ms"
    )
