"""Exports the audit as CSV, JSON or Parquet."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from dbbtrace.answers.audit import Audit, Gap
from dbbtrace.answers.rows import Run
from dbbtrace.errors import ConfigurationError

__all__ = ["as_csv", "as_dict", "write_parquet"]

_COLUMNS = [field.name for field in fields(Run)]
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Characters that a spreadsheet reads as the start of a formula."""


def as_dict(audit: Audit) -> dict[str, Any]:
    """The audit for JSON: products, and runs with their gaps."""
    gaps = _by_run(audit.gaps)
    return {
        "since": audit.since,
        "products": [asdict(record) for record in audit.products],
        "runs": [
            {
                **asdict(run),
                "gaps": [
                    {"gap": gap.gap, "operation": gap.operation, "detail": gap.detail} for gap in gaps[run.run_id]
                ],
            }
            for run in audit.runs
        ],
    }


def as_csv(audit: Audit) -> str:
    """One line for each run, with its gaps in the last column. As in RFC 4180, but with plain line ends.

    Text that a spreadsheet would read as a formula gets a leading apostrophe, because names can come from anywhere.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_COLUMNS, "gaps"])
    for row in _rows(audit):
        writer.writerow([_cell(value) for value in row])
    return out.getvalue()


def write_parquet(audit: Audit, path: Path) -> None:
    """One typed row for each run. Times are in UTC.

    Raises:
        ConfigurationError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigurationError('Parquet needs pyarrow: pip install "dbbtrace[parquet]"') from None
    types = {field.name: _arrow(pyarrow, str(field.type)) for field in fields(Run)} | {"gaps": pyarrow.string()}
    columns = list(zip(*_rows(audit), strict=True)) or [()] * len(types)
    table = pyarrow.table(
        [pyarrow.array(values, type=kind) for values, kind in zip(columns, types.values(), strict=True)],
        names=list(types),
    )
    pyarrow.parquet.write_table(table, path)


def _arrow(pyarrow: Any, annotation: str) -> Any:
    kind = annotation.partition(" ")[0]
    kinds = {"str": pyarrow.string(), "int": pyarrow.int64(), "float": pyarrow.float64()}
    return kinds[kind] if kind in kinds else pyarrow.timestamp("us", tz="UTC")


def _rows(audit: Audit) -> Iterable[list[Any]]:
    gaps = _by_run(audit.gaps)
    for run in audit.runs:
        yield [*(getattr(run, name) for name in _COLUMNS), "; ".join(map(_in_words, gaps[run.run_id]))]


def _by_run(gaps: Iterable[Gap]) -> dict[str, list[Gap]]:
    found: dict[str, list[Gap]] = defaultdict(list)
    for gap in gaps:
        found[gap.run_id].append(gap)
    return found


def _in_words(gap: Gap) -> str:
    return f"{gap.gap}: {gap.operation}" if gap.operation else gap.gap


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value
