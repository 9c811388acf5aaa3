"""``python -m benchmarks``: measure, print the table, write the JSON."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import report
from benchmarks.figures import Effort, Figure
from benchmarks.rows import ROWS


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"measure only these: {', '.join(ROWS)}")
    parser.add_argument(
        "--quick", action="store_true", help="smaller samples and fewer repeats: a few minutes, less accurate"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for all measurements")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="file for the table as Markdown")
    arguments = parser.parse_args()
    if unknown := set(arguments.rows) - set(ROWS):
        parser.error(f"unknown row: {', '.join(sorted(unknown))}; choose from {', '.join(ROWS)}")
    about = report.machine()
    figures: list[Figure] = []
    for name in arguments.rows or ROWS:
        began = time.monotonic()
        print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="dbbtrace-bench-") as scratch:
            figures += ROWS[name](Effort(arguments.quick, Path(scratch)))
        print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    report.show(figures, about)
    if arguments.json:
        report.write(arguments.json, figures, about)
    if arguments.markdown:
        arguments.markdown.write_text(report.markdown(figures, about), encoding="utf-8")


if __name__ == "__main__":
    main()
