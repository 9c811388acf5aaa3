"""Prints the table, on a terminal or as Markdown, writes the JSON, and describes the machine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure

__all__ = ["machine", "markdown", "show", "write"]

_PACKAGES = ("opentelemetry-sdk", "msgspec", "protobuf", "starlette", "uvicorn", "pyodbc")


def machine() -> dict[str, Any]:
    """The machine and the versions."""
    import sqlite3

    import dbbtrace

    return {
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "dbbtrace": dbbtrace.__version__,
        "commit": _printed("git", "rev-parse", "--short", "HEAD"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "packages": {name: _version(name) for name in _PACKAGES},
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _printed(*command: str) -> str:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def show(figures: Iterable[Figure], about: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title="dbbtrace compared with a baseline without it", title_justify="left", show_lines=False)
    table.add_column("what", overflow="fold", ratio=4)
    table.add_column("against", overflow="fold", ratio=4)
    for heading in ("ours", "baseline", "median", "middle half", "to reach", "reached"):
        table.add_column(heading, justify="right", no_wrap=True)
    for figure in figures:
        table.add_row(*_cells(figure))
        if figure.note:
            table.add_row(f"  [dim]{figure.note}[/dim]")
    console = Console(width=None if sys.stdout.isatty() else 160, file=sys.stdout)
    console.print(table)
    console.print(
        f"{about['python']}, SQLite {about['sqlite']}, OpenTelemetry {about['packages']['opentelemetry-sdk']}; "
        f"{about['processor']}, {about['cores']} cores, load {about['load'] and round(about['load'][0], 1)}; "
        f"dbbtrace {about['dbbtrace']} at {about['commit']}, {about['at']}",
        style="dim",
    )


def markdown(figures: Iterable[Figure], about: dict[str, Any]) -> str:
    """The table as docs/performance.md has it, with the machine above it."""
    lines = [
        (
            f"`make bench` at commit {about['commit']}, on {about['cores']} cores of an {about['processor']}, with "
            f"{about['python']}, SQLite {about['sqlite']} and OpenTelemetry {about['packages']['opentelemetry-sdk']}, "
            f"{about['at'][:10]}. The median, and the middle half of the repeats in brackets."
        ),
        "",
        "| What | Baseline | Ours | Baseline's | Median | Goal | |",
        "|---|---|---|---|---|---|---|",
    ]
    for figure in figures:
        what, against, ours, baseline, value, spread, goal, _ = _cells(figure)
        found = f"{value} ({spread})" if spread else figure.note or value
        reached = {None: "", True: "reached", False: "**not reached**"}[figure.reached]
        lines.append(f"| {' | '.join((what, against, ours, baseline, found, goal, reached))} |")
    return "\n".join(lines) + "\n"


def _cells(figure: Figure) -> Sequence[str]:
    value, spread = figure.value, figure.spread
    return (
        figure.what,
        figure.against,
        _amount(figure.ours, figure.measured_in),
        _amount(figure.baseline, figure.measured_in),
        "-" if value is None else f"{_number(value)} {figure.unit}",
        "" if spread is None else f"{_number(spread[0])} – {_number(spread[1])}",
        "" if figure.goal is None else f"{figure.goal} {figure.unit}",
        {None: "", True: "[green]yes[/green]", False: "[bold red]no[/bold red]"}[figure.reached],
    )


def _amount(value: float | None, unit: str) -> str:
    return "" if value is None else f"{_number(value)} {unit}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 20 else f"{value:.2f}"


def write(path: Path, figures: Iterable[Figure], about: dict[str, Any]) -> None:
    """Write everything as JSON."""
    rows = [
        {
            **asdict(figure),
            "value": figure.value,
            "spread": figure.spread,
            "goal": str(figure.goal) if figure.goal else None,
            "reached": figure.reached,
        }
        for figure in figures
    ]
    path.write_text(json.dumps({"machine": about, "figures": rows}, indent=1, ensure_ascii=False) + "\n")
