"""Importing dbbtrace and a first span, against importing opentelemetry.sdk.trace and a first span.

In processes of their own, from before the import to after the span: settings read, provider made, journal opened,
the span's two lines written. What the interpreter itself takes to start counts for neither.
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
        "import dbbtrace + first span", "import opentelemetry.sdk.trace + first span", list(pairs), at_most(1.25), "ms"
    )
