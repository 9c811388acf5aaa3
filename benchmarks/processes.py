"""Measurements in separate processes, each with a new interpreter, settings, directory and journal."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["bare", "clean_environment", "fresh", "peak_megabytes"]

_REPOSITORY = Path(__file__).parents[1]


def clean_environment(directory: Path) -> dict[str, str]:
    """The environment without the user's settings, with the journal in the directory."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DBBTRACE_", "OTEL_"))}
    kept.pop("TRACEPARENT", None)
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled
    checkout = os.pathsep.join([str(_REPOSITORY), str(_REPOSITORY / "exporters")])  # measured is this one
    return {**kept, "DBBTRACE_JOURNAL_DIR": str(directory / "journal"), "PYTHONPATH": checkout}


def fresh(function: Callable[..., Any], scratch: Path, *arguments: Any) -> Any:
    """Call a function of a benchmark module in a new process and a new directory. Values are passed as JSON."""
    return json.loads(
        _last_line(scratch, "-m", __name__, function.__module__, function.__qualname__, json.dumps(arguments))
    )


def bare(script: str, scratch: Path) -> float:
    """The last number that a script prints, in a new process that has imported nothing else."""
    return float(_last_line(scratch, "-c", script))


def _last_line(scratch: Path, *arguments: str) -> str:
    directory = Path(tempfile.mkdtemp(dir=scratch))
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env=clean_environment(directory),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1]


def peak_megabytes() -> float:
    """Peak memory of this process so far."""
    try:  # the resource module would include the parent's memory at the fork
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024 * 1024)


if __name__ == "__main__":
    module, name, given = sys.argv[1:]
    print(json.dumps(getattr(importlib.import_module(module), name)(*json.loads(given))))
