"""What holds for every test: a directory and an environment of its own, and nothing of dbbtrace left running.

Under DBBTRACE_TEST_REQUIRE=1 (CI) a skipped test is a failure, unless it waits for what no package can bring.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.util._once import Once

pytest_plugins = [f"tests.support.{path.stem}" for path in sorted(Path(__file__).parent.glob("support/[!_]*.py"))]

# The same examples each time and no deadline: the code decides, not how busy the machine is.
hypothesis.settings.register_profile("dbbtrace", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("dbbtrace")

CANNOT_BE_HAD = ("DBBTRACE_TEST_MSSQL", "no Python", "no right", "Go is not installed")
"""Words in a skip's reason that excuse it in CI too: a live server, a right, what no package brings."""


def _is_of_the_developer(name: str) -> bool:
    ours = name.startswith(("DBBTRACE_", "OTEL_")) or name in ("TRACEPARENT", "TRACESTATE")
    return ours and not name.startswith("DBBTRACE_TEST_")


def pytest_configure(config: pytest.Config) -> None:
    """Forget the developer's settings, for fixtures of the session too, and signals that a shell had us ignore."""
    for name in filter(_is_of_the_developer, list(os.environ)):
        del os.environ[name]
    for ignored, handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        number = getattr(signal, ignored, None)  # child processes inherit it from nohup, or a job in the background
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path) -> Iterator[None]:
    """A working directory, a journal and an environment of the test's own; dbbtrace ends with it."""
    environment, directory = dict(os.environ), Path.cwd()
    os.environ["DBBTRACE_JOURNAL_DIR"] = str(tmp_path / "journal")
    os.chdir(tmp_path)
    token = otel_context.attach(Context())
    try:
        yield
    finally:
        _end_dbbtrace()
        otel_context.detach(token)
        os.chdir(directory)
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)


def _end_dbbtrace() -> None:
    """Stop what the test configured, and forget what a process only says or sets once."""
    if configure := sys.modules.get("dbbtrace.configure"):
        configure.shutdown(0)
    if scope := sys.modules.get("dbbtrace.job.scope"):
        scope._opened.clear()
    if masking := sys.modules.get("dbbtrace.model.masking"):
        masking.set_masking(True)
    if diagnostics := sys.modules.get("dbbtrace.diagnostics"):
        diagnostics._said.clear()
        diagnostics.set_strict(None)
    if notebook := sys.modules.get("dbbtrace.access.notebook"):
        notebook._context.clear()
        notebook._found.clear()
    sys.modules.pop("notebookutils", None)  # a test's stand-in for Fabric's
    trace._TRACER_PROVIDER = None
    trace._TRACER_PROVIDER_SET_ONCE = Once()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Where all tools must be there, a skip is a failure."""
    return _required((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """The same for modules that skip themselves as a whole."""
    return _required((yield))


def _required(report):
    excused = hasattr(report, "wasxfail") or any(word in str(report.longrepr) for word in CANNOT_BE_HAD)
    if os.environ.get("DBBTRACE_TEST_REQUIRE") and report.skipped and not excused:
        report.outcome = "failed"
        report.longrepr = f"skipped, where DBBTRACE_TEST_REQUIRE wants every test to run: {report.longrepr}"
    return report
