"""What the tests of the job API share."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from dbbtrace.testing import Captured

RUN = "1c9e7f6a-0b1d-4f6e-9a53-3f0f6f2d8e11"
OTHER_RUN = "2d9e7f6a-0b1d-4f6e-9a53-3f0f6f2d8e22"
PIPELINE, PIPELINE_RUN = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"


def parent_of(captured: Captured, name: str) -> str | None:
    """Name of the parent of the span of this name; None for a root; its id where it was not captured."""
    parent = captured.named(name).parent
    if parent is None:
        return None
    names = {span.context.span_id: span.name for span in [*captured.spans, *captured.started]}
    return names.get(parent.span_id, f"{parent.span_id:016x}")


def job(code: str, *options: str, timeout: float = 60, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a job script in a process of its own, in the working directory of the test; rows go to w.db there."""
    Path("job.py").write_text(textwrap.dedent(code), encoding="utf-8")
    environment = {**os.environ, "DBBTRACE_WAREHOUSE": "sqlite:///w.db", "DBBTRACE_ROWS_TIMEOUT": "30", **variables}
    return subprocess.run(
        [sys.executable, *options, "job.py"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def rows(sql: str) -> list[tuple]:
    """What the embedded warehouse answers, attached as users attach it."""
    import sqlite3

    with sqlite3.connect(":memory:") as connection:
        connection.execute("ATTACH 'w.db' AS meta")
        return connection.execute(sql).fetchall()
