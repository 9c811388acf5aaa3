"""The artifacts of real dbt runs, and a plain reading of them to compare with."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

import dbbtrace
from dbbtrace.model import attributes as key
from dbbtrace.testing import Captured, capture

ARTIFACTS = Path(__file__).with_name("artifacts")
RUN = "9b2f1c6e-1d5f-4b7e-9a51-3f0e6f1f0a11"
WITHOUT_ROWS = ("show", "clone")
FAILED = ("error", "fail", "runtime error", "partial success")

RESULTS = sorted(ARTIFACTS.glob("*/*/run_results.json"))
SOURCES = sorted(ARTIFACTS.glob("*/*/sources.json"))


def name_of(file: Path) -> str:
    """``1.12.6/build_all``: how a test names its artifact."""
    return f"{file.parent.parent.name}/{file.parent.name}"


def load(file: Path) -> dict[str, Any]:
    """The artifact as plain JSON."""
    data = file.read_bytes()
    return json.loads(gzip.decompress(data) if file.suffix == ".gz" else data)


def copy_of(scenario: str, folder: Path) -> Path:
    """A target folder of the test's own, with the artifacts of the scenario."""
    shutil.copytree(ARTIFACTS / scenario, folder, dirs_exist_ok=True)
    return folder


def edited(folder: Path, change: Any, file: str = "run_results.json") -> Path:
    """The folder, after ``change(document)`` was applied to its artifact."""
    document = load(folder / file)
    change(document)
    (folder / file).write_text(json.dumps(document))
    return folder


def record(path: Path, *, strict: bool = True, **options: Any) -> tuple[dbbtrace.sources.dbt.DbtInvocation, Captured]:
    """What ``record_dbt`` makes of it, outside of any run."""
    with capture(strict=strict) as captured:
        invocation = dbbtrace.record_dbt(path, **{"run_id": RUN, "data_product": "Finance", **options})
    return invocation, captured


def nodes(captured: Captured) -> dict[str, ReadableSpan]:
    """The spans of nodes by unique_id."""
    spans = captured.operations(key.OPERATION_DBT_NODE)
    found = {span.attributes[key.DBT_UNIQUE_ID]: span for span in spans}
    assert len(found) == len(spans)
    return found


def nanos(text: str) -> int:
    """Nanoseconds since the epoch of dbt's text, without dbbtrace's own parser."""
    whole, fraction = re.fullmatch(r"([^.Z+]+)(?:\.(\d+))?(?:Z|\+00:00)?", text).groups()
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=timezone.utc).timestamp())
    return seconds * 10**9 + int((fraction or "").ljust(9, "0"))


def never_ran(result: dict[str, Any], fusion: bool) -> bool:
    """Whether the times in the file are none, or invented."""
    timing = result.get("timing") or []
    given_up = result["execution_time"] == 0 and result["status"] == "error"
    return not timing or result["status"] == "skipped" or (fusion and given_up)
